"""Probes on frozen features: how much of a task a backbone knows before any tuning."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vptft.errors import DataError
from vptft.features.extraction import Features


def knn_accuracy(train: Features, test: Features, *, k: int = 5) -> float:
    """Fraction of ``test`` whose class the ``k`` nearest training features (cosine) vote for."""
    x, y = _labelled(train)
    return float(KNeighborsClassifier(min(k, len(y)), metric="cosine").fit(x, y).score(*_labelled(test)))


def linear_accuracy(train: Features, test: Features, *, inverse_penalty: float = 1.0) -> float:
    """Fraction of ``test`` a logistic regression on standardised features classifies rightly.

    The penalty is not searched, so this is a lower bound on what a linear probe can do.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))
    return float(model.fit(*_labelled(train)).score(*_labelled(test)))


def _labelled(features: Features) -> tuple[np.ndarray, np.ndarray]:
    if features.labels is None:
        raise DataError(f"{features.name} has no labels; a probe needs them.")
    return features.values, features.labels
