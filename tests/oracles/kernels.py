"""Kernel distances and supports by double loops: nothing here is shared with the package."""

import math

import numpy as np


def cubic(a, b):
    """KID's kernel (Binkowski et al. 2018)."""
    return (math.fsum(float(i) * float(j) for i, j in zip(a, b, strict=True)) / len(a) + 1) ** 3


def gaussian(a, b):
    """CMMD's kernel (Jayasumana et al. 2024): width 10 on features of unit length, times 1,000."""
    a, b = (each / (math.sqrt(math.fsum(each**2)) or 1.0) for each in (a.astype(float), b.astype(float)))
    return 1000 * math.exp(-math.fsum((a - b) ** 2) / (2 * 10**2))


def unbiased(x, y, kernel):
    """U-statistic: no image with itself."""
    n, m = len(x), len(y)
    within_x = math.fsum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = math.fsum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * math.fsum(kernel(a, b) for a in x for b in y) / (n * m)


def biased(x, y, kernel):
    """V-statistic: every image with every image."""
    n, m = len(x), len(y)
    within_x = math.fsum(kernel(a, b) for a in x for b in x) / n**2
    within_y = math.fsum(kernel(a, b) for a in y for b in y) / m**2
    return within_x + within_y - 2 * math.fsum(kernel(a, b) for a in x for b in y) / (n * m)


def gaussian_v_statistic(x, y):
    """CMMD as its paper writes it, ``1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y))``, on whole matrices."""
    x, y = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (np.float64(x), np.float64(y)))

    def mean(a, b):
        return np.exp(-np.square(a[:, None] - b[None]).sum(axis=2) / 200).mean()

    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


def radius(points, i, k):
    """Distance of a point to its k-th nearest other."""
    return sorted(math.dist(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]


def precision(real, fake, k):
    """Kynkaanniemi et al. 2019: share of fakes within some ball around a real image. Swapped it is the recall."""
    radii = [radius(real, i, k) for i in range(len(real))]
    inside = [any(math.dist(f, r) <= size for r, size in zip(real, radii, strict=True)) for f in fake]
    return sum(inside) / len(fake)


def density(real, fake, k):
    """Naeem et al. 2020: how many balls around real images a fake is in, over k."""
    radii = [radius(real, i, k) for i in range(len(real))]
    total = sum(math.dist(f, r) <= size for f in fake for r, size in zip(real, radii, strict=True))
    return total / (k * len(fake))


def coverage(real, fake, k):
    """Naeem et al. 2020: share of balls around real images that hold a fake."""
    held = [any(math.dist(f, real[i]) <= radius(real, i, k) for f in fake) for i in range(len(real))]
    return sum(held) / len(real)
