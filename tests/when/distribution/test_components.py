from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from features.builders import make_statistics
from oracles import frechet as oracle
from vptft.features.statistics import Statistics
from vptft.when.distribution.components import in_components


def two_sets(n, m=30, d=8):
    rng = np.random.default_rng(n)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mix + 5, rng.normal(size=(m, d)) @ mix.T


def without_features(statistics):
    return replace(statistics, scatter=statistics.second_moment(), features=None)


def partly(statistics):
    """Moments of all, features of every second image only."""
    index = np.arange(0, statistics.n, 2)
    features = replace(
        statistics.features, values=statistics.features.values[index], ids=statistics.features.ids[::2],
        groups=statistics.features.groups[::2],
    )  # fmt: skip
    return replace(statistics, scatter=statistics.second_moment(), features=features)


FORMS = {"features": lambda given: given, "moments": without_features, "sample": partly}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [7, 8, 9, 40])
def test_both_sets_are_projected_on_the_first_ones_principal_components(n, form):
    x, y = (np.float32(each) for each in two_sets(n))
    first, second = in_components(FORMS[form](make_statistics(x)), FORMS[form](make_statistics(y, name="b")), 3)
    reference = PCA(n_components=3, svd_solver="full").fit(x.astype(np.float64))
    assert (first.dimensions, second.dimensions) == (3, 3)
    axes = reference.components_
    signs = None
    for found, values in ((first, x), (second, y)):
        expected = values.astype(np.float64) @ axes.T
        signs = np.sign(found.mean / expected.mean(axis=0)) if signs is None else signs
        np.testing.assert_allclose(found.mean, signs * expected.mean(axis=0), rtol=1e-5, atol=1e-5)
        covariance = np.cov(expected, rowvar=False) * np.multiply.outer(signs, signs)
        np.testing.assert_allclose(found.covariance(), covariance, rtol=1e-5, atol=1e-5)
        assert found.n == len(values)
        if found.features is not None:
            kept = expected[::2] if form == "sample" else expected
            np.testing.assert_allclose(found.features.values, signs * kept, rtol=1e-4, atol=1e-4)
        else:
            assert form == "moments"
    np.testing.assert_allclose(np.diag(first.covariance()), reference.explained_variance_, rtol=1e-5)


def test_components_come_in_order_and_do_not_correlate():
    x, y = two_sets(50)
    first, _ = in_components(make_statistics(x), make_statistics(y), 5)
    covariance = first.covariance()
    assert (np.diff(np.diag(covariance)) < 0).all()
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-4)


@pytest.mark.parametrize("count", [8, 9, 100])
def test_as_many_components_as_dimensions_change_nothing(count):
    first, second = (make_statistics(each) for each in two_sets(30))
    assert in_components(first, second, count) == (first, second)


@pytest.mark.parametrize("form", ["features", "moments"])
def test_n_images_have_n_minus_one_components(form):
    first, second = (FORMS[form](make_statistics(each)) for each in two_sets(4))
    found, _ = in_components(first, second, 6)
    assert found.dimensions == 3
    assert np.trace(found.covariance()) == pytest.approx(np.trace(first.covariance()), rel=1e-5)


def test_directions_without_variance_are_no_components():
    x, y = two_sets(6)
    x[3:] = x[:3]
    found, other = in_components(make_statistics(x), make_statistics(y), 4)
    assert (found.dimensions, other.dimensions) == (2, 2)


def test_a_set_of_unknown_size_has_as_many_as_asked():
    x, y = two_sets(30)
    mean, covariance = oracle.moments(x)
    unknown = Statistics(
        name="a.npz", distance_name="FD", space=None, n=None, mean=mean, scatter=covariance, features=None
    )
    found, other = in_components(unknown, make_statistics(y), 7)
    assert (found.dimensions, found.n, other.dimensions) == (7, None, 7)
    np.testing.assert_allclose(
        np.diag(found.covariance()), np.linalg.eigvalsh(covariance)[::-1][:7], rtol=1e-10
    )  # fmt: skip


def test_a_distance_of_projections_is_a_lower_bound():
    x, y = two_sets(60)
    first, second = make_statistics(x), make_statistics(y)
    distances = []
    for count in (1, 3, 7, 8):
        projected = in_components(first, second, count)
        distances.append(oracle.distance(*(each.features.values for each in projected)))
    assert (np.diff(distances) > 0).all()
    assert distances[-1] == pytest.approx(oracle.distance(x, y), rel=1e-5)
