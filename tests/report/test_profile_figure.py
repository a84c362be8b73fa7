"""What the figure of costs shows, read back from its artists."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.text import Text

from report.builders import make_profile
from vptft.errors import SettingsError
from vptft.report.figures.cost_axes import PANELS, line_styles, marker_sizes
from vptft.report.figures.profile import draw_profile
from vptft.report.figures.style import FT, VPT
from vptft.tuning.tradeoff import on_front

COLUMNS = {
    "tuned parameters": ("parameters_tuned", 1), "stored a task": ("stored_bytes", 1),
    "forward pass, an image": ("forward_ms", 1e-3), "training step, a batch": ("step_ms", 1e-3),
    "activations of a step": ("activation_bytes", 1), "peak memory of a step": ("peak_bytes", 1),
}  # fmt: skip
ONCE = ("parameters_tuned", "stored_bytes")


def panels(figure):
    return {axes.get_xlabel(): axes for axes in figure.axes if axes.get_xlabel()}


def marks(axes):
    """``{label: (x, y)}`` of the markers."""
    return {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if is_marked(line)}


def is_marked(line):
    return line.get_marker() not in ("None", None)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_every_cost_has_a_panel():
    assert {panel.title for panel in PANELS} == set(COLUMNS)
    assert set(panels(draw_profile(make_profile()))) == set(COLUMNS)


def test_points_lie_at_their_cost_and_accuracy():
    result = make_profile(("ft", "vpt_deep", "linear"), batches=(1, 8), runs=3)
    frame = result.frame()
    for title, axes in panels(draw_profile(result)).items():
        column, scale = COLUMNS[title]
        found = marks(axes)
        assert len(found) == (3 if column in ONCE else 6)
        for label, (x, y) in found.items():
            name, _, batch = label.partition(" batch ")
            method = {"VPT": "vpt_deep", "FT": "ft", "Linear": "linear"}[name]
            rows = frame[(frame["method"] == method) & (frame["batch_size"] == int(batch))]
            assert x == pytest.approx(scale * rows[column].iloc[0])
            assert y == pytest.approx(rows["accuracy"].mean())


def test_a_front_joins_what_no_other_beats_at_each_batch_size():
    result = make_profile(("ft", "vpt_deep", "linear", "bias", "lora"), batches=(1, 8), runs=1)
    frame = result.frame()
    for title, axes in panels(draw_profile(result)).items():
        column, scale = COLUMNS[title]
        lines = [line for line in axes.lines if line.get_label() == "front"]
        for line, batch in zip(lines, (1, 8)[: 1 if column in ONCE else 2], strict=True):
            rows = frame[frame["batch_size"] == batch].sort_values(column)
            best = rows[on_front(rows[column].tolist(), rows["accuracy"].tolist())]
            np.testing.assert_allclose(line.get_xdata(), scale * best[column])
            np.testing.assert_allclose(line.get_ydata(), best["accuracy"])
            assert line.get_zorder() < min(other.get_zorder() for other in axes.lines if is_marked(other))


def test_ranges_are_of_times_over_repetitions_and_of_accuracies_over_runs():
    result = make_profile(("ft",), batches=(8,), runs=3)
    row, accuracies = result.frame().iloc[0], result.frame()["accuracy"]
    drawn = panels(draw_profile(result))
    for title, axes in drawn.items():
        column, scale = COLUMNS[title]
        thin = [line for line in axes.lines if line.get_linewidth() == 0.8 and not is_marked(line)]
        upright = [line for line in thin if np.ptp(line.get_ydata()) > 0]
        assert [list(line.get_ydata()) for line in upright] == [[accuracies.min(), accuracies.max()]]
        lying = [list(line.get_xdata()) for line in thin if np.ptp(line.get_xdata()) > 0]
        ends = [scale * row[f"{column}_{end}"] for end in ("min", "max")] if column.endswith("_ms") else None
        assert lying == ([] if ends is None else [pytest.approx(ends)])
        assert axes.get_xlim()[1] > max(x for line in lying or [[0]] for x in line)


def test_names_stand_at_the_right_in_the_colour_of_their_points():
    figure = draw_profile(make_profile(("ft", "vpt_deep")))
    colours = {t.get_text(): t.get_color() for axes in figure.axes for t in axes.texts}
    assert same_color(colours["FT"], FT.colour)
    assert same_color(colours["VPT"], VPT.colour)
    named = [axes.get_xlabel() for axes in figure.axes if "FT" in [text.get_text() for text in axes.texts]]
    assert named == ["forward pass, an image", "peak memory of a step"]


def test_without_accuracies_each_name_has_a_row():
    result = make_profile(("ft", "vpt_deep", "linear"), batches=(1, 8), runs=0)
    frame = result.frame().drop_duplicates("method").sort_values("parameters_tuned")
    labels = [{"vpt_deep": "VPT", "ft": "FT", "linear": "Linear"}[method] for method in frame["method"]]
    for title, axes in panels(draw_profile(result)).items():
        at_the_left = title in ("tuned parameters", "training step, a batch")
        assert [label.get_text() for label in axes.get_yticklabels()] == (labels if at_the_left else [])
        assert {(label.partition(" batch ")[0], y) for label, (_, y) in marks(axes).items()} == {
            (label, i) for i, label in enumerate(labels)
        }
        assert not [line for line in axes.lines if line.get_label() == "front"]
        low, high = axes.get_ylim()
        assert low > len(labels) - 1 > 0 > high, f"{title}: the first name is on top"


def test_costs_that_differ_much_are_on_a_log_axis_with_all_points_inside():
    result = make_profile(("ft", "linear"), batches=(8,))
    near = result.table.assign(parameters_tuned=[1e4, 1e4, 1.5e4, 1.5e4], stored_bytes=4e4, peak_bytes=[1, 1, 30, 30])
    drawn = panels(draw_profile(replace(result, table=near)))
    scales = {title: axes.get_xscale() for title, axes in drawn.items()}
    assert (scales["tuned parameters"], scales["peak memory of a step"]) == ("log", "log")
    assert scales["stored a task"] == "linear"
    assert drawn["stored a task"].get_xlim()[0] == 0
    for axes in drawn.values():
        low, high = axes.get_xlim()
        assert all(low < x < high for x, _ in marks(axes).values())
    assert drawn["tuned parameters"].get_xlim() == pytest.approx((1e3, 1e5)), "decades, where there would be one tick"


def test_prompts_and_backbones_are_named_where_there_are_several():
    several = draw_profile(make_profile(("vpt_deep",), lengths=(5, 50)))
    assert {"VPT, 5 prompts", "VPT, 50 prompts"} <= set(texts(several))
    one = make_profile(("vpt_deep",))
    assert "VPT" in texts(draw_profile(one))
    two = replace(one, table=one.table.assign(backbone=["tiny", "tiny", "dinov2-s", "dinov2-s"]))
    assert {"VPT, tiny", "VPT, dinov2-s"} <= set(texts(draw_profile(two)))


def test_the_foot_says_where_it_was_measured_and_what_is_not_drawn():
    result = make_profile(("ft", "bias", "lora"), batches=(8,))
    table = result.table
    table.loc[table["method"] == "bias", "accuracy"] = np.nan
    table.loc[table["method"] == "lora", ["not_applicable", "accuracy"]] = ["needs blocks", np.nan]
    said = "\n".join(texts(draw_profile(result)))
    assert "tiny, 32 px, 10 prompts a layer; cpu, 1 thread, process CPU time, median and range of 3 repet" in said
    assert "accuracy: mean and range of 2 runs a point" in said
    assert "LoRA: not applicable: needs blocks" in said
    assert "not drawn, no accuracy known: BitFit" in said


def test_a_profile_of_nothing_is_refused_with_the_reason():
    result = make_profile(("ft",), not_applicable="it is no vision transformer")
    with pytest.raises(SettingsError, match="could be measured: it is no vision transformer"):
        draw_profile(result)


def test_larger_batches_have_larger_markers_and_lines_of_their_own():
    sizes = marker_sizes([8, 1, 4, 8])
    assert list(sizes) == [1, 4, 8]
    assert sizes[1] < sizes[4] < sizes[8]
    assert len({str(style) for style in line_styles([1, 2, 4, 8]).values()}) == 4
