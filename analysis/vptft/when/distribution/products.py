"""Inner products of two sets' features: what kernels and neighbours are computed from, once."""

from dataclasses import dataclass

import numpy as np

LARGEST = 5000
"""Images a set whose products are taken; of a larger set that many are drawn."""


def drawn(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the indices of at most 5,000 of ``count`` images, in order."""
    return np.arange(count) if count <= LARGEST else np.sort(rng.permutation(count)[:LARGEST])


@dataclass(frozen=True, kw_only=True, eq=False)
class Products:
    """Inner products within and between two sets, float64.

    Attributes
    ----------
    xx, yy, xy
        Of features as they are: ``(n, n)``, ``(m, m)``, ``(n, m)``.
    distances_xx, distances_yy, distances_xy
        Squared distances. Taken around the first set's mean: features far from the origin would lose digits.
    dimensions
        Width of the features.
    """

    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray
    distances_xx: np.ndarray
    distances_yy: np.ndarray
    distances_xy: np.ndarray
    dimensions: int

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> "Products":
        """Take the products of features ``(n, d)`` and ``(m, d)``."""
        centre = x.mean(axis=0, dtype=np.float64)
        sets = {"x": x.astype(np.float64) - centre, "y": y.astype(np.float64) - centre}
        square = float(centre @ centre)
        found = {}
        for names in ("xx", "yy", "xy"):
            a, b = sets[names[0]], sets[names[1]]
            inner = a @ b.T
            lengths = (np.square(each).sum(axis=1) for each in (a, b))
            found[f"distances_{names}"] = np.maximum(np.add.outer(*lengths) - 2 * inner, 0)
            found[names] = inner + np.add.outer(a @ centre, b @ centre) + square
        return cls(**found, dimensions=x.shape[1])
