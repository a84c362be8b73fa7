"""Who wins where in the printed tables: gaps of every pair of methods, and what each group of them amounts to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from vptft.evidence.statistics.paired import (
    mean_interval,
    relabelling,
    share_interval,
    sign_flip,
    sign_test,
    signed_rank,
    welch_interval,
)
from vptft.evidence.statistics.power import detectable, smallest_p, wins_needed
from vptft.evidence.statistics.resampling import Interval
from vptft.published.tables import BLOCK, GROUPS, Tables, gaps

PAIRS = (
    ("vpt", "ft"), ("vpt", "mixed"), ("vpt", "ft_then_pt"), ("mixed", "ft"), ("ft_then_pt", "ft"), ("lora", "ft")
)  # fmt: skip
"""Methods that the paper sets against each other."""
SIZES = 4
"""Sizes of the training set that a task needs for a slope."""
SUMMARY_COLUMNS = (
    "method", "against", *BLOCK, "group", "n", "won", "tied", "lost", "mean_points", "low_points", "high_points",
    "p_sign_flip", "median_points", "median_low_points", "median_high_points", "p_signed_rank", "p_sign",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one question gives: an effect and three tests of it.

    Attributes
    ----------
    effect
        Estimate and 95% interval.
    p, p_ranks, p_signs
        Two-sided: of the mean, of the ranks, of the signs. Where a question has no such test, that of its own.
    n
        Tasks.
    won, tied, lost
        Differences above, at and below 0.
    smallest_p
        That ``p`` could be at least, with so many differences that are not 0.
    detectable
        Mean effect that four of five such studies would find, given this spread between tasks; NaN for other effects.
    wins_needed
        Of the untied tasks, for a sign test below 5% before correction; NaN where none is enough, and for other
        effects.
    method
        What made the interval and ``p``.
    """

    effect: Interval
    p: float
    p_ranks: float
    p_signs: float
    n: int
    won: int
    tied: int
    lost: int
    smallest_p: float
    method: str
    detectable: float = float("nan")
    wins_needed: float = float("nan")


def all_gaps(tables: Tables) -> pd.DataFrame:
    """Give the gaps of every pair in :data:`PAIRS`; columns of :func:`vptft.published.tables.gaps`."""
    return pd.concat([gaps(tables.accuracies, method=m, against=a) for m, a in PAIRS], ignore_index=True)


def summaries(frame: pd.DataFrame) -> pd.DataFrame:
    """Give counts, means, intervals and tests of every comparison, for each group of tasks and for all of them.

    Cells that repeat another table are left out. The p-values stand for themselves: they are not corrected, and with
    n tasks none is below 2 / 2^n. The interval of the median is infinite where so few tasks cannot give 95%.
    """
    rows = []
    for key, block in frame[~frame["repeats"]].groupby(["method", "against", *BLOCK], sort=False):
        groups = [name for name in GROUPS if name in set(block["group"])]
        for name in groups if len(groups) == 1 else [*groups, "all"]:
            part = block if name == "all" else block[block["group"] == name]
            rows.append((*key, name, *_summary(part["gap_points"].to_numpy())))
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def mean_gap(frame: pd.DataFrame) -> Measured:
    """Mean over tasks of a gap, with Student's t interval and the sign-flip permutation test."""
    return of_differences(frame["gap_points"].to_numpy(), "mean, t interval, sign-flip permutation")


def paired_change(frame: pd.DataFrame, reference: pd.DataFrame) -> Measured:
    """Mean over tasks of a gap minus the gap of the same task elsewhere: an interaction, paired by task.

    Two conditions on one task share its test set and its difficulty, so the pairing takes both out.
    """
    both = frame.merge(reference, on="task", suffixes=("", "_reference"), validate="one_to_one")
    change = both["gap_points"] - both["gap_points_reference"]
    return of_differences(change.round(2).to_numpy(), "mean change, t interval, sign-flip permutation")


def contrast(first: pd.DataFrame, second: pd.DataFrame) -> Measured:
    """Mean gap of some tasks minus that of others, with Welch's interval and a permutation of the tasks' labels.

    Tasks are not drawn at random into groups: whatever else the groups differ in is in the contrast too.
    """
    one, other = first["gap_points"].to_numpy(), second["gap_points"].to_numpy()
    test = relabelling(one, other)
    return _of_one_test(
        welch_interval(one, other), test.p, np.concatenate([one, other]), 2 / math.comb(test.n, len(one)),
        method="Welch's interval, permutation of labels",
    )  # fmt: skip


