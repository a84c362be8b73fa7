"""The Fisher information against derivatives of the log likelihood, taken numerically."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from vptft.errors import DataError
from vptft.when.objective.task2vec import embedding, embedding_distance, task2vec
from when.objective.builders import blobs, simplex


def numerical(x, labels):
    """E_x E_{y ~ p} (d log p_y / d g_j)^2 at gains of 1, by central differences."""
    z = StandardScaler().fit_transform(x)
    head = LogisticRegression(C=1.0, max_iter=2000).fit(z, labels)
    p, step = head.predict_proba(z), 1e-5
    out = []
    for j in range(z.shape[1]):
        logs = []
        for sign in (1, -1):
            moved = z.copy()
            moved[:, j] *= 1 + sign * step
            logs.append(head.predict_log_proba(moved))
        out.append(np.mean(np.sum(p * ((logs[0] - logs[1]) / (2 * step)) ** 2, axis=1)))
    return np.array(out)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_it_is_the_expected_squared_derivative(count):
    x, labels = blobs(simplex(count), n=90, spread=2.0)
    np.testing.assert_allclose(embedding(x, labels), numerical(x, labels), rtol=1e-5, atol=1e-9)


def test_features_that_the_task_does_not_use_weigh_little():
    x, labels = blobs(simplex(2), n=300, spread=1.0, dimensions=4)
    found = embedding(x, labels)
    assert found[:2].min() > 5 * found[2:].max()


def test_the_distance_is_of_direction_after_both_are_divided_by_their_sum():
    a, b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 2.0, 0.0])
    first, second = np.array([0.25, 0.5, 0]), np.array([0.75, 0.5, 0])
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert embedding_distance(a, b) == pytest.approx(1 - cosine)
    assert embedding_distance(a, a) == pytest.approx(0, abs=1e-12)
    assert embedding_distance(a, b) == pytest.approx(embedding_distance(b, a))
    assert embedding_distance(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(1)


def test_a_task_of_the_own_clusters_is_at_no_distance():
    x, labels = blobs(simplex(4), spread=0.1)
    assert task2vec(x, labels) == pytest.approx(0, abs=1e-6)
    assert task2vec(x, np.random.default_rng(0).integers(0, 4, len(x))) > 0.02


def test_one_class_is_refused():
    with pytest.raises(DataError, match="All images have the same label"):
        embedding(np.random.default_rng(0).normal(size=(5, 2)), np.zeros(5))
