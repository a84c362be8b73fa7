"""The page, figures and tables of the paper's own numbers."""

import re
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.text import Text

from vptft.errors import SettingsError, StorageError
from vptft.evidence.statistics.families import holm
from vptft.published import audit, claims, reproduction
from vptft.published.reproduction import OWN_COLUMNS
from vptft.published.tables import chosen, load
from vptft.report.assembly.quadrant_tables import published_planes
from vptft.report.assembly.studies import published_data_size
from vptft.report.figures.published import (
    VERDICTS,
    draw_claims,
    draw_data_size,
    draw_group_gaps,
    draw_pretraining,
    draw_reproduction,
)
from vptft.report.figures.style import FT, UNCERTAIN, VPT, save_figure
from vptft.report.pages import published as published_page
from vptft.report.pages import published_words as words
from vptft.report.pages.published import build_published, load_printed, tables
from vptft.report.sections.parts import Table
from vptft.report.tables.latex import booktabs
from vptft.storage import write_json

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def result():
    return claims.measure(load())


def own(task="dtd", spread=0.1):
    rows = [(task, "vpt", i, "1000", HOSTILE, "imagenet21k_supervised", 68.8 + spread * i, "") for i in (-1, 0, 1)]
    rows.append(("mine", "ft", 0, "300", "b", "unknown", 50.0, "not printed"))
    return reproduction.measure(pd.DataFrame(rows, columns=list(OWN_COLUMNS)), load())


def save(result, results):
    result.save(results / "published")
    audit.measure(load()).save(results / "audit")
    for name, plane in published_planes(boundary=None, seed=0).items():
        plane.save(results / name)
    published_data_size().save(results / "datasize")


@pytest.fixture(scope="module")
def built(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("published")
    save(result, out / "results")
    own().save(out / "results" / "reproduction")
    write_json(out / "results" / "provenance.json", {"command": "vptft-analyze published"})
    build_published(out / "results", out)
    return out


class Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(built):
    return Parsed((built / "index.html").read_text(encoding="utf-8"))


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def marks(axes):
    return [line for line in axes.lines if line.get_marker() not in ("None", None, "")]


def test_every_gap_is_drawn_at_its_value_in_the_colour_of_its_winner(result):
    figure = draw_group_gaps(result)
    frame = chosen(result.gaps, method="vpt", against="ft", setting="vtab1k", backbone="vit_b16",
                   pretraining="imagenet21k_supervised").set_index("task")  # fmt: skip
    looks = {"vpt": VPT, "ft": FT, "tie": UNCERTAIN}
    seen = {}
    for axes in figure.axes:
        names = [label.get_text() for label in axes.get_yticklabels()]
        for line in marks(axes):
            name = names[round(line.get_ydata()[0])]
            seen[name] = line.get_xdata()[0]
            assert same_color(line.get_color(), looks[frame.loc[name, "winner"]].colour)
            assert (line.get_markerfacecolor() == "white") == (frame.loc[name, "winner"] == "tie")
    assert seen == frame["gap_points"].to_dict()
    assert "Structured: 7 won, 1 tied, 0 lost; mean +8.0 [+1.2, +14.8]" in texts(figure)
    assert [axes.get_xlim() for axes in figure.axes] == [figure.axes[0].get_xlim()] * 3


def test_data_sizes_are_drawn_where_they_are_printed(result):
    figure = draw_data_size(result)
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == 19
    for axes in panels:
        ft, vpt = axes.lines
        assert (ft.get_color(), vpt.get_color()) == (FT.colour, VPT.colour)
        assert (ft.get_linestyle(), vpt.get_linestyle()) == ("--", "-")
        task = "".join(axes.get_title(loc="left").split("\n")[:-1])
        expected = (
            [400, 800]
            if task in ("dtd", "kitti_distance", "pets", "flowers102", "caltech101")
            else [400, 800, 5000, 10000]
        )
        assert list(vpt.get_xdata()) == expected
    svhn = next(axes for axes in panels if axes.get_title(loc="left").startswith("svhn"))
    assert list(svhn.lines[1].get_ydata()) == [76.0, 82.5, 92.2, 94.0]


def test_backbones_share_scale_and_order(result):
    figure = draw_pretraining(result)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    orders = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert orders[0][-1] == "cifar100"
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].endswith("15 won, 1 tied, 3 lost")
    assert titles[2] == "ViT-B/16\nMAE\n4 won, 15 lost"
    mae = {round(line.get_ydata()[0]): line.get_xdata()[0] for line in marks(figure.axes[2])}
    assert mae[orders[0].index("svhn")] == pytest.approx(19.4 - 86.6)


