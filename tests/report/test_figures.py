"""Figures read back from their artists."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from report.builders import (
    DISTANCES,
    GAPS,
    HOSTILE,
    TASKS,
    UNKNOWN,
    make_attention,
    make_curves,
    make_distance,
    make_pair,
    make_profile,
    make_quadrants,
    make_slice,
)
from vptft.errors import SettingsError
from vptft.report.figures.agreement import draw_agreement
from vptft.report.figures.attention import draw_attention, draw_prompt_share
from vptft.report.figures.distance_bars import draw_distance_bars
from vptft.report.figures.distances import decimals, draw_distances, fixed
from vptft.report.figures.gaps import draw_gaps, interval_meaning
from vptft.report.figures.landscape import draw_slices
from vptft.report.figures.matrix import draw_matrix
from vptft.report.figures.overfitting import draw_overfitting
from vptft.report.figures.profile import draw_profile
from vptft.report.figures.quadrants import boundary, draw_quadrants
from vptft.report.figures.style import FT, SMALL, VPT, to_png, to_svg
from vptft.when.quadrants import plane

VTAB = (
    "caltech101", "cifar100", "dtd", "oxford_flowers102", "oxford_pets", "sun397", "svhn", "patch_camelyon", "eurosat",
    "resisc45", "diabetic_retinopathy", "clevr/count", "clevr/closest_object_distance", "dmlab",
    "kitti/closest_vehicle_distance", "dsprites/location", "dsprites/orientation", "smallnorb/azimuth",
    "smallnorb/elevation",
)  # fmt: skip

SPACE = "FD (timm/vit_base_patch16_224.augreg_in21k:224), 64 components"
DRAWN = {
    "quadrants": lambda tasks: draw_quadrants(wide_quadrants(tasks), reference="photos"),
    "gaps": lambda tasks: draw_gaps(wide_quadrants(tasks)),
    "distance bars": lambda tasks: draw_distance_bars(wide_quadrants(tasks), reference="photos"),
    "distances": lambda tasks: draw_distances([make_distance(task, 100.0 + i) for i, task in enumerate(tasks)]),
    "distances by winner": lambda tasks: draw_distances(
        [make_distance(task, 100.0 + i) for i, task in enumerate(tasks)], quadrants=wide_quadrants(tasks)
    ),
    "distances, little known": lambda tasks: draw_distances(
        [make_distance(task, 5.0 - i, **(UNKNOWN if i % 2 else {})) for i, task in enumerate(tasks)]
    ),
    "matrix": lambda tasks: draw_matrix(every_pair(["photos", *tasks])),
    "agreement": lambda tasks: draw_agreement(in_spaces(tasks, ("FID", "FD (dinov2-s:98)", SPACE))),
    "agreement of four": lambda tasks: draw_agreement(in_spaces(tasks, ("FID", "FD (dinov2-s:98)", SPACE, "FD"))),
    "overfitting": lambda tasks: draw_overfitting(make_curves(tasks)),
    "landscape": lambda tasks: draw_slices([make_slice(task, m) for task in tasks for m in ("vpt_deep", "ft")]),
    "attention": lambda tasks: draw_attention(make_attention(tasks[-1], n=len(tasks), classes=["c" * 60] * 8)),
    "profile": lambda tasks: draw_profile(make_profile(tasks, runs=0)),
    "profile against accuracy": lambda tasks: draw_profile(
        make_profile(tasks, batches=(1, 4, 8), note="n" * 300, variant="prompt_layers=first:2, prompt_shared=True")
    ),
    "share": lambda tasks: draw_prompt_share(make_attention(tasks[-1], n=len(tasks))),
}


def wide_quadrants(tasks):
    rng = np.random.default_rng(len(tasks))
    gaps, distances = rng.uniform(-0.15, 0.15, len(tasks)), rng.uniform(40, 180, len(tasks))
    pairs = [
        replace(make_pair(task, gap, far, objective_is_far=i % 2 == 0), data_is_far=None)
        for i, (task, gap, far) in enumerate(zip(tasks, gaps, distances, strict=True))
    ]
    return plane.measure(pairs)


def every_pair(names, **other):
    """Distances between all sets: 10 (i + j) - 9 for sets i and j, so that the nearest pair's interval includes 0."""
    return [
        make_distance(second, 10.0 * (i + j) - 9.0, reference=first, **other)
        for (i, first), (j, second) in combinations(enumerate(names), 2)
    ]


