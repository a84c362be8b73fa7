import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from vptft.errors import DataError
from vptft.when.objective.h_score import h_score, h_score_share
from when.objective.builders import blobs, rotation, simplex


def explicit(x, labels):
    """The trace, written out with an inverse and a covariance of the class means."""
    shrunk = LedoitWolf().fit(x)
    means = np.stack([x[labels == labels[i]].mean(axis=0) for i in range(len(x))])
    between = np.cov(means.T, bias=True)
    return np.trace(np.linalg.inv(shrunk.covariance_) @ ((1 - shrunk.shrinkage_) * between))


@pytest.mark.parametrize(("n", "d"), [(60, 5), (40, 30), (20, 50)])
def test_it_is_the_trace(n, d):
    rng = np.random.default_rng(n)
    labels = np.arange(n) % 4
    x = rng.normal(size=(n, d)) + np.eye(4, d)[labels]
    assert h_score(x, labels) == pytest.approx(explicit(x, labels), rel=1e-9)
    assert h_score_share(x, labels) == pytest.approx(explicit(x, labels) / 3, rel=1e-9)


def test_rotating_features_and_renaming_classes_change_nothing():
    x, labels = blobs(simplex(4), n=80)
    value = h_score(x, labels)
    assert h_score(x @ rotation(4), labels) == pytest.approx(value, rel=1e-9)
    assert h_score(x, np.array([7, 0, 9, 2])[labels]) == pytest.approx(value, rel=1e-12)


def test_it_nears_its_limit_where_classes_are_points_and_zero_where_they_are_not():
    x, labels = blobs(simplex(4), n=4000, spread=0.001)
    assert h_score_share(x + np.random.default_rng(1).normal(0, 1e-3, x.shape), labels) > 0.7
    noise = np.random.default_rng(2).normal(size=(4000, 4))
    assert h_score_share(noise, labels) < 0.01


def test_images_without_any_difference_are_refused():
    with pytest.raises(DataError, match="All images have the same features"):
        h_score(np.ones((6, 3)), np.arange(6) % 2)
