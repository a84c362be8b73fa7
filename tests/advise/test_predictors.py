from dataclasses import replace

import numpy as np
import pytest

from advise.evidence import made
from vptft.advise.predictors import PREDICTORS, choose
from vptft.errors import SettingsError

KNOWN = {"disparity": 0.3, "objective_is_far": 0.0, "distance": 9.0, "log2_n": 8.0, "linear": 0.4}


def with_values(tasks, name, values):
    return [
        task if value is None else replace(task, values={**task.values, name: value})
        for task, value in zip(tasks, values, strict=True)
    ]


def test_one_predictor_is_taken_for_every_five_tasks_in_the_order_of_the_table():
    tasks = with_values(made(np.random.default_rng(0), tasks=11), "distance", range(11))
    tasks = with_values(tasks, "linear", np.linspace(0, 1, 11))
    found = choose(KNOWN, tasks)
    assert found.names == ("disparity", "distance")
    assert found.unused["linear"] == "11 tasks bear 2 predictors that differ between tasks"
    assert choose(KNOWN, tasks[:9]).names == ("disparity",)
    assert set(found.names) | set(found.unused) == {each.name for each in PREDICTORS}


def test_what_is_the_same_in_all_tasks_or_not_known_is_not_used_and_the_reason_is_given():
    found = choose(KNOWN, made(np.random.default_rng(0)))
    assert found.unused["log2_n"] == "the same in all tasks of the evidence (300)"
    assert found.unused["distance"] == "known of 0 of 12 tasks of the evidence"
    assert found.unused["look_ahead"] == "not known of the new task"
    assert found.unused["objective_is_far"] == "disparity says the same in finer steps"


def test_the_size_takes_no_place_where_tasks_were_trained_at_several():
    tasks = made(np.random.default_rng(0), tasks=6, sizes=(100.0, 1000.0))
    assert choose(KNOWN, tasks).names == ("disparity", "log2_n")


def test_tasks_without_a_used_predictor_are_left_out_and_nothing_is_filled_in():
    tasks = made(np.random.default_rng(0), tasks=12)
    distances = [None, *range(11)]
    found = choose(KNOWN, with_values(tasks, "distance", distances))
    assert found.names == ("disparity", "distance")
    assert found.left_out == {"task 0": "distance to the pretraining reference, root of the debiased FD is not known"}
    assert [task.task for task in found.tasks] == [f"task {i}" for i in range(1, 12)]


def test_a_predictor_that_fewer_than_half_have_costs_no_task():
    found = choose(KNOWN, with_values(made(np.random.default_rng(0)), "distance", [None] * 7 + list(range(5))))
    assert "distance" not in found.names
    assert not found.left_out


def test_gaps_without_a_size_or_variance_for_each_are_refused():
    task = made(np.random.default_rng(0), tasks=1)[0]
    with pytest.raises(SettingsError, match="as many gaps, sizes and noises"):
        replace(task, sizes=(1.0, 2.0))
    with pytest.raises(SettingsError, match="must be numbers"):
        replace(task, gaps=(float("nan"),))


def test_the_nearest_size_is_nearest_on_a_log_scale():
    task = made(np.random.default_rng(0), tasks=1, sizes=(100.0, 1000.0, 10000.0))[0]
    assert [task.nearest(size) for size in (1, 300, 400, 5000, float("nan"))] == [0, 0, 1, 2, 0]


def test_a_predictor_that_kin_share_bears_no_slope_over_few_kin():
    tasks = [
        replace(task, kin={"scenes": str(i % 2)}, values={**task.values, "distance": float(i % 2)})
        for i, task in enumerate(made(np.random.default_rng(0), tasks=10))
    ]
    known = {**tasks[0].values}
    assert choose(known, tasks).unused["distance"] == "the same for all tasks of the same scenes, of which there are 2"
    apart = [replace(task, kin={}) for task in tasks]
    assert "distance" in choose(known, apart).names
    differing = [replace(task, values={**task.values, "distance": i / 10}) for i, task in enumerate(tasks)]
    assert "distance" in choose(known, differing).names
