"""Precision, recall, density and coverage: whether one set lies where the other is dense, by nearest neighbours.

Precision and recall after Kynkaanniemi et al. (2019), density and coverage after Naeem et al. (2020). The first set is
the reference ("real"), the second what is judged.
"""

from dataclasses import dataclass

import numpy as np

from vptft.errors import SettingsError
from vptft.when.distribution.products import Products

NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class Support:
    """How two sets' supports overlap.

    Attributes
    ----------
    precision
        Part of the second set inside some ball of the first (around an image, through its k-th neighbour).
    recall
        Part of the first set inside some ball of the second.
    density
        Mean number of the first set's balls an image of the second is in, divided by k; 1 for equal distributions, and
        may be larger.
    coverage
        Part of the first set's balls that hold an image of the second. It depends on the sets' sizes: equal
        distributions of equal size give about 1 - 2^-k.
    n
        Images a set that were compared, the same of both.
    k
        Neighbours.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    n: int
    k: int


def support(products: Products, *, rng: np.random.Generator, k: int = NEIGHBOURS) -> Support | None:
    """Compare two sets of which equally many images are drawn; None where there are at most k.

    All four depend on the number of images, so equal numbers are taken; values of sets of other sizes are still not
    comparable.
    """
    if k < 1:
        raise SettingsError(f"Neighbours must be at least 1, got {k}.")
    n = min(products.xy.shape)
    if n <= k:
        return None
    x, y = (np.sort(rng.permutation(size)[:n]) for size in products.xy.shape)
    radius_x = _radii(products.distances_xx[np.ix_(x, x)], k)
    radius_y = _radii(products.distances_yy[np.ix_(y, y)], k)
    between = products.distances_xy[np.ix_(x, y)]
    in_x = between <= radius_x[:, None]
    return Support(
        precision=float(in_x.any(axis=0).mean()),
        recall=float((between <= radius_y[None, :]).any(axis=1).mean()),
        density=float(in_x.sum(axis=0).mean()) / k,
        coverage=float(in_x.any(axis=1).mean()),
        n=n,
        k=k,
    )


def _radii(distances: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each image to its k-th nearest other."""
    np.fill_diagonal(distances, np.inf)
    return np.asarray(np.partition(distances, k - 1, axis=1)[:, k - 1])