def in_spaces(tasks, measures):
    """Distances in several spaces whose ranks differ; a second set where there is one only."""
    rng = np.random.default_rng(len(tasks))
    names = [*tasks, "another"][: max(len(tasks), 2)]
    return [make_distance(name, float(rng.uniform(10, 90)), measure_name=m) for m in measures for name in names]


def texts(figure):
    return [t.get_text() for t in figure.findobj(Text) if t.get_text() and t.get_visible()]


def points(axes):
    """Markers with a winner as their label: {winner: [(x, y, line)]}."""
    found = {}
    for line in axes.lines:
        if line.get_label() in ("vpt", "ft", "uncertain", "VPT", "FT"):
            found.setdefault(line.get_label(), []).append((line.get_xdata()[0], line.get_ydata()[0], line))
    return found


def test_quadrants_has_one_point_a_task_at_its_distance_in_its_band_in_the_winners_colour():
    result = make_quadrants()
    axes = draw_quadrants(result, reference="photos").axes[0]
    found = points(axes)
    assert sorted(x for group in found.values() for x, _, _ in group) == sorted(DISTANCES)
    border = axes.get_yticks().mean()  # between the middles of the two bands
    frame = result.frame().set_index("distance")
    for label, group in found.items():
        for x, y, line in group:
            row = frame.loc[x]
            assert label == ("VPT" if row["gap_points"] > 0 else "FT")
            assert (y > border) == row["objective_is_far"]
            assert same_color(line.get_color(), (VPT if row["gap_points"] > 0 else FT).colour)
            assert same_color(line.get_markerfacecolor(), line.get_color() if row["clear"] else "white")
    sizes = {x: line.get_markersize() for group in found.values() for x, _, line in group}
    assert sorted(sizes, key=sizes.get) == sorted(sizes, key=lambda x: abs(frame.loc[x, "gap_points"]))
    assert axes.get_xlabel() == "debiased FD (dinov2-s:56) to photos"


def test_quadrants_writes_each_gap_with_its_interval():
    result = make_quadrants()
    said = texts(draw_quadrants(result))
    for row in result.frame().itertuples():
        assert any(text.startswith(row.task) and f"{row.gap_points:+.1f}".replace("-", "−") in text for text in said)


def measured_plane(n=12, **other):
    rng = np.random.default_rng(n)
    pairs = [
        replace(
            make_pair(f"task-{i:02}", rng.uniform(-0.2, 0.2), rng.uniform(100, 900)), disparity=rng.uniform(0, 1),
            group="ab"[i % 2],
        )
        for i in range(n)
    ]  # fmt: skip
    return plane.measure([replace(pair, **other) for pair in pairs])


@pytest.mark.parametrize("width", [5.5, 3.25])
@pytest.mark.parametrize("n", [1, 4, 12, 19])
def test_where_disparity_was_measured_it_is_the_height_and_no_label_covers_another(n, width):
    result = measured_plane(n)
    figure = draw_quadrants(result, reference="photos", width=width)
    axes = figure.axes[0]
    drawn = {(x, y): line for group in points(axes).values() for x, y, line in group}
    frame = result.frame()
    assert set(drawn) == set(zip(frame["distance"], frame["disparity"], strict=True))
    markers = {line.get_marker() for line in drawn.values()}
    assert len(markers) == frame["group"].nunique()
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts if "task-" in text.get_text()]  # without its line
    assert len(boxes) == n
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    boxes.append(axes.get_legend().get_window_extent())
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_plane_of_a_table_is_not_called_debiased_and_one_without_distances_is_refused():
    printed = plane.measure([make_pair("a", 0.1, 3.0), make_pair("b", -0.1, 4.0)], settings={"source": "t.csv"})
    assert draw_quadrants(printed).axes[0].get_xlabel() == "FD (dinov2-s:56)"
    with pytest.raises(SettingsError, match="No task has a distance, so there is no plane"):
        draw_quadrants(measured_plane(3, distance=float("nan"), data_is_far=None))
    with pytest.raises(SettingsError, match="No task has a distance, so there is no bar"):
        draw_distance_bars(measured_plane(3, distance=float("nan"), data_is_far=None))


