"""What so many tasks can show: said beside every test, so that "not significant" is not read as "no difference"."""

import numpy as np
from scipy import optimize, stats

LEVEL = 0.05
POWER = 0.8


def detectable(n: int, sd: float, *, power: float = POWER, level: float = LEVEL) -> float:
    """Smallest mean difference that a two-sided t-test over ``n`` tasks finds with probability ``power``.

    Parameters
    ----------
    n
        Tasks.
    sd
        Standard deviation of the differences over tasks; the result is in its unit.

    Notes
    -----
    From the noncentral F distribution of t squared. Sign flips have nearly the same power; a win count has less.
    Infinite for fewer than two tasks. The sd itself is estimated from as few tasks.
    """
    if n < 2:
        return float("inf")
    return float(optimize.brentq(lambda size: _power(size, n, level) - power, 1e-6, 1e3) * sd)


def detectable_by(low: float, high: float, *, power: float = POWER, level: float = LEVEL) -> float:
    """Smallest effect that studies with an interval as wide as this find with probability ``power``; in its unit.

    Half the width times ``(z(1 - level/2) + z(power)) / z(1 - level/2)``, 1.43 by default: the normal approximation,
    which asks for a little more than the t test does: 1% of 20 values, 6% of five, 11% of two. Bounds that are not
    known give NaN.
    """
    reach = stats.norm.isf(level / 2)
    return (high - low) / 2 * float((reach + stats.norm.ppf(power)) / reach)


def wins_needed(n: int, *, level: float = LEVEL) -> int | None:
    """Smallest number of wins in ``n`` untied tasks whose two-sided sign test is below ``level``; None if none is."""
    tails = 2 * stats.binom.sf(np.arange(n + 1) - 1, n, 0.5)
    enough = np.flatnonzero((tails < level) & (np.arange(n + 1) > n / 2))
    return int(enough[0]) if len(enough) else None


def smallest_p(n: int) -> float:
    """Smallest two-sided p that exact sign flips, signed ranks or a sign test of ``n`` differences can give."""
    return min(1.0, 2.0 ** (1 - n))


def _power(size: float, n: int, level: float) -> float:
    """Probability that t^2 exceeds its critical value when the mean is ``size`` standard deviations."""
    return float(stats.ncf.sf(stats.f.isf(level, 1, n - 1), 1, n - 1, n * size**2))
