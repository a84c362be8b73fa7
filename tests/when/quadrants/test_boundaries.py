import numpy as np
import pytest

from vptft.when.quadrants.boundaries import best_cut, designed, fitted, median


def test_the_designed_boundary_lies_between_the_sides():
    assert designed(np.array([1.0, 2.0, 6.0]), np.array([False, False, True])).value == 4.0
    assert np.isnan(designed(np.array([1.0, 5.0, 4.0]), np.array([False, False, True])).value)
    assert np.isnan(designed(np.array([1.0, 5.0]), np.array([True, True])).value)
    assert median(np.array([1.0, 2.0, 9.0])).value == 2.0


@pytest.mark.parametrize("seed", range(20))
def test_no_cut_fits_better_than_the_best(seed):
    rng = np.random.default_rng(seed)
    x, signs = rng.normal(size=9), rng.choice([-1, 1], 9)

    def right(cut):
        return sum((value > cut) == (sign < 0) for value, sign in zip(x, signs, strict=True))

    assert right(best_cut(x, signs)) == max(right(cut) for cut in np.concatenate([np.linspace(-4, 4, 2001), [-99, 99]]))


def test_a_planted_boundary_is_found_with_an_interval():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 100, 60)
    found = fitted(x, np.where(x > 40, -1, 1) * np.where(rng.random(60) < 0.05, -1, 1))
    assert found.low <= 40 <= found.high
    assert abs(found.value - 40) < 5
    assert found.high - found.low < 25


def test_one_winner_everywhere_has_no_boundary():
    found = fitted(np.arange(8.0), np.ones(8))
    assert found.value == found.high == np.inf  # low: a draw without the farthest task cannot rule its distance out
    assert np.isnan(fitted(np.arange(4.0), np.array([1, 1, -1, -1])).value)
    assert np.isnan(fitted(np.arange(8.0), np.zeros(8)).value)
