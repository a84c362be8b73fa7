"""Probes on frozen features: how much of a task a backbone knows before any tuning."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vptft.errors import DataError
from vptft.features.extraction import Features

NEIGHBOURS = 5
FOLDS = 3
"""Parts of a cross-validation: two thirds train, which is what a linear probe of 1,000 images takes 2 s for."""


def knn_accuracy(train: Features, test: Features, *, k: int = NEIGHBOURS) -> float:
    """Fraction of ``test`` whose class the ``k`` nearest training features (cosine) vote for."""
    x, y = _labelled(train)
    return float(_neighbours(k, len(y)).fit(x, y).score(*_labelled(test)))


def linear_accuracy(train: Features, test: Features, *, inverse_penalty: float = 1.0) -> float:
    """Fraction of ``test`` a logistic regression on standardised features classifies rightly.

    The penalty is not searched, so this is a lower bound on what a linear probe can do.
    """
    return float(_linear(inverse_penalty).fit(*_labelled(train)).score(*_labelled(test)))


def knn_above_chance(
    values: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, k: int = NEIGHBOURS, seed: int = 0
) -> float:
    """Cross-validated accuracy of the k nearest neighbours above chance; see :func:`above_chance`."""
    return _cross_validated(lambda n: _neighbours(k, n), values, labels, groups, seed)


def linear_above_chance(
    values: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, inverse_penalty: float = 1.0, seed: int = 0
) -> float:
    """Cross-validated accuracy of a linear probe above chance; see :func:`above_chance`."""
    return _cross_validated(lambda n: _linear(inverse_penalty), values, labels, groups, seed)


def above_chance(accuracy: float, labels: np.ndarray) -> float:
    """Return (accuracy - chance) / (1 - chance): 0 for the answer that needs no image, 1 for all right.

    Chance is the share of the most frequent class. Accuracies of tasks with different numbers of classes can be
    compared after this only roughly: the same probe on finer bins of one quantity scores lower.
    """
    chance = float(np.unique(labels, return_counts=True)[1].max()) / len(labels)
    if chance == 1:
        raise DataError("All images have the same label; a probe needs two classes.")
    return (accuracy - chance) / (1 - chance)


def grouped_folds(labels: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give training and test rows of each fold, classes balanced, no group on both sides.

    Images of one photograph on both sides would let a probe recognise the photograph.
    """
    if len(np.unique(groups)) < FOLDS:
        raise DataError(
            f"A cross-validation needs {FOLDS} groups of images, and there are {len(np.unique(groups))}: all images "
            "are of the same few photographs."
        )
    most = int(np.unique(labels, return_counts=True)[1].max())
    if most < FOLDS:
        raise DataError(f"A cross-validation needs {FOLDS} images of a class, and no class has more than {most}.")
    alone = [label for label in np.unique(labels) if len(np.unique(groups[labels == label])) == 1]
    if len(alone) > len(np.unique(labels)) - 2:
        raise DataError(
            "A cross-validation needs two classes with images of two photographs or more each: here a class is as good "
            "as a photograph, and none of it is left to train on where it is tested."
        )
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A rare class cannot be in every fold; its images count as wrong where no other of it was trained on.
        warnings.filterwarnings("ignore", message="The least populated class in y has only")
        return iter(list(folds.split(np.zeros(len(labels)), labels, groups)))


def _cross_validated(model: Any, values: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> float:
    right = 0
    for train, test in grouped_folds(labels, groups, seed=seed):
        found = model(len(train)).fit(values[train], labels[train])
        right += int(np.sum(found.predict(values[test]) == labels[test]))
    return above_chance(right / len(labels), labels)


def _neighbours(k: int, n: int) -> KNeighborsClassifier:
    return KNeighborsClassifier(min(k, n), metric="cosine")


def _linear(inverse_penalty: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))


def _labelled(features: Features) -> tuple[np.ndarray, np.ndarray]:
    if features.labels is None:
        raise DataError(f"{features.name} has no labels; a probe needs them.")
    return features.values, features.labels
