"""What the figure of data size shows, read back from its artists."""

import numpy as np
import pytest
from matplotlib.text import Text

from vptft.errors import SettingsError
from vptft.report.figures.datasize import draw_datasize
from vptft.report.figures.style import SMALL, to_png, to_svg
from vptft.when.datasize.measure import DataSize, measure
from when.datasize.studies import published, study


def made(tasks=3, **settings):
    rng = np.random.default_rng(0)
    return measure([cell for i in range(tasks) for cell in study(rng, task=f"task {i:02}", draw_sd=0.5, **settings)])


def from_published(tasks=19):
    """Every fourth task has two sizes only, as some of the paper's do."""
    rng, sizes = np.random.default_rng(0), np.array([400, 800, 5000, 10000])
    counts = {f"task {i:02}": 2 if i % 4 == 3 else 4 for i in range(tasks)}
    made_up = [published(rng, sizes=sizes[:n], crossing=2000, slope=-2, sd=1, task=task) for task, n in counts.items()]
    return measure([cell for cells in made_up for cell in cells])


def lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def panels(figure):
    """``[(accuracies, gaps)]`` in the order of tasks."""
    return list(zip(figure.axes[::2], figure.axes[1::2], strict=True))


def test_accuracies_and_gaps_are_those_of_the_table():
    result = made()
    frame = result.frame()
    figure = draw_datasize(result)
    for (above, below), (task, part) in zip(panels(figure), frame.groupby("task"), strict=True):
        assert above.get_title() == task
        x, y = lines(above)["VPT"].get_data()
        np.testing.assert_allclose(x, part["n_train"])
        np.testing.assert_allclose(y, 100 * part["accuracy_vpt"])
        np.testing.assert_allclose(lines(above)["FT"].get_ydata(), 100 * part["accuracy_ft"])
        assert (lines(above)["VPT"].get_linestyle(), lines(above)["FT"].get_linestyle()) == ("-", "--")
        np.testing.assert_allclose(lines(below)["gap"].get_ydata(), part["gap_points"])
        np.testing.assert_allclose(lines(below)["line"].get_ydata(), part["line_points"])


def test_the_crossing_is_marked_within_the_measured_sizes():
    result = made()
    for (_, below), task in zip(panels(draw_datasize(result)), result.tasks.to_dict("records"), strict=True):
        assert lines(below)["n*"].get_xdata()[0] == task["crossing_n"]
        low, high = lines(below)["interval of n*"].get_xdata()
        assert low == max(task["crossing_low"], 400)
        assert high == min(task["crossing_high"], 10_000)


def test_what_is_open_has_no_mark():
    assert all("n*" not in lines(below) for _, below in panels(draw_datasize(made(2, slope=-0.01))))


def test_all_tasks_share_their_axes():
    figure = draw_datasize(made(5))
    for row in zip(*panels(figure), strict=True):
        assert len({axes.get_ylim() for axes in row}) == 1
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


@pytest.mark.parametrize("width", [5.5, 3.25])
@pytest.mark.parametrize("result", [made(1), from_published(12), from_published()], ids=["1", "12", "19"])
def test_it_fits_a_page_and_every_letter_is_inside_and_large_enough(result, width):
    figure = draw_datasize(result, width=width)
    to_png(figure, dpi=100)
    assert figure.get_figwidth() == width
    assert figure.get_figheight() <= 9.0 + 1e-9
    whole = figure.bbox.padded(1)
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text():
            assert text.get_fontsize() >= SMALL
            box = text.get_window_extent()
            assert whole.containsx(box.x0), text.get_text()
            assert whole.containsx(box.x1), text.get_text()
            assert whole.containsy(box.y0), text.get_text()
            assert whole.containsy(box.y1), text.get_text()


def test_no_two_labels_of_a_panel_touch():
    figure = draw_datasize(from_published(), width=3.25)
    to_png(figure, dpi=100)
    for above, below in panels(figure):
        boxes = [axes.yaxis.label.get_window_extent() for axes in (above, below) if axes.get_ylabel()]
        assert len(boxes) < 2 or not boxes[0].overlaps(boxes[1])


def test_pretrainings_are_named_where_there_are_two():
    rng = np.random.default_rng(0)
    both = [cell for name in ("masked", "supervised") for cell in study(rng, pretraining=name)]
    assert [above.get_title() for above, _ in panels(draw_datasize(measure(both)))] == ["t, masked", "t, supervised"]


def test_equal_results_give_equal_bytes():
    assert to_svg(draw_datasize(made())) == to_svg(draw_datasize(made()))


def test_a_table_without_a_column_is_refused():
    result = made(1)
    less = DataSize(
        settings={}, points=result.points.drop(columns="line_low"), tasks=result.tasks, groups=result.groups,
        curves=result.curves,
    )  # fmt: skip
    with pytest.raises(SettingsError, match=r"lacks the columns \['line_low'\]"):
        draw_datasize(less)
