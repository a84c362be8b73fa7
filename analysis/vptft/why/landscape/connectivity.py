"""How high a path between two solutions rises: barriers with intervals over images and over seeds.

The barrier of a path is the largest loss on it above the straight line between the losses of its ends (Frankle et al.
2020, *Linear Mode Connectivity and the Lottery Ticket Hypothesis*, section 2, with the ends weighted as Entezari et
al. 2022). No barrier means that the two lie in one basin *along this path*; a barrier on the line does not separate
them, for a curve may go around it (Garipov et al. 2018).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vptft.errors import SettingsError
from vptft.evidence.statistics.paired import around, mean_interval
from vptft.evidence.statistics.resampling import Interval, no_interval, variance_of_sum
from vptft.evidence.verdicts import SEEDS_FOR_A_VERDICT
from vptft.why.landscape.evaluation import Losses


class Barrier(NamedTuple):
    """Height of a path above its ends.

    Attributes
    ----------
    height
        Nats, with a 95% interval over groups of images. Negative where the path lies below its ends everywhere.
    at
        Where on the path, in (0, 1), all images put it.
    accuracy_drop
        Points of accuracy lost there, against the straight line between the ends.
    """

    height: Interval
    at: float
    accuracy_drop: float


def barrier(t: np.ndarray, losses: Losses, groups: np.ndarray) -> Barrier:
    """Barrier of one path.

    Parameters
    ----------
    t
        Places ``(points,)`` from 0 to 1, three or more.
    losses
        Of every image there, ``(points, n)``.
    groups
        Dependence groups of the images, ``(n,)``.

    Notes
    -----
    The largest of many means is biased upwards: even a flat path has a highest point. So the place is chosen on one
    half of the groups and the height measured on the other, both ways, and the interval is that of a mean (cluster
    robust, Student's t with G - 1 degrees of freedom). It holds for the height at a chosen place, which is at most the
    barrier. Where nothing but noise decides the place the halves are not quite independent, and the interval holds 93%.
    NaN with one group.
    """
    if len(t) < 3 or t[0] != 0 or t[-1] != 1:
        raise SettingsError(f"A path has three places or more, from 0 to 1: {t}.")
    excess = above_ends(t, losses.loss)[1:-1]
    _, member = np.unique(groups, return_inverse=True)
    count = int(member.max()) + 1
    at = int(excess.mean(axis=1).argmax())
    drop = round(-100 * float(above_ends(t, losses.correct.astype(float))[1 + at].mean()), 9) + 0.0  # no -0
    if count < 2:
        return Barrier(no_interval(float(excess[at].mean())), float(t[1 + at]), drop)
    half = member % 2 == 0
    effects = np.empty(excess.shape[1])
    for chosen, measured in ((half, ~half), (~half, half)):
        effects[measured] = excess[excess[:, chosen].mean(axis=1).argmax(), measured]
    return Barrier(mean_over_images(effects, member), float(t[1 + at]), drop)


def above_ends(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values along a path ``(points, n)`` less the straight line between its ends."""
    return values - ((1 - t)[:, None] * values[0] + t[:, None] * values[-1])


def mean_over_images(effects: np.ndarray, groups: np.ndarray) -> Interval:
    """Mean of per-image effects ``(n,)`` with a cluster-robust interval; no interval for one group."""
    count = len(np.unique(groups))
    if count < 2:
        return no_interval(float(effects.mean()))
    se = np.sqrt(variance_of_sum(effects - effects.mean(), groups)) / len(effects)
    return around(float(effects.mean()), float(se), count - 1)


def mean_over_pairs(values: Sequence[float], pairs: Sequence[tuple[int, int]]) -> Interval:
    """Mean of values that belong to pairs of seeds, with an interval over seeds.

    Pairs that share a seed are not independent, so k (k - 1) / 2 pairs are not so many observations. The jackknife
    leaves out one seed, with all its pairs, at a time (Arvesen 1969, on U-statistics); Student's t with k - 1 degrees
    of freedom. Pairs of one seed with itself (FT and Mixed of one seed) count once a seed: plain Student's t over them.
    With fewer than three seeds there is no interval.
    """
    found = np.asarray(values, dtype=float)
    seeds = sorted({seed for pair in pairs for seed in pair})
    if all(first == second for first, second in pairs):
        of_seed = np.array([found[[pair[0] == seed for pair in pairs]].mean() for seed in seeds])
        return mean_interval(of_seed) if len(seeds) >= SEEDS_FOR_A_VERDICT else no_interval(float(of_seed.mean()))
    left = [np.array([seed not in pair for pair in pairs]) for seed in seeds]
    if len(seeds) < SEEDS_FOR_A_VERDICT or not all(kept.any() for kept in left):
        return no_interval(float(found.mean()))
    without = np.array([found[kept].mean() for kept in left])
    count = len(seeds)
    se = np.sqrt((count - 1) / count * np.square(without - without.mean()).sum())
    return around(float(found.mean()), float(se), count - 1)
