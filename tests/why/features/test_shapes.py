"""Procrustes, subspaces and ranks against scipy and closed forms; collapse and neighbours on planted features."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes, subspace_angles
from scipy.stats import ortho_group

from vptft.errors import SettingsError
from vptft.why.features.collapse import collapse
from vptft.why.features.neighbours import neighbour_overlap, overlap_by_chance
from vptft.why.features.procrustes import procrustes_distance
from vptft.why.features.subspaces import (
    effective_rank,
    feature_rank,
    singular_values,
    stable_rank,
    subspace_overlap,
)


def features(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def rotation(d, seed=0):
    return ortho_group.rvs(d, random_state=np.random.default_rng(seed))


def test_procrustes_is_what_scipys_best_rotation_leaves():
    x, y = features(30, 6), features(30, 6, 1)
    x, y = (each - each.mean(axis=0) for each in (x, y))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    turn, _ = orthogonal_procrustes(x, y)
    assert procrustes_distance(5 * x + 2, y) == pytest.approx(np.linalg.norm(x @ turn - y), abs=1e-10)


def test_procrustes_is_zero_for_a_rotation_and_root_two_for_nothing_in_common():
    x = features(30, 6)
    assert procrustes_distance(x, 3 * x @ rotation(6) - 1) == pytest.approx(0, abs=1e-6)
    base = np.kron([1.0, -1.0], np.ones(4))
    other = np.tile([1.0, -1.0], 4)
    assert procrustes_distance(base[:, None], other[:, None]) == pytest.approx(np.sqrt(2))


def test_procrustes_refuses_what_has_no_shape():
    with pytest.raises(SettingsError, match="the same for every image"):
        procrustes_distance(np.ones((5, 2)), features(5, 2))
    with pytest.raises(SettingsError, match="one shape"):
        procrustes_distance(features(5, 2), features(5, 3))


def test_overlap_is_that_of_scipys_principal_angles():
    x, y = features(50, 8) * [9, 8, 7, 1, 1, 1, 1, 1], features(40, 8, 1) * [9, 1, 7, 8, 1, 1, 1, 1]
    tops = [np.linalg.eigh(np.cov(each.T))[1][:, -3:] for each in (x, y)]
    assert subspace_overlap(x, y, k=3) == pytest.approx(np.mean(np.cos(subspace_angles(*tops)) ** 2), abs=1e-10)
    assert subspace_overlap(x, x + 4, k=3) == pytest.approx(1)


def test_random_subspaces_overlap_by_k_over_d():
    found = [subspace_overlap(features(60, 20, 2 * i), features(60, 20, 2 * i + 1), k=4) for i in range(100)]
    assert np.mean(found) == pytest.approx(4 / 20, abs=4 * np.std(found) / 10)


def test_more_directions_than_there_are():
    with pytest.raises(SettingsError, match="k = 5 directions"):
        subspace_overlap(features(4, 8), features(9, 8), k=5)


def test_ranks_have_their_closed_forms():
    assert effective_rank(np.ones(7)) == pytest.approx(7)
    assert effective_rank(np.array([5.0, 0, 0])) == pytest.approx(1)
    assert effective_rank(np.array([3.0, 1.0])) == pytest.approx(4 / 3**0.75)
    assert stable_rank(np.array([2.0, 1.0, 1.0])) == pytest.approx(1.5)
    assert np.isnan(effective_rank(np.zeros(3)))
    assert np.isnan(stable_rank(np.zeros(3)))


def test_singular_values_are_numpys_either_way_up():
    matrix = features(5, 9)
    for each in (matrix, matrix.T):
        np.testing.assert_allclose(singular_values(each), np.linalg.svd(matrix, compute_uv=False), rtol=1e-9)


def test_feature_rank_counts_planted_directions():
    axes = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert feature_rank(axes @ rotation(3) + 7) == pytest.approx(2)


def simplex(classes, each, noise, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    return np.eye(classes)[labels] + noise * rng.normal(size=(len(labels), classes)), labels


def test_full_collapse_is_zero_and_noise_is_its_ratio():
    x, labels = simplex(5, 4, 0.0)
    found = collapse(3 * x + 1, labels)
    assert (found.nc1, found.nc2_norms, found.nc2_angles) == pytest.approx((0, 0, 0), abs=1e-12)
    assert collapse(np.full((20, 5), 0.1), labels).nc1 == np.inf  # one point for all classes is no collapse into many
    x, labels = simplex(5, 20_000, 0.5)
    within, between = 5 * 0.25, 1 - 1 / 5
    assert collapse(x, labels).nc1 == pytest.approx(within / between, rel=0.02)


def test_collapse_is_that_of_its_definition():
    x, labels = features(30, 4), np.arange(30) % 3
    means = np.stack([x[labels == c].mean(axis=0) for c in range(3)])
    within = np.mean([np.trace(np.cov(x[labels == c].T, bias=True)) for c in range(3)])
    assert collapse(x, labels).nc1 == pytest.approx(within / np.trace(np.cov(means.T, bias=True)))


def test_means_that_are_no_simplex_are_told_apart():
    x, labels = np.array([[1.0, 0], [1, 0.1], [-1, 0], [-1, 0.1], [0, 9], [0, 9.1]]), np.repeat(np.arange(3), 2)
    found = collapse(x, labels)
    assert found.nc2_norms > 0.2
    assert found.nc2_angles > 0.2
    with pytest.raises(SettingsError, match="two classes of several"):
        collapse(x, np.zeros(6, dtype=int))


def test_neighbours_are_counted_by_hand():
    def circle(*degrees):
        return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)

    x, y = circle(0, 10, 90, 95, 200, 215), circle(0, 90, 10, 95, 200, 215)
    # nearest in x: 1 0 3 2 5 4; in y: 2 3 0 1 5 4
    assert neighbour_overlap(x, y, groups=np.arange(6), k=1) == pytest.approx(2 / 6)
    assert neighbour_overlap(x, 4 * x @ rotation(2), groups=np.arange(6), k=2) == 1


def test_an_images_own_group_is_no_neighbour():
    x = features(20, 5)
    twins, groups = np.repeat(x, 2, axis=0), np.repeat(np.arange(20), 2)
    other = np.repeat(features(20, 5, 1), 2, axis=0)
    assert neighbour_overlap(twins, other, groups=np.arange(40), k=1) == 1  # each other's copy
    assert neighbour_overlap(twins, other, groups=groups, k=1) < 0.5


def test_unrelated_networks_overlap_by_chance():
    groups = np.repeat(np.arange(4), [5, 10, 10, 15])
    found = [
        neighbour_overlap(features(40, 30, 2 * i), features(40, 30, 2 * i + 1), groups=groups, k=5) for i in range(60)
    ]
    assert np.mean(found) == pytest.approx(overlap_by_chance(groups, k=5), abs=4 * np.std(found) / np.sqrt(60) + 0.01)
    with pytest.raises(SettingsError, match="between 1 and 25"):
        overlap_by_chance(groups, k=26)
