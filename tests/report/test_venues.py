"""Every figure on the page of every venue: its width, its letters, what is inside and apart."""

from functools import cache
from typing import get_args

import numpy as np
import pypdfium2
import pytest
from matplotlib.text import Text
from typer.testing import CliRunner

from advise.evidence import block
from advise.evidence import made as made_tasks
from advise.evidence import new as new_task
from report import (
    test_curvature_figure,
    test_datasize_figure,
    test_escape_figure,
    test_landscape_figures,
    test_objective_figure,
    test_overfitting_figures,
    test_sensitivity_figure,
)
from report.builders import HOSTILE, make_attention, make_curves, make_scores
from report.test_figures import DRAWN, TASKS, VTAB, drawn_texts, measured_plane
from vptft.advise.measure import measure as advise
from vptft.cli.app import app
from vptft.cli.options import Venue
from vptft.errors import SettingsError
from vptft.published.claims import measure as published
from vptft.published.tables import load
from vptft.report.figures import features, style
from vptft.report.figures.advice import draw_advice
from vptft.report.figures.attention import draw_attention
from vptft.report.figures.attention_grid import draw_attention_grid
from vptft.report.figures.attention_heads import draw_attention_heads
from vptft.report.figures.attention_scores import (
    draw_attention_curves,
    draw_attention_layers,
    draw_attention_sanity,
    draw_attention_scores,
)
from vptft.report.figures.curvature import draw_curvature, draw_density
from vptft.report.figures.datasize import draw_datasize
from vptft.report.figures.escape import draw_escape
from vptft.report.figures.objective import draw_comparison, draw_disparity
from vptft.report.figures.overfitting import draw_overfitting
from vptft.report.figures.overfitting_gap import draw_overfitting_gap
from vptft.report.figures.preservation import draw_preservation
from vptft.report.figures.published import draw_claims, draw_data_size, draw_group_gaps, draw_pretraining
from vptft.report.figures.quadrants import draw_quadrants
from vptft.report.figures.sensitivity import draw_shares, draw_specifications
from vptft.report.figures.style import VENUES, fitting, page_width, save_figure, small, to_png, venue
from vptft.why.attention import comparison
from vptft.why.features.explanation import measure as preservation
from why.features.studies import ladder


@cache
def compared():
    return comparison.measure([make_scores(task, draw) for task in ("photo/count", "plain/count") for draw in range(3)])


@cache
def runs():
    return ladder(lambda x: 20 * x, tasks=3, seeds=2, forgotten=0.2)


@cache
def printed():
    return published(load())


def evidence():
    return block(made_tasks(np.random.default_rng(0), tasks=8))


FIGURES = {
    **{
        f"{name}, {len(tasks)}": (lambda draw=draw, tasks=tasks: draw(tasks))
        for name, draw in DRAWN.items()
        for tasks in (TASKS, VTAB)
    },
    **{f"{name}, hostile": (lambda draw=draw: draw(HOSTILE)) for name, draw in DRAWN.items()},
    "measured quadrants": lambda: draw_quadrants(measured_plane(12), reference="photos"),
    "accuracy": lambda: draw_overfitting(make_curves(TASKS, seeds=(0, 1, 2)), quantity="accuracy"),
    "ten tasks": lambda: draw_overfitting(make_curves(VTAB[:10])),
    "datasize": lambda: draw_datasize(test_datasize_figure.made(4)),
    "datasize, 19": lambda: draw_datasize(test_datasize_figure.from_published()),
    "specifications": lambda: draw_specifications(test_sensitivity_figure.made(3)),
    "shares": lambda: draw_shares(test_sensitivity_figure.made(3)),
    "overfitting gap": lambda: draw_overfitting_gap(test_overfitting_figures.explained(8)),
    "layers": lambda: features.draw_layers(runs()),
    "drift": lambda: features.draw_drift(runs()),
    "written": lambda: features.draw_written(runs()),
    "forgetting": lambda: features.draw_forgetting(runs()),
    "preservation": lambda: draw_preservation(preservation(runs())),
    "advice": lambda: draw_advice(advise(new_task(), [evidence()])),
    "attention of eight": lambda: draw_attention(make_attention("photo/count")),
    "attention grid": lambda: draw_attention_grid(make_scores(), kind="rollout"),
    "attention heads": lambda: draw_attention_heads(make_scores(layers=12, heads=6)),
    "attention scores": lambda: draw_attention_scores(compared()),
    "attention curves": lambda: draw_attention_curves(compared()),
    "attention layers": lambda: draw_attention_layers(compared()),
    "attention sanity": lambda: draw_attention_sanity(compared()),
    "curvature": lambda: draw_curvature([test_curvature_figure.made(m) for m in ("vpt_deep", "ft")]),
    "density": lambda: draw_density([test_curvature_figure.made(m) for m in ("vpt_deep", "ft")], space="all"),
    "escape": lambda: draw_escape(test_escape_figure.made(tasks=("a", "b"), starts=("finetuned", "pretrained"))),
    "disparity": lambda: draw_disparity(test_objective_figure.make_disparity()),
    "comparison": lambda: draw_comparison(test_objective_figure.make_comparison()),
    "claims": lambda: draw_claims(printed()),
    "group gaps": lambda: draw_group_gaps(printed()),
    "printed sizes": lambda: draw_data_size(printed()),
    "backbones": lambda: draw_pretraining(printed()),
    **test_landscape_figures.DRAWN,
}


