"""Whether a rule foretells who wins on a task it has not seen, better than always naming the usual winner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vptft.errors import SettingsError
from vptft.evidence.statistics.items import mcnemar
from vptft.evidence.statistics.paired import Test, share_interval
from vptft.evidence.statistics.resampling import Interval


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What leaving one task out at a time gave.

    Attributes
    ----------
    predicted, base
        For each task the sign that the rule and the base rate named, ``(n,)``; 0 where the task had no winner.
    accuracy, base_accuracy
        Shares of tasks with a winner that each named rightly, with exact intervals.
    test
        McNemar's between the two on the same tasks.
    n, ties
        Tasks with a winner, and without.
    """

    predicted: np.ndarray
    base: np.ndarray
    accuracy: Interval
    base_accuracy: Interval
    test: Test
    n: int
    ties: int


Rule = Callable[[np.ndarray, int], int]
"""From the indices of the tasks it may learn from and that of the task left out, to the sign of the gap."""


def leave_one_out(winners: Sequence[int] | np.ndarray, rule: Rule) -> Prediction:
    """Name each task's winner from the other tasks.

    Parameters
    ----------
    winners
        Sign of each task's gap ``(n,)``: 1 VPT, -1 FT, 0 a tie, which is neither learnt from nor named.
    rule
        See :data:`Rule`.

    Notes
    -----
    The base rate names the more frequent winner of the other tasks, VPT where both are equally frequent. The exact
    interval of the accuracy takes tasks as independent; each is named from nearly the same others, so it is a guide.
    """
    signs = np.sign(np.asarray(winners)).astype(int)
    told = np.flatnonzero(signs)
    if len(told) < 2:
        raise SettingsError(f"Of {len(signs)} tasks {len(told)} have a winner: leaving one out needs two.")
    predicted, base = np.zeros_like(signs), np.zeros_like(signs)
    for task in told:
        others = told[told != task]
        predicted[task] = rule(others, int(task))
        base[task] = 1 if signs[others].sum() >= 0 else -1
    ours, theirs = predicted[told] == signs[told], base[told] == signs[told]
    return Prediction(
        predicted=predicted, base=base, accuracy=share_interval(int(ours.sum()), len(told)),
        base_accuracy=share_interval(int(theirs.sum()), len(told)),
        test=mcnemar(int((ours & ~theirs).sum()), int((theirs & ~ours).sum())), n=len(told),
        ties=len(signs) - len(told),
    )  # fmt: skip
