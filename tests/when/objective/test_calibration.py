from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vptft.when.objective.calibration import (
    FAR_END,
    FLOOR,
    MIDPOINT,
    NEAR_END,
    SCALE,
    disparity,
    fitted,
    off_scale,
    readouts,
)

TABLE = Path(__file__).parents[3] / "reports" / "objective" / "calibration.csv"


def test_the_two_numbers_are_those_of_the_committed_table():
    table = pd.read_csv(TABLE)
    found = fitted(table["class_readout"].to_numpy(), table["is_far"].to_numpy(dtype=bool))
    assert found == pytest.approx((MIDPOINT, SCALE), abs=0.005)
    assert len(table) == 20
    assert table["is_far"].sum() == 16


def test_the_table_has_means_over_draws_of_the_tasks_asked_for():
    rows = [
        {"task": task, "backbone": "b", "objective": objective, "draw": draw, "measure": measure, "value": value + draw}
        for task, objective, value in (("x", "classification", 0.1), ("y", "counting", 0.3), ("z", "counting", 9.0))
        for draw in (0, 1)
        for measure in ("class_readout", "linear")
    ]
    table = readouts(pd.DataFrame(rows), near={"classification"}.__contains__, tasks=["x", "y"])
    assert table.to_dict("records") == [
        {"backbone": "b", "task": "x", "is_far": False, "class_readout": pytest.approx(0.6), "draws": 2},
        {"backbone": "b", "task": "y", "is_far": True, "class_readout": pytest.approx(0.8), "draws": 2},
    ]


def test_the_ends_are_where_they_are_said_to_be():
    readouts, is_far = np.array([0.2, 0.6, 0.02, 0.04]), np.array([False, False, True, True])
    midpoint, scale = fitted(readouts, is_far)
    for chosen, end in ((~is_far, NEAR_END), (is_far, FAR_END)):
        mean = np.log(readouts[chosen]).mean()
        assert 1 / (1 + np.exp((mean - midpoint) / scale)) == pytest.approx(end)


def test_it_falls_with_the_readout_and_stays_within_0_and_1():
    values = [disparity(r) for r in (0.0, FLOOR, 0.02, 0.1, 0.3, 1.0)]
    assert values[0] == values[1]
    assert values[1:] == sorted(values[1:], reverse=True)
    assert all(0 < value < 1 for value in values)
    assert disparity(float(np.exp(MIDPOINT))) == pytest.approx(0.5)


def scores(*rows):
    return pd.DataFrame(rows, columns=["task", "backbone", "n"])


def test_what_lies_on_another_scale_is_said():
    assert off_scale(scores(("a", "dinov2-s:98", 1000), ("b", "efficientnet-lite0", 1000))) == []
    few, small = off_scale(scores(("a", "vit:56", 1000), ("b", "vit:56", 300), ("b", "mine:224", 300)))
    assert few.endswith("1,000 images; of fewer are: b (300)")
    assert small.endswith("98 px; of smaller images is vit:56")
