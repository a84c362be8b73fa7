r"""Kernel distances: maximum mean discrepancies, unbiased at any number of images.

.. math:: MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)

KID (Binkowski et al. 2018) takes the cubic kernel :math:`(x^T y / d + 1)^3`; CMMD (Jayasumana et al. 2024) the
Gaussian kernel of width 10 on features of unit length, times 1,000. All in float64: the three means nearly cancel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vptft.evidence.statistics.resampling import variance_of_sum
from vptft.when.distribution.products import Products

WIDTH, SCALE = 10.0, 1000.0
"""Of CMMD, as its authors chose them."""

Kernels = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Kernel matrices within the first set ``(n, n)``, within the second ``(m, m)``, and between them ``(n, m)``."""


@dataclass(frozen=True, kw_only=True)
class KernelDistance:
    """A squared discrepancy.

    Attributes
    ----------
    value
        Unbiased estimate; negative about every second time where the truth is zero.
    se
        Standard error by first-order influences, whole groups sampled; at zero it is up to 1.4 times too wide. NaN
        where a set is one group.
    biased
        The V-statistic, never negative: what the authors of CMMD compute. Larger by about 2 / N of the kernel's range.
    """

    value: float
    se: float
    biased: float


def cubic(products: Products) -> Kernels:
    """Return KID's kernel matrices."""
    bases = (each / products.dimensions + 1 for each in (products.xx, products.yy, products.xy))
    first, second, between = (base * base * base for base in bases)
    return first, second, between


def gaussian(products: Products) -> Kernels:
    """Return CMMD's kernel matrices, times 1,000; features are scaled to unit length, one of length zero stays."""
    x, y = (np.sqrt(np.maximum(each.diagonal(), 0)) for each in (products.xx, products.yy))
    x, y = (np.where(lengths > 0, lengths, 1) for lengths in (x, y))
    cosines = (
        products.xx / np.multiply.outer(x, x),
        products.yy / np.multiply.outer(y, y),
        products.xy / np.multiply.outer(x, y),
    )
    first, second, between = (SCALE * np.exp((cosine - 1) / WIDTH**2) for cosine in cosines)
    return first, second, between


def kernel_distance(
    products: Products, kernel: Callable[[Products], Kernels], groups: Sequence[Sequence[str] | np.ndarray]
) -> KernelDistance:
    """Kernel distance of two sets of at least two images each; ``groups`` are both sets' dependence groups.

    All pairs of images are taken rather than random subsets of 1,000, which at N = 1000 would be the same subset again
    and again and a spread of zero.
    """
    return from_kernels(kernel(products), groups)


def from_kernels(kernels: Kernels, groups: Sequence[Sequence[str] | np.ndarray]) -> KernelDistance:
    """Kernel distance from the kernel matrices of two sets and their dependence groups."""
    value, biased, *influence = discrepancy(*kernels)
    variance = sum(variance_of_sum(each / len(each), of_set) for each, of_set in zip(influence, groups, strict=True))
    return KernelDistance(value=value, se=float(np.sqrt(variance)), biased=biased)


def discrepancy(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Unbiased and biased estimate from kernel matrices, and the influence of each image of both sets."""
    inside_x, inside_y = ((k.sum(axis=1) - k.diagonal()) / (len(k) - 1) for k in (xx, yy))
    cross = float(xy.mean())
    rows, columns = 2 * (inside_x - xy.mean(axis=1)), 2 * (inside_y - xy.mean(axis=0))
    return (
        float(inside_x.mean() + inside_y.mean()) - 2 * cross,
        float(xx.mean() + yy.mean()) - 2 * cross,
        rows - rows.mean(),
        columns - columns.mean(),
    )