def test_bars_are_distances_in_the_winners_colour_hatched_where_the_objective_is_far():
    result = make_quadrants()
    axes = draw_distance_bars(result, reference="photos").axes[0]
    frame = result.frame().sort_values("distance")
    assert [bar.get_height() for bar in axes.patches] == frame["distance"].tolist()
    assert [label.get_text() for label in axes.get_xticklabels()] == frame["task"].tolist()
    for bar, row in zip(axes.patches, frame.itertuples(), strict=True):
        assert same_color(bar.get_facecolor()[:3], (VPT if row.gap_points > 0 else FT).colour)
        assert (bar.get_alpha() == 1.0) == row.clear
        assert bool(bar.get_hatch()) == row.objective_is_far


def test_the_shaded_quadrant_is_near_objective_and_far_data():
    axes = draw_quadrants(make_quadrants()).axes[0]
    box = axes.collections[0].get_datalim(axes.transData)
    assert box.x0 == pytest.approx((325.5 + 901.25) / 2)
    assert box.y0 == -0.5
    assert box.y1 < axes.get_yticks().mean() + 1


def test_no_boundary_is_drawn_where_the_distances_contradict_the_design_or_one_side_is_empty():
    frame = make_quadrants(distances=(950.0, 325.0, 901.0, 940.0)).frame()
    assert boundary(frame) is None
    assert boundary(frame[frame["data_is_far"]]) is None
    figure = draw_quadrants(make_quadrants(distances=(950.0, 325.0, 901.0, 940.0)))
    assert not figure.axes[0].collections
    assert "paper: FT ahead where data are far" in texts(figure)


@pytest.mark.parametrize("width", [5.5, 3.25])
def test_marks_at_one_place_stand_side_by_side_towards_the_middle(width):
    pairs = [
        replace(make_pair(f"{side}{i}", gap, distance), disparity=0.97)
        for side, distance in (("near", 300.0), ("far", 900.0))
        for i, gap in enumerate((0.02, 0.2, -0.05))
    ]
    figure = draw_quadrants(plane.measure(pairs), width=width)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    at = np.array([line.get_transform().transform(line.get_xydata())[0] for line in marks])
    reach = np.array([line.get_markersize() for line in marks]) * figure.dpi / 72 / 2
    for i, j in combinations(range(len(marks)), 2):
        assert np.hypot(*(at[i] - at[j])) >= reach[i] + reach[j]
    plain = np.array([axes.transData.transform(line.get_xydata())[0, 0] for line in marks])
    moved, near = at[:, 0] - plain, np.array([line.get_xdata()[0] == 300 for line in marks])
    assert (moved[near] >= 0).all()
    assert (moved[~near] <= 0).all()
    assert moved[np.argsort(reach)[-2:]].tolist() == [0, 0]  # the largest gap of each place keeps it


@pytest.mark.parametrize("measured", [True, False], ids=["disparity", "bands"])
def test_a_fitted_boundary_stands_where_it_was_fitted_with_its_interval(measured):
    gaps = (0.09, 0.07, 0.05, -0.06, 0.06, -0.04, -0.08, -0.05)
    pairs = [
        replace(
            make_pair(f"t{i}", gap, 10.0 + i, objective_is_far=False), disparity=i / 10 if measured else float("nan")
        )
        for i, gap in enumerate(gaps)
    ]
    result = plane.measure(pairs, boundary="fitted")
    (row,) = result.predictions.query("boundary == 'fitted'").to_dict("records")
    assert row["value_low"] < row["value"] == 14.5 < row["value_high"]
    figure = draw_quadrants(result)
    (axes,) = figure.axes
    assert [row["value"]] * 2 in [list(line.get_xdata()) for line in axes.lines]
    (band,) = (patch for patch in axes.patches if patch.get_hatch())
    assert (band.get_x(), band.get_x() + band.get_width()) == (row["value_low"], row["value_high"])
    (entry,) = (said for said in texts(figure) if said.startswith("fitted boundary"))
    assert entry == f"fitted boundary, 95% [{row['value_low']:.3g}, {row['value_high']:.3g}]"


def test_gaps_are_ordered_with_their_intervals_and_say_what_these_hold():
    result = make_quadrants()
    axes = draw_gaps(result).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    frame = result.frame().sort_values("gap_points")
    assert names == frame["task"].tolist()
    drawn = sorted((y, x) for group in points(axes).values() for x, y, _ in group)
    assert [x for _, x in drawn] == frame["gap_points"].tolist()
    bars = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 1]
    assert bars == list(zip(frame["low_points"], frame["high_points"], strict=True))
    assert "test images only (one seed)" in axes.get_xlabel()
    assert interval_meaning(3) == "95% interval over test images and 3 seeds"
    assert interval_meaning(0) == "as printed, without intervals"


