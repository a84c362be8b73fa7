"""What the figures of features and of preservation show, read back from their artists."""

import numpy as np
import pytest
from matplotlib.text import Text

from vptft.errors import SettingsError
from vptft.report.figures.features import draw_drift, draw_forgetting, draw_layers, draw_written
from vptft.report.figures.preservation import draw_preservation
from vptft.report.figures.style import SMALL, to_png, to_svg
from vptft.why.features.explanation import measure
from why.features.studies import ladder, preserved

RUNS = ladder(lambda x: 20 * x, tasks=3, seeds=2, forgotten=0.2)


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def not_drawn(figure):
    """Tick labels that matplotlib keeps beyond the limits of their axis."""
    found = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
    return found


def test_a_line_is_the_mean_over_tasks_of_the_mean_over_seeds():
    for axes, kind in zip(draw_layers(RUNS).axes, ("cls", "patches"), strict=True):
        for method in ("ft", "vpt_deep", "linear"):
            tables = [run.table[run.table["kind"] == kind] for run in RUNS if run.method == method]
            runs = [table.query("role == 'reference' and measure == 'cka'") for table in tables]
            expected = np.mean([run["value"] for run in runs], axis=0)
            np.testing.assert_allclose(lines(axes)[method].get_ydata(), expected)


def test_lines_are_named_at_their_ends_in_their_colours():
    few = [run for run in RUNS if run.method in ("vpt_deep", "ft", "bias", "lora", "linear")]
    axes = draw_layers(few).axes[0]
    named = {text.get_text(): text.get_color() for text in axes.texts}
    assert named.keys() == {"VPT", "FT", "BitFit", "LoRA", "Linear"}
    assert named["VPT"] == lines(axes)["vpt_deep"].get_color()


def test_names_of_many_methods_are_in_a_legend_that_takes_no_room_from_the_panels():
    figure = draw_layers(RUNS)
    assert not any(axes.texts for axes in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "VPT", "FT", "Adapter", "BitFit", "Linear", "LoRA", "Partial-k",
    ]  # fmt: skip
    few = draw_layers([run for run in RUNS if run.method in ("vpt_deep", "ft")])
    assert figure.get_figheight() > few.get_figheight()


def test_drift_has_only_what_moved():
    norms, share = draw_drift(RUNS).axes
    assert [label for label in lines(norms) if label in ("ft", "vpt_deep")] == ["ft"]
    np.testing.assert_allclose(lines(norms)["ft"].get_ydata(), [0.01, 0.02, 0.03, 0.04, 0.05])
    np.testing.assert_allclose(lines(share)["ft"].get_ydata(), 20 / 24)
    assert [text.get_text() for text in norms.get_xticklabels()] == ["embedding", "0", "1", "2", "norm"]


def test_written_shows_size_share_and_chance():
    size, share = draw_written(RUNS).axes
    np.testing.assert_allclose(lines(size)["cls"].get_ydata(), [0.2, 0.3, 0.4])
    np.testing.assert_allclose(lines(share)["patches"].get_ydata(), 0.3)
    np.testing.assert_allclose(lines(share)["patches by chance"].get_ydata(), 0.1)


def test_forgetting_is_a_mark_a_method_and_a_ring_a_task():
    panels = draw_forgetting(RUNS).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["digits (test)", "faces (test)"]
    for axes in panels:
        np.testing.assert_allclose(lines(axes)["VPT"].get_xdata(), [-20])
        rings = [line for line in axes.lines if line.get_label() == "task"]
        assert [len(ring.get_xdata()) for ring in rings] == [3] * 7


def test_marks_are_cells_less_their_settings_mean():
    result = measure(RUNS)
    left, right = draw_preservation(result).axes
    cells = result.frame().groupby(["setting", "method"])[["cka", "accuracy_points"]].mean().reset_index()
    cells["y"] = cells["accuracy_points"] - cells.groupby("setting")["accuracy_points"].transform("mean")
    for method, part in cells.groupby("method"):
        shown = [line for line in left.lines if line.get_label() == method]
        found = sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in shown)
        np.testing.assert_allclose(found, sorted(zip(part["cka"], part["y"], strict=True)))
    term = result.terms.query("predictor == 'cka' and methods == 'all' and term == 'linear'").iloc[0]
    (slope,) = lines(right)["cka, all"].get_xdata()
    assert slope == term["slope"]
    judged = result.terms.query("predictor == 'cka' and methods == 'features moved' and term == 'linear'").iloc[0]
    x, y = lines(left)["line"].get_data()
    assert (y[-1] - y[0]) / (x[-1] - x[0]) == pytest.approx(10 * judged["slope"])
    assert x[-1] < 1  # frozen features are not among what is judged


@pytest.mark.parametrize("width", [5.5, 3.25])
def test_every_letter_is_inside_and_large_enough(width):
    figures = [draw(RUNS, width=width) for draw in (draw_layers, draw_drift, draw_written, draw_forgetting)]
    for figure in (*figures, draw_preservation(measure(RUNS), width=width)):
        to_png(figure, dpi=100)
        whole = figure.bbox.padded(1)
        beyond = not_drawn(figure)
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text() and text not in beyond:
                assert text.get_fontsize() >= SMALL
                box = text.get_window_extent()
                assert whole.containsx(box.x0), text.get_text()
                assert whole.containsx(box.x1), text.get_text()


def test_what_is_not_there_is_said():
    linear = [preserved("linear", 1.0, 40)]
    with pytest.raises(SettingsError, match="no drift to draw"):
        draw_drift(linear)
    with pytest.raises(SettingsError, match="nothing that they write"):
        draw_written(linear)
    with pytest.raises(SettingsError, match="There is no nc1"):
        draw_layers(linear, measure="nc1")


def test_equal_results_give_equal_bytes():
    assert to_svg(draw_layers(RUNS)) == to_svg(draw_layers(RUNS))
    assert to_svg(draw_preservation(measure(RUNS))) == to_svg(draw_preservation(measure(RUNS)))
