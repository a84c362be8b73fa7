"""Intervals from variance components: training draws and test images are two sources of chance, both paired.

The difference d of two methods on image group g after training draw s is d = mean + draw_s + group_g + rest_sg. All
draws of a task are tested on the same groups, so averaging over draws makes no image less of a chance, and the other
way round. This is the two-way random-effects layout of Cornfield and Tukey 1956 without replication.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy import optimize, stats

from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import Interval, PairedDraw


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a variance and the degrees of freedom it was estimated with."""

    variance: float
    df: float


NOTHING = Part(variance=0.0, df=float("inf"))
UNKNOWN = Part(variance=float("nan"), df=float("nan"))


@dataclass(frozen=True, kw_only=True)
class Components:
    """Estimate of one task's mean difference and the two sources of its variance.

    Attributes
    ----------
    value
        Mean over draws and images.
    draws
        What training again would change; nothing with one draw.
    images
        What other test images would change beside it; unknown where all images are one group.
    """

    value: float
    draws: Part
    images: Part

    @property
    def variance(self) -> float:
        """Variance of ``value``."""
        return self.draws.variance + self.images.variance


@dataclass(frozen=True, kw_only=True)
class Estimate(Interval):
    """An interval with the two-sided p of no difference."""

    p: float


def components(draws: Sequence[PairedDraw]) -> Components:
    """Split the variance of the mean difference over ``draws`` into training draws and image groups.

    Where all draws were tested on the same groups, with mean squares of draws, groups and rest, var = (MS_draws +
    MS_groups - MS_rest) / (k G), the rest being counted in both others. Where a draw lacks some of the others' groups,
    those that all share tell of the images. Where draws were tested on images of their own, the spread between draws
    holds everything. With one draw only images are left, and what the interval says holds for these weights alone.
    """
    means = np.array([draw.differences.mean() for draw in draws])
    value, k = float(means.mean()), len(draws)
    of_draws = _part(means) if k > 1 else NOTHING
    shared = reduce(np.intersect1d, [draw.groups for draw in draws])
    if k > 1 and len(shared) < 2 and any(len(np.unique(draw.groups)) > len(shared) for draw in draws):
        return Components(value=value, draws=of_draws, images=NOTHING)
    scores = np.stack([_group_scores(draw, value, shared) for draw in draws])  # (k, G)
    if scores.shape[1] < 2:
        return Components(value=value, draws=of_draws, images=UNKNOWN)
    of_groups = _part(scores.mean(axis=0))
    if k == 1:
        return Components(value=value, draws=NOTHING, images=of_groups)
    centred = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    rest = float(np.square(centred).sum()) / ((k - 1) * (scores.shape[1] - 1)) / scores.size
    rest = min(rest, of_draws.variance, of_groups.variance)  # either source alone allows no less than its own share
    return Components(value=value, draws=of_draws, images=Part(variance=of_groups.variance - rest, df=of_groups.df))


def nested_interval(tasks: Sequence[Sequence[PairedDraw]], weights: Sequence[float] | np.ndarray) -> Estimate:
    """Interval and p of a weighted sum of these tasks' mean differences: a gap, a mean gap, or a contrast.

    Parameters
    ----------
    tasks
        For each task its draws.
    weights
        One a task.

    Notes
    -----
    Student's t, with the degrees of freedom of Satterthwaite 1946 over tasks and the quantile of :func:`quantile` over
    the two sources. It is about these tasks, not about others like them: for those see :func:`.paired.mean_interval`.
    Tasks count as independent of each other; tasks that share scenes or training draws are not quite. With one draw a
    task it holds images only. Two draws of one task give one degree of freedom, an interval too wide to be of use,
    which is what two draws are worth.
    """
    if len(tasks) != len(weights) or not tasks:
        raise SettingsError(f"{len(tasks)} tasks and {len(weights)} weights: there must be as many, and not none.")
    each = [components(draws) for draws in tasks]
    value = float(np.dot(weights, [task.value for task in each]))
    of_draws, of_images = (
        _summed([getattr(task, source) for task in each], np.square(weights)) for source in ("draws", "images")
    )
    se = float(np.sqrt(of_draws.variance + of_images.variance))
    if np.isnan(se):
        return Estimate(value=value, low=se, high=se, p=se)
    half = quantile(of_draws, of_images) * se if se else 0.0
    return Estimate(value=value, low=value - half, high=value + half, p=_p(abs(value), se, of_draws, of_images))


def quantile(draws: Part, images: Part, level: float = 0.05) -> float:
    """Two-sided quantile for a value whose variance is the sum of these parts.

    Each part's own Student quantile, weighted by its variance (Cochran and Cox 1957, section 4.14). With three draws
    and many images, Satterthwaite's degrees of freedom, estimated from the same two, would let the truth be missed in
    8% of studies.
    """
    parts = [(part.variance, part.df) for part in (draws, images) if part.variance > 0]
    total = sum(variance for variance, _ in parts)
    return sum(variance * float(stats.t.isf(level / 2, df)) for variance, df in parts) / total if parts else 0.0


def _p(distance: float, se: float, draws: Part, images: Part) -> float:
    """Level at which the interval would just reach zero."""
    if se == 0:
        return float(distance == 0)

    def beyond(log_level: float) -> float:
        return quantile(draws, images, float(np.exp(log_level))) * se - distance

    smallest = np.log(1e-60)  # beyond it Student's quantile of many degrees of freedom is not to be had
    return 0.0 if beyond(smallest) < 0 else float(np.exp(optimize.brentq(beyond, smallest, 0.0)))


def _summed(parts: Sequence[Part], weights: np.ndarray) -> Part:
    """Weighted sum of parts of one source, with Satterthwaite's degrees of freedom."""
    variances = weights * [part.variance for part in parts]
    total = float(variances.sum())
    if total == 0:
        return NOTHING
    return Part(variance=total, df=float(total**2 / np.sum(variances**2 / [part.df for part in parts])))


def _group_scores(draw: PairedDraw, value: float, groups: np.ndarray) -> np.ndarray:
    """Influence of each of these groups on the mean over their images: the mean is theirs minus ``value``."""
    there = np.isin(draw.groups, groups)
    _, member_of = np.unique(draw.groups[there], return_inverse=True)
    sums = np.bincount(member_of, weights=draw.differences[there] - value)
    return np.asarray(sums * len(sums) / there.sum())


def _part(means: np.ndarray) -> Part:
    """Variance of the mean of independent values."""
    return Part(variance=float(means.var(ddof=1)) / len(means), df=len(means) - 1.0)
