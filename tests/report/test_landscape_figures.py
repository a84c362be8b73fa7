"""Figures of slices, lines and barriers, read back from their artists."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from vptft.errors import SettingsError
from vptft.report.figures.lines import draw_barriers, draw_lines
from vptft.report.figures.style import to_png, to_svg
from vptft.report.figures.surfaces import PICTURE, draw_profiles, draw_surfaces
from vptft.report.sections import lines as lines_section
from vptft.report.sections import rises
from vptft.report.sections.parts import Context
from vptft.why.landscape.lines import BARRIERS, Lines, _pooled
from vptft.why.landscape.surfaces import PATH, Surfaces


def make_surfaces(method="ft", *, seeds=2, task="a", path=False, dimensions=2):
    axis = np.linspace(-1, 1, 5)
    steep = {"ft": 4.0, "vpt_deep": 1.0}[method]
    planes = [f"random {seed}" for seed in range(seeds)] + ["trajectory"] * path
    rows = [
        (plane, split, batch, a, b, 0.1 * batch + steep * (a**2 + b**2) + 0.5 * a * i, 0.5)
        for i, plane in enumerate(planes) for split in ("train", "test") for batch in range(3)
        for a in axis for b in (axis if dimensions == 2 else [0.0])
    ]  # fmt: skip
    steps = [("trajectory", 5 * (k + 1), 0.8 - 0.4 * k, 0.4 - 0.2 * k, 0.1) for k in range(3)] if path else []
    return Surfaces(
        settings={"units": dict.fromkeys(planes, "filter norms")}, label=f"{method} {task} seed 0", task=task,
        method=method, space="all", path=pd.DataFrame(steps, columns=list(PATH)),
        table=pd.DataFrame(rows, columns=["plane", "split", "batch", "a", "b", "loss", "accuracy"]),
    )  # fmt: skip


def make_lines(*, kinds=("pretrained to mixed", "ft to mixed"), seeds=3, curve=True):
    t = np.linspace(0, 1, 5)
    along, barriers = [], []
    for kind in kinds:
        for seed in range(seeds):
            first = "pretrained" if kind.startswith("pre") else f"ft seed {seed}"
            second = f"mixed seed {seed}"
            for path in ("line", "curve")[: 1 + curve]:
                for split in ("train", "test"):
                    height = (0.5 if path == "line" else 0.1) + 0.1 * seed
                    loss = 1 + height * np.sin(np.pi * t)
                    along += [
                        ("a", kind, f"{first} → {second}", path, split, x, y, y - 0.1, y + 0.1, 0.5)
                        for x, y in zip(t, loss, strict=True)
                    ]  # fmt: skip
                    barriers.append((f"{first} → {second}", "a", kind, first, second, seed, seed, path, split, height,
                                     height - 0.1, height + 0.1, 0.5, 1.0, 60, 30, 0))  # fmt: skip
    columns = ["task", "kind", "line", "path", "split", "t", "loss", "low", "high", "accuracy"]
    found = pd.DataFrame(barriers, columns=list(BARRIERS))
    return Lines(settings={}, table=pd.DataFrame(along, columns=columns), barriers=found, pooled=_pooled(found))


DRAWN = {
    "surfaces": lambda **ax: draw_surfaces([make_surfaces("vpt_deep"), make_surfaces("ft", path=True)], **ax),
    "one surface": lambda **ax: draw_surfaces([make_surfaces()], split="train", **ax),
    "profiles": lambda **ax: draw_profiles([make_surfaces("vpt_deep"), make_surfaces(dimensions=1)], **ax),
    "lines": lambda **ax: draw_lines(make_lines(), **ax),
    "barriers": lambda **ax: draw_barriers(make_lines(), **ax),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figures_repeat_and_every_letter_lies_inside(name):
    figure = DRAWN[name]()
    assert (to_svg(figure), to_png(DRAWN[name](), dpi=60)) == (to_svg(DRAWN[name]()), to_png(figure, dpi=60))
    figure = DRAWN[name]()
    width, height = figure.get_size_inches() * figure.dpi
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 * figure.dpi <= width + 1
    assert box.y1 * figure.dpi <= height + 1


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_can_be_drawn_in_a_given_place(name):
    figure = Figure(layout="constrained", figsize=(12, 8))
    left, right = figure.subplots(1, 2)
    assert DRAWN[name](ax=right) is figure
    assert left.axison
    assert figure.get_supxlabel() == ""


def test_all_contours_share_their_levels_and_say_that_they_are_pictures():
    figure = draw_surfaces([make_surfaces("vpt_deep"), make_surfaces("ft", path=True)])
    filled = [each for axes in figure.axes for each in axes.collections if getattr(each, "filled", False)]
    assert len(filled) == 5  # two random planes of each, one trajectory
    assert len({tuple(each.levels) for each in filled}) == 1
    assert PICTURE in figure.get_supxlabel()
    (training,) = [line for axes in figure.axes for line in axes.lines if line.get_label() == "training"]
    assert training.get_xydata().tolist() == [[0.8, 0.4], [0.4, 0.2], [0.0, 0.0]]


def test_a_profile_is_the_mean_over_directions_and_its_range():
    result = make_surfaces(seeds=2)
    axes = draw_profiles([result]).axes[1]
    assert axes.get_title(loc="left") == "a, test"
    table = result.frame().query("split == 'test'")
    a, b = (
        table[table[free] == 1].query(f"{fixed} == 0").groupby("plane")["loss"].mean() for free, fixed in ("ab", "ba")
    )
    ends = pd.concat([a, b])
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(ends.mean())
    band = axes.collections[0].get_paths()[0].vertices
    assert band[band[:, 0] == 1][:, 1].max() == pytest.approx(ends.max())


def test_barriers_stand_where_they_were_measured_and_start_lines_have_none():
    result = make_lines()
    axes = draw_barriers(result).axes[0]
    marks = [line for line in axes.lines if line.get_marker() in "os^D" and len(line.get_xdata()) == 1]
    own = result.barriers.query("kind == 'ft to mixed'")["barrier"]
    mean = result.pooled.query("kind == 'ft to mixed'")["barrier"]
    assert sorted(line.get_xdata()[0] for line in marks) == pytest.approx(sorted([*own, *mean]))
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "a: ft to mixed, mean of 3"
    alone = make_lines(kinds=("pretrained to mixed",))
    with pytest.raises(SettingsError, match="no barrier to draw"):
        draw_barriers(alone)
    pictures = lines_section.ANALYSIS.pictures
    assert [picture.name for picture in pictures([alone], None)] == ["landscape-lines"]
    assert [picture.name for picture in pictures([result], None)] == ["landscape-lines", "landscape-barriers"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: draw_surfaces([]), "these are 0"),
        (lambda: draw_surfaces([make_surfaces(task=task) for task in "ab"]), "runs of one task"),
        (lambda: draw_surfaces([make_surfaces(dimensions=1)]), "no plane with test loss"),
        (lambda: draw_profiles([]), "no result"),
        (
            lambda: draw_surfaces([replace(make_surfaces(), table=make_surfaces().table.drop(columns="b"))]),
            r"lacks the columns \['b'\]",
        ),
        (
            lambda: draw_lines(replace(make_lines(), table=make_lines().table.drop(columns="low"))),
            r"lacks the columns \['low'\]",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, message):
    with pytest.raises(SettingsError, match=message):
        draw()


def test_the_page_tells_the_rise_of_a_methods_runs_together():
    runs = [make_surfaces("ft", dimensions=1, seeds=3) for _ in range(3)]
    told = rises.over_runs([*runs, make_surfaces("vpt_deep", dimensions=1)]).set_index(["method", "split"])
    ft = told.loc[("ft", "test")]
    assert (ft["step"], ft["n_runs"], ft["reading"]) == (1.0, 3, "average over runs")
    assert ft["rise"] == pytest.approx(4.0)  # steep in both ways alike; what is odd in the step cancels
    assert (ft["least"], ft["most"]) == (pytest.approx(4.0), pytest.approx(4.0))
    assert told.loc[("vpt_deep", "train"), "reading"] == "picture"  # of one run in two directions
    (table,) = rises.ANALYSIS.tables(runs)
    assert [row[:2] for row in table.rows] == [["a", "FT"]] * 2
    (picture,) = rises.ANALYSIS.pictures(runs, Context())
    assert len(picture.figure.axes) == 2
