"""A gap regressed on a difference over tasks: few tasks, a predictor with noise of its own, groups of tasks."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from vptft.evidence.statistics.paired import around
from vptft.evidence.statistics.resampling import Interval, no_interval


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Least squares of y on x, with group means where given.

    Attributes
    ----------
    slope, intercept
        With Student's t intervals; the intercept is at x = 0 and the average mix of groups.
    slope_p, intercept_p
        Two-sided.
    r2
        Share of the variance that x explains (within groups, where given), with the interval that Fisher's z gives.
    predicted
        1 - squared errors of each task predicted from the others / those of predicting their mean; below 0 where the
        regression foretells a new task worse than the mean does. It has no interval.
    slopes, intercepts
        Leaving each task out, ``(n,)``.
    residual_sd
        Of what is left, in the unit of y.
    """

    slope: Interval
    intercept: Interval
    slope_p: float
    intercept_p: float
    r2: Interval
    predicted: float
    slopes: np.ndarray
    intercepts: np.ndarray
    residual_sd: float


def fit(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Fit:
    """Fit y on x ``(n,)``, one value a task, n of at least four beyond the number of groups.

    Notes
    -----
    Intervals take tasks as the sample, their deviations from the line as normal and of one size. Fisher's z (1921) is
    for pairs of normal values; both are rough with ten tasks. Bootstraps are not better with so few.
    """
    design, n = _design(x, groups), len(x)
    beta, covariance, residuals = _least_squares(design, y)
    df = n - design.shape[1]
    terms = [around(float(beta[i]), float(np.sqrt(covariance[i, i])), df) for i in (1, 0)]
    ps = [_p(float(beta[i]), float(covariance[i, i]), df) for i in (1, 0)]
    left_out = [_least_squares(np.delete(design, i, axis=0), np.delete(y, i))[0] for i in range(n)]
    errors = np.array([y[i] - design[i] @ each for i, each in enumerate(left_out)])
    baseline = (y - y.mean()) * n / (n - 1)  # y less the mean of the others
    return Fit(
        slope=terms[0], intercept=terms[1], slope_p=ps[0], intercept_p=ps[1],
        r2=_share(np.delete(design, 1, axis=1), x, y),
        predicted=float(1 - np.square(errors).sum() / np.square(baseline).sum()) if np.ptp(y) else float("nan"),
        slopes=np.array([each[1] for each in left_out]), intercepts=np.array([each[0] for each in left_out]),
        residual_sd=float(np.sqrt(np.square(residuals).sum() / df)),
    )  # fmt: skip


def line(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Value of the fitted line and the ends of its 95% interval at ``at`` (m,): ``(3, m)``."""
    design = _design(x, None)
    beta, covariance, _ = _least_squares(design, y)
    rows = _design(at, None)
    half = stats.t.ppf(0.975, len(x) - 2) * np.sqrt(np.einsum("ij,jk,ik->i", rows, covariance, rows))
    value = rows @ beta
    return np.stack([value, value - half, value + half])


def unlike(x: np.ndarray, y: np.ndarray, correlation: float) -> float:
    """Two-sided p that x and y ``(n,)`` have this correlation, by Fisher's z; NaN if it is 1 in size."""
    if not abs(correlation) < 1 or len(x) < 4:
        return float("nan")
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1 + 1e-12, 1 - 1e-12))
    distance = (np.arctanh(r) - np.arctanh(correlation)) * np.sqrt(len(x) - 3)
    return float(2 * stats.norm.sf(abs(distance)))


def greatest_correlation(
    x: np.ndarray, y: np.ndarray, x_noise: np.ndarray, y_noise: np.ndarray, common_noise: np.ndarray
) -> float:
    """Correlation that x and y ``(n,)`` would show if what x measures were all that y follows.

    Noise of each lowers it, and noise that both share moves it to either side; variances of the noise and its
    covariance are ``(n,)``, as in :func:`corrected_slope`. Its sign is that of the covariance without noise. NaN where
    noise is not known, or where y does not vary.
    """
    spread = float(np.var(x, ddof=1)), float(np.var(y, ddof=1))
    if not min(spread) > 0 or not np.isfinite([*x_noise, *y_noise, *common_noise]).all():
        return float("nan")
    true = [max(0.0, total - float(noise.mean())) for total, noise in zip(spread, (x_noise, y_noise), strict=True)]
    shared = float(common_noise.mean())
    sign = 1.0 if np.cov(x, y)[0, 1] >= shared else -1.0
    return float(np.clip((sign * np.sqrt(true[0] * true[1]) + shared) / np.sqrt(spread[0] * spread[1]), -1, 1))


def reliability(x_noise: np.ndarray, x: np.ndarray) -> float:
    """Share of the variance of x over tasks that is not noise of its own measurement, from its variances (n,).

    The slope of a regression on a predictor with noise is too small by this factor (Fuller 1987, section 1.1), so an
    explanation measured with noise explains too little. NaN where the noise is not known.
    """
    total = float(np.var(x, ddof=1))
    return float(1 - np.mean(x_noise) / total) if total > 0 and np.isfinite(x_noise).all() else float("nan")


def corrected_slope(x: np.ndarray, y: np.ndarray, x_noise: np.ndarray, common_noise: np.ndarray) -> float:
    """Slope of y on what x measures, noise taken out of its variance and out of their covariance (Fuller 1987).

    Parameters
    ----------
    x, y
        One value a task, ``(n,)``.
    x_noise, common_noise
        Variance of each x, and covariance of its noise with that of y, which comes from the same runs; ``(n,)``.

    Returns
    -------
    float
        NaN where noise is not known, or is half of the variance of x or more.
    """
    total = float(np.var(x, ddof=1))
    if not reliability(x_noise, x) > 0.5 or not np.isfinite(common_noise).all():
        return float("nan")
    return float((np.cov(x, y)[0, 1] - common_noise.mean()) / (total - x_noise.mean()))


def _design(x: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Columns 1, x, and for each group but one its centred indicator."""
    columns = [np.ones(len(x)), np.asarray(x, dtype=float)]
    if groups is not None:
        names = np.unique(groups)[1:]
        columns += [(groups == name) - np.mean(groups == name) for name in names]
    return np.stack(columns, axis=1)


def _least_squares(design: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, their covariance, and residuals; the least of many solutions where columns depend."""
    inverse = np.linalg.pinv(design)
    beta = inverse @ y
    residuals = y - design @ beta
    df = max(1, len(y) - design.shape[1])
    return beta, inverse @ inverse.T * float(residuals @ residuals) / df, residuals


def _p(value: float, variance: float, df: int) -> float:
    return float(2 * stats.t.sf(abs(value) / np.sqrt(variance), df)) if variance > 0 else float("nan")


def _share(others: np.ndarray, x: np.ndarray, y: np.ndarray) -> Interval:
    """Squared correlation of x and y given the other columns, with the interval of Fisher's z of the correlation."""
    left = [values - others @ np.linalg.pinv(others) @ values for values in (x, y)]
    if not all(np.abs(values).max() > 1e-12 for values in left):
        return no_interval()
    r = float(np.corrcoef(left)[0, 1])
    freedom = len(x) - others.shape[1] - 2
    if freedom < 1 or abs(r) >= 1:
        return no_interval(r * r)
    half = stats.norm.ppf(0.975) / np.sqrt(freedom)
    low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    ends = sorted((low**2, high**2))
    return Interval(value=r * r, low=0.0 if low < 0 < high else float(ends[0]), high=float(ends[1]))
