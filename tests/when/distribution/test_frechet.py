import warnings

import numpy as np
import pytest
from pytorch_fid.fid_score import calculate_frechet_distance

from vptft.data.images import Skipped
from vptft.errors import DataError
from vptft.features.extraction import Features
from vptft.when.distribution.frechet import (
    frechet_distance,
    frechet_distance_from_moments,
    grouped_jackknife,
    measure,
)


def features(values, *, name="a", identity="e", skipped=()):
    ids = tuple(map(str, range(len(values))))
    return Features(
        name=name,
        extractor="e",
        distance_name="FD (e)",
        identity=identity,
        values=np.asarray(values, dtype=np.float32),
        ids=ids,
        groups=ids,
        labels=None,
        skipped=skipped,
    )


def moments(x):
    return x.mean(axis=0), np.cov(x, rowvar=False)


def peer(x, y):
    """pytorch-fid's own function on the same moments; its sqrtm call is deprecated in scipy, nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return calculate_frechet_distance(*moments(x), *moments(y))


@pytest.mark.parametrize(("n", "m", "d"), [(3000, 2500, 64), (300, 400, 128), (500, 90, 100), (100, 80, 200)])
def test_both_routes_equal_pytorch_fid(n, m, d):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    y = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 0.3
    expected = peer(x, y)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance_from_moments(*moments(x), *moments(y)) == pytest.approx(expected, rel=1e-6)


def test_commuting_covariances_have_a_closed_form():
    """Diagonal covariances a^2 and b^2: the distance is |m1 - m2|^2 + sum (a - b)^2."""
    rng = np.random.default_rng(0)
    white = np.linalg.qr(rng.normal(size=(500, 5)) - 0.0)[0]
    white = np.linalg.qr(white - white.mean(axis=0))[0] * np.sqrt(499)
    a, b, shift = np.array([1, 2, 3, 4, 1e-6]), np.array([5, 0, 1, 4, 2e-6]), np.arange(5)
    expected = (shift**2).sum() + ((a - b) ** 2).sum()
    assert frechet_distance(white * a, white * b + shift) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance_from_moments(np.zeros(5), np.diag(a**2), shift, np.diag(b**2)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [30, 400])
def test_a_set_has_no_distance_to_itself_where_the_peer_goes_negative(n):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 100)) * 10.0 ** -np.linspace(0, 8, 100)
    trace = np.trace(np.cov(x, rowvar=False))
    assert 0 <= frechet_distance(x, x) <= 1e-12 * trace
    assert 0 <= frechet_distance_from_moments(*moments(x), *moments(x)) <= 1e-8 * trace


def test_rank_deficient_moments_equal_the_features():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 100)), rng.normal(size=(60, 100))
    assert frechet_distance_from_moments(*moments(x), *moments(y)) == pytest.approx(frechet_distance(x, y), rel=1e-10)


@pytest.mark.parametrize(("n", "d", "left"), [(150, 40, 0.2), (30, 40, 0.5)])
def test_the_jackknife_removes_most_of_the_bias(n, d, left):
    rng = np.random.default_rng(3)
    scale = np.arange(1, d + 1) ** -0.5
    plain, debiased = [], []
    for _ in range(4):
        x, y = rng.normal(size=(n, d)) * scale, rng.normal(size=(n, d)) * scale
        plain.append(frechet_distance(x, y))
        debiased.append(grouped_jackknife(x, y, rng=rng))
    assert np.mean(plain) > 0
    assert abs(np.mean(debiased)) < left * np.mean(plain)


def test_the_result_warns_where_covariances_are_rank_deficient_and_lists_what_was_skipped():
    rng = np.random.default_rng(4)
    first = features(rng.normal(size=(20, 30)), skipped=(Skipped(path="x/broken.png", reason="truncated"),))
    second = features(rng.normal(size=(25, 30)), name="b")
    result = measure(first, second, seed=0)
    text = " ".join(result.warnings())
    assert "N=20" in text
    assert "30 dimensions" in text
    assert "x/broken.png: truncated" in text
    assert result.frame()["skipped"].tolist() == [1]
    assert (result.n_first, result.n_second, result.noise_floor_n) == (20, 25, 12)
    assert result == measure(first, second, seed=0)
    full = measure(features(rng.normal(size=(200, 3))), features(rng.normal(size=(200, 3))), seed=0)
    assert full.warnings() == []


def test_unlike_features_and_single_images_are_refused():
    values = np.zeros((5, 2))
    with pytest.raises(DataError, match=r"a has e, b other"):
        measure(features(values), features(values, name="b", identity="other"))
    with pytest.raises(DataError, match="b has 1 readable image; a distance needs at least 2"):
        measure(features(values), features(values[:1], name="b"))
