"""Power-law learning curves, accuracy = a - b n^-c, and what they say beyond the sizes measured."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from vptft.errors import SettingsError

LEAST_SIZES = 4
"""Three parameters, and something left to see whether they fit."""
STEEPEST, FLATTEST = 3.0, 0.01
"""Bounds of the exponent; those of Hestness et al. 2017 lie between 0.07 and 0.35, small tasks are steeper."""
STARTS = (0.1, 0.3, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One method's fitted learning curve.

    Attributes
    ----------
    limit
        a, the accuracy that n without end would give, a fraction.
    drop
        b n_0^-c: how far below the limit the smallest size n_0 lies.
    exponent
        c.
    least, most
        Sizes it was fitted between.
    rmse
        Of the accuracies about the curve, fraction.
    at_bound
        Whether a parameter stopped at a bound; then there is no interval.
    covariance
        Of (limit, drop, exponent), (3, 3).
    df
        Accuracies less three.
    """

    limit: float
    drop: float
    exponent: float
    least: float
    most: float
    rmse: float
    at_bound: bool
    covariance: np.ndarray
    df: int

    def at(self, n: float) -> float:
        """Accuracy after ``n`` images, a fraction."""
        return self.limit - self.drop * (n / self.least) ** -self.exponent

    def interval(self, n: float) -> tuple[float, float]:
        """95% interval of the curve at ``n`` (delta method, Student's t), within [0, 1]; NaN at a bound."""
        if self.at_bound:
            return math.nan, math.nan
        power = (n / self.least) ** -self.exponent
        gradient = np.array([1.0, -power, self.drop * power * math.log(n / self.least)])
        half = float(stats.t.ppf(0.975, self.df)) * math.sqrt(max(float(gradient @ self.covariance @ gradient), 0.0))
        return max(self.at(n) - half, 0.0), min(self.at(n) + half, 1.0)


def fit_curve(n: np.ndarray, accuracy: np.ndarray) -> Curve:
    """Fit accuracy = a - b n^-c by least squares, 0 <= a <= 1, b >= 0, 0.01 <= c <= 3.

    Parameters
    ----------
    n, accuracy
        ``(m,)`` sizes, of which four must differ, and fractions.

    Notes
    -----
    The form of Cortes et al. 1993, with the exponents of Hestness et al. 2017 inside the bounds. Inside the measured
    range it is a smooth; beyond, a hope: with five sizes a and c are nearly interchangeable, a curve that has not begun
    to saturate gives a limit near 1 whatever the truth, and the interval takes the form of the curve for granted.
    """
    n, accuracy = np.asarray(n, dtype=float), np.asarray(accuracy, dtype=float)
    if len(np.unique(n)) < LEAST_SIZES:
        raise SettingsError(f"A learning curve needs {LEAST_SIZES} sizes; there are {len(np.unique(n))}.")
    ratio = n / n.min()
    low, high = np.array([0.0, 0.0, FLATTEST]), np.array([1.0, 1.0, STEEPEST])

    def residuals(p: np.ndarray) -> np.ndarray:
        return np.asarray(p[0] - p[1] * ratio ** -p[2] - accuracy)

    start = np.clip([accuracy.max(), np.ptp(accuracy), 0.0], low + 1e-6, high - 1e-6)
    fits = [
        optimize.least_squares(residuals, [*start[:2], c], bounds=(low, high), xtol=1e-12, ftol=1e-12)
        for c in STARTS
    ]  # fmt: skip
    best = min(fits, key=lambda found: found.cost)
    df = len(n) - 3
    variance = 2 * best.cost / df
    at_bound = bool(np.any(best.active_mask != 0) or np.linalg.cond(best.jac) > 1e8)
    covariance = np.full((3, 3), np.nan) if at_bound else np.linalg.inv(best.jac.T @ best.jac) * variance
    limit, drop, exponent = map(float, best.x)
    return Curve(
        limit=limit, drop=drop, exponent=exponent, least=float(n.min()), most=float(n.max()),
        rmse=math.sqrt(2 * best.cost / len(n)), at_bound=at_bound, covariance=covariance, df=df,
    )  # fmt: skip


def meeting(first: Curve, second: Curve, *, most: float) -> float:
    """Largest n at which two curves meet, from the smallest size both know up to ``most``; NaN where they do not."""
    grid = np.geomspace(max(first.least, second.least), most, 400)
    apart = np.array([first.at(n) - second.at(n) for n in grid])
    changes = np.flatnonzero(np.diff(np.sign(apart)) != 0)
    if not len(changes):
        return math.nan
    at = changes[-1]
    return float(optimize.brentq(lambda n: first.at(n) - second.at(n), grid[at], grid[at + 1]))
