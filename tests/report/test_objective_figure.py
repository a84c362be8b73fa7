"""What the figures of disparity show, read back from their artists."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.text import Text

from vptft.errors import SettingsError
from vptft.report.figures.objective import OBJECTIVES, draw_comparison, draw_disparity
from vptft.report.figures.style import INK, MUTED, save_figure
from vptft.when.objective.comparison import compare
from vptft.when.objective.disparity import KINDS, Disparity
from vptft.when.objective.measures import ABOUT, DIRECTIONS

TASKS = {
    "photo/category": "classification", "photo/count": "counting", "plain/category": "classification",
    "plain/location": "location", "digits": "classification", "a folder": "unknown",
}  # fmt: skip


def make_disparity(tasks=TASKS, backbones=("dinov2-s:98", "efficientnet-lite0"), draws=2, notes=("digits",)):
    rng = np.random.default_rng(0)
    rows = [
        {
            "task": task, "objective": objective, "backbone": backbone, "pretraining": "supervised", "draw": draw,
            "measure": measure, "value": rng.uniform(0, 1), "seconds": 0.1, "n": 100, "n_classes": 6, "n_groups": 50,
            "dimensions": 8, "note": "few" if task in notes else "",
        }
        for task, objective in tasks.items()
        for backbone in backbones
        for draw in range(draws)
        for measure in (*DIRECTIONS, "disparity")
    ]  # fmt: skip
    return Disparity(settings={"far": {}}, table=pd.DataFrame(rows, columns=list(KINDS)).astype(KINDS))


def make_comparison(result=None):
    frame = (result or make_disparity()).frame()
    pairs = pd.DataFrame({"measure": ["knn", "linear"], "backbone": "dinov2-s:98", "nearer": [0.75, 0.5]})
    chosen = [task for task in TASKS if task.startswith("p")]
    return compare(frame, near={"classification"}.__contains__, chosen_from=chosen, matched=pairs)


def dots(axes):
    """``{label: (x, y)}`` of the markers."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", None)]
    return {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in lines}


def test_each_task_has_a_dot_at_its_disparity_and_a_line_over_its_draws():
    result = make_disparity()
    scores = result.scores()
    figure = draw_disparity(result)
    assert len(figure.axes) == 2
    for axes, backbone in zip(figure.axes, ("dinov2-s:98", "efficientnet-lite0"), strict=True):
        rows = scores[scores["backbone"] == backbone].set_index("task")
        found = dots(axes)
        assert set(found) == set(TASKS)
        ends = [sorted(line.get_xdata()) for line in axes.lines if line.get_marker() in ("None", None)]
        for task, (x, _) in found.items():
            assert x == pytest.approx(rows.loc[task, "disparity"])
            assert [rows.loc[task, "low"], rows.loc[task, "high"]] in [pytest.approx(each) for each in ends]


def test_the_farthest_is_on_top_and_every_panel_has_the_same_order():
    result = make_disparity()
    order = list(result.scores().groupby("task")["disparity"].mean().sort_values().index)
    figure = draw_disparity(result)
    for axes in figure.axes:
        found = dots(axes)
        assert sorted(found, key=lambda task: found[task][1]) == order
        assert axes.get_ylim()[0] < axes.get_ylim()[1]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == order


def test_colours_and_markers_are_the_objectives_and_noted_dots_are_open():
    figure = draw_disparity(make_disparity())
    lines = {line.get_label(): line for line in figure.axes[0].lines if line.get_label() in TASKS}
    for task, objective in TASKS.items():
        colour, marker = OBJECTIVES.get(objective, (MUTED, "X"))
        assert same_color(lines[task].get_color(), colour)
        assert lines[task].get_marker() == marker
        assert same_color(lines[task].get_markerfacecolor(), "white" if task == "digits" else colour)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["classification", "counting", "location", "unknown", "see note"]


def test_no_legend_entry_without_its_dots():
    figure = draw_disparity(make_disparity({"photo/count": "counting"}, ("tiny:32",), notes=()))
    assert len(figure.axes) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["counting"]


def test_every_measure_has_a_row_in_the_order_of_the_choice():
    comparison = make_comparison()
    figure = draw_comparison(comparison)
    ranked = [ABOUT[name] for name in comparison.ranking()["measure"]]
    labels = figure.axes[0].get_yticklabels()
    shown = [label.get_text() for label in labels][::-1]
    assert len(shown) == len(ranked)
    for text, full in zip(shown, ranked, strict=True):
        assert text == full or (text.startswith(full[:5]) and "…" in text)
    assert [label.get_fontweight() for label in labels] == ["normal"] * (len(labels) - 1) + ["bold"]


def test_panels_show_the_numbers_of_the_table():
    comparison = make_comparison()
    table = comparison.frame()
    figure = draw_comparison(comparison)
    for axes, column in zip(figure.axes[:3], ("auc", "matched_auc", "partial"), strict=True):
        found = dots(axes)
        known = table.dropna(subset=[column])
        assert len(found) == len(known)
        for row in known.to_dict("records"):
            assert found[f"{row['measure']} {row['backbone']}"][0] == pytest.approx(row[column])
    rho = comparison.agreement.set_index("measure")["rho"]
    assert {name: x for name, (x, _) in dots(figure.axes[3]).items()} == pytest.approx(dict(rho.dropna()))


def test_a_measure_that_cannot_be_chosen_is_grey():
    result = make_disparity()
    table = result.table
    table.loc[(table["measure"] == "spread") & (table["task"] == "photo/count"), "value"] = np.nan
    figure = draw_comparison(make_comparison(result))
    colours = {label.get_text(): label.get_color() for label in figure.axes[0].get_yticklabels()}
    assert same_color(colours["spread of class means"], MUTED)
    assert same_color(colours["H-score"], MUTED)
    assert same_color(colours["H-score over its limit"], INK)


@pytest.mark.parametrize("draw", [lambda: draw_disparity(make_disparity()), lambda: draw_comparison(make_comparison())])
def test_no_letter_is_below_seven_points_and_bytes_repeat(draw, tmp_path):
    assert min(text.get_fontsize() for text in draw().findobj(Text) if text.get_text()) >= 7
    first, second = (save_figure(draw(), tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_five_backbones_are_too_many_to_compare_in_one_figure():
    result = make_disparity(backbones=tuple("abcde"), draws=1)
    with pytest.raises(SettingsError, match="compared on 4 backbones at once, not 5"):
        draw_comparison(make_comparison(result))


def test_a_result_without_rows_is_refused():
    with pytest.raises(SettingsError, match="has no rows"):
        draw_disparity(Disparity(settings={}, table=make_disparity().table.iloc[:0]))
