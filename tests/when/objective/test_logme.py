"""LogME against the log density of the labels, its two precisions found by brute force."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from vptft.when.objective.logme import logme
from when.objective.builders import blobs, rotation, simplex


def brute_force(x, labels):
    """Mean over classes of max_{a, b} log N(y; 0, I / b + x x^T / a) / n, from several starts."""
    total = []
    for label in np.unique(labels):
        y = (labels == label).astype(float)

        def lost(logs, y=y):
            a, b = np.exp(logs)
            covariance = np.eye(len(y)) / b + x @ x.T / a
            return -multivariate_normal(np.zeros(len(y)), covariance).logpdf(y)

        found = [
            minimize(lost, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 4000}).fun
            for start in ([0.0, 0.0], [4.0, 1.0], [-3.0, 2.0])
        ]
        total.append(-min(found) / len(y))
    return np.mean(total)


@pytest.mark.parametrize(("n", "d", "seed"), [(30, 4, 0), (12, 9, 1), (10, 14, 2), (25, 3, 3)])
def test_it_is_the_evidence_at_the_best_precisions(n, d, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    x = rng.normal(size=(n, d)) + 1.5 * np.eye(3, d)[labels]
    assert logme(x, labels) == pytest.approx(brute_force(x, labels), abs=2e-5)


def test_rotating_features_and_renaming_classes_change_nothing():
    x, labels = blobs(simplex(4), n=60)
    value = logme(x, labels)
    assert logme(x @ rotation(4), labels) == pytest.approx(value, abs=1e-8)
    assert logme(x, np.array([7, 0, 9, 2])[labels]) == pytest.approx(value, abs=1e-12)


def test_scaling_the_features_changes_nothing():
    """The prior's precision takes the scale in."""
    x, labels = blobs(simplex(3), n=60)
    assert logme(1000 * x, labels) == pytest.approx(logme(x, labels), abs=1e-6)


def test_labels_that_can_be_said_are_more_probable_than_labels_that_cannot():
    x, labels = blobs(simplex(3), n=90)
    assert logme(x, labels) > logme(x, np.random.default_rng(0).permutation(labels)) + 0.3


def test_as_many_images_as_dimensions_are_no_trouble():
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 2
    assert np.isfinite(logme(rng.normal(size=(20, 20)), labels))
    assert np.isfinite(logme(rng.normal(size=(20, 300)).astype(np.float32), labels))