def slopes(frame: pd.DataFrame) -> pd.DataFrame:
    """Least-squares slope of each task's gap on log2 of the training images, in points per doubling.

    Tasks printed at four sizes only. A slope over sizes as unequal as 400, 800, 5000 and 10000 rests on its ends.
    """
    rows = [
        (task, part["group"].iloc[0], float(np.polyfit(np.log2(part["images"]), part["gap_points"], 1)[0]))
        for task, part in frame.groupby("task", sort=False)
        if len(part) >= SIZES
    ]
    return pd.DataFrame(rows, columns=["task", "group", "slope"])


def mean_slope(frame: pd.DataFrame) -> Measured:
    """Mean over tasks of :func:`slopes`.

    Each task's slope counts as one number: the noise of a training draw is in the spread between tasks, and the paper
    prints nothing that would tell how much of it is.
    """
    return of_differences(slopes(frame)["slope"].to_numpy(), "slope of each task, mean, t interval, sign-flip")


def share_passed(frame: pd.DataFrame) -> Measured:
    """Share of the tasks in which the gap turns from not below 0 to below it, less one half, in percent.

    ``frame`` holds tasks at several sizes; asked are those at the smallest and the largest. Whoever is ahead in between
    makes no difference, and a task that was behind from the start has passed nothing. With Clopper and Pearson's
    interval; ``won`` counts the tasks that were passed, ``lost`` the others.
    """
    images = frame["images"]
    first = frame[images == images.min()].set_index("task")["gap_points"]
    last = frame[images == images.max()].set_index("task")["gap_points"]
    tasks = first.index.intersection(last.index)
    passed = int(((first[tasks] >= 0) & (last[tasks] < 0)).sum())
    others = len(tasks) - passed
    share, test = share_interval(passed, len(tasks)), sign_test(passed, others)
    shifted = Interval(value=_above_half(share.value), low=_above_half(share.low), high=_above_half(share.high))
    return Measured(
        effect=shifted, p=test.p, p_ranks=test.p, p_signs=test.p, n=len(tasks), won=passed, tied=0, lost=others,
        smallest_p=smallest_p(len(tasks)), wins_needed=_needed(len(tasks)),
        method="Clopper-Pearson interval, sign test",
    )  # fmt: skip


def rank_correlation(frame: pd.DataFrame, scores: pd.DataFrame, column: str) -> Measured:
    """Spearman's rho between a gap and another number of the same task; exact p over all permutations.

    The interval is Fisher's z of the ranks, as wide as a handful of tasks make it, and rough there.
    """
    both = frame.merge(scores, on="task", validate="one_to_one")
    x, y = (stats.rankdata(both[name]) for name in (column, "gap_points"))

    def rho(order: np.ndarray) -> float:
        return float(np.corrcoef(order, y)[0, 1])

    found = stats.pearsonr(x, y)
    bounds = found.confidence_interval()
    p = stats.permutation_test((x,), rho, permutation_type="pairings", n_resamples=np.inf).pvalue
    effect = Interval(value=float(found.statistic), low=float(bounds.low), high=float(bounds.high))
    return _of_one_test(
        effect, float(p), both["gap_points"].to_numpy(), 2 / math.factorial(len(both)),
        method="Spearman's rho, Fisher's z interval, all permutations",
    )  # fmt: skip


def of_differences(values: np.ndarray, method: str) -> Measured:
    """Mean of differences over tasks, with its three tests."""
    won, tied, lost = _counts(values)
    return Measured(
        effect=mean_interval(values), p=sign_flip(values).p, p_ranks=signed_rank(values).p,
        p_signs=sign_test(won, lost).p, n=len(values), won=won, tied=tied, lost=lost,
        smallest_p=smallest_p(won + lost), detectable=detectable(len(values), float(values.std(ddof=1))),
        wins_needed=_needed(won + lost), method=method,
    )  # fmt: skip


def _of_one_test(effect: Interval, p: float, values: np.ndarray, smallest: float, *, method: str) -> Measured:
    won, tied, lost = _counts(values)
    return Measured(
        effect=effect, p=p, p_ranks=p, p_signs=p, n=len(values), won=won, tied=tied, lost=lost, smallest_p=smallest,
        method=method,
    )  # fmt: skip


def _counts(values: np.ndarray) -> tuple[int, int, int]:
    return int(np.sum(values > 0)), int(np.sum(values == 0)), int(np.sum(values < 0))


def _needed(untied: int) -> float:
    enough = wins_needed(untied)
    return float("nan") if enough is None else enough


def _above_half(share: float) -> float:
    return 100 * (share - 0.5)


def _summary(values: np.ndarray) -> Sequence[float]:
    mean, ranks, (won, tied, lost) = mean_interval(values), signed_rank(values), _counts(values)
    return (
        len(values), won, tied, lost, mean.value, mean.low, mean.high, sign_flip(values).p, ranks.value, ranks.low,
        ranks.high, ranks.p, sign_test(won, lost).p,
    )  # fmt: skip
