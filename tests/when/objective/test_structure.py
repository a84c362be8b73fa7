import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.covariance import LedoitWolf

from vptft.errors import NotApplicable
from vptft.when.objective import structure
from vptft.when.objective.structure import circularity, class_likeness, label_order, ordinality, spread
from when.objective.builders import blobs, circle, line, rotation, simplex

EACH = np.arange(240) // 2


def test_a_line_is_ordered_and_a_circle_is_round():
    x, labels = blobs(line(6), spread=0.05)
    tied = spearmanr(np.arange(15), np.repeat(range(5), range(5, 0, -1))).statistic
    assert ordinality(x, labels) == pytest.approx(tied)
    x, labels = blobs(circle(8), spread=0.05)
    assert circularity(x, labels) > 0.96
    assert ordinality(x, labels) < 0.8


@pytest.mark.parametrize("means", [line(6), circle(8)])
def test_either_is_order(means):
    x, labels = blobs(means)
    assert label_order(x, labels, EACH) > 0.9


def test_classes_apart_have_no_order():
    values = [label_order(*blobs(simplex(8), seed=seed), EACH, seed=seed) for seed in range(10)]
    assert -0.1 < np.mean(values) < 0.25


def test_features_that_hold_nothing_have_no_order():
    values = [label_order(*blobs(np.zeros((8, 5)), seed=seed), EACH, seed=seed) for seed in range(10)]
    assert abs(np.mean(values)) < 0.25


def test_order_is_seen_below_large_directions_that_mean_nothing():
    """What whitening is for: the plain distances are drowned, the cross-validated ones are not."""
    x, labels = blobs(line(6), n=600, spread=0.4, dimensions=5)
    x[:, 4] = np.random.default_rng(1).normal(0, 60, len(x))
    assert label_order(x, labels, np.arange(600)) > 0.9
    assert ordinality(x, labels) < 0.6


def test_labels_out_of_their_order_have_none():
    x, labels = blobs(line(6), spread=0.05)
    assert label_order(x, np.array([3, 0, 5, 1, 4, 2])[labels], EACH) < 0.4


def test_the_distance_is_mahalanobis_and_unbiased():
    """Two halves of one class are at no distance in expectation; two classes at their Mahalanobis distance."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        means = np.array([[0.0, 0, 0], [0, 0, 0], [2, 0, 0]])
        labels = np.arange(300) % 3
        x = means[labels] + rng.normal(size=(300, 3)) * [1.0, 2.0, 0.5]
        found.append(structure._cross_validated(structure._whitened(x, labels), labels, np.arange(300), seed))
    same, far, also_far = np.mean(found, axis=0)
    assert same == pytest.approx(0, abs=0.03)
    assert (far + also_far) / 2 == pytest.approx(4, rel=0.1)


def test_whitening_is_by_the_shrunk_covariance_within_classes():
    x, labels = blobs(simplex(3), n=60)
    within = np.concatenate([x[labels == k] - x[labels == k].mean(axis=0) for k in range(3)])
    inverse = np.linalg.inv(LedoitWolf(assume_centered=False).fit(within).covariance_)
    white = structure._whitened(x, labels)
    np.testing.assert_allclose(white @ white.T, x @ inverse @ x.T, rtol=1e-8)


def test_rank_correlation_is_of_every_pair_of_classes():
    x, labels = blobs(line(5) + np.random.default_rng(0).normal(0, 0.8, (5, 4)), spread=0.1)
    means = [x[labels == k].mean(axis=0) for k in range(5)]
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    distances = [np.linalg.norm(means[i] - means[j]) for i, j in pairs]
    assert ordinality(x, labels) == pytest.approx(spearmanr(distances, [j - i for i, j in pairs]).statistic)
    around = [min(j - i, 5 - j + i) for i, j in pairs]
    assert circularity(x, labels) == pytest.approx(spearmanr(distances, around).statistic)


@pytest.mark.parametrize("measure", [ordinality, circularity, lambda x, y: label_order(x, y, EACH)])
def test_rotating_features_changes_nothing(measure):
    x, labels = blobs(line(6))
    assert measure(x @ rotation(4), labels) == pytest.approx(measure(x, labels), abs=1e-9)


def test_spread_tells_a_simplex_from_a_line_whatever_the_names():
    apart, in_line = blobs(simplex(6), n=480), blobs(line(6), n=480)
    groups = np.arange(480)
    assert spread(*apart, groups) == pytest.approx(1, abs=0.08)
    assert spread(*in_line, groups) == pytest.approx(1 / 5, abs=0.05)
    renamed = np.random.default_rng(0).permutation(6)[apart[1]]
    assert spread(apart[0], renamed, groups) == pytest.approx(spread(*apart, groups), abs=1e-9)


def test_noise_does_not_look_like_a_simplex():
    """By the plain formula the means of noise spread over all dimensions; here a weak line stays a line."""
    values = [spread(*blobs(0.4 * line(6), n=480, spread=1.0, dimensions=40, seed=s), np.arange(480)) for s in range(8)]
    assert np.mean(values) < 0.35


def test_two_classes_have_no_structure_and_three_no_circle():
    two, three = blobs(simplex(2)), blobs(simplex(3))
    for measure in (ordinality, circularity, lambda x, y: label_order(x, y, EACH), lambda x, y: spread(x, y, EACH)):
        with pytest.raises(NotApplicable, match="2 classes have no structure"):
            measure(*two)
    with pytest.raises(NotApplicable, match="3 classes have no structure; it takes 4"):
        circularity(*three)
    assert np.isfinite(label_order(*three, EACH))


def test_a_class_of_one_picture_cannot_be_halved():
    x, labels = blobs(simplex(3))
    with pytest.raises(NotApplicable, match="A class has too few groups of images to be in 2 parts"):
        label_order(x, labels, labels)


def test_class_likeness_is_what_order_leaves():
    assert [class_likeness(order) for order in (-0.3, 0.0, 0.25, 1.0, np.nan)] == [1, 1, 0.75, 0, 1]