def test_distances_draws_debiased_bars_with_interval_plug_in_and_noise_floor():
    axes = draw_distances([make_distance("dtd", 300.0), make_distance("svhn", -2.0, n=1200)]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [300.0, -2.0]
    lines = [(line.get_xdata(), line.get_ydata()) for line in axes.lines]
    across = {tuple(x): y[0] for x, y in lines if x[0] != x[-1]}
    assert {tuple(np.round(ends, 6).tolist()): y for ends, y in across.items()} == {(266.0, 330.0): 0, (-6.2, -1.8): 1}
    heights = {round(float(x[0]), 6): y[1] - y[0] for x, y in lines if x[0] == x[-1] and np.ptp(y) < 0.99}
    assert heights.keys() == {336.0, 90.0, 266.0, 330.0, -2.24, -6.2, -1.8}
    assert heights[266.0] < heights[336.0] < heights[90.0]
    assert [line.get_linestyle() for line in axes.lines if line.get_xdata()[0] == 90.0] == ["--", "--"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["dtd", "svhn"]
    assert axes.get_xlabel() == "FD (dinov2-s:56) to photos (N = 300 or N = 1,200)"
    assert "−2  (N = 1,200)" in texts(axes.figure)


def test_distances_keep_the_order_given_whichever_side_the_reference_is_on():
    axes = draw_distances([make_distance("photos", v, reference=name) for name, v in (("b", 9.0), ("a", 10.0))]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert [bar.get_width() for bar in axes.patches] == [9.0, 10.0]


def test_what_is_not_known_of_a_distance_is_not_drawn():
    axes = draw_distances([make_distance("dtd", 300.0, **UNKNOWN)]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [300.0]
    assert {round(float(x), 6) for line in axes.lines for x in line.get_xdata()} == {0.0, 336.0}
    assert "300  (N unknown)" in texts(axes.figure)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["debiased", "plug-in"]
    known = draw_distances([make_distance("dtd", 300.0)]).axes[0]
    assert [text.get_text() for text in known.get_legend().get_texts()] == [
        "debiased", "95% interval", "plug-in", "noise floor",
    ]  # fmt: skip


def test_bars_are_coloured_by_the_winner_and_hatched_where_the_objective_is_far():
    names = [TASKS[0], *(f"{task} (train)" for task in TASKS[1:]), "dtd"]
    results = [make_distance(name, 100.0) for name in names]
    axes = draw_distances(results, quadrants=make_quadrants()).axes[0]
    frame = make_quadrants().frame()
    assert frame["winner"].tolist() == ["uncertain", "vpt", "ft", "uncertain"]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [*frame["objective_is_far"], False]
    faces = [bar.get_facecolor() for bar in axes.patches]
    assert faces[0] == faces[3]
    assert len(set(faces)) == 4
    assert same_color(axes.patches[1].get_edgecolor(), VPT.colour)
    assert same_color(axes.patches[2].get_edgecolor(), FT.colour)
    assert {"VPT ahead", "FT ahead", "neither", "far objective", "debiased"} <= set(texts(axes.figure))
    two = make_quadrants()
    two = replace(two, table=two.table.assign(pretraining=["supervised", *["masked"] * 3]))
    with pytest.raises(
        SettingsError, match=r"one pretraining objective; the quadrants hold \['masked', 'supervised'\]"
    ):
        draw_distances(results, quadrants=two)


def test_bars_of_different_winners_differ_in_a_grey_print():
    axes = draw_distances([make_distance(task, 9.0) for task in TASKS], quadrants=make_quadrants()).axes[0]
    grey = [float(np.dot([0.2126, 0.7152, 0.0722], bar.get_facecolor()[:3])) for bar in axes.patches[:3]]
    assert np.diff(sorted(grey)).min() > 0.15


@pytest.mark.parametrize(
    ("values", "figures", "places"),
    [([0.0], 3, 0), ([1234.5, 2.0], 3, 0), ([99.0, -5.0], 3, 1), ([-0.0123], 2, 3), ([1e-9], 3, 6), ([9.5], 4, 3)],
)
def test_the_largest_value_gets_that_many_figures(values, figures, places):
    assert decimals(values, figures=figures) == places


@pytest.mark.parametrize(("value", "places", "text"), [(-0.04, 1, "0.0"), (-1.25, 0, "−1"), (1234.5, 1, "1234.5")])
def test_numbers_have_fixed_decimals_and_zero_no_sign(value, places, text):
    assert fixed(value, places) == text


def test_distances_names_both_sets_where_none_is_shared_and_refuses_mixed_measures():
    axes = draw_distances([make_distance("a", 1.0, reference="r"), make_distance("b", 2.0, reference="s")]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["r to a", "s to b"]
    with pytest.raises(SettingsError, match=r"cannot share an axis: \['FD', 'FID'\]"):
        draw_distances([make_distance("a", 1.0, measure_name="FID"), make_distance("b", 1.0, measure_name="FD")])
    with pytest.raises(SettingsError, match="no distance to draw"):
        draw_distances([])


def cell_values(axes):
    return np.ma.filled(axes.collections[0].get_array().astype(float), np.nan)


def test_the_matrix_is_symmetric_empty_on_its_diagonal_and_names_both_axes():
    figure = draw_matrix(every_pair(["photos", "dtd", "svhn"]))
    axes = figure.axes[0]
    expected = [[np.nan, 1.0, 11.0], [1.0, np.nan, 21.0], [11.0, 21.0, np.nan]]
    np.testing.assert_array_equal(cell_values(axes), expected)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["photos", "dtd", "svhn"]
    assert sorted((t.get_position(), t.get_text()) for t in axes.texts) == sorted(
        ((j + 0.5, i + 0.53), f"{expected[i][j]:.1f}") for i in range(3) for j in range(3) if i != j
    )
    assert "debiased FD (dinov2-s:56)" in texts(figure)


def marked(axes):
    """Cells with a mark, filled or hollow: ``{(row, column): filled}``."""
    return {
        tuple(np.floor(patch.get_xy().mean(axis=0)).astype(int)[::-1].tolist()): patch.get_facecolor()[3] == 1
        for patch in axes.patches
    }


def test_a_cell_is_marked_where_the_interval_includes_0_and_hollow_where_there_is_none():
    results = every_pair(["a", "b", "c", "d"])
    results[4] = make_distance("d", 31.0, reference="b", **UNKNOWN)
    figure = draw_matrix(results)
    assert (results[0].low, results[0].high) == (pytest.approx(-3.1), pytest.approx(1.1))
    assert marked(figure.axes[0]) == {(0, 1): True, (1, 0): True, (1, 3): False, (3, 1): False}
    assert {"95% interval includes 0", "no interval"} <= set(texts(figure))
    clear = draw_matrix([make_distance("b", 100.0, reference="a")])
    assert not marked(clear.axes[0])
    assert clear.axes[0].get_legend() is None


def test_numbers_in_cells_lose_decimals_and_then_go_as_cells_get_small():
    for n, shown in ((4, "31.0"), (10, "111"), (22, None)):
        said = {text.get_text() for text in draw_matrix(every_pair([f"set{i}" for i in range(n)])).axes[0].texts}
        assert (shown in said) if shown else not said


def test_numbers_stand_out_from_their_cells():
    axes = draw_matrix(every_pair(["photos", *VTAB[:6]])).axes[0]
    mesh = axes.collections[0]
    for text in axes.texts:
        column, row = (int(place) for place in text.get_position())
        cell, ink = (luminance(c) for c in (mesh.to_rgba(cell_values(axes))[row, column], text.get_color()))
        assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) > 3


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_a_pair_that_is_missing_is_empty_and_negative_or_equal_values_are_drawn():
    axes = draw_matrix(every_pair(["a", "b", "c"])[:2]).axes[0]
    assert np.isnan(cell_values(axes)[1, 2])
    for value in (-3.0, 0.0):
        figure = draw_matrix([make_distance("b", value, reference="a")])
        low, high = figure.axes[0].collections[0].get_clim()
        assert low == min(value, 0.0) < high
        assert to_png(figure, dpi=50)


def test_a_matrix_is_of_one_measure_with_one_distance_a_pair():
    results = every_pair(["a", "b", "c"])
    with pytest.raises(SettingsError, match=r"cannot share an axis: \['FD \(dinov2-s:56\)', 'FID'\]"):
        draw_matrix([*results, make_distance("d", 1.0, measure_name="FID")])
    with pytest.raises(SettingsError, match="b and a have two distances"):
        draw_matrix([*results, make_distance("a", 1.0, reference="b")])
    with pytest.raises(SettingsError, match="between different sets"):
        draw_matrix([make_distance("a", 1.0, reference="a")])
    with pytest.raises(SettingsError, match="no distance to draw"):
        draw_matrix([])


def agreement_results(columns, names="abcdefghij"):
    return [
        make_distance(name, value, measure_name=measure)
        for measure, values in columns.items()
        for name, value in zip(names, values, strict=False)
    ]


def test_agreement_draws_each_sets_ranks_and_names_it_at_both_ends():
    results = agreement_results({"FID": [4.0, 1.0, 3.0, 2.0], "FD (x)": [10.0, 20.0, 30.0, 40.0]})
    axes = draw_agreement(results).axes[0]
    ranks = {line.get_label(): line.get_ydata().tolist() for line in axes.lines if not line.get_label().startswith("_")}
    assert ranks == {"a": [4, 1], "b": [1, 2], "c": [3, 3], "d": [2, 4]}
    left = {text.get_text(): text.get_position()[1] for text in axes.texts if text.get_ha() == "right"}
    right = {text.get_text(): text.get_position()[1] for text in axes.texts if text.get_ha() == "left"}
    assert [left[name] for name in "abcd"] == [4, 1, 3, 2]
    assert [right[name] for name in "abcd"] == [1, 2, 3, 4]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["FID", "FD\n(x)"]
    low, high = axes.get_ylim()
    assert low > 4 > 1 > high, "rank 1 is on top"
    thick = {line.get_label() for line in axes.lines if line.get_linewidth() > 1.5}
    assert thick == {"a", "d"}, "moves by two ranks or more"


def test_agreement_writes_rho_p_and_n_of_every_two_spaces():
    n = 9
    columns = {"FID": range(n), "FD (x)": [1, 0, *range(2, n)], "FD (y)": range(n, 0, -1)}
    figure = draw_agreement(agreement_results({name: [float(v) for v in values] for name, values in columns.items()}))
    said = texts(figure)
    assert said.count("ρ = 0.98, p < 0.001") == 1
    assert said.count("ρ = −1.00, p < 0.001") == 1
    assert said.count("ρ = −0.98, p < 0.001") == 1
    assert "n = 9 sets; two-sided p by Student's t" in figure.axes[0].get_xlabel()
    few = draw_agreement(agreement_results({"FID": [1.0, 2.0, 3.0], "FD (x)": [1.0, 2.0, 3.0]}))
    assert "ρ = 1.00, p = 0.33" in texts(few)
    assert "n = 3 sets; two-sided p by all permutations" in few.axes[0].get_xlabel()


def test_agreement_ranks_the_sets_that_are_in_all_spaces_of_one_reference():
    results = agreement_results({"FID": [4.0, 1.0, 3.0], "FD (x)": [10.0, 20.0]})
    others = [make_distance("z", 5.0, reference="a", measure_name=name) for name in ("FID", "FD (x)")]
    axes = draw_agreement([*results, *others]).axes[0]
    assert {line.get_label() for line in axes.lines if not line.get_label().startswith("_")} == {"a", "b"}
    assert "n = 2 sets that are in all spaces, of 3" in axes.get_xlabel()
    other = draw_agreement([*results, *others], reference="a").axes[0]
    assert "distance to a," in other.get_xlabel()
    assert {line.get_label() for line in other.lines if not line.get_label().startswith("_")} == {"z", "photos"}


def test_agreement_needs_two_spaces_and_two_sets():
    with pytest.raises(SettingsError, match=r"two sets or more in two spaces or more; in all of \['FID'\] there are 2"):
        draw_agreement(agreement_results({"FID": [1.0, 2.0]}))
    with pytest.raises(SettingsError, match="there are 1 of 2 sets"):
        draw_agreement(agreement_results({"FID": [1.0, 2.0], "FD (x)": [1.0]}))
    with pytest.raises(SettingsError, match="no distance to rank"):
        draw_agreement([])


def test_many_sets_and_spaces_widen_the_figure_rather_than_cover_each_other():
    assert draw_matrix(every_pair([f"{i} is a set with a long name" for i in range(30)])).get_size_inches()[0] > 5.6
    spaces = draw_agreement(in_spaces(TASKS, [f"FD ({i})" for i in range(8)]))
    assert spaces.get_size_inches()[0] > 5.6
    assert len({text.get_position()[1] for text in spaces.axes[0].texts if text.get_text().startswith("ρ")}) > 7


def test_overfitting_draws_every_curve_with_its_method_s_name_at_the_end():
    result = make_curves(seeds=(0, 1, 2))
    figure = draw_overfitting(result)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(TASKS)
    axes = figure.axes[0]
    named = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert {"VPT train", "VPT test", "FT train", "FT test"} <= set(named)
    assert same_color(named["FT test"].get_color(), FT.colour)
    assert named["FT test"].is_dashed()
    assert not named["FT train"].is_dashed()
    assert {text.get_text() for text in axes.texts} == {"VPT", "FT"}
    assert axes.get_yscale() == "log"


def test_overfitting_survives_a_loss_of_zero_one_epoch_and_an_unknown_method():
    curves = make_curves(("a",), methods=("ft", "vpt_deep", "mine"), epochs=1)
    zero = replace(curves, curves=curves.curves.assign(loss=0.0))
    for result in (curves, zero):
        figure = draw_overfitting(result)
        assert "mine" in texts(figure)
        assert to_png(figure, dpi=50)


def test_slices_share_a_scale_a_task_and_mark_the_model():
    figure = draw_slices([make_slice(task, method) for task in TASKS[:2] for method in ("ft", "vpt_deep")])
    panels = [axes for axes in figure.axes if axes.get_title() in ("VPT", "FT")]
    assert [axes.get_title() for axes in panels] == ["VPT", "FT"] * 2
    ranges = [axes.collections[0].get_clim() for axes in panels]
    assert ranges[0] == ranges[1]
    assert all(any(line.get_label() == "model" for line in axes.lines) for axes in panels)
    assert [axes.get_title(loc="left").strip() for axes in panels] == ["photo/category", "", "photo/count", ""]


def test_slices_of_one_method_are_told_apart_and_a_flat_one_is_drawn():
    flat = make_slice("a", "ft", label="ft a seed 1")
    flat = replace(flat, table=flat.table.assign(loss=0.5))
    figure = draw_slices([make_slice("a", "ft", label="ft a seed 0"), flat])
    assert {axes.get_title() for axes in figure.axes} >= {"ft a seed 0", "ft a seed 1"}
    assert to_png(draw_slices([flat]), dpi=50)
    with pytest.raises(SettingsError, match="no loss slice"):
        draw_slices([])


def test_attention_shows_the_first_images_in_drawn_order_on_one_scale():
    result = make_attention("photo/count", n=12, classes=[f"kind{i}" for i in range(8)])
    figure = draw_attention(result, max_images=5)
    panels = [axes for axes in figure.axes if axes.images]
    shown = [axes.images[0].get_array() for axes in panels if len(axes.images) == 1]
    assert all(np.array_equal(a, b) for a, b in zip(shown, result.pixels[:5], strict=True))
    over = [axes.images[1] for axes in panels if len(axes.images) == 2]
    assert len(over) == 10
    assert {image.get_clim() for image in over} == {(0.0, float(result.maps[:5].max()))}
    assert np.allclose(over[0].get_array(), result.maps[0, 0])
    assert np.allclose(over[1].get_array(), result.maps[0, 1])
    said = texts(figure)
    first = result.table.iloc[0]
    assert f"{first['patch_mass']:.2f}\n{first['prompt_mass']:.2f}\n{first['on_object']:.2f}" in said
    assert f"kind{first['label']}\nboth\nright" in said


def test_attention_without_masks_or_class_names_says_what_there_is():
    result = make_attention("dtd", n=2)
    said = texts(draw_attention(replace(result, table=result.table.assign(on_object=float("nan")))))
    assert "patch\nprompt" in said
    assert any(text.startswith("class ") for text in said)
    with pytest.raises(SettingsError, match="not 0"):
        draw_attention(result, max_images=0)


def test_prompt_share_is_the_mean_of_each_layer_over_images():
    result = make_attention("photo/count", n=7, layers=5)
    axes = draw_prompt_share(result).axes[0]
    assert np.allclose(axes.lines[0].get_ydata(), result.share.mean(axis=0))
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert len(axes.collections) == 2
    assert not draw_prompt_share(make_attention("a", n=1)).axes[0].collections


@pytest.mark.parametrize("tasks", [TASKS[:1], TASKS, VTAB, HOSTILE], ids=["1", "4", "19", "hostile"])
@pytest.mark.parametrize("name", DRAWN)
def test_texts_are_inside_large_enough_and_apart(name, tasks):
    figure = DRAWN[name](tasks)
    to_png(figure, dpi=100)
    width, height = figure.get_size_inches() * figure.dpi
    assert width <= 5.5 * figure.dpi + 1e-6
    boxes = []
    for text in drawn_texts(figure):
        box = Text.get_window_extent(text)  # without an annotation's arrow
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
        assert text.get_fontsize() >= SMALL
        if not text.get_text().endswith("\n"):  # an empty line that keeps a place
            boxes.append((text.get_text(), box))
    for i, (one, a) in enumerate(boxes):
        for other, b in boxes[i + 1 :]:
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            along = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert across <= 1 or along <= 2, (one, other)


def drawn_texts(figure):
    """Texts of a drawn figure, without the tick labels matplotlib keeps outside the view and never draws."""
    unseen = set()
    for axis in (axis for axes in figure.findobj(Axes) for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.majorTicks, *axis.minorTicks):
            if not low <= tick.get_loc() <= high:
                unseen |= {id(tick.label1), id(tick.label2)}
    found = (text for text in figure.findobj(Text) if id(text) not in unseen)
    return [text for text in found if text.get_text().strip() and text.get_visible()]


@pytest.mark.parametrize("name", DRAWN)
def test_figures_repeat_and_leave_settings_alone(name):
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        strange = DRAWN[name](TASKS)
        written = to_svg(strange), to_png(strange, dpi=60)
        assert dict(matplotlib.rcParams) == before
    plain = DRAWN[name](TASKS)
    assert isinstance(plain, Figure)
    assert (to_svg(plain), to_png(plain, dpi=60)) == written


@pytest.mark.parametrize(
    ("draw", "result"),
    [
        (draw_quadrants, make_quadrants()),
        (draw_gaps, make_quadrants()),
        (lambda result, **ax: draw_distances([result], **ax), make_distance("a", 3.0)),
        (draw_matrix, every_pair(["a", "b", "c"])),
        (draw_agreement, in_spaces(TASKS, ("FID", "FD (x)"))),
        (draw_overfitting, make_curves(TASKS[:2])),
        (draw_profile, make_profile()),
        (lambda result, **ax: draw_slices([result], **ax), make_slice("a", "ft")),
        (draw_attention, make_attention("a", n=3)),
        (draw_prompt_share, make_attention("a", n=3)),
    ],
)
def test_a_figure_can_be_drawn_in_a_given_place(draw, result):
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    assert draw(result, ax=right) is figure
    assert left.axison
    assert len(figure.axes) > 2
    part = Figure(layout="constrained")
    nested = part.subfigures(1, 2)[1]
    assert draw(result, ax=nested.subplots()) is part


@pytest.mark.parametrize(
    ("draw", "result", "table", "column"),
    [
        (draw_quadrants, make_quadrants(), "table", "data_is_far"),
        (draw_gaps, make_quadrants(), "table", "winner"),
        (draw_overfitting, make_curves(), "curves", "loss"),
        (lambda result: draw_slices([result]), make_slice("a", "ft"), "table", "b"),
        (draw_attention, make_attention("a"), "table", "prompt_mass"),
        (draw_profile, make_profile(), "table", "peak_bytes"),
    ],
)
def test_a_missing_column_is_named_with_those_that_are_there(draw, result, table, column):
    whole = getattr(result, table)
    kept = [name for name in whole if name != column]
    with pytest.raises(SettingsError, match=rf"lacks the columns \['{column}'\]; it has \['{kept[0]}'"):
        draw(replace(result, **{table: whole.drop(columns=column)}))
    with pytest.raises(SettingsError, match="no rows"):
        draw(replace(result, **{table: whole.iloc[:0]}))


def test_gaps_hold_those_designed():
    """The synthetic study is the one the other tests think it is."""
    assert make_quadrants().frame()["gap_points"].round(6).tolist() == [100 * gap for gap in GAPS]


def test_pyplot_is_never_imported():
    code = "import sys, vptft.report.pages.page; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