def test_claims_are_drawn_with_interval_and_verdict(result):
    figure = draw_claims(result)
    frame = result.claims[result.claims["unit"] == "points"].set_index("label")
    seen = set()
    for axes in figure.axes:
        names = [label.get_text() for label in axes.get_yticklabels()]
        for line in marks(axes):
            row = frame.loc[names[round(line.get_ydata()[0])]]
            assert line.get_xdata()[0] == row["effect"]
            assert same_color(line.get_color(), VERDICTS[row["verdict"]].colour)
            seen.add(row.name)
    assert seen == set(frame.index)
    assert "claims of the paper (16 tests in the family)" in texts(figure)
    assert "19, p = 0.058" in texts(figure)


def test_own_runs_are_drawn_where_they_have_a_counterpart(result):
    figure = draw_reproduction(own())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["vpt on dtd, n = 1000"]
    assert marks(figure.axes[0])[0].get_xdata()[0] == pytest.approx(0)
    with pytest.raises(SettingsError, match="None of these runs has a printed counterpart"):
        draw_reproduction(own(task="nothing like it"))


@pytest.mark.parametrize("draw", [draw_group_gaps, draw_data_size, draw_pretraining, draw_claims])
def test_no_letter_is_below_seven_points_and_none_is_cut(result, draw):
    figure = draw(result)
    figure.draw_without_rendering()
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7
    width, height = figure.get_size_inches()
    assert width == 5.5
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01


def test_the_page_answers_and_lists_what_is_not_supported(page, result):
    assert "Of 16 claims that its tables can test, 2 are supported: VPT beats Mixed" in page.text
    assert "p = 0.0042, 0.058 after correction" in page.text
    assert "VPT wins 16 of 19 tasks (0.058 by the mean, 0.038 by ranks, 0.11 by signs)" in page.text
    assert "refuted: One-shot too, VPT wins more where the task objective is far." in page.text
    for row in result.unsupported().to_dict("records"):
        assert f"{row['verdict']}: {row['reason']}" in page.text
    assert result.settings["rule"] in page.text
    for heading in words.HEADINGS.values():
        assert heading in page.text
    assert "30 differ by more" in page.text
    assert "is the sum of the 7 printed cells over 8" in page.text
    assert len([1 for tag, _ in page.tags if tag == "img"]) == 7


def test_it_is_said_in_how_small_a_family_a_claim_would_hold(result):
    paper = result.claims[result.claims["family"] == "paper"]
    notes = words.family_notes(paper)
    assert [note.partition(":")[0] for note in notes] == [
        "VPT wins 16 of 19 tasks", "On Swin VPT wins 0 of 8 Structured tasks", "One-shot, VPT wins 13 of 19 tasks",
        "The gap shrinks as data grows", "VPT wins 8 of 8 Structured tasks",
        "With MoCo v3 pretraining VPT mostly loses",
    ]  # fmt: skip
    assert "in a family of 14 or fewer" in notes[0]
    others = paper[(paper["key"] != "overall") & (paper["p"] > 0.004158)].tail(11)
    kept = pd.concat([paper[paper["p"] <= 0.0042], others])
    assert len(kept) == 14
    assert holm(kept["p"].to_numpy())[(kept["key"] == "overall").to_numpy()][0] < 0.05
    larger = pd.concat([kept, kept.tail(1)])
    assert holm(larger["p"].to_numpy())[(larger["key"] == "overall").to_numpy()][0] > 0.05


