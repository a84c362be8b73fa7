"""Task2Vec: which features matter to a task, and how far that is from what matters to the backbone's own classes."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from vptft.errors import DataError
from vptft.when.objective.own_classes import own_classes


def embedding(values: np.ndarray, labels: np.ndarray, *, inverse_penalty: float = 1.0) -> np.ndarray:
    """Diagonal Fisher information of a gain on every feature, ``(d,)``, the head being a linear probe.

    With standardised features x, head W and p = softmax(W x + b), a gain g_j on feature j has
    ``F_j = mean_i x_ij^2 Var_{c ~ p_i}(W_cj)``. The gain is the scale of the last normalisation layer, the one place
    of a backbone whose information follows from frozen features.

    Notes
    -----
    Source: Achille et al. 2019 (arXiv:1902.03545). Simplified: theirs is the Fisher information of all filters of a
    ResNet after its head was trained, averaged in each filter; this one sees the last layer only. Cost: one logistic
    regression on all images.
    """
    x = StandardScaler().fit_transform(np.asarray(values, np.float64))
    classes = np.unique(labels)
    if len(classes) < 2:
        raise DataError("All images have the same label; an embedding needs two classes.")
    head = LogisticRegression(C=inverse_penalty, max_iter=2000).fit(x, labels)
    p = head.predict_proba(x)
    weights = head.coef_ if len(classes) > 2 else np.vstack([np.zeros_like(head.coef_), head.coef_])
    spread = np.maximum(p @ np.square(weights) - np.square(p @ weights), 0)
    return np.asarray(np.mean(np.square(x) * spread, axis=0))


def embedding_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine distance of two embeddings ``(d,)`` after each entry is divided by the sum of both (theirs, eq. 2)."""
    together = first + second
    a, b = (np.divide(each, together, out=np.zeros_like(each), where=together > 0) for each in (first, second))
    return float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def task2vec(values: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> float:
    """Return the distance of the task's embedding from that of the backbone's own classes on the same images.

    Returns
    -------
    float
        0 to 1. Higher means farther.

    Notes
    -----
    Known failure: an embedding depends on the images more than on the labels, which is why both are taken on the same
    images; and the head of an easily learnt task is sure of itself, so its Fisher information is small and noisy.
    """
    own = own_classes(values, len(np.unique(labels)), seed=seed)
    return embedding_distance(embedding(values, labels), embedding(values, own))
