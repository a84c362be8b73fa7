import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import frechet as oracle
from vptft.when.distribution import frechet as module
from vptft.when.distribution.frechet import (
    CROSS_GRAM,
    EIGENVALUES,
    MIXED,
    PIVOTED,
    TRIANGLES,
    Side,
    assemble,
    couple,
    frechet,
    frechet_distance,
    frechet_distance_from_moments,
)


def singular_values(case, d):
    """Of the covariance's root, for the constructed cases of the peers' comparison."""
    return {
        "condition 1e3": np.logspace(0, -1.5, d),
        "condition 1e10": np.logspace(0, -5, d),
        "condition 1e14": np.logspace(0, -7, d),
        "deficient": np.where(np.arange(d) < 0.3 * d, np.linspace(2, 0.5, d), 0),
        "features 1 to 1e-8": np.logspace(0, -8, d),
    }[case]


CASES = ("condition 1e3", "condition 1e10", "condition 1e14", "deficient", "features 1 to 1e-8")


def constructed(case, n, d, *, itself):
    """Rows of both sets, their distance in closed form, and the trace it is judged by."""
    rng = np.random.default_rng(d)
    x = oracle.rows_with(singular_values(case, d), n, rng)
    mapping, shift = (np.eye(d), np.zeros(d)) if itself else (oracle.positive_map(d, rng), 0.1 * rng.normal(size=d))
    y = x if itself else x @ mapping + shift
    return x, y, oracle.mapped_distance(x, mapping, shift), np.square(x).sum() / (n - 1)


def check_constructed(case, d, itself):
    x, y, truth, trace = constructed(case, 2 * d, d, itself=itself)
    short_x, short_y = (rows[: d // 2] - rows[: d // 2].mean(axis=0) for rows in (x, y))
    from_features = frechet(Side.of_features(x), Side.of_features(y))
    assert abs(from_features.value - truth) <= 1e-12 * trace
    assert from_features.route == TRIANGLES
    (mean_1, covariance_1), (mean_2, covariance_2) = oracle.moments(x), oracle.moments(y)
    from_moments = frechet(Side.of_moments(mean_1, covariance_1), Side.of_moments(mean_2, covariance_2))
    assert abs(from_moments.value - truth) <= 1e-8 * trace
    assert from_moments.route == (EIGENVALUES if case == "condition 1e3" else PIVOTED)
    mixed = frechet(Side.of_features(x), Side.of_moments(mean_2, covariance_2))
    assert abs(mixed.value - truth) <= 1e-8 * trace
    assert mixed.route == MIXED
    assert min(from_features.value, from_moments.value, mixed.value) >= 0
    if itself:
        assert frechet_distance(short_x, short_y) <= 1e-12 * trace


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_constructed_cases_have_their_closed_form(case, itself):
    check_constructed(case, 60, itself)


@pytest.mark.verify
@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_constructed_cases_have_their_closed_form_at_full_width(case, itself):
    check_constructed(case, 1024, itself)


@pytest.mark.parametrize("n", [2, 30, 59, 60])
def test_fewer_images_than_dimensions_have_the_closed_form_too(n):
    rng = np.random.default_rng(n)
    x = oracle.rows_with(singular_values("condition 1e3", 60), 120, rng)[:n]
    x = x - x.mean(axis=0)
    mapping, shift = oracle.positive_map(60, rng), rng.normal(size=60)
    found = frechet(Side.of_features(x), Side.of_features(x @ mapping + shift))
    assert found.value == pytest.approx(oracle.mapped_distance(x, mapping, shift), rel=1e-12)
    assert found.route == CROSS_GRAM


@pytest.mark.parametrize(
    ("n", "m", "route"),
    [(20, 20, CROSS_GRAM), (21, 20, CROSS_GRAM), (20, 21, CROSS_GRAM), (9, 300, CROSS_GRAM), (21, 21, TRIANGLES)],
)
def test_the_route_follows_the_smaller_set(n, m, route):
    rng = np.random.default_rng(n + m)
    x, y = rng.normal(size=(n, 20)), 2 * rng.normal(size=(m, 20)) + 0.3
    found = frechet(Side.of_features(x), Side.of_features(y))
    assert found.route == route
    assert found.value == pytest.approx(oracle.distance(x, y), rel=1e-7)


@pytest.mark.parametrize(("n", "m"), [(6, 7), (4, 3), (3, 7), (2, 2)])
def test_tiny_sets_are_right_to_the_last_digits(n, m):
    rng = np.random.default_rng(10 * n + m)
    x, y = rng.normal(size=(n, 4)), rng.normal(size=(m, 4)) * [1, 0.1, 1e-4, 1e-7] + 1
    assert frechet_distance(x, y) == pytest.approx(oracle.precise_distance(x, y), rel=1e-13)


@pytest.mark.parametrize(("n", "m", "d"), [(1500, 1200, 64), (300, 400, 128), (200, 90, 100), (100, 80, 150)])
def test_features_and_moments_equal_pytorch_fid(n, m, d):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    y = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 0.3
    sides = (*oracle.moments(x), *oracle.moments(y))
    expected = oracle.peer_distance(*sides)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance_from_moments(*sides) == pytest.approx(expected, rel=1e-6)


def test_commuting_covariances_have_a_closed_form():
    """Diagonal covariances a^2 and b^2: the distance is |m1 - m2|^2 + sum (a - b)^2."""
    a, b, shift = np.array([1, 2, 3, 4, 1e-6]), np.array([5, 0, 1, 4, 2e-6]), np.arange(5)
    white = oracle.rows_with(np.ones(5), 500, np.random.default_rng(0))
    expected = (shift**2).sum() + ((a - b) ** 2).sum()
    assert frechet_distance(white * a, white * b + shift) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance_from_moments(np.zeros(5), np.diag(a**2), shift, np.diag(b**2)) == pytest.approx(expected)


def test_singular_values_are_those_of_the_roots_product():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(40, 6))
    (mean_1, covariance_1), (mean_2, covariance_2) = oracle.moments(x), oracle.moments(y)
    expected = np.sqrt(np.sort(np.linalg.eigvals(covariance_1 @ covariance_2).real)[::-1])
    first, second = Side.of_features(x), Side.of_moments(mean_2, covariance_2)
    for found in (
        frechet(first, Side.of_features(y)),
        frechet(first, second),
        frechet(Side.of_moments(mean_1, covariance_1), second),
    ):
        np.testing.assert_allclose(found.singular_values, expected, rtol=1e-9)


@pytest.mark.parametrize("n", [5, 12, 13, 200])
def test_a_sides_factor_and_trace_are_those_of_its_covariance(n):
    x = np.random.default_rng(n).normal(size=(n, 12)) + 3
    mean, covariance = oracle.moments(x)
    of_features, of_moments = Side.of_features(x), Side.of_moments(mean, covariance, n)
    for side in (of_features, of_moments):
        np.testing.assert_allclose(side.factor.T @ side.factor, covariance, atol=1e-13)
        np.testing.assert_allclose(side.mean, mean, rtol=1e-14)
        assert side.trace == pytest.approx(np.trace(covariance), rel=1e-13)
        assert (side.n, side.dimensions) == (n, 12)
        assert len(side.factor) <= 12
    assert (of_features.basis is None) == (n <= 12)
    if n > 12:
        np.testing.assert_allclose(of_features.basis.T @ of_features.basis, np.eye(12), atol=1e-13)
        np.testing.assert_allclose(of_features.basis @ of_features.factor * np.sqrt(n - 1), x - mean, atol=1e-12)
    np.testing.assert_allclose(of_features.squares, np.square(x - mean).sum(axis=1), rtol=1e-12)
    assert of_moments.squares.size == 0


def test_float32_features_are_measured_in_float64():
    rng = np.random.default_rng(6)
    x = (1e4 + rng.normal(size=(50, 4))).astype(np.float32)
    y = (1e4 + 2 * rng.normal(size=(60, 4))).astype(np.float32)
    expected = oracle.precise_distance(x, y)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("condition", "good"), [(1e9, True), (1e11, False)])
