"""Label structure: whether a task's classes have neighbours, as places and counts have, or stand apart as objects do.

A classifier pushes the means of its classes apart in every direction alike (neural collapse, Papyan et al. 2020,
arXiv:2008.08186). The answers to a geometric question have neighbours: one column is next to another, and features that
see position at all put the means in that order.
"""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
from scipy.linalg import solve_triangular
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.covariance import ledoit_wolf

from vptft.errors import NotApplicable
from vptft.when.objective.task import class_means

DRAWS = 20
"""Random divisions of the images that an estimate by parts is averaged over."""


def ordinality(values: np.ndarray, labels: np.ndarray) -> float:
    """Return Spearman's correlation of the distances between class means with |i - j| of the labels.

    Returns
    -------
    float
        -1 to 1, and 0.97 at most with 6 or 8 classes, since many steps are tied and no distances are. Higher means
        farther from classification.

    Raises
    ------
    NotApplicable
        With two classes, which have one distance; when the means coincide.

    Notes
    -----
    Source: the statistic of Mantel's test (1967) between two distance matrices. Cost: milliseconds. Known failure: it
    sees the large directions of the features only, in which a position that can be read well may hardly show; and it
    needs the labels in their order: folders named 1, 10, 2 are not.
    """
    means = class_means(values, labels)
    _require(len(means), 3)
    return _rank_correlation(pdist(means), _steps(len(means)))


def circularity(values: np.ndarray, labels: np.ndarray) -> float:
    """Return the same as :func:`ordinality` for labels on a circle: min(|i - j|, C - |i - j|).

    Raises
    ------
    NotApplicable
        With fewer than four classes, which are all equally far from each other on a circle.
    """
    means = class_means(values, labels)
    _require(len(means), 4)
    return _rank_correlation(pdist(means), _around(_steps(len(means)), len(means)))


