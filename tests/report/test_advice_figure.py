"""What the figures of advice show, read back from their artists."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import same_color

from advise.evidence import block, made, new
from vptft.advise import record
from vptft.advise.measure import measure
from vptft.errors import SettingsError
from vptft.report.figures.advice import draw_advice, draw_record
from vptft.report.figures.style import FT, VPT, save_figure


@pytest.fixture(scope="module")
def evidence():
    return block(made(np.random.default_rng(0), tasks=8))


@pytest.fixture(scope="module")
def advice(evidence):
    return measure(new(task="mine, <b>$x$"), [evidence])


def test_every_task_has_its_measured_gap_and_the_new_one_its_intervals_on_top(advice):
    axes = draw_advice(advice).axes[0]
    frame = advice.frame()
    dots = {line.get_label(): line for line in axes.lines if line.get_label().startswith("task ")}
    for row in frame[frame["role"] == "evidence"].to_dict("records"):
        line = dots[row["task"]]
        assert line.get_xdata()[0] == pytest.approx(row["gap_points"])
        assert same_color(line.get_color(), (VPT if row["gap_points"] > 0 else FT).colour)
    (new_row,) = frame[frame["role"] == "new"].to_dict("records")
    (dot,) = (line for line in axes.lines if line.get_label() == "predicted")
    assert dot.get_xdata()[0] == pytest.approx(new_row["predicted_points"])
    assert dot.get_ydata()[0] > max(line.get_ydata()[0] for line in dots.values())
    ends = [tuple(line.get_xdata()) for line in axes.lines if line.get_ydata()[0] == dot.get_ydata()[0]]
    assert (new_row["low80_points"], new_row["high80_points"]) in ends
    assert (new_row["low95_points"], new_row["high95_points"]) in ends


def test_tasks_are_in_the_order_of_their_gaps_and_names_are_shown_as_they_are(advice):
    axes = draw_advice(advice).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    frame = advice.frame()
    old = frame[frame["role"] == "evidence"].sort_values("gap_points")
    assert labels == [*old["task"], "mine, <b>$x$"]


def test_borrowed_evidence_is_called_so(evidence):
    found = measure(new(), [replace(evidence, mismatch="supervised pretraining, not random")])
    title = draw_advice(found).axes[0].get_title(loc="left")
    assert title == "too close to call; borrowed evidence decides nothing\nevidence: made"


def test_the_record_shows_shares_inside_and_differences_in_regret(evidence):
    second = replace(evidence, name="second", tasks=evidence.tasks[:6])
    result = record.measure([evidence, second])
    held, against = draw_record(result).axes
    drawn = {round(float(line.get_ydata()[0]), 9) for line in held.lines if len(line.get_xdata()) == 1}
    assert drawn == {round(value, 9) for value in result.calibration["held"]}
    dots = sorted(float(line.get_xdata()[0]) for line in against.lines if len(line.get_xdata()) == 1)
    assert dots == pytest.approx(sorted(result.regrets["difference_points"]))
    curve = next(line for line in held.lines if line.get_label() == "second")
    assert curve.get_ydata()[-1] == 1.0
    assert (np.diff(curve.get_ydata()) >= 0).all()


def test_the_record_has_two_panels_and_takes_no_place(evidence):
    result = record.measure([evidence])
    figure = draw_record(result)
    with pytest.raises(SettingsError, match="draw it on a figure of its own"):
        draw_record(result, ax=figure.axes[0])


def test_figures_repeat_byte_for_byte(advice, tmp_path):
    for name in ("one", "two"):
        save_figure(draw_advice(advice), tmp_path / name, formats=("svg",))
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
