import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from features.builders import make_features
from vptft.errors import DataError
from vptft.features.probes import (
    FOLDS,
    above_chance,
    grouped_folds,
    knn_above_chance,
    knn_accuracy,
    linear_above_chance,
    linear_accuracy,
)

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


CROSS_VALIDATED = pytest.mark.parametrize("probe", [knn_above_chance, linear_above_chance])


def oracle(model, values, labels, groups, seed=0):
    """Accuracy of scikit-learn's own cross-validation, above chance by hand."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(model, values, labels, groups=groups, cv=folds)
    chance = max(np.mean(labels == label) for label in labels)
    return (np.mean(predicted == labels) - chance) / (1 - chance)


def noisy(n=120, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [n // 2, n // 4, n // 4])
    return np.eye(3, 6)[labels] + rng.normal(0, 0.7, (n, 6)), labels, rng.integers(0, 30, n)


@pytest.mark.parametrize("seed", [0, 1])
def test_cross_validation_is_scikit_learns(seed):
    values, labels, groups = noisy(seed=seed)
    neighbours = KNeighborsClassifier(5, metric="cosine")
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    args = values, labels, groups
    assert knn_above_chance(*args, seed=seed) == pytest.approx(oracle(neighbours, *args, seed=seed))
    assert linear_above_chance(*args, seed=seed) == pytest.approx(oracle(linear, *args, seed=seed))
    assert 0.1 < linear_above_chance(*args, seed=seed) < 0.95


@CROSS_VALIDATED
def test_renaming_classes_changes_nothing(probe):
    values, labels, groups = noisy()
    assert probe(values, np.array([1, 2, 3])[labels], groups) == pytest.approx(probe(values, labels, groups))


@CROSS_VALIDATED
def test_a_group_is_never_on_both_sides(probe):
    """Images that are copies within their group, with labels by group at random: nothing but the group tells them."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 6)
    values = rng.normal(size=(60, 80))[groups] + rng.normal(0, 1e-3, (360, 80))
    labels = rng.integers(0, 2, 60)[groups]
    assert probe(values, labels, np.arange(360)) > 0.6
    assert probe(values, labels, groups) < 0.4
    for train, test in grouped_folds(labels, groups):
        assert not set(groups[train]) & set(groups[test])


def test_chance_is_the_answer_that_needs_no_image():
    labels = np.array([0, 0, 0, 1])
    assert above_chance(0.75, labels) == 0
    assert above_chance(1.0, labels) == 1
    assert above_chance(0.5, labels) == pytest.approx(-1)
    with pytest.raises(DataError, match="All images have the same label"):
        above_chance(1.0, np.zeros(3))


def test_too_few_groups_to_hold_out_are_refused():
    with pytest.raises(DataError, match="needs 3 groups of images, and there are 2"):
        knn_above_chance(np.eye(6), np.arange(6) % 2, np.arange(6) // 3)


@pytest.mark.parametrize("labels", [np.arange(4), np.array([0, 0, 1, 2])])
def test_classes_that_are_photographs_are_refused(labels):
    groups = np.repeat(np.arange(4), 5)
    with pytest.raises(DataError, match="two classes with images of two photographs or more"):
        knn_above_chance(np.eye(20), np.repeat(labels, 5), groups)


def test_classes_with_fewer_images_than_folds_are_refused_with_the_count():
    with pytest.raises(DataError, match=f"needs {FOLDS} images of a class, and no class has more than 2"):
        grouped_folds(np.array([0, 0, 1, 1, 2]), np.arange(5))


def test_a_rare_class_is_left_where_it_falls_without_a_word():
    labels = np.array([0] * 10 + [1] * 10 + [2])
    folds = list(grouped_folds(labels, np.arange(21)))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(21))