def label_order(values: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> float:
    """Return how well distances follow the labels' order, on a line or a circle, where a linear probe would look.

    Distances are cross-validated Mahalanobis distances: features are whitened by the shrunk covariance within classes,
    and ``d_ij = (a_i - a_j)^T (b_i - b_j)`` with class means a and b of two halves of the groups, averaged over
    :data:`DRAWS` halvings. Noise of the means is then not counted as distance, and directions that vary for other
    reasons weigh less. The result is the larger of two rank correlations, with |i - j| and with
    min(|i - j|, C - |i - j|).

    Parameters
    ----------
    values, labels, groups
        Features ``(n, d)``, whole numbers in the order of the classes, and what makes images dependent.
    seed
        Of the halvings.

    Returns
    -------
    float
        -1 to 1: 1 where the nearer labels are the nearer classes. Higher means farther from classification.

    Raises
    ------
    NotApplicable
        With two classes, or where classes do not meet in a half of the groups.

    Notes
    -----
    Source: Walther et al. 2016 (the distance), Kriegeskorte et al. 2008 (its correlation with a model's). Cost: one
    factorisation d x d, 0.3 s. Known failure: the larger of two correlations is above 0 for unordered labels too,
    by about 0.1 with 8 classes and more with fewer; an order in the likeness of objects is an order to it; and where
    features hold nothing of the labels it is noise about 0.
    """
    count = len(np.unique(labels))
    _require(count, 3)
    distances = _cross_validated(_whitened(values, labels), labels, groups, seed)
    line = _rank_correlation(distances, _steps(count))
    return line if count < 4 else max(line, _rank_correlation(distances, _around(_steps(count), count)))


def class_likeness(order: float) -> float:
    """Return 1 - order, within 0 and 1: 1 for classes without neighbours, 0 for classes in their labels' order.

    Two classes (``nan``) have no order and count as classes.
    """
    return 1.0 if np.isnan(order) else float(np.clip(1 - order, 0, 1))


def spread(values: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> float:
    """Return the dimensions that class means spread over, as a share of the C - 1 they could.

    With M the centred class means (C, d) and l the eigenvalues of M M^T, the participation ratio is
    ``(sum l)^2 / sum l^2``: C - 1 for a simplex, about 1 for a line, 2 for a circle. Its numerator and denominator
    are estimated without bias from class means of four independent parts, so that sampling noise, which is the same
    in all directions, does not look like a simplex. Parts hold whole groups.

    Returns
    -------
    float
        About 0 to 1; noise can carry it outside. Higher means nearer: the labels are apart as classes are. The order
        of the labels does not matter.

    Raises
    ------
    NotApplicable
        With two classes, whose means always spread over their one dimension; where the class means cannot be told
        from noise, or a class is missing in a part of the images.

    Notes
    -----
    Source: the participation ratio of neuroscience (Gao and Ganguli 2015) of class means; the estimate by parts is
    ours. Cost: 0.2 s. Known failure: weak features make it noisy, since it is a ratio of small numbers.
    """
    _require(len(np.unique(labels)), 3)
    sums, squares = [], []
    for means in _parts(np.asarray(values, np.float64), labels, groups, 4, seed):
        centred = means - means.mean(axis=1, keepdims=True)
        grams = np.einsum("icd,jkd->ijck", centred, centred)
        sums.append(np.mean([np.trace(grams[i, j]) for i, j in permutations(range(4), 2)]))
        squares.append(np.mean([np.sum(grams[i, j] * grams[k, m].T) for i, j, k, m in permutations(range(4))]))
    if np.mean(squares) <= 0 or np.mean(sums) <= 0:
        raise NotApplicable("The class means cannot be told from noise.")
    return float(np.mean(sums) ** 2 / np.mean(squares) / (len(np.unique(labels)) - 1))


def _cross_validated(values: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Distances of every two classes, in the order of :func:`scipy.spatial.distance.pdist`."""
    found = []
    for a, b in _parts(values, labels, groups, 2, seed):
        products = (a @ b.T + b @ a.T) / 2
        own = np.diag(products)
        found.append(own[:, None] + own[None, :] - 2 * products)
    return np.asarray(np.mean(found, axis=0)[np.triu_indices(len(found[0]), 1)])


def _parts(values: np.ndarray, labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Class means ``(count, classes, d)`` of random divisions into parts that hold whole groups and every class."""
    rng = np.random.default_rng(seed)
    classes = len(np.unique(labels))
    units, unit_of = np.unique(groups, return_inverse=True)
    usable = 0
    for _ in range(DRAWS):
        part = (rng.permutation(len(units)) % count)[unit_of]
        if all(len(np.unique(labels[part == i])) == classes for i in range(count)):
            usable += 1
            yield np.stack([class_means(values[part == i], labels[part == i]) for i in range(count)])
    if not usable:
        raise NotApplicable(f"A class has too few groups of images to be in {count} parts of them.")


def _whitened(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Features in which the covariance within classes, shrunk as by Ledoit and Wolf, is the identity."""
    x = np.asarray(values, np.float64)
    within = x - class_means(x, labels)[np.unique(labels, return_inverse=True)[1]]
    covariance, _ = ledoit_wolf(within)
    if not np.trace(covariance) > 0:
        raise NotApplicable("All images of a class have the same features, so there is no scale to whiten by.")
    return np.asarray(solve_triangular(np.linalg.cholesky(covariance), x.T, lower=True).T)


def _steps(count: int) -> np.ndarray:
    """|i - j| of every two labels, in the order of ``pdist``."""
    first, second = np.triu_indices(count, 1)
    return second - first


def _around(steps: np.ndarray, count: int) -> np.ndarray:
    return np.minimum(steps, count - steps)


def _rank_correlation(distances: np.ndarray, steps: np.ndarray) -> float:
    if np.ptp(distances) == 0:
        raise NotApplicable("All class means are equally far from each other.")
    return float(spearmanr(distances, steps).statistic)


def _require(count: int, least: int) -> None:
    if count < least:
        raise NotApplicable(f"{count} classes have no structure; it takes {least}.")
