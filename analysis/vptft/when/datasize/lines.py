"""A task's gap as a line in log n, and its noise: training draws and test images, or what the line leaves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from vptft.evidence.statistics.components import components, nested_interval, quantile
from vptft.evidence.statistics.paired import around
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.when.datasize.cells import Cell, combined, complete_draws, mean_gaps, sizes_of
from vptft.when.datasize.crossing import Line

DRAWS_FOR_NOISE = 3
"""Draws measured at every size, from which their own spread is taken; with fewer it is what the line leaves."""

Noise = Literal["draws", "misfit", "none"]
Draws = Sequence[Sequence[Cell]]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A task's line and what it rests on.

    Attributes
    ----------
    line
        Over all sizes.
    slope
        Points a doubling, with its 95% interval.
    noise
        ``draws``: how draws and test images spread; ``misfit``: how sizes lie off the line; ``none``: two sizes and too
        few draws, so that nothing tells.
    n_draws
        Draws that entered: those measured at every size where there are enough; 0 where they are not known.
    bends
        Whether the quadratic part of the gap differs from zero at 5%; None where that cannot be told.
    secant
        Where it bends and its mean changes sign once: the line through the two sizes between which it does.
    """

    line: Line
    slope: Interval
    noise: Noise
    n_draws: int
    bends: bool | None = None
    secant: Line | None = None


def fit(cells: Sequence[Cell]) -> Fitted:
    """Fit gap = level + slope (log2 n - centre) to one task, by least squares over its sizes.

    Log n because accuracies grow about so between a hundred and ten thousand images, and a slope in points a doubling
    can be compared between tasks. Where accuracies saturate it holds over the range fitted only.

    Notes
    -----
    With three or more draws measured at every size, each has a level and a slope of its own. Their spread is the noise
    of draws, whatever the draws of one seed have in common (they are nested), and where all were tested on the same
    images the part of images is added (:mod:`vptft.evidence.statistics.components`). The line is then the best line
    through the true gaps, straight or not; where they bend, n* is better taken from ``secant``.

    Otherwise the noise is what the mean gaps leave beside the line, on (sizes - 2) degrees of freedom, and the part of
    test images where they are known: three sizes have one degree of freedom, an interval nearly without use, and two
    sizes have none.
    """
    draws = complete_draws(cells)
    x = np.log2(sizes_of(cells))
    if len(draws) < DRAWS_FOR_NOISE:
        return _by_misfit(cells, draws, x)
    line = _of_draws(draws, x)
    slope = nested_interval([combined(draws, _weights(x)[1])], [1.0])
    bends = _bends(draws, x) if len(x) > 2 else None
    secant = _secant(draws, x) if bends else None
    return Fitted(line=line, slope=slope, noise="draws", n_draws=len(draws), bends=bends, secant=secant)


def sign_changes(gaps: np.ndarray) -> list[int]:
    """Positions i at which the gap is on one side of zero and the next one on the other; zeros are on no side."""
    sides = np.sign(gaps)
    known = np.flatnonzero(sides)
    return [int(i) for i, j in pairwise(known) if sides[i] != sides[j]]


def _weights(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the gaps in the level at the mean of ``x``, and in the slope."""
    centred = x - x.mean()
    return np.full(len(x), 1 / len(x)), centred / np.square(centred).sum()


def _of_draws(draws: Draws, x: np.ndarray) -> Line:
    """Line with the covariance that draws and images give it: cov(a, b) = (var(a + b) - var(a) - var(b)) / 2.

    The slope is put in units in which it is about as certain as the level, or the sum would drown one of them.
    """
    of_level, of_slope = _weights(x)
    unit = float(np.linalg.norm(of_level) / np.linalg.norm(of_slope))
    parts = [components(combined(draws, w)) for w in (of_level, unit * of_slope, of_level + unit * of_slope)]
    level, slope = parts[0].value, parts[1].value / unit
    a, b, both = (each.variance for each in parts)
    c = float(np.clip((both - a - b) / 2, -np.sqrt(a * b), np.sqrt(a * b)))
    back = float(np.clip(level / slope, *(x.mean() - x[[-1, 0]]))) if slope else 0.0
    nearest = components(combined(draws, of_level - back * of_slope))
    known = math.isfinite(nearest.variance)
    return Line(
        level=level, slope=slope, centre=float(x.mean()), level_variance=a, covariance=c / unit,
        slope_variance=b / unit**2, t=quantile(nearest.draws, nearest.images) if known else math.inf,
    )  # fmt: skip


def _bends(draws: Draws, x: np.ndarray) -> bool | None:
    """Whether the quadratic contrast, orthogonal to level and slope, has an interval without zero; None without one."""
    contrast = np.linalg.qr(np.vander(x - x.mean(), 3, increasing=True))[0][:, 2]
    found = nested_interval([combined(draws, contrast)], [1.0])
    return None if math.isnan(found.low) else not found.low <= 0 <= found.high


def _secant(draws: Draws, x: np.ndarray) -> Line | None:
    changes = sign_changes(mean_gaps([cell for row in draws for cell in row]))
    if len(changes) != 1:
        return None
    around_it = slice(changes[0], changes[0] + 2)
    return _of_draws([row[around_it] for row in draws], x[around_it])


def _by_misfit(cells: Sequence[Cell], draws: Draws, x: np.ndarray) -> Fitted:
    n_draws = len({cell.draw for cell in cells if cell.draw is not None})
    gaps, weights = mean_gaps(cells), _weights(x)
    level, slope = (float(w @ gaps) for w in weights)
    df = max(len(x) - 2, 0)
    variance = float(np.square(gaps - level - slope * (x - x.mean())).sum()) / df if df else 0.0
    a, b = (float(w @ w) * variance for w in weights)
    of_images = [_of_images(draws, w) for w in (*weights, weights[0] + weights[1])]
    line = Line(
        level=level, slope=slope, centre=float(x.mean()), level_variance=a + of_images[0],
        covariance=(of_images[2] - of_images[0] - of_images[1]) / 2, slope_variance=b + of_images[1],
        t=float(stats.t.ppf(0.975, df)) if df else math.inf,
    )  # fmt: skip
    interval = around(slope, float(np.sqrt(line.slope_variance)), df) if df else no_interval(slope)
    return Fitted(line=line, slope=interval, noise="misfit" if df else "none", n_draws=n_draws)


def _of_images(draws: Draws, weights: np.ndarray) -> float:
    """Variance that test images give a sum over sizes; 0 where they are not known, or not shared by all draws."""
    found = components(combined(draws, weights)).images.variance if draws else 0.0
    return 0.0 if math.isnan(found) else found
