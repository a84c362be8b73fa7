"""Scores on synthetic maps, against counting pixels one by one."""

import numpy as np
import pytest

from vptft.errors import SettingsError
from vptft.why.attention.agreement import spearman, top_overlap
from vptft.why.attention.focus import effective_patches, entropy_bits, gini
from vptft.why.attention.localisation import (
    coverage,
    energy,
    localisation,
    overlap_at_area,
    overlap_at_threshold,
    pointing,
)
from vptft.why.attention.ranking import at_random, ranked

SIZE, GRID = 32, (4, 4)


def mask(rows, columns):
    out = np.zeros((1, SIZE, SIZE), dtype=bool)
    out[0, rows, columns] = True
    return out


def on(*patches):
    out = np.zeros((1, *GRID))
    for row, column in patches:
        out[0, row, column] = 1 / len(patches)
    return out


EVEN = np.full((1, *GRID), 1 / 16)
CORNER = mask(slice(0, 8), slice(0, 12))
"""Patch (0, 0) whole and half of patch (0, 1): 1.5 of 16 patches."""


def test_energy_and_pointing_of_planted_maps():
    cover = coverage(CORNER, GRID)
    for score in (energy, pointing):
        assert score(on((0, 0)), cover) == pytest.approx(1)
        assert score(on((0, 1)), cover) == pytest.approx(0.5)
        assert score(on((3, 3)), cover) == 0
        assert score(EVEN, cover) == pytest.approx(1.5 / 16)  # chance: the object's area
    strongest_beside = 0.7 * on((2, 2)) + 0.3 * on((0, 0))
    assert energy(strongest_beside, cover) == pytest.approx(0.3)
    assert pointing(strongest_beside, cover) == 0


def test_overlap_of_planted_maps_is_that_of_counted_pixels():
    two = 0.6 * on((0, 0)) + 0.4 * on((1, 0))  # the object fills 1.5 patches: two are chosen
    chosen = np.kron(two[0] > 0, np.ones((8, 8))).astype(bool)
    counted = (chosen & CORNER[0]).sum() / (chosen | CORNER[0]).sum()
    assert overlap_at_area(two, coverage(CORNER, GRID)) == pytest.approx(counted)
    exact = mask(slice(8, 16), slice(8, 24))
    assert overlap_at_area(on((1, 1), (1, 2)), coverage(exact, GRID)) == pytest.approx(1)


def test_the_threshold_is_chosen_on_the_other_half():
    """Where one half's maps are flatter, its threshold is still that of the other half, right or wrong."""
    sharp, blunt = on((1, 1)), 0.25 * on((1, 1)) + 0.75 * EVEN
    cover = np.repeat(coverage(mask(slice(8, 16), slice(8, 16)), GRID), 4, axis=0)
    maps = np.concatenate([sharp, blunt, sharp, blunt])
    alike = overlap_at_threshold(maps, cover, np.array(["a", "b", "b", "a"]))  # each half has both kinds
    assert alike == pytest.approx(1)
    apart = overlap_at_threshold(maps, cover, np.array(["a", "b", "a", "b"]))
    assert apart == pytest.approx([1, 1 / 16, 1, 1 / 16])  # what suits the sharp ones lets the whole blunt ones in
    assert np.isnan(overlap_at_threshold(maps, cover, np.array(["a"] * 4))).all()


def test_without_an_object_there_is_no_score_and_without_masks_none_at_all():
    masks = np.concatenate([CORNER, np.zeros_like(CORNER)])
    maps = np.concatenate([EVEN, EVEN])
    found = localisation(maps, masks, np.array(["a", "b"]))
    assert found["object_area"] == pytest.approx([1.5 / 16, 0])
    for name in ("on_object", "pointing", "iou_area"):
        assert np.isfinite(found[name][0])
        assert np.isnan(found[name][1])
    assert all(np.isnan(values).all() for values in localisation(maps, None, np.array(["a", "b"])).values())


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(SettingsError, match="do not divide into 5 x 4"):
        coverage(CORNER, (5, 4))
    with pytest.raises(SettingsError, match="must not be negative"):
        energy(EVEN - 0.1, coverage(CORNER, GRID))


def test_concentration_of_one_patch_of_some_and_of_all():
    assert entropy_bits(on((0, 0))) == pytest.approx(0)
    assert effective_patches(EVEN) == pytest.approx(16)
    assert effective_patches(on((0, 0), (1, 1), (2, 2))) == pytest.approx(3)
    assert gini(EVEN) == pytest.approx(0)
    assert gini(on((2, 1))) == pytest.approx(15 / 16)


def test_gini_is_half_the_relative_mean_difference():
    values = np.random.default_rng(0).gamma(1.0, size=(3, *GRID))
    flat = values.reshape(3, -1)
    differences = np.abs(flat[:, :, None] - flat[:, None, :]).mean(axis=(1, 2))
    assert gini(values) == pytest.approx(differences / (2 * flat.mean(axis=1)))


def test_agreement_of_equal_reversed_and_unrelated_maps():
    rng = np.random.default_rng(1)
    maps, others = rng.permuted(np.arange(400 * 16.0).reshape(400, 16), axis=1).reshape(2, 200, *GRID)
    assert spearman(maps, 3 * maps + 1) == pytest.approx(1)
    assert spearman(maps, -maps) == pytest.approx(-1)
    assert abs(spearman(maps, others).mean()) < 0.06
    assert top_overlap(maps, maps, share=0.25) == pytest.approx(1)
    assert top_overlap(maps, -maps, share=0.25) == pytest.approx(0)
    assert top_overlap(maps, others, share=0.25).mean() == pytest.approx(0.25, abs=0.03)
    assert np.isnan(spearman(EVEN, maps[:1])).all()
    flat = np.repeat(EVEN, 200, axis=0)
    assert top_overlap(flat, flat, share=0.25).mean() == pytest.approx(0.25, abs=0.04)  # chance, not agreement
    with pytest.raises(SettingsError, match="cannot be compared"):
        spearman(EVEN, maps)
    with pytest.raises(SettingsError, match=r"lie in \(0, 1\], got 0"):
        top_overlap(EVEN, EVEN, share=0)


def test_spearman_is_scipys():
    from scipy import stats

    first, second = np.random.default_rng(2).integers(0, 5, size=(2, 6, *GRID)).astype(float)  # with ties
    expected = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    assert spearman(first, second) == pytest.approx(expected)


def test_ties_are_broken_by_chance_and_repeat():
    flat = np.ones((300, *GRID))
    order = ranked(flat, seed=3)
    np.testing.assert_array_equal(order, ranked(flat, seed=3))
    assert sorted(order[0]) == list(range(16))
    assert order[:, 0].mean() == pytest.approx(7.5, abs=1)  # not always the first patch
    np.testing.assert_array_equal(ranked(np.arange(16.0).reshape(1, *GRID))[0], np.arange(16)[::-1])
    np.testing.assert_array_equal(at_random(5, 16, seed=1)[:2], at_random(2, 16, seed=1))
