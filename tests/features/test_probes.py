import numpy as np
import pytest

from features.builders import make_features
from vptft.errors import DataError
from vptft.features.probes import knn_accuracy, linear_accuracy

PROBES = pytest.mark.parametrize("probe", [knn_accuracy, linear_accuracy])


def features(values, labels, name="toy"):
    return make_features(values, name=name, labels=None if labels is None else np.asarray(labels))


def blobs(n, seed, spread=0.05):
    """Three classes around three directions."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return features(np.eye(3)[labels] + rng.normal(0, spread, (n, 3)), labels)


@PROBES
def test_classes_that_are_apart_are_told_apart(probe):
    assert probe(blobs(30, 0), blobs(60, 1)) == 1.0


@PROBES
def test_features_without_the_task_give_chance(probe):
    rng = np.random.default_rng(0)
    train, test = (features(rng.normal(size=(300, 5)), rng.integers(0, 2, 300)) for _ in range(2))
    assert 0.4 < probe(train, test) < 0.6


def test_neighbours_are_near_by_angle_and_not_by_length():
    train = features([[1, 0.1], [0.1, 1]], [0, 1])
    test = features([[100, 1], [0.01, 0.5]], [0, 1])
    assert knn_accuracy(train, test, k=1) == 1.0


def test_more_neighbours_than_images_are_all_of_them():
    train = features([[1, 0], [1, 0.1], [0, 1]], [0, 0, 1])
    assert knn_accuracy(train, features([[0, 1]], [1]), k=50) == 0.0
    assert knn_accuracy(train, features([[0, 1]], [1]), k=1) == 1.0


def test_a_feature_of_large_scale_does_not_drown_the_others():
    rng = np.random.default_rng(1)
    labels = np.arange(200) % 2
    values = np.stack([rng.normal(0, 1e4, 200), labels + rng.normal(0, 0.1, 200)], axis=1)
    assert linear_accuracy(features(values[:100], labels[:100]), features(values[100:], labels[100:])) > 0.97


@PROBES
def test_features_without_labels_are_refused_by_name(probe):
    unlabelled = features(np.eye(3), None, name="photos")
    with pytest.raises(DataError, match="photos has no labels; a probe needs them"):
        probe(unlabelled, blobs(6, 0))
    with pytest.raises(DataError, match="photos has no labels"):
        probe(blobs(6, 0), unlabelled)
