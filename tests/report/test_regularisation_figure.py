"""The figure of regularised finetuning, read back from its artists."""

import numpy as np
import pytest

from vptft.report.figures.regularisation import PANELS, draw_regularisation
from vptft.why.overfitting.regularisation import measure
from why.overfitting.histories import arms

ARMS = ("keep best_val", "label_smoothing 0.1")


@pytest.mark.parametrize("tasks", [1, 4])
def test_each_panel_has_the_mean_with_its_interval_and_the_tasks_behind_it(tasks):
    result = measure(arms(np.random.default_rng(0), tasks=tasks, names=ARMS))
    figure = draw_regularisation(result)
    for axes, name in zip(figure.axes, PANELS, strict=True):
        diamonds = [line for line in axes.lines if line.get_marker() == "D"]
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in diamonds] == [
            (value, y) for y, value in enumerate(result.overall[name])
        ]
        bars = [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 1.1]
        assert bars == result.overall[[f"{name}_low", f"{name}_high"]].to_numpy().tolist()
        dots = [len(line.get_xdata()) for line in axes.lines if line.get_label() == "task"]
        assert dots == ([] if tasks == 1 else [tasks] * 2)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["early stopping", "label smoothing 0.1"]


def test_without_prompt_tuning_there_is_no_gap_to_draw_and_no_error():
    result = measure(arms(np.random.default_rng(0), tasks=1, vpt=False, names=ARMS))
    assert np.isnan(draw_regularisation(result).axes[2].lines[-1].get_xdata()).all()
