import numpy as np
import pytest

from oracles import frechet as oracle
from vptft.when.distribution.debias import Pair
from vptft.when.distribution.frechet import Side
from vptft.when.distribution.influence import counted_twice, influences, standard_error

D = 6


def rows(n, seed, d=D):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ (rng.normal(size=(d, d)) / np.sqrt(d)) + 0.3 * rng.normal(size=d)


def slope(step, size):
    return (step(size) - step(-size)) / (2 * size)


def by_weights(x, y, size):
    """Change of the distance of weighted sets of equal size as the weight of one image of ``x`` rises."""
    n = len(x)
    uniform = np.full(n, 1 / n)

    def distance(weights):
        return oracle.distance_of_moments(*oracle.moments(x, weights), *oracle.moments(y, uniform))

    return np.array([slope(lambda e, i=i: distance((1 - e) * uniform + e * np.eye(n)[i]), size) for i in range(n)])


@pytest.mark.parametrize(("n", "size", "near"), [(30, 1e-4, 1e-5), (7, 1e-4, 1e-5), (5, 3e-3, 2e-3)])
def test_influences_are_the_slopes_in_each_images_weight(n, size, near):
    x, y = rows(n, 1), rows(n, 2)
    first, second = influences(Pair(Side.of_features(x), Side.of_features(y), with_vectors=True))
    scale = np.abs(first).max()
    np.testing.assert_allclose(first, by_weights(x, y, size), atol=near * scale)
    np.testing.assert_allclose(second, by_weights(y, x, size), atol=near * scale)


def by_moments(x, mean, covariance, size):
    """Change of the distance as the moments of ``x`` go towards each image's."""
    mean_x, covariance_x = oracle.moments(x)

    def moved(e, image):
        step = image - mean_x
        return oracle.distance_of_moments(
            mean_x + e * step, covariance_x + e * (np.multiply.outer(step, step) - covariance_x), mean, covariance
        )

    slopes = np.array([slope(lambda e, image=image: moved(e, image), size) for image in x])
    return slopes - slopes.mean()


@pytest.mark.parametrize("moments", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_influences_of_unequal_sides_are_slopes_in_the_moments(moments, turned):
    x, y = rows(25, 1), rows(60, 2)
    mean, covariance = oracle.moments(y)
    sides = [Side.of_features(x), Side.of_moments(mean, covariance, 60) if moments else Side.of_features(y)]
    step = -1 if turned else 1
    found = influences(Pair(*sides[::step], with_vectors=True))[::step]
    np.testing.assert_allclose(found[0], by_moments(x, mean, covariance, 1e-4), rtol=1e-5, atol=1e-6)
    if moments:
        assert found[1] is None
    else:
        np.testing.assert_allclose(found[1], by_moments(y, *oracle.moments(x), 1e-4), rtol=1e-5, atol=1e-6)


def test_influences_are_centred_and_an_outlier_drives_the_sets_apart():
    x, y = rows(40, 1), rows(40, 2)
    x[17] += 9
    first, second = influences(Pair(Side.of_features(x), Side.of_features(y), with_vectors=True))
    assert first.mean() == pytest.approx(0, abs=1e-12 * np.abs(first).max())
    assert second.mean() == pytest.approx(0, abs=1e-12 * np.abs(second).max())
    assert np.argmax(first) == 17
    more = oracle.distance(np.concatenate([x, x[[17]]]), y) - oracle.distance(x, y)
    assert more == pytest.approx(first[17] / 40, rel=0.2)


def test_of_moments_nothing_is_known():
    side = Side.of_moments(np.zeros(3), np.eye(3), 10)
    assert influences(Pair(side, side, with_vectors=True)) == (None, None)


def test_a_pair_of_features_without_vectors_is_no_pair_of_moments():
    side = Side.of_features(np.random.default_rng(0).normal(size=(6, 2)))
    with pytest.raises(TypeError, match="made with_vectors=True"):
        influences(Pair(side, side))


@pytest.mark.parametrize("sizes", [(120, 120), (100, 300)])
def test_what_is_counted_twice_is_the_variance_at_no_distance(sizes):
    repetitions = 4000
    scales = np.array([2.0, 1.2, 0.5])
    gaussian = np.zeros(3), np.diag(scales)
    plain, _ = oracle.distances_of_samples(gaussian, gaussian, *sizes, repetitions, np.random.default_rng(1))
    spread = plain.var(ddof=1)
    error = np.std(np.square(plain - plain.mean())) / np.sqrt(repetitions)
    assert error < 0.08 * spread
    assert counted_twice(scales**2, sizes) == pytest.approx(spread, abs=3.5 * error + 0.05 * spread)


def test_what_is_counted_twice_by_loops():
    t, counts = np.array([3.0, 1.0, 0.25]), (20, 50)
    c = 1 / 20 + 1 / 50
    pairs = sum((t[i] * t[j] / (t[i] + t[j])) ** 2 for i in range(3) for j in range(i))
    expected = 2 * c**2 * (sum(t**2) + pairs + sum(t**2) / 4)
    assert counted_twice(t, counts) == pytest.approx(expected, rel=1e-12)
    assert counted_twice(np.append(t, 0.0), counts) == pytest.approx(expected, rel=1e-12)
    assert counted_twice(t, (20, None)) == pytest.approx(expected * (1 / 20 / c) ** 2, rel=1e-12)
    assert counted_twice(t, (None, None)) == 0
    assert counted_twice(np.zeros(2), counts) == 0


def variance_by_hand(values, groups):
    """G / (G - 1) times the squared deviations of groups' sums, each effect divided by n."""
    sums = {}
    for value, group in zip(values / len(values), groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value
    sums = np.array(list(sums.values()))
    return len(sums) / (len(sums) - 1) * np.square(sums - sums.mean()).sum()


def test_the_standard_error_adds_the_sides_and_takes_the_second_order_once():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=12), 2 * rng.normal(size=20)
    groups = np.arange(12), np.repeat(np.arange(5), 4)
    plain = variance_by_hand(first, groups[0]) + variance_by_hand(second, groups[1])
    sides = list(zip((first, second), groups, strict=True))
    little, much = np.array([0.5]), np.array([500.0])
    expected = np.sqrt(plain - counted_twice(little, (12, 20)))
    assert standard_error(sides, little, (12, 20)) == pytest.approx(expected, rel=1e-12)
    assert expected < np.sqrt(plain)
    assert standard_error(sides, much, (12, 20)) == pytest.approx(np.sqrt(plain / 2), rel=1e-12)
    alone = standard_error([sides[0], (None, np.zeros(1))], np.zeros(1), (12, None))
    assert alone == pytest.approx(np.sqrt(variance_by_hand(first, groups[0])), rel=1e-12)
    assert np.isnan(standard_error([(first, np.zeros(12))], np.zeros(1), (12,)))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_standard_error_is_the_spread_over_samples(shift):
    rng = np.random.default_rng(5)
    d, n, found, values = 4, 150, [], []
    for _ in range(250):
        x, y = rng.normal(size=(n, d)), (1 + shift) * rng.normal(size=(n, d)) + shift
        pair = Pair(Side.of_features(x), Side.of_features(y), with_vectors=True)
        values.append(pair.whole.value)
        sides = [(each, np.arange(n)) for each in influences(pair)]
        found.append(standard_error(sides, pair.whole.singular_values, (n, n)))
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(np.std(values, ddof=1), rel=0.15)
