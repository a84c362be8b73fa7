"""Tests and intervals of paired differences over independent units, tasks above all.

A difference is one number a task, VPT minus FT. Nothing here knows seeds or images: they are averaged before.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import Interval, no_interval

EXACT = 20
"""Differences up to which every assignment of signs is tried: 2^20 are a million sums."""
DRAWN = 99_999
"""Assignments drawn where there are more."""
LEAST_A_SIDE = 4
"""Values on either side that Welch's interval needs to hold what it says."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """A two-sided test.

    Attributes
    ----------
    statistic
        What was compared with its distribution under no difference.
    p
        Two-sided; NaN where nothing can be tested.
    n
        Units that entered.
    method
        Its name, and whether it is exact.
    """

    __test__ = False  # pytest takes classes of this name for its own
    statistic: float
    p: float
    n: int
    method: str


@dataclass(frozen=True, kw_only=True)
class SignedRank:
    """Wilcoxon's signed-rank test with the Hodges-Lehmann estimate.

    Attributes
    ----------
    value
        Median of the Walsh averages.
    low, high
        Interval by inverting the test; infinite where so few differences cannot give 95%.
    level
        Coverage of that interval if differences are symmetric and have no ties, at least 0.95.
    p
        Exact two-sided p, given the tied ranks.
    n, zeros
        Differences, and those among them that are 0.
    """

    value: float
    low: float
    high: float
    level: float
    p: float
    n: int
    zeros: int


def sign_flip(differences: np.ndarray, *, seed: int = 0) -> Test:
    """Test that paired differences ``(n,)`` are symmetric about 0, by flipping their signs.

    The statistic is their mean. Exact for n <= 20, where the smallest p possible is 2 / 2^n (4 tasks: 0.125); beyond
    that 99,999 assignments are drawn and counted with the observed one (Phipson and Smyth 2010).

    Notes
    -----
    Fisher 1935, section 21. It needs no normality, but a symmetric distribution under no difference: a few tasks
    with a large gap on one side make it conservative, and it answers for the mean, not for how many tasks win.
    """
    values = _checked(differences)
    n = len(values)
    if n == 0:
        return Test(statistic=float("nan"), p=float("nan"), n=0, method="sign-flip permutation")
    observed = abs(values.sum()) * (1 - 1e-12) - 1e-12 * np.abs(values).sum()  # sums of one set differ by rounding
    if n <= EXACT:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        p, how = float(np.mean(np.abs(sums) >= observed)), "exact"
    else:
        p, how = (1 + _farther(values, observed, seed)) / (DRAWN + 1), f"{DRAWN + 1:,} assignments"
    return Test(statistic=float(values.mean()), p=p, n=n, method=f"sign-flip permutation, {how}")


def signed_rank(differences: np.ndarray) -> SignedRank:
    """Wilcoxon's test of differences ``(n,)`` with the Hodges-Lehmann estimate and its interval.

    Notes
    -----
    Differences of 0 take part in ranking and are then left out (Pratt 1959), so that ties between methods are neither
    dropped beforehand nor shared out. The p is exact given the midranks. The interval goes from one Walsh average to
    another (Hollander, Wolfe and Chicken 2014, section 3.3), its order statistics chosen for untied ranks: with ties it
    is approximate, and conservative. It is about the pseudo-median, which is the mean only where differences are
    symmetric.
    """
    values = _checked(differences)
    n = len(values)
    if n == 0:
        return SignedRank(value=np.nan, low=np.nan, high=np.nan, level=np.nan, p=np.nan, n=0, zeros=0)
    zero = values == 0
    ranks = np.rint(2 * stats.rankdata(np.abs(values))).astype(int)[~zero]  # doubled: midranks become whole
    positive = int(ranks[values[~zero] > 0].sum())
    first, second = np.triu_indices(n)
    walsh = np.sort((values[first] + values[second]) / 2)
    low, high, level = _walsh_interval(walsh, n)
    return SignedRank(
        value=float(np.median(walsh)), low=low, high=high, level=level, p=_two_sided(ranks, positive), n=n,
        zeros=int(zero.sum()),
    )  # fmt: skip


def sign_test(wins: int, losses: int) -> Test:
    """Exact binomial test that either side wins equally often; ties belong to neither and are left out."""
    n = wins + losses
    p = float(stats.binomtest(wins, n).pvalue) if n else float("nan")
    return Test(statistic=float(wins), p=p, n=n, method="sign test, exact")


def mean_interval(differences: np.ndarray) -> Interval:
    """Mean of independent values ``(n,)`` with Student's t interval; no interval for one value.

    For a mean over tasks drawn from a population of tasks. It is exact for normal values; of strongly skewed ones
    with n = 5 it holds about 88-92%.
    """
    values = _checked(differences)
    if len(values) < 2:
        return no_interval(float(values.mean()) if len(values) else float("nan"))
    return around(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), len(values) - 1)


def welch_interval(first: np.ndarray, second: np.ndarray) -> Interval:
    """Mean of ``first`` minus mean of ``second``, independent values of unequal spread, with Welch's t interval.

    There is none with fewer than :data:`LEAST_A_SIDE` values on a side: of two beside eight it holds 91% where it says
    95, of three beside sixteen 88 to 94 (``reports/evidence``).
    """
    one, other = _checked(first), _checked(second)
    if min(len(one), len(other)) < LEAST_A_SIDE:
        return no_interval(float(one.mean() - other.mean()) if len(one) and len(other) else float("nan"))
    parts = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    freedom = np.array([len(one) - 1, len(other) - 1])
    df = parts.sum() ** 2 / np.sum(parts**2 / freedom) if parts.sum() else freedom.sum()
    return around(float(one.mean() - other.mean()), float(np.sqrt(parts.sum())), float(df))


def relabelling(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Test:
    """Test that two sets of independent values have one distribution, by exchanging them between the sets.

    The statistic is the difference of means; every division into sets of these sizes is tried where there are fewer
    than 100,000, else so many are drawn (scipy's ``permutation_test``). Unequal spread can mislead it.
    """
    one, other = _checked(first), _checked(second)
    if min(len(one), len(other)) < 2:
        return Test(statistic=float("nan"), p=float("nan"), n=len(one) + len(other), method="permutation of labels")
    found = stats.permutation_test(
        (one, other), _difference_of_means, vectorized=True, n_resamples=DRAWN, rng=np.random.default_rng(seed)
    )
    return Test(
        statistic=float(found.statistic), p=float(found.pvalue), n=len(one) + len(other), method="permutation of labels"
    )


def _difference_of_means(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(first.mean(axis=axis) - second.mean(axis=axis))


def around(value: float, se: float, df: float) -> Interval:
    """Student's t interval with ``df`` degrees of freedom."""
    half = float(stats.t.ppf(0.975, df)) * se
    return Interval(value=value, low=value - half, high=value + half)


def share_interval(successes: int, n: int) -> Interval:
    """Share of ``n`` independent trials with the exact interval of Clopper and Pearson 1934: never less than 95%."""
    if n == 0:
        return no_interval()
    found = stats.binomtest(successes, n).proportion_ci(method="exact")
    return Interval(value=successes / n, low=float(found.low), high=float(found.high))


def _checked(differences: np.ndarray) -> np.ndarray:
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise SettingsError(f"Differences must be finite numbers in one row; these are {values.shape}: {values}.")
    return values


def _farther(values: np.ndarray, observed: float, seed: int) -> int:
    """How many of the drawn assignments sum to at least ``observed``; in parts, for a thousand groups fill memory."""
    rng = np.random.default_rng(seed)
    parts = (min(4096, DRAWN - start) for start in range(0, DRAWN, 4096))
    signs = (2.0 * rng.integers(0, 2, size=(part, len(values)), dtype=np.int8) - 1 for part in parts)
    return sum(int(np.sum(np.abs(each @ values) >= observed)) for each in signs)


def _rank_sums(ranks: np.ndarray) -> np.ndarray:
    """Share of sign assignments whose positive ranks sum to 0, 1, 2, ..."""
    counts = np.zeros(int(ranks.sum()) + 1)
    counts[0] = 1
    for rank in ranks:
        counts[rank:] += counts[:-rank].copy()
    return counts / counts.sum()


def _two_sided(ranks: np.ndarray, positive: int) -> float:
    shares = _rank_sums(ranks)
    farther = np.abs(2 * np.arange(len(shares)) - ranks.sum()) >= abs(2 * positive - ranks.sum())
    return float(min(1.0, shares[farther].sum()))


def _walsh_interval(walsh: np.ndarray, n: int) -> tuple[float, float, float]:
    """Walsh averages between which the test at 5% does not reject, and the level that this has."""
    below = np.cumsum(_rank_sums(np.arange(1, n + 1)))
    rejected = int(np.searchsorted(below, 0.025, side="right"))  # rank sums whose lower tail is at most 2.5%
    if rejected == 0:
        return float("-inf"), float("inf"), 1.0
    return float(walsh[rejected - 1]), float(walsh[-rejected]), float(1 - 2 * below[rejected - 1])
