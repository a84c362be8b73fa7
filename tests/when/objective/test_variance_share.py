import numpy as np
import pytest

from vptft.when.objective.variance_share import variance_share
from when.objective.builders import blobs, rotation, simplex


def test_it_is_omega_squared_of_one_dimension():
    x, labels = blobs([[0.0], [1.0], [3.0]], n=90, spread=1.0)
    groups = [x[labels == k, 0] for k in range(3)]
    within = sum(((g - g.mean()) ** 2).sum() for g in groups)
    between = sum(len(g) * (g.mean() - x.mean()) ** 2 for g in groups)
    error = within / 87
    assert variance_share(x, labels) == pytest.approx((between - 2 * error) / (between + within + error), rel=1e-12)


def test_it_is_zero_on_average_for_labels_that_say_nothing():
    values = [variance_share(*blobs(np.zeros((4, 6)), n=80, seed=seed)) for seed in range(200)]
    assert np.mean(values) == pytest.approx(0, abs=0.002)


def test_rotating_features_and_renaming_classes_change_nothing():
    x, labels = blobs(simplex(4))
    value = variance_share(x, labels)
    assert variance_share(x @ rotation(4), np.array([3, 1, 8, 2])[labels]) == pytest.approx(value, rel=1e-9)
