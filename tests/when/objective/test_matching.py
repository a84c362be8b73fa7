import numpy as np
import pytest

from vptft.features.probes import linear_above_chance
from vptft.when.objective.matching import at_accuracy, matched, with_noise
from when.objective.builders import line, make_task, simplex

NEAR = {"classification"}.__contains__


def accuracy(task):
    return linear_above_chance(task.values, task.labels, task.held_out)


def test_noise_exchanges_labels_and_nothing_else():
    task = make_task(simplex(4))
    noisy = with_noise(task, 0.4, seed=1)
    np.testing.assert_array_equal(np.bincount(noisy.labels), np.bincount(task.labels))
    changed = np.mean(noisy.labels != task.labels)
    assert 0.2 < changed < 0.4
    assert noisy.values is task.values
    np.testing.assert_array_equal(with_noise(task, 0.0, seed=1).labels, task.labels)


@pytest.mark.parametrize("target", [0.3, 0.6])
def test_a_task_is_brought_down_to_the_accuracy_asked_for(target):
    assert accuracy(at_accuracy(make_task(simplex(4), n=600), target, seed=0)) == pytest.approx(target, abs=0.08)


def test_at_equal_accuracy_order_still_tells_and_accuracy_does_not():
    tasks = [
        make_task(simplex(6), task="near", n=480),
        make_task(line(6), task="far", objective="counting", n=480, spread=0.5),
        make_task(line(6), task="other backbone", objective="counting", backbone="b"),
    ]
    told = []
    table = matched(tasks, NEAR, on_done=lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]
    assert set(table["near_task"]) == {"near"}
    assert set(table["far_task"]) == {"far"}
    one = table.set_index("measure")
    assert one["linear_near"].iloc[0] == pytest.approx(one["linear_far"].iloc[0], abs=0.08)
    assert one.loc["class_readout", "nearer"] == 1
    assert one.loc["label_order", "nearer"] == 1
    assert np.isnan(one.loc["leep", "nearer"])
    assert "disparity" not in one.index
