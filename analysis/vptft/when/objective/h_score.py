"""The H-score: how much of the features' whitened variance lies between classes."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.covariance import ledoit_wolf

from vptft.errors import DataError
from vptft.when.objective.task import class_means


def h_score(values: np.ndarray, labels: np.ndarray) -> float:
    """Return tr(S_a^-1 (1 - a) B): B the covariance of the class means, S_a the shrunk covariance of the features.

    ``S_a = (1 - a) S + a (tr S / d) I`` with the shrinkage a of Ledoit and Wolf (2004). Without shrinkage, and with
    n <= d, the score is its upper limit whatever the labels.

    Parameters
    ----------
    values, labels
        Features ``(n, d)`` and whole numbers ``(n,)``.

    Returns
    -------
    float
        Between 0 and the number of classes less one. Higher means nearer.

    Notes
    -----
    Source: Bao et al. 2019 (the H-score), Ibrahim et al. 2021 (arXiv:2110.06893, the shrinkage). Cost: one
    factorisation d x d. Known failure: its limit grows with the number of classes, so tasks with different numbers of
    classes must not be compared by it (see :func:`h_score_share`); at n near d it still rises with d / n for labels
    that are noise.
    """
    x = np.asarray(values, np.float64)
    covariance, shrinkage = ledoit_wolf(x)
    if not np.trace(covariance) > 0:
        raise DataError("All images have the same features, so nothing can be measured on them.")
    means = class_means(x, labels)[np.unique(labels, return_inverse=True)[1]] - x.mean(axis=0)
    whitened = cho_solve(cho_factor(covariance), means.T)
    return float((1 - shrinkage) * np.einsum("nd,dn->", means, whitened) / len(x))


def h_score_share(values: np.ndarray, labels: np.ndarray) -> float:
    """Return the H-score as a share of its upper limit, the number of classes less one: between 0 and 1."""
    return h_score(values, labels) / (len(np.unique(labels)) - 1)
