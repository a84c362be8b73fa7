"""What the specification curve and the variance shares show, read back from their artists."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from vptft.errors import SettingsError
from vptft.report.figures.sensitivity import draw_shares, draw_specifications, parts_of
from vptft.report.figures.style import SMALL, to_png, to_svg
from vptft.when.sensitivity.measure import ALL, measure
from when.sensitivity.studies import factorial

GAPS = {1: {"random": -20, "class_token": -18}, 10: {"random": 12, "class_token": 15}, 50: {"random": 1}}


def made(tasks=2, **settings):
    runs = [run for i in range(tasks) for run in factorial(GAPS, noise=1, task=f"task {i:02}", seed=i, **settings)]
    return measure(runs, reference={"prompt length": "10", "prompt initialisation": "random"})


def marks(axes):
    """``{x: y}`` of the gaps."""
    found = [line for line in axes.lines if line.get_label() in ("vpt", "ft", "uncertain")]
    return {float(x): float(y) for line in found for x, y in zip(*line.get_data(), strict=True)}


def test_gaps_are_sorted_by_their_mean_and_stand_in_one_order_for_all_tasks():
    result = made()
    frame = result.frame()
    order = frame.groupby("specification")["gap_points"].mean().sort_values().index
    *curves, _ = draw_specifications(result).axes
    for axes, (task, part) in zip(curves, frame.groupby("task"), strict=True):
        expected = part.set_index("specification")["gap_points"].loc[order]
        assert marks(axes) == pytest.approx(dict(enumerate(expected)))
        counts = part["winner"].value_counts()
        assert axes.get_title(loc="left") == (
            f"{task}: VPT {counts.get('vpt', 0)}, FT {counts.get('ft', 0)}, uncertain {counts.get('uncertain', 0)}"
        )


@pytest.mark.parametrize(("draws", "whole"), [(3, True), (2, False)])
def test_intervals_are_cut_only_where_there_are_two_draws(draws, whole):
    result = made(1)
    wide = result.table.assign(low_points=-90.0, high_points=80.0, n_draws=draws)
    axes = draw_specifications(replace(result, table=wide)).axes[0]
    low, high = axes.get_ylim()
    assert (low < -90 and high > 80) == whole


def test_the_dots_are_the_choices():
    result = made(1)
    *_, axes = draw_specifications(result).axes
    order = list(result.frame().sort_values("gap_points")["specification"])
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["prompt length: 1", "10", "50", "prompt initialisation: class_token", "random"]
    (dots,) = [line for line in axes.lines if line.get_label() == "chosen"]
    levels = ["1", "10", "50", "class_token", "random"]
    found = {(order[int(x)], levels[int(y)]) for x, y in zip(*dots.get_data(), strict=True)}
    assert found == set(zip(result.choices["specification"], result.choices["level"], strict=True))


def test_the_reference_has_a_line_in_every_panel():
    result = made()
    order = list(result.frame().groupby("specification")["gap_points"].mean().sort_values().index)
    at = order.index(result.frame().query("reference")["specification"].iloc[0])
    for axes in draw_specifications(result).axes:
        (line,) = [line for line in axes.lines if line.get_label() == "reference"]
        assert line.get_xdata()[0] == at


@pytest.mark.parametrize("width", [5.5, 3.25])
@pytest.mark.parametrize("tasks", [1, 4, 19])
def test_every_letter_is_inside_and_large_enough(tasks, width):
    result = made(tasks)
    curves = [draw_specifications(result, part=part, width=width) for part in range(parts_of(result))]
    titles = [axes.get_title(loc="left").split(":")[0] for figure in curves for axes in figure.axes[:-1]]
    assert titles == [f"task {i:02}" for i in range(tasks)]
    for figure in (*curves, draw_shares(result, width=width)):
        to_png(figure, dpi=100)
        assert figure.get_figheight() <= 9.0 + 1e-9
        whole = figure.bbox.padded(1)
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text():
                assert text.get_fontsize() >= SMALL
                box = text.get_window_extent()
                assert whole.containsx(box.x0), text.get_text()
                assert whole.containsx(box.x1), text.get_text()


def test_shares_are_bars_and_tasks_rings():
    result = made(3)
    (axes,) = draw_shares(result).axes
    total = result.shares[result.shares["task"] == ALL]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(total["share"].tolist())
    assert [text.get_text() for text in axes.get_yticklabels()] == total["choice"].tolist()
    rings = [line for line in axes.lines if line.get_label() == "task"]
    of_length = result.shares.query("choice == 'prompt length' and task != @ALL")["share"]
    assert rings[0].get_xdata().tolist() == pytest.approx(of_length.tolist())


def test_of_one_specification_and_one_draw_there_is_nothing_to_draw():
    with pytest.raises(SettingsError, match="one specification, and no curve of it: not applicable"):
        draw_specifications(measure(factorial({10: {"random": 10}})))
    with pytest.raises(SettingsError, match="no variance shares to draw: no variance shares: no task"):
        draw_shares(made(1, draws=1))


def test_equal_results_give_equal_bytes():
    assert to_svg(draw_specifications(made())) == to_svg(draw_specifications(made()))
    assert np.array_equal(to_png(draw_shares(made())), to_png(draw_shares(made())))
