"""Dimension of features and of weight updates, and how far the main directions of two sets agree."""

import numpy as np

from vptft.errors import SettingsError


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """Singular values of a matrix, descending, by the eigenvalues of its smaller Gram matrix in float64.

    Several times faster than a decomposition; values below 1e-8 of the largest are lost, which no measure here sees.
    """
    values = np.asarray(matrix, dtype=np.float64)
    product = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    return np.asarray(np.sqrt(np.clip(np.linalg.eigvalsh(product)[::-1], 0, None)))


def effective_rank(spectrum: np.ndarray) -> float:
    """Exp of the entropy of singular values divided by their sum (Roy and Vetterli 2007, definition 1).

    From 1, all in one direction, to their number, all directions alike; NaN where all are 0. Of n centred features at
    most n - 1, and it grows with n while n is below the true dimension: compare equal n only.
    """
    total = float(np.sum(spectrum))
    if total == 0:
        return float("nan")
    shares = np.asarray(spectrum, dtype=np.float64) / total
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def stable_rank(spectrum: np.ndarray) -> float:
    """Squared Frobenius over squared spectral norm (Rudelson and Vershynin 2007): at least 1, at most the rank."""
    largest = float(np.max(spectrum, initial=0.0))
    return float(np.sum(np.square(spectrum / largest))) if largest else float("nan")


def feature_rank(x: np.ndarray) -> float:
    """Effective rank of features ``(n, d)``, centred."""
    return effective_rank(singular_values(_centred(x)))


def subspace_overlap(x: np.ndarray, y: np.ndarray, *, k: int) -> float:
    """Mean squared cosine of the principal angles between the k main directions of features ``(n, d)`` and ``(m, d)``.

    1 for one and the same subspace, k / d on average for random ones (Bjorck and Golub 1973). It needs no pairing of
    images, but one basis: both networks must name their dimensions alike, as a tuned network and its origin do.

    Notes
    -----
    Where the k-th and the next direction are about equally strong, chance decides which is counted.
    """
    if not 1 <= k <= min(*x.shape, *y.shape):
        raise SettingsError(f"k = {k} directions must lie between 1 and what features {x.shape} and {y.shape} have.")
    first, second = (np.linalg.svd(_centred(each), full_matrices=False)[2][:k] for each in (x, y))
    return float(np.square(first @ second.T).sum() / k)


def _centred(x: np.ndarray) -> np.ndarray:
    values = np.asarray(x, dtype=np.float64)
    return values - values.mean(axis=0)
