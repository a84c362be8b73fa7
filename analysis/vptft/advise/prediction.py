"""What is believed about one gap: a mixture of normals, with the parts of its variance."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import optimize, stats


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """A mixture of normals: what is believed about one gap, points.

    Attributes
    ----------
    weights, centres
        Of its parts, ``(G,)``; weights sum to 1.
    parameters, residual, noise
        Variances of each part, ``(G,)``: of the coefficients, of the task itself, of measuring it.
    """

    weights: np.ndarray
    centres: np.ndarray
    parameters: np.ndarray
    residual: np.ndarray
    noise: np.ndarray

    @property
    def mean(self) -> float:
        """Expected gap."""
        return float(self.weights @ self.centres)

    @property
    def sd(self) -> float:
        """Standard deviation, measurement included."""
        spread = self.parameters + self.residual + self.noise + np.square(self.centres - self.mean)
        return float(np.sqrt(self.weights @ spread))

    @property
    def true(self) -> Self:
        """The same of the gap itself, as it would be without noise of measuring."""
        return type(self)(
            weights=self.weights, centres=self.centres, parameters=self.parameters, residual=self.residual,
            noise=np.zeros_like(self.noise),
        )  # fmt: skip

    def cdf(self, value: float) -> float:
        """Probability that the gap is at most ``value``."""
        scale = np.sqrt(self.parameters + self.residual + self.noise)
        return float(self.weights @ stats.norm.cdf(value, self.centres, scale))

    def quantile(self, p: float) -> float:
        """Gap below which it lies with probability ``p``."""
        scale = np.sqrt(self.parameters + self.residual + self.noise)
        ends = self.centres + stats.norm.ppf(p) * scale
        low, high = float(ends.min()), float(ends.max())
        return low if low == high else float(optimize.brentq(lambda value: self.cdf(value) - p, low, high))

    def interval(self, level: float) -> tuple[float, float]:
        """Central interval that holds the gap with probability ``level``."""
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)
