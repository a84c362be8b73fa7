import numpy as np
import pytest

from vptft.when.distribution import products as module
from vptft.when.distribution.products import Products, drawn


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_and_distances_are_those_of_every_pair(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)).astype(dtype), (rng.normal(size=(5, 4)) + 2).astype(dtype)
    found = Products.of(x, y)
    assert found.dimensions == 4
    for name, a, b in (("xx", x, x), ("yy", y, y), ("xy", x, y)):
        a, b = a.astype(np.float64), b.astype(np.float64)
        inner = [[sum(p * q for p, q in zip(i, j, strict=True)) for j in b] for i in a]
        squares = [[sum((p - q) ** 2 for p, q in zip(i, j, strict=True)) for j in b] for i in a]
        np.testing.assert_allclose(getattr(found, name), inner, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(getattr(found, f"distances_{name}"), squares, rtol=1e-12, atol=1e-12)
        assert getattr(found, name).dtype == np.float64


def test_distances_far_from_the_origin_keep_their_digits():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(7, 3))
    near, far = Products.of(x, y), Products.of(x + 2.0**20, y + 2.0**20)
    moved = np.square((x + 2.0**20)[:, None] - (y + 2.0**20)[None]).sum(axis=2)
    np.testing.assert_allclose(far.distances_xy, moved, rtol=1e-11)
    np.testing.assert_allclose(far.distances_xx, near.distances_xx, rtol=1e-7, atol=1e-7)


def test_a_distance_is_never_negative():
    x = np.repeat(np.random.default_rng(2).normal(size=(4, 5)) * 1e3, 3, axis=0)
    found = Products.of(x, x)
    assert min(found.distances_xx.min(), found.distances_xy.min()) >= 0


def test_a_set_that_is_small_enough_is_taken_whole(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 10)
    rng = np.random.default_rng(3)
    for count in (1, 9, 10):
        np.testing.assert_array_equal(drawn(count, rng), np.arange(count))
    assert rng.bit_generator.state == np.random.default_rng(3).bit_generator.state


def test_of_a_larger_set_as_many_are_drawn_each_as_likely(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 10)
    times = np.zeros(25)
    for seed in range(400):
        index = drawn(25, np.random.default_rng(seed))
        assert len(index) == 10
        assert (np.diff(index) > 0).all()
        times[index] += 1
        np.testing.assert_array_equal(index, drawn(25, np.random.default_rng(seed)))
    np.testing.assert_allclose(times / 400, 0.4, atol=0.1)


def test_the_largest_set_is_that_of_the_sample_a_file_keeps():
    from vptft.features.statistics import SAMPLE

    assert module.LARGEST == SAMPLE == 5000
