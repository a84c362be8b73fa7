from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import frechet as oracle
from vptft.when.distribution import debias
from vptft.when.distribution.debias import (
    Pair,
    closed_form_bias,
    delta_method,
    drawing_order,
    fd_infinity,
    grouped_jackknife,
    make_folds,
)
from vptft.when.distribution.frechet import CROSS_GRAM, EIGENVALUES, MIXED, TRIANGLES, Frechet, Side, frechet

D = 12
KINDS = ("short", "tall", "moments")
SIZES = {"short": (9, 8), "tall": (40, 30), "moments": (25, 20)}


def rows(n, seed, *, d=D, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + shift


def side(kind, x):
    return Side.of_moments(*oracle.moments(x), len(x)) if kind == "moments" else Side.of_features(x)


def two_sides(kinds, **wanted):
    x, y = (rows(SIZES[kind][i], seed=10 * i + 1, shift=i * 0.3) for i, kind in enumerate(kinds))
    return x, y, Pair(side(kinds[0], x), side(kinds[1], y), **wanted)


def folds_of(count, parts, seed=0):
    return np.array_split(np.random.default_rng(seed).permutation(count), parts)


every_pair = pytest.mark.parametrize("kinds", [(a, b) for a in KINDS for b in KINDS], ids="-".join)


@every_pair
def test_sub_samples_have_the_distance_of_their_own_rows(kinds):
    x, y, pair = two_sides(kinds)
    rng = np.random.default_rng(3)
    assert pair.resampled == tuple(kind != "moments" for kind in kinds)
    assert pair.whole.value == pytest.approx(oracle.distance(x, y), rel=1e-7)
    for first, second in (
        (None, None),
        (rng.permutation(len(x))[: len(x) // 2], None),
        (None, rng.permutation(len(y))[:5]),
        (rng.permutation(len(x))[:-3], np.arange(len(y))[2:]),
        (np.array([0, 1]), np.array([5, 2])),
    ):
        kept_x = x if first is None or kinds[0] == "moments" else x[first]
        kept_y = y if second is None or kinds[1] == "moments" else y[second]
        expected = oracle.distance(kept_x, kept_y)
        assert pair.distance(first, second) == pytest.approx(expected, rel=1e-6), (first, second)


@pytest.mark.parametrize("largest", [10, 35])
@pytest.mark.parametrize("kinds", [("short", "tall"), ("tall", "short"), ("tall", "tall"), ("tall", "moments")])
def test_a_side_too_large_to_resample_is_always_whole(kinds, largest, monkeypatch):
    monkeypatch.setattr(debias, "RESAMPLED", largest)
    x, y, pair = two_sides(kinds)
    can = [kind != "moments" and len(each) <= largest for kind, each in zip(kinds, (x, y), strict=True)]
    assert list(pair.resampled) == can
    index = np.arange(1, 7)
    expected = oracle.distance(x[index] if can[0] else x, y[index] if can[1] else y)
    assert pair.distance(index, index) == pytest.approx(expected, rel=1e-6)
    assert pair.distance(None, None) == pytest.approx(oracle.distance(x, y), rel=1e-6)


def test_the_limit_of_resampling_is_inclusive(monkeypatch):
    monkeypatch.setattr(debias, "RESAMPLED", 9)
    assert Pair(Side.of_features(rows(9, 1)), Side.of_features(rows(10, 2))).resampled == (True, False)


@every_pair
def test_the_whole_distance_is_frechets_and_its_vectors_take_the_coupling_apart(kinds):
    _, _, plain = two_sides(kinds)
    _, _, pair = two_sides(kinds, with_vectors=True)
    direct = frechet(*pair.sides)
    names = {("moments", "moments"): EIGENVALUES, ("tall", "tall"): TRIANGLES}
    for each in (plain, pair):
        assert each.whole.value == pytest.approx(direct.value, rel=1e-12)
        np.testing.assert_allclose(each.whole.singular_values, direct.singular_values, rtol=1e-10, atol=1e-12)
        assert each.whole.route == names.get(kinds, MIXED if "moments" in kinds else CROSS_GRAM)
    assert plain.vectors is None
    if kinds == ("moments", "moments"):
        assert pair.vectors is None
        return
    left, right = pair.vectors
    values = pair.whole.singular_values
    np.testing.assert_allclose((left * values) @ right.T, pair.sides[0].factor @ pair.sides[1].factor.T, atol=1e-12)
    for vectors in (left, right):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-12)


def jackknife_by_hand(x, y, folds):
    """Quenouille's formula for folds of equal size, every distance anew."""
    g = len(folds[0])
    without = [oracle.distance(np.delete(x, a, axis=0), np.delete(y, b, axis=0)) for a, b in zip(*folds, strict=True)]
    return g * oracle.distance(x, y) - (g - 1) * np.mean(without)


@pytest.mark.parametrize(("n", "m"), [(12, 8), (40, 28), (8, 60), (60, 8)])
def test_the_jackknife_of_equal_folds_is_quenouilles(n, m):
    x, y = rows(n, 1), rows(m, 2, shift=0.5)
    folds = [folds_of(n, 4), folds_of(m, 4)]
    found = grouped_jackknife(Pair(Side.of_features(x), Side.of_features(y)), folds)
    assert found == pytest.approx(jackknife_by_hand(x, y, folds), rel=1e-5)


def test_unequal_folds_weigh_the_bias_by_what_they_leave_out():
    """Under F(n) = a + c / n on average, the folds' mean excess is c (mean(1 / kept) - 1 / n)."""
    x, y = rows(40, 1), rows(40, 2)
    folds = [[np.arange(0, 20), np.arange(20, 30), np.arange(30, 40)] for _ in range(2)]
    kept = np.array([20, 30, 30])
    without = [oracle.distance(np.delete(x, part, axis=0), np.delete(y, part, axis=0)) for part in folds[0]]
    whole = oracle.distance(x, y)
    c = (np.mean(without) - whole) / (np.mean(1 / kept) - 1 / 40)
    found = grouped_jackknife(Pair(Side.of_features(x), Side.of_features(y)), folds)
    assert found == pytest.approx(whole - c / 40, rel=1e-6)


def test_sides_that_leave_out_unlike_parts_share_the_bias_equally():
    """With a bias b / 2 of each side, leaving out a fold makes it (n / kept + m / kept) b / 2."""
    x, y = rows(40, 1), rows(20, 2)
    folds = [[np.arange(0, 20), np.arange(20, 40)], [np.arange(0, 5), np.arange(5, 20)]]
    kept = np.array([[20, 20], [15, 5]])
    without = [
        oracle.distance(np.delete(x, a, axis=0), np.delete(y, b, axis=0)) for a, b in zip(*folds, strict=True)
    ]  # fmt: skip
    whole = oracle.distance(x, y)
    growth = np.mean([(40 / a + 20 / b) / 2 for a, b in kept.T])
    found = grouped_jackknife(Pair(Side.of_features(x), Side.of_features(y)), folds)
    assert found == pytest.approx(whole - (np.mean(without) - whole) / (growth - 1), rel=1e-6)


@pytest.mark.parametrize("tall", [False, True])
def test_a_side_that_is_kept_whole_loses_the_closed_forms_share(tall):
    x, y = rows(40 if tall else 12, 1), rows(500, 2, shift=0.2)
    mean, covariance = oracle.moments(y)
    parts = folds_of(len(x), 4)
    found = grouped_jackknife(
        Pair(Side.of_features(x), Side.of_moments(mean, covariance, 500)), [parts, [np.zeros(0, int)] * 4]
    )
    unsaid = grouped_jackknife(
        Pair(Side.of_features(x), Side.of_moments(mean, covariance)), [parts, [np.zeros(0, int)] * 4]
    )
    none = [np.zeros(0, int)] * 4
    by_hand = jackknife_by_hand(x, y, [parts, none])
    assert unsaid == pytest.approx(by_hand, rel=1e-5)
    share = bias_by_hand(oracle.moments(x)[1], covariance, np.trace(covariance), 500)
    assert unsaid - found == pytest.approx(share, rel=1e-5)


def test_of_moments_only_the_closed_form_is_left():
    (m1, s1), (m2, s2) = oracle.moments(rows(80, 1)), oracle.moments(rows(90, 2))
    pair = Pair(Side.of_moments(m1, s1, 80), Side.of_moments(m2, s2, 90))
    none = [[np.zeros(0, int)] * 10] * 2
    expected = oracle.distance_of_moments(m1, s1, m2, s2)
    expected -= bias_by_hand(s1, s2, np.trace(s1), 80) + bias_by_hand(s2, s1, np.trace(s2), 90)
    assert grouped_jackknife(pair, none) == pytest.approx(expected, rel=1e-7)
    assert delta_method(pair) == pytest.approx(expected, rel=1e-7)
    orders = [np.zeros(1, int)] * 2
    assert fd_infinity(pair, orders).value == pytest.approx(expected, rel=1e-7)


def bias_by_hand(own, other, trace, n):
    """The delta method's formula by loops, from the eigenvalues of the covariances' product."""
    t = np.sqrt(np.abs(np.linalg.eigvals(own @ other)))
    t = t[t > 1e-6]
    pairs = sum(a * b / (a + b) for a in t for b in t)
    return trace / n + (pairs + t.sum() / 2) / (2 * n)


def test_the_delta_method_is_its_formula_for_both_sides():
    x, y = rows(50, 1), rows(70, 2, shift=0.1)
    (_, s1), (_, s2) = oracle.moments(x), oracle.moments(y)
    pair = Pair(Side.of_features(x), Side.of_features(y))
    shares = bias_by_hand(s1, s2, np.trace(s1), 50), bias_by_hand(s2, s1, np.trace(s2), 70)
    assert delta_method(pair) == pytest.approx(oracle.distance(x, y) - sum(shares), rel=1e-7)
    half_known = Pair(Side.of_features(x), Side.of_moments(*oracle.moments(y)))
    assert delta_method(half_known) == pytest.approx(oracle.distance(x, y) - shares[0], rel=1e-7)


def test_singular_values_of_zero_add_no_bias():
    whole = Frechet(1.0, "r", np.array([2.0, 0.5, 0.0]))
    positive = Frechet(1.0, "r", np.array([2.0, 0.5]))
    assert closed_form_bias(whole, 3.0, 10) == closed_form_bias(positive, 3.0, 10)
    assert closed_form_bias(Frechet(1.0, "r", np.zeros(2)), 3.0, 10) == pytest.approx(0.3)


@pytest.mark.parametrize(("sizes", "equal"), [((120, 120), True), ((120, 250), True), ((200, 150), False)])
def test_the_closed_form_is_the_bias_of_gaussian_samples(sizes, equal):
    rng = np.random.default_rng(11)
    d, repetitions = 4, 1500
    first = np.zeros(d), np.diag([2.0, 1.0, 0.7, 0.4])
    second = first if equal else (np.full(d, 0.4), rng.normal(size=(d, d)) + np.eye(d))
    s1, s2 = (factor.T @ factor for _, factor in (first, second))
    truth = oracle.distance_of_moments(first[0], s1, second[0], s2)
    plain, linear = oracle.distances_of_samples(first, second, *sizes, repetitions, rng)
    excess = plain - truth - linear
    error = excess.std(ddof=1) / np.sqrt(repetitions)
    sides = [Side.of_moments(np.zeros(d), s, n) for s, n in ((s1, sizes[0]), (s2, sizes[1]))]
    whole = frechet(*sides)
    found = sum(closed_form_bias(whole, each.trace, each.n) for each in sides)
    assert error < 0.05 * excess.mean()
    assert found == pytest.approx(excess.mean(), abs=3.5 * error + 0.03 * excess.mean())


@pytest.mark.parametrize(("n", "d", "left"), [(150, 40, 0.2), (30, 40, 0.5)])
def test_the_jackknife_removes_most_of_the_bias(n, d, left):
    rng = np.random.default_rng(3)
    scale = np.arange(1, d + 1) ** -0.5
    plain, debiased = [], []
    for _ in range(4):
        x, y = rng.normal(size=(n, d)) * scale, rng.normal(size=(n, d)) * scale
        pair = Pair(Side.of_features(x), Side.of_features(y))
        plain.append(pair.whole.value)
        debiased.append(grouped_jackknife(pair, [make_folds(np.arange(n), 10, rng) for _ in range(2)]))
    assert np.mean(plain) > 0
    assert abs(np.mean(debiased)) < left * np.mean(plain)


@pytest.mark.parametrize("points", [3, 10])
@pytest.mark.parametrize("smallest", [0.5, 0.25])
def test_fd_infinity_is_the_line_through_nested_sub_samples(smallest, points):
    x, y = rows(40, 1), rows(24, 2, shift=0.3)
    orders = [np.random.default_rng(i).permutation(len(each)) for i, each in enumerate((x, y))]
    found = fd_infinity(
        Pair(Side.of_features(x), Side.of_features(y)), orders, smallest=smallest, points=points
    )  # fmt: skip
    inverse = np.linspace(1 / smallest, 1, points)
    taken = [(round(40 / by), round(24 / by)) for by in inverse]
    distances = [oracle.distance(x[orders[0][:a]], y[orders[1][:b]]) for a, b in taken]
    design = np.stack([inverse, np.ones(points)], axis=1)
    (slope, value), *_ = np.linalg.lstsq(design, np.array(distances), rcond=None)
    assert found.value == pytest.approx(value, rel=1e-5)
    assert found.curve["n"].tolist() == [b for _, b in taken]
    np.testing.assert_allclose(found.curve["distance"], distances, rtol=1e-6)
    np.testing.assert_allclose(found.curve["fitted"], value + slope * inverse, rtol=1e-5)
    assert found.curve["n"].iloc[0] == round(24 * smallest)
    assert found.curve["n"].iloc[-1] == 24


def test_fd_infinity_counts_only_the_side_that_is_resampled():
    x, y = rows(40, 1), rows(30, 2)
    mean, covariance = oracle.moments(y)
    order = np.arange(40)
    unsaid = fd_infinity(Pair(Side.of_features(x), Side.of_moments(mean, covariance)), [order, np.zeros(1, int)])
    said = fd_infinity(Pair(Side.of_features(x), Side.of_moments(mean, covariance, 30)), [order, np.zeros(1, int)])
    assert unsaid.curve["n"].iloc[-1] == 40
    assert unsaid.curve["distance"].iloc[0] == pytest.approx(oracle.distance(x[:20], y), rel=1e-6)
    share = bias_by_hand(oracle.moments(x)[1], covariance, np.trace(covariance), 30)
    assert unsaid.value - said.value == pytest.approx(share, rel=1e-6)


def test_fd_infinity_takes_at_least_two_images():
    pair = Pair(Side.of_features(rows(3, 1)), Side.of_features(rows(3, 2)))
    found = fd_infinity(pair, [np.arange(3)] * 2, smallest=0.1)
    assert np.isfinite(found.value)
    assert found.curve["distance"].iloc[0] == pytest.approx(pair.distance(np.arange(2), np.arange(2)))


group_lists = st.lists(st.integers(0, 9), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(group_lists, st.integers(1, 12), st.integers(0, 2**31))
def test_folds_divide_whole_groups_evenly(groups, count, seed):
    folds = make_folds(groups, count, np.random.default_rng(seed))
    assert len(folds) == min(count, len(set(groups)))
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(groups)))
    members = [{groups[i] for i in fold} for fold in folds]
    assert all(a.isdisjoint(b) for k, a in enumerate(members) for b in members[:k])
    sizes = [len(fold) for fold in folds]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= max(groups.count(name) for name in groups)
    again = make_folds(groups, count, np.random.default_rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip(folds, again, strict=True))


def test_folds_are_drawn_at_random_and_large_groups_first():
    groups = np.arange(40)
    drawn = {tuple(make_folds(groups, 2, np.random.default_rng(seed))[0]) for seed in range(20)}
    assert len(drawn) == 20
    together = np.zeros(20)
    for seed in range(200):
        fold = make_folds(np.arange(20), 2, np.random.default_rng(seed))[0]
        together[fold] += 1
    np.testing.assert_allclose(together / 200, 0.5, atol=0.15)
    uneven = np.repeat(np.arange(4), [6, 3, 2, 1])
    for seed in range(5):
        assert sorted(map(len, make_folds(uneven, 2, np.random.default_rng(seed)))) == [6, 6]


@settings(max_examples=40, deadline=None)
@given(group_lists, st.integers(0, 2**31))
def test_the_order_of_drawing_keeps_groups_together(groups, seed):
    order = drawing_order(groups, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(groups)))
    names = [groups[i] for i in order]
    changes = sum(a != b for a, b in pairwise(names))
    assert changes == len(set(groups)) - 1
    assert np.array_equal(order, drawing_order(groups, np.random.default_rng(seed)))


def test_the_order_of_drawing_is_random_among_and_within_groups():
    groups = np.repeat(["x", "y", "z"], 2)
    seen = {tuple(drawing_order(groups, np.random.default_rng(seed))) for seed in range(800)}
    assert len(seen) == 6 * 2**3
