from itertools import combinations

import numpy as np
import pytest

from vptft.evidence.statistics.paired import mean_interval
from vptft.when.sensitivity.budget import ALL, budgets, expected_best
from vptft.when.sensitivity.specifications import specifications
from when.sensitivity.studies import trained

TRIALS = {"vpt": (0.2, 0.6, 0.4, 0.5), "ft": (0.5, 0.45, 0.5)}


def test_the_expected_best_is_the_mean_over_all_sets_of_trials():
    values = np.random.default_rng(0).random(7).tolist()
    for k in range(1, 8):
        every = [max(chosen) for chosen in combinations(values, k)]
        assert expected_best(values, k) == pytest.approx(np.mean(every))


def runs(tasks=("a",), trials=TRIALS):
    return [trained(s, 0.5, task=t, trials=trials[s]) for t in tasks for s in ("vpt", "ft")]


def test_budgets_go_as_far_as_both_sides_searched():
    table = budgets(specifications(runs()))
    assert table["trials"].tolist() == [1, 2, 3]
    first = table.iloc[0]
    assert (first["validation_vpt"], first["validation_ft"]) == pytest.approx((0.425, 1.45 / 3))
    assert first["gap_points"] == pytest.approx(100 * (0.425 - 1.45 / 3))
    assert table["low_points"].isna().all()


def test_tasks_are_the_sample_of_a_mean():
    table = budgets(specifications([*runs(("a", "b")), *runs(("c",), {"vpt": (0.9, 0.8), "ft": (0.1, 0.2)})]))
    means = table[table["task"] == ALL]
    assert means["trials"].tolist() == [1, 2]
    expected = mean_interval(table[(table["trials"] == 2) & (table["task"] != ALL)]["gap_points"].to_numpy())
    row = means.iloc[1]
    assert (row["gap_points"], row["low_points"]) == pytest.approx((expected.value, expected.low))
    assert row["n_tasks"] == 3


def test_without_a_search_there_is_no_budget():
    assert budgets(specifications(runs(trials={"vpt": (), "ft": (0.5,)}))).empty
