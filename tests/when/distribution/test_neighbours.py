from itertools import combinations

import numpy as np
import pytest

from oracles import kernels as oracle
from vptft.errors import SettingsError
from vptft.when.distribution.neighbours import NEIGHBOURS, support
from vptft.when.distribution.products import Products


def rng():
    return np.random.default_rng(0)


def by_loops(x, y, k):
    return (
        oracle.precision(x, y, k), oracle.precision(y, x, k), oracle.density(x, y, k), oracle.coverage(x, y, k)
    )  # fmt: skip


def numbers(found):
    return found.precision, found.recall, found.density, found.coverage


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.3, 0.0), (3.0, 0.0), (1.0, 1.5)])
def test_the_four_are_their_definitions(k, scale, shift):
    x, y = np.random.default_rng(1).normal(size=(2, 24, 3))
    y = scale * y + shift
    found = support(Products.of(x, y), rng=rng(), k=k)
    assert numbers(found) == pytest.approx(by_loops(x, y, k))
    assert (found.n, found.k) == (24, k)


def test_narrow_and_wide_sets_tell_precision_from_recall():
    x, y = np.random.default_rng(2).normal(size=(2, 60, 3))
    narrow = support(Products.of(x, 0.2 * y), rng=rng())
    wide = support(Products.of(x, 5 * y), rng=rng())
    assert narrow.precision > 0.95
    assert narrow.recall < 0.3
    assert wide.recall > 0.8
    assert wide.precision < 0.5
    assert narrow.density > 1 > wide.density


def test_a_border_belongs_to_its_ball():
    """On a line with step 1 and k = 1 every radius is 1; an image one step beside the end is on the border."""
    x, y = np.arange(4.0)[:, None], np.array([4.0, 5.0, 9.0, 9.5])[:, None]
    assert numbers(support(Products.of(x, y), rng=rng(), k=1)) == (0.25, 0.25, 0.25, 0.25)


def test_duplicates_have_balls_without_extent():
    x = np.zeros((7, 2))
    same, other = support(Products.of(x, x), rng=rng()), support(Products.of(x, x + 1), rng=rng())
    assert numbers(same) == (1, 1, 7 / 5, 1)
    assert numbers(other) == (0, 0, 0, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_of_the_larger_set_equally_many_are_drawn(turned):
    few, many = np.random.default_rng(3).normal(size=(5, 2)), np.random.default_rng(4).normal(size=(7, 2)) + 0.3
    possible = {
        tuple(np.round(by_loops(part, few, 2) if turned else by_loops(few, part, 2), 9))
        for chosen in combinations(range(7), 5)
        for part in [many[list(chosen)]]
    }
    products = Products.of(many, few) if turned else Products.of(few, many)
    seen = set()
    for seed in range(60):
        found = support(products, rng=np.random.default_rng(seed), k=2)
        assert found.n == 5
        seen.add(tuple(np.round(numbers(found), 9)))
        assert support(products, rng=np.random.default_rng(seed), k=2) == found
    assert seen <= possible
    assert len(seen) > len(possible) / 2


def test_products_are_left_as_they_were():
    x, y = np.random.default_rng(5).normal(size=(2, 9, 2))
    products = Products.of(x, y)
    before = products.distances_xx.copy()
    support(products, rng=rng())
    np.testing.assert_array_equal(products.distances_xx, before)


@pytest.mark.parametrize(("n", "k", "there"), [(5, 5, False), (6, 5, True), (2, 2, False), (2, 1, True)])
def test_at_most_k_images_have_no_support(n, k, there):
    x, y = np.random.default_rng(6).normal(size=(2, n, 2))
    assert (support(Products.of(x, y), rng=rng(), k=k) is not None) == there


def test_k_is_at_least_one():
    x = np.zeros((9, 2))
    with pytest.raises(SettingsError, match="at least 1, got 0"):
        support(Products.of(x, x), rng=rng(), k=0)
    assert NEIGHBOURS == 5