def test_only_well_conditioned_covariances_take_the_eigenvalue_route(condition, good):
    covariance = np.diag(np.geomspace(1, 1 / condition, 8))
    side = Side.of_moments(np.zeros(8), covariance)
    assert (side.lower is not None) == good
    assert (frechet(side, Side.of_moments(np.zeros(8), np.eye(8))).route == EIGENVALUES) == good
    assert (frechet(Side.of_moments(np.zeros(8), np.eye(8)), side).route == EIGENVALUES) == good
    if good:
        np.testing.assert_allclose(side.lower @ side.lower.T, covariance, rtol=1e-12)


def test_a_covariance_that_rounding_made_indefinite_is_cut_at_its_rank():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(12, 40))
    mean, covariance = oracle.moments(x)
    noise = rng.normal(size=(40, 40)) * 1e-15
    dirty = covariance + noise + noise.T
    assert np.linalg.eigvalsh(dirty).min() < 0
    side = Side.of_moments(mean, dirty)
    assert side.lower is None
    assert 11 <= len(side.factor) <= 13
    assert frechet(side, Side.of_features(x)).value <= 1e-8 * np.trace(covariance)


def test_what_rounding_took_below_zero_is_zero():
    side = Side.of_moments(np.zeros(2), np.eye(2))
    assert assemble(side, side, np.array([1.0, 1.0 + 1e-15]), "r").value == 0.0
    assert assemble(side, side, np.array([1.0, 0.25]), "r") == (1.5, "r", pytest.approx([1.0, 0.25]))
    np.testing.assert_array_equal(couple(side, side), np.eye(2))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_numbers_have_no_distance_least_of_all_zero(bad):
    x = np.random.default_rng(8).normal(size=(9, 4))
    x[3, 2] = bad
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="NaN"):
        frechet_distance(x, x)


def test_a_side_needs_rows_or_a_covariance():
    with pytest.raises(TypeError, match="rows or a covariance"):
        _ = Side(mean=np.zeros(3)).trace


sets = st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(1, 8), st.integers(0, 2**31))


@settings(max_examples=30, deadline=None)
@given(sets, st.floats(1e-3, 1e3))
def test_distances_are_symmetric_scale_and_do_not_turn(sizes, scale):
    n, m, d, seed = sizes
    rng = np.random.default_rng(seed)
    x, y, shift = rng.normal(size=(n, d)), 2 * rng.normal(size=(m, d)) + 1, rng.normal(size=d)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    found = frechet_distance(x, y)
    near = 1e-12 * (np.square(x).sum() + np.square(y).sum())
    assert found >= 0
    assert frechet_distance(y, x) == pytest.approx(found, abs=near)
    assert frechet_distance(x @ turn + shift, y @ turn + shift) == pytest.approx(found, abs=near)
    assert frechet_distance(scale * x, scale * y) == pytest.approx(scale**2 * found, abs=near * scale**2)


def test_the_routes_names_differ():
    assert len({CROSS_GRAM, TRIANGLES, EIGENVALUES, PIVOTED, MIXED}) == 5
    assert module.WELL_CONDITIONED == 1e-10