def test_nothing_is_fetched_and_only_the_pages_own_script_runs(page):
    targets = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(re.match(r"data:image/svg\+xml;base64,|#", target) for target in targets)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "form"}
    assert [tag for tag, _ in page.tags].count("script") == 1
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")
    identifiers = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {target[1:] for target in targets if target.startswith("#")} <= identifiers
    assert HOSTILE in page.text


def test_a_second_run_gives_the_same_bytes(built, tmp_path):
    build_published(built / "results", tmp_path)
    files = [path.relative_to(built) for path in built.rglob("*") if path.is_file() and "results" not in path.parts]
    assert len(files) > 20
    assert all((tmp_path / path).read_bytes() == (built / path).read_bytes() for path in files)


def test_without_runs_there_is_no_section_of_runs(result, tmp_path, monkeypatch):
    # Files are looked at elsewhere; the page shows the SVG alone.
    monkeypatch.setattr(published_page, "save_figure", partial(save_figure, formats=("svg",)))
    save(result, tmp_path / "results")
    write_json(tmp_path / "results" / "provenance.json", {})
    text = build_published(tmp_path / "results", tmp_path).read_text(encoding="utf-8")
    assert words.HEADINGS["reproduction"] not in text
    assert not (tmp_path / "tables" / "reproduction.csv").exists()


def test_results_that_are_missing_are_named(tmp_path):
    with pytest.raises(StorageError, match=r"published.result\.json could not be read"):
        build_published(tmp_path, tmp_path)


def test_tables_hold_the_numbers_and_the_latex_of_them(built):
    printed = load_printed(built / "results")
    for name, (table, frame) in tables(printed).items():
        saved = pd.read_csv(built / "tables" / f"{name}.csv")
        assert len(saved) == len(frame) == len(table.rows)
        text = (built / "tables" / f"{name}.tex").read_text(encoding="utf-8")
        parts = text.count(r"\begin{table}")
        assert text.count(r"\toprule") == text.count(r"\bottomrule") == parts
        assert text.count(r"\\") + text.count(r"\tabularnewline") == len(table.rows) + parts
        assert text.isascii()
    unsupported = pd.read_csv(built / "tables" / "unsupported.csv")
    assert unsupported["verdict"].ne("supported").all()
    assert len(unsupported) == 14


def test_the_plane_and_the_crossings_are_on_the_page(page, built):
    assert "VTAB-1k, grouped by hand. The paper's four quadrants" in page.text
    assert "FGVC, by printed distance. The paper's four quadrants" in page.text
    crossings = pd.read_csv(built / "tables" / "crossings.csv").set_index("task")
    assert crossings.loc["clevr_count", "says"] in page.text
    assert (crossings["outcome"] == "ft overtakes").sum() == 6
    rule = pd.read_csv(built / "tables" / "rule-vtab.csv").iloc[0]
    assert (rule["n"], round(rule["accuracy"] * rule["n"])) == (18, 15)
    captions = [attributes.get("alt", "") for tag, attributes in page.tags if tag == "img"]
    assert sum("one panel a task" in each for each in captions) == 2


def test_latex_is_escaped_and_set_by_what_columns_hold():
    table = Table(
        caption="5% of a_b", columns=["a_b", "n & m", "text"], rows=[["x_1", "< 3", "−1 {of} ±2 $ " + "long " * 9]],
        numbers=frozenset({1}),
    )  # fmt: skip
    text = booktabs(table, label="tab:x")
    assert r"\caption{5\% of a\_b}" in text
    assert r"\begin{tabular}{lrp{0.60\linewidth}}" in text
    assert r"a\_b & n \& m & text \\" in text
    assert r"x\_1 & $<$ 3 & $-$1 \{of\} $\pm$2 \$ long" in text
    assert r"\label{tab:x}" in text


@pytest.mark.parametrize(("p", "text"), [(np.nan, ""), (0.00003, "< 0.001"), (0.0312, "0.031"), (1.0, "1")])
def test_p_values(p, text):
    assert words.p_value(p) == text