def size_of(figure):
    return figure.get_size_inches()[0]


@style.styled
def as_printed(figure):
    """Lay it out as saving does, then draw it at the dots of print, where letters have their true widths."""
    to_png(figure, dpi=72)
    figure.set_dpi(300)
    figure.draw_without_rendering()


CASES = [
    pytest.param(chosen, name, marks=pytest.mark.verify if chosen != "cvpr" or name.endswith(("19", "hostile")) else ())
    for chosen in ("neurips", "icml", "cvpr") for name in FIGURES
]  # fmt: skip
"""ICLR's page is that of NeurIPS, and ICML's nearly that of CVPR."""


@pytest.mark.parametrize(("chosen", "name"), CASES)
def test_a_figure_fits_its_venue_and_its_letters_are_large_enough_inside_and_apart(chosen, name):
    page = VENUES[chosen]
    with venue(chosen):
        figure = FIGURES[name]()
        as_printed(figure)
    width, height = figure.get_size_inches() * figure.dpi
    assert width <= page.text * figure.dpi + 1e-6
    if name != "landscape, 19":  # rows of squares that a page cannot hold
        assert height <= 9 * figure.dpi + 1e-6
    boxes = []
    for text in drawn_texts(figure):
        assert text.get_fontsize() >= page.caption - 2
        box = Text.get_window_extent(text)  # without an annotation's arrow
        assert box.x0 >= -3, text
        assert box.y0 >= -3, text
        assert box.x1 <= width + 3, text
        assert box.y1 <= height + 3, text
        if not text.get_text().endswith("\n") and text.get_rotation() % 90 == 0:  # a slanted text is not its box
            boxes.append((text.get_text(), box))
    for i, (one, a) in enumerate(boxes):
        for other, b in boxes[i + 1 :]:
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            along = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert across <= 3 or along <= 6, (one, other)


def test_what_fits_a_column_takes_one_and_what_does_not_takes_the_text():
    with venue("cvpr"):
        for name in ("gaps, 19", "quadrants, 4", "distance bars, 19", "overfitting, 4", "datasize", "layers", "shares"):
            assert size_of(FIGURES[name]()) == 3.28125
        for name in ("datasize, 19", "ten tasks", "claims", "matrix, 19", "disparity"):
            assert size_of(FIGURES[name]()) == 6.875
    for name in ("gaps, 4", "datasize", "claims"):
        assert size_of(FIGURES[name]()) == 5.5


def test_a_page_holds_inside_its_block_only_and_none_changes_nothing():
    assert (page_width(), fitting(3), small()) == (5.5, 5.5, 7.0)
    with venue("icml"):
        assert (page_width(), fitting(3.25), fitting(3.26), small()) == (6.75, 3.25, 6.75, 7.0)
        with venue("iclr"), venue(None):
            assert (page_width(), fitting(3), small()) == (5.5, 5.5, 8.0)
        assert page_width() == 6.75
    with pytest.raises(ZeroDivisionError), venue("cvpr"):
        _ = 1 / 0
    assert page_width() == 5.5
    with pytest.raises(SettingsError, match=r"no venue 'nature'; known are neurips, iclr, icml, cvpr"), venue("nature"):
        pass


def test_two_columns_and_the_gap_between_them_make_the_text():
    gaps = {name: round(page.text - 2 * page.column, 4) for name, page in VENUES.items() if page.column < page.text}
    assert gaps == {"icml": 0.25, "cvpr": 0.3125}


@pytest.mark.parametrize("chosen", VENUES)
def test_the_pdf_has_the_width_of_the_page_and_embeds_its_letters_as_type_42(chosen, tmp_path):
    with venue(chosen):
        (written,) = save_figure(FIGURES["claims"](), tmp_path / "claims", formats=("pdf",))
    document = pypdfium2.PdfDocument(written)
    assert document[0].get_width() == pytest.approx(72 * VENUES[chosen].text, abs=0.01)
    content = written.read_bytes()
    assert b"/Type3" not in content
    assert content.count(b"/CIDFontType2") == content.count(b"/FontFile2") > 0
    assert "accuracy" in document[0].get_textpage().get_text_range()


def test_the_command_line_names_the_venues_that_there_are():
    assert set(get_args(get_args(get_args(Venue)[0])[0])) == set(VENUES)
    assert style.PAGE not in VENUES.values()


def test_a_command_draws_for_the_venue_it_is_given_and_the_next_one_does_not(tmp_path):
    widths = {}
    for words in (("--venue", "cvpr"), ()):
        out = tmp_path / "-".join(("out", *words))
        done = CliRunner().invoke(app, ["quadrants", "--published", *words, "-o", str(out)])
        assert done.exit_code == 0, done.stderr
        figures = sorted((out / "figures").glob("*.pdf"))
        widths[words] = {path.stem: pypdfium2.PdfDocument(path)[0].get_width() / 72 for path in figures}
    assert widths["--venue", "cvpr"]["gaps-vtab"] == pytest.approx(3.28125)
    assert widths["--venue", "cvpr"]["quadrants-fgvc"] == pytest.approx(6.875)
    assert widths[()]["gaps-vtab"] == pytest.approx(5.5)
    assert {round(width, 3) for width in widths[()].values()} == {5.5, 3.25}
    refused = CliRunner().invoke(app, ["quadrants", "--published", "--venue", "nature"])
    assert refused.exit_code == 2
    assert "'nature'" in refused.stderr
