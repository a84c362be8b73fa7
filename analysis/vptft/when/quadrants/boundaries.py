"""Where near data end and far data begin.

Han et al. (2024, section 4.2) sort data by eye along FID and print no threshold. So a boundary is the design's where a
factorial suite has one, else the median of the tasks at hand, or the one under which the paper's rule fits best.
"""

from dataclasses import dataclass

import numpy as np

DRAWS = 2000
LEAST = 5
"""Near-objective tasks with a winner that a fitted boundary needs."""


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """A distance that parts near from far data.

    Attributes
    ----------
    value
        In the unit of the distances; NaN where there is none.
    low, high
        95% interval over tasks; NaN where it is not estimated but set.
    kind
        ``design``, ``median`` or ``fitted``.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    kind: str = "median"


def designed(distances: np.ndarray, data_is_far: np.ndarray) -> Boundary:
    """Middle between the farthest near task and the nearest far one; NaN where the factor does not part distances."""
    far = np.asarray(data_is_far, dtype=bool)
    below, above = distances[~far], distances[far]
    if not len(below) or not len(above) or not below.max() < above.min():
        return Boundary(value=float("nan"), kind="design")
    return Boundary(value=float(below.max() + above.min()) / 2, kind="design")


def median(distances: np.ndarray) -> Boundary:
    """Median of the distances that are known: half of the tasks are far whatever they are."""
    known = distances[np.isfinite(distances)]
    return Boundary(value=float(np.median(known)) if len(known) else float("nan"), kind="median")


def best_cut(distances: np.ndarray, signs: np.ndarray) -> float:
    """Cut under which "FT is ahead iff the data are farther" is right most often; the middle one of equals.

    Parameters
    ----------
    distances, signs
        Of near-objective tasks, ``(n,)``; 1 where VPT is ahead, -1 where FT is.
    """
    ordered = np.sort(distances)
    cuts = np.concatenate([[-np.inf], (ordered[:-1] + ordered[1:]) / 2, [np.inf]])
    right = np.array([np.sum((distances > cut) == (signs < 0)) for cut in cuts])
    best = np.flatnonzero(right == right.max())
    return float(cuts[best[len(best) // 2]])


def fitted(distances: np.ndarray, signs: np.ndarray, *, seed: int = 0, draws: int = DRAWS) -> Boundary:
    """Best cut of near-objective tasks with its bootstrap interval over tasks.

    An infinite value says that naming one method always fits best: the rule has no boundary in these tasks. NaN with
    fewer than five tasks that have a winner.
    """
    told = signs != 0
    x, y = distances[told], signs[told]
    if len(x) < LEAST:
        return Boundary(value=float("nan"), kind="fitted")
    rng = np.random.default_rng(seed)
    drawn = np.sort([best_cut(x[i], y[i]) for i in rng.integers(len(x), size=(draws, len(x)))])
    return Boundary(
        value=best_cut(x, y), low=float(drawn[int(0.025 * draws)]), high=float(drawn[int(0.975 * draws)]), kind="fitted"
    )
