import numpy as np
import pytest

from vptft.errors import SettingsError
from vptft.evidence.statistics.prediction import leave_one_out


def test_every_task_is_named_from_the_others_only():
    seen = {}

    def rule(others, task):
        seen[task] = others.tolist()
        return 1 if task % 2 else -1

    found = leave_one_out([-1, 1, 0, 1, -1], rule)
    assert seen == {0: [1, 3, 4], 1: [0, 3, 4], 3: [0, 1, 4], 4: [0, 1, 3]}
    assert (found.n, found.ties) == (4, 1)
    assert found.predicted.tolist() == [-1, 1, 0, 1, -1]
    assert found.accuracy.value == 1.0


def test_the_base_rate_is_the_usual_winner_of_the_others():
    """With 2 wins each, the others of a VPT task favour FT and the other way round: never right. That is its flaw."""
    found = leave_one_out([1, 1, -1, -1], lambda others, task: 1)
    assert found.base.tolist() == [-1, -1, 1, 1]
    assert (found.base_accuracy.value, found.accuracy.value) == (0.0, 0.5)
    assert (found.test.n, found.test.statistic) == (2, 2.0)


def test_a_rule_that_knows_nothing_is_no_better_than_the_base_rate():
    winners = np.array([1] * 8 + [-1] * 2)
    found = leave_one_out(winners, lambda others, task: 1)
    assert found.accuracy == found.base_accuracy
    assert found.test.p == 1.0


def test_two_winners_are_needed():
    with pytest.raises(SettingsError, match="Of 3 tasks 1 have a winner"):
        leave_one_out([1, 0, 0], lambda others, task: 1)
