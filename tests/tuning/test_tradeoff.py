import numpy as np
import pytest

from report.builders import make_profile
from vptft.errors import SettingsError
from vptft.tuning.tradeoff import on_front, points


def test_the_front_is_what_comparing_every_two_points_gives():
    rng = np.random.default_rng(0)
    for _ in range(50):
        cost, accuracy = rng.integers(0, 6, 9).tolist(), rng.integers(0, 6, 9).tolist()  # with ties
        pairs = list(zip(cost, accuracy, strict=True))
        beaten = [any(c <= x and a >= y and (c, a) != (x, y) for c, a in pairs) for x, y in pairs]
        assert on_front(cost, accuracy).tolist() == [not each for each in beaten]


def test_training_sizes_that_not_every_kind_has_do_not_count():
    table = rows(ft=[("a", 0.9), ("a", 0.9)], vpt_deep=[("a", 0.5), ("a", 0.95)])
    table["n_train"] = [3000, 3000, 100, 3000]
    found = points(table).set_index("method")
    assert found["accuracy"].to_dict() == pytest.approx({"ft": 0.9, "vpt_deep": 0.95})
    assert found["n_runs"].tolist() == [2, 1]
    table["n_train"] = [3000, 3000, 100, 100]
    with pytest.raises(SettingsError, match="no task and training size in common"):
        points(table)


def test_the_cheapest_and_the_most_accurate_are_on_the_front():
    assert on_front([1.0, 2.0, 3.0, 4.0], [0.1, 0.5, 0.4, 0.9]).tolist() == [True, True, False, True]
    assert on_front([1.0, 1.0], [0.5, 0.5]).tolist() == [True, True]


def rows(**accuracies):
    """One batch; each method with ``(task, accuracy)`` pairs."""
    made = make_profile(tuple(accuracies), batches=(8,), runs=1).frame()
    frames = [
        made[made["method"] == method].assign(task=task, accuracy=value, peak_bytes=value)
        for method, pairs in accuracies.items()
        for task, value in pairs
    ]
    table = frames[0].iloc[:0]
    return type(table)(data=[row for frame in frames for row in frame.to_dict("records")], columns=list(table))


def test_runs_are_averaged_within_tasks_and_tasks_alike():
    table = rows(ft=[("a", 0.2), ("a", 0.4), ("b", 0.9)], vpt_deep=[("a", 0.5), ("b", 0.7), ("c", 0.1)])
    found = points(table).set_index("method")
    assert found.loc["ft", "accuracy"] == pytest.approx((0.3 + 0.9) / 2)
    assert found.loc["ft", "peak_bytes"] == pytest.approx((0.3 + 0.9) / 2)
    assert found.loc["vpt_deep", "accuracy"] == pytest.approx(0.6), "task c has no FT run"
    assert found["n_tasks"].tolist() == [2, 2]
    assert found["n_runs"].tolist() == [3, 2]
    assert found["low"].isna().all()


def test_one_task_has_a_range_over_its_runs():
    found = points(rows(ft=[("a", 0.2), ("a", 0.4)], vpt_deep=[("a", 0.5)])).set_index("method")
    assert found[["low", "high"]].to_numpy().tolist() == [[0.2, 0.4], [0.5, 0.5]]


def test_kinds_without_an_accuracy_are_left_out_only_where_another_has_one():
    table = rows(ft=[("a", 0.2)], vpt_deep=[("", np.nan)])
    assert points(table)["method"].tolist() == ["ft"]
    assert points(table.assign(accuracy=np.nan))["method"].tolist() == ["ft", "vpt_deep"]
    assert points(table.assign(not_applicable="no")).empty


def test_runs_without_a_common_task_do_not_compare():
    with pytest.raises(SettingsError, match="no task and training size in common"):
        points(rows(ft=[("a", 0.2)], vpt_deep=[("b", 0.5)]))
