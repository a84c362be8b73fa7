import numpy as np
import pytest

from oracles import kernels as oracle
from vptft.when.distribution.kernels import cubic, discrepancy, gaussian, kernel_distance
from vptft.when.distribution.products import Products

KERNELS = [(cubic, oracle.cubic), (gaussian, oracle.gaussian)]
each_kernel = pytest.mark.parametrize(("kernel", "slow"), KERNELS, ids=["cubic", "gaussian"])


def two_sets(n=14, m=9, d=5, shift=0.4):
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + shift


def own(*sets):
    return [np.arange(len(each)) for each in sets]


@each_kernel
@pytest.mark.parametrize(("n", "m"), [(14, 9), (2, 2), (2, 7)])
def test_both_estimates_are_those_of_double_loops(kernel, slow, n, m):
    x, y = two_sets(n, m)
    found = kernel_distance(Products.of(x, y), kernel, own(x, y))
    assert found.value == pytest.approx(oracle.unbiased(x, y, slow), rel=1e-10, abs=1e-10)
    assert found.biased == pytest.approx(oracle.biased(x, y, slow), rel=1e-10, abs=1e-10)


def test_the_biased_form_is_cmmds():
    x, y = two_sets(30, 25)
    found = kernel_distance(Products.of(x, y), gaussian, own(x, y))
    assert found.biased == pytest.approx(oracle.gaussian_v_statistic(x, y), rel=1e-9)


@each_kernel
def test_matrices_hold_the_kernel_of_every_pair(kernel, slow):
    x, y = two_sets(4, 3)
    for matrix, a, b in zip(kernel(Products.of(x, y)), (x, y, x), (x, y, y), strict=True):
        np.testing.assert_allclose(matrix, [[slow(i, j) for j in b] for i in a], rtol=1e-12)


def test_the_gaussian_kernel_does_not_see_lengths_and_leaves_an_image_of_length_zero():
    x, y = two_sets()
    value = kernel_distance(Products.of(x, y), gaussian, own(x, y)).value
    longer = x * np.arange(1, 15)[:, None]
    assert kernel_distance(Products.of(longer, 7 * y), gaussian, own(x, y)).value == pytest.approx(value, abs=1e-9)
    x[3] = 0
    # With -x beside x the centre is 0, so the length of 0 is exact.
    first, _, between = gaussian(Products.of(np.concatenate([x, -x]), y))
    assert np.isfinite(first).all()
    assert first[3, 0] == pytest.approx(1000 * np.exp(-1 / 100), rel=1e-6)
    np.testing.assert_allclose(between[3], 1000 * np.exp(-1 / 100), rtol=1e-6)


@each_kernel
def test_equal_sets_have_no_biased_distance_and_a_negative_unbiased_one(kernel, slow):
    x, _ = two_sets()
    found = kernel_distance(Products.of(x, x), kernel, own(x, x))
    assert found.biased == pytest.approx(0, abs=1e-9)
    assert found.value == pytest.approx(oracle.unbiased(x, x, slow), rel=1e-9)
    assert found.value < 0


def standard_error_by_loops(x, y, slow, groups):
    """Hoeffding's first-order term of each image, summed by group; the spread of the sums."""
    total = 0.0
    for one, other, names in ((x, y, groups[0]), (y, x, groups[1])):
        n = len(one)
        effects = []
        for i in range(n):
            inside = sum(slow(one[i], one[j]) for j in range(n) if j != i) / (n - 1)
            effects.append(2 * (inside - sum(slow(one[i], each) for each in other) / len(other)) / n)
        effects = np.array(effects) - np.mean(effects)
        sums = np.array([effects[np.asarray(names) == name].sum() for name in np.unique(names)])
        total += len(sums) * sums.var(ddof=1)
    return np.sqrt(total)


@each_kernel
@pytest.mark.parametrize("grouped", [False, True])
def test_the_standard_error_is_of_first_order_influences(kernel, slow, grouped):
    x, y = two_sets(12, 10)
    groups = [np.arange(12) // 3, np.arange(10) // 2] if grouped else own(x, y)
    found = kernel_distance(Products.of(x, y), kernel, groups)
    assert found.se == pytest.approx(standard_error_by_loops(x, y, slow, groups), rel=1e-9)


def test_one_group_has_no_standard_error():
    x, y = two_sets()
    found = kernel_distance(Products.of(x, y), cubic, [np.zeros(len(x)), np.arange(len(y))])
    assert np.isnan(found.se)
    assert np.isfinite(found.value)


def test_influences_are_the_slopes_in_each_images_weight():
    """Of the V-statistic with weights, but for the images' own terms, which are a share 1 / n."""
    x, y = two_sets(200, 150)
    kernels = gaussian(Products.of(x, y))
    _, _, first, second = discrepancy(*kernels)
    assert first.mean() == pytest.approx(0, abs=1e-9)
    assert second.mean() == pytest.approx(0, abs=1e-9)
    xx, yy, xy = kernels

    def value(u, v):
        return u @ xx @ u + v @ yy @ v - 2 * u @ xy @ v

    u, v = np.full(200, 1 / 200), np.full(150, 1 / 150)
    slopes = [(value(u + 1e-4 * (np.eye(200)[i] - u), v) - value(u - 1e-4 * (np.eye(200)[i] - u), v)) / 2e-4
              for i in range(200)]  # fmt: skip
    np.testing.assert_allclose(first, slopes, atol=0.06 * np.abs(first).max())
    slopes = [(value(u, v + 1e-4 * (np.eye(150)[i] - v)) - value(u, v - 1e-4 * (np.eye(150)[i] - v))) / 2e-4
              for i in range(150)]  # fmt: skip
    np.testing.assert_allclose(second, slopes, atol=0.06 * np.abs(second).max())


def test_the_value_is_unbiased_and_its_standard_error_the_spread_over_samples():
    rng = np.random.default_rng(8)
    zero, apart, errors = [], [], []
    for _ in range(250):
        x, y, z = (rng.normal(size=(40, 3)) for _ in range(3))
        zero.append(kernel_distance(Products.of(x, y), cubic, own(x, y)).value)
        found = kernel_distance(Products.of(x, z + 1.5), gaussian, own(x, z))
        apart.append(found.value)
        errors.append(found.se)
    assert abs(np.mean(zero)) < 3.5 * np.std(zero) / np.sqrt(250)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(apart, ddof=1), rel=0.15)


def test_far_from_the_origin_no_digits_are_lost():
    x, y = (np.float32(each) for each in two_sets(12, 10, shift=50.0))
    x, y = x + np.float32(1000), y + np.float32(1000)
    expected = oracle.unbiased(x, y, oracle.gaussian)
    assert kernel_distance(Products.of(x, y), gaussian, own(x, y)).value == pytest.approx(expected, abs=1e-8)
