"""Intervals by resampling: what is dependent is drawn together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from vptft.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A point estimate and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class PairedDraw:
    """One seed's per-image differences between two methods, ``(n,)``, and the images' dependence groups."""

    differences: np.ndarray
    groups: np.ndarray

    def __post_init__(self) -> None:
        if self.differences.shape != self.groups.shape or self.differences.size == 0:
            raise SettingsError(
                f"Differences {self.differences.shape} and groups {self.groups.shape} must be equally long, not empty."
            )


def hierarchical_bootstrap(
    tasks: Sequence[Sequence[PairedDraw]],
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    draws: int = 2000,
) -> Interval:
    """Percentile interval of ``statistic`` of the tasks' mean differences, resampling seeds, then groups.

    Parameters
    ----------
    tasks
        For each task, one :class:`PairedDraw` a training seed.
    statistic
        Maps mean differences ``(..., n_tasks)`` to ``(...)``: a mean, or a contrast.
    seed, draws
        Of the bootstrap.

    Notes
    -----
    Whole groups are drawn, so images of one photograph stay together (Field and Welsh 2007, cluster bootstrap).
    Seeds that were tested on the same groups share each draw of them: averaging over seeds makes no image less of a
    chance. Of k seeds k - 1 are drawn, which makes the variance of their mean unbiased (Rao and Wu 1988).

    With one seed a task the interval holds the test images' uncertainty only and is too narrow for a claim about
    training; with few groups it is too narrow as well. Where the spread between three seeds dominates, a single
    task's interval covers about 78%, a mean over ten tasks about 91%.
    """
    rng = np.random.default_rng(seed)
    columns = [_resampled_means(task, rng, draws) for task in tasks]
    point = np.array([np.mean([draw.differences.mean() for draw in task]) for task in tasks])
    resampled = statistic(np.stack(columns, axis=-1))
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value=float(statistic(point)), low=float(low), high=float(high))


LEAST = 50
"""Values that a BCa interval is given for: of the mean of 20 or 30 normal ones it holds 92-93%, of 50 94%."""


def bca(
    values: np.ndarray, statistic: Callable[..., Any] = np.mean, *, seed: int, draws: int = 9999, least: int = LEAST
) -> Interval:
    """Bias-corrected and accelerated bootstrap interval of a statistic of independent values ``(n,)``.

    Parameters
    ----------
    values
        Independent of each other.
    statistic
        Takes values and ``axis``, as numpy's do.
    seed, draws
        Of the bootstrap.
    least
        Fewest values it is given for.

    Raises
    ------
    SettingsError
        With fewer values than ``least``.

    Notes
    -----
    Efron 1987; scipy's. Its coverage is asymptotic: of the mean of 5 normal values it holds 83-85%, of 10 88-90%, of 19
    92% (``reports/evidence``), so a mean over tasks takes :func:`.paired.mean_interval`. Equal values have no spread to
    draw from: the interval is the point.
    """
    if len(values) < least:
        raise SettingsError(
            f"A BCa interval of {len(values)} values holds less than the 95% it is given for.",
            f"Take Student's t for the mean, or {least} values.",
        )
    value = float(statistic(values, axis=-1))
    if np.ptp(values) == 0:
        return Interval(value=value, low=value, high=value)
    found = stats.bootstrap(
        (values,), statistic, n_resamples=draws, method="BCa", rng=np.random.default_rng(seed), vectorized=True
    )
    low, high = found.confidence_interval
    return Interval(value=value, low=float(low), high=float(high))


def no_interval(value: float = float("nan")) -> Interval:
    """Return an estimate whose interval is not known."""
    return Interval(value=value, low=float("nan"), high=float("nan"))


def variance_of_sum(effects: np.ndarray, groups: Sequence[str] | np.ndarray) -> float:
    """Variance of a sum of per-image effects ``(n,)`` when whole groups are drawn; NaN where there is one group.

    The cluster-robust estimate with its small-sample factor G / (G - 1); with few groups it is itself very uncertain.
    """
    _, member_of = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(member_of, weights=effects)
    count = len(sums)
    return count / (count - 1) * float(np.square(sums - sums.mean()).sum()) if count > 1 else float("nan")


def _resampled_means(task: Sequence[PairedDraw], rng: np.random.Generator, draws: int) -> np.ndarray:
    """Means over resampled seeds of means over resampled groups, ``(draws,)``."""
    names = [np.unique(draw.groups) for draw in task]
    if all(np.array_equal(groups, names[0]) for groups in names):
        drawn = [_times_drawn(len(names[0]), rng, draws)] * len(task)
    else:
        drawn = [_times_drawn(len(groups), rng, draws) for groups in names]
    of_seed = np.stack([_cluster_means(draw, times) for draw, times in zip(task, drawn, strict=True)])
    chosen = rng.integers(len(task), size=(max(1, len(task) - 1), draws))
    return np.take_along_axis(of_seed, chosen, axis=0).mean(axis=0)


def _times_drawn(count: int, rng: np.random.Generator, draws: int) -> np.ndarray:
    """How often each of ``count`` groups is drawn, ``(draws, count)``."""
    return rng.multinomial(count, np.full(count, 1 / count), size=draws)


def _cluster_means(draw: PairedDraw, times: np.ndarray) -> np.ndarray:
    _, index = np.unique(draw.groups, return_inverse=True)
    sums, counts = np.bincount(index, weights=draw.differences), np.bincount(index)
    return (times @ sums) / (times @ counts)
