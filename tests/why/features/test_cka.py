"""CKA against its definition with centring matrices, and HSIC against its U-statistic over all quadruples."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import ortho_group

from vptft.errors import SettingsError
from vptft.why.features.cka import MinibatchCKA, gram, hsic, linear_cka


def features(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def u_statistic(k, m):
    """Unbiased HSIC as a mean over all ordered quadruples of different images (Song et al. 2012)."""
    values = [
        k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(len(k)), 4)
    ]  # fmt: skip
    return float(np.mean(values))


def u_centred(k):
    """U-centred matrix of Szekely and Rizzo 2014, definition 2, whose products give the same estimator."""
    n = len(k)
    k = k - np.diag(np.diag(k))
    rows = k.sum(axis=1)
    out = k - rows[:, None] / (n - 2) - rows[None, :] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
    return out - np.diag(np.diag(out))


def test_hsic_is_the_mean_over_quadruples():
    k, m = gram(features(6, 3)), gram(features(6, 2, 1))
    assert hsic(k, m) == pytest.approx(u_statistic(k, m), rel=1e-10)


def test_hsic_is_the_inner_product_of_u_centred_matrices():
    k, m = gram(features(9, 3)), gram(features(9, 5, 1))
    assert hsic(k, m) == pytest.approx(float((u_centred(k) * u_centred(m)).sum()) / (9 * 6), rel=1e-10)


def test_with_many_images_it_is_the_definition_with_centring_matrices():
    n = 600
    x = features(n, 4)
    y = x @ features(4, 3, 1) + 0.5 * features(n, 3, 2)
    h = np.eye(n) - np.ones((n, n)) / n
    k, m = x @ x.T, y @ y.T
    terms = [np.trace(a @ h @ b @ h) for a, b in ((k, m), (k, k), (m, m))]
    assert linear_cka(x, y) == pytest.approx(terms[0] / np.sqrt(terms[1] * terms[2]), abs=6e-3)


def test_rotation_scale_and_shift_change_nothing_and_other_maps_do():
    x, y = features(40, 6), features(40, 8, 1) + np.pad(features(40, 6), ((0, 0), (0, 2)))
    turned = 3.7 * y @ ortho_group.rvs(8, random_state=np.random.default_rng(2)) + 5
    assert linear_cka(x, turned) == pytest.approx(linear_cka(x, y), abs=1e-10)
    assert linear_cka(x, 3 * x @ ortho_group.rvs(6, random_state=np.random.default_rng(3)) - 1) == pytest.approx(1)
    assert linear_cka(x, x * [10, 1, 1, 1, 1, 1]) < 0.8
    assert linear_cka(x, y) == linear_cka(y, x)


def test_independent_features_have_none_on_average_where_the_biased_one_has_much():
    debiased, biased = [], []
    for seed in range(300):
        x, y = features(20, 30, 2 * seed), features(20, 30, 2 * seed + 1)
        debiased.append(linear_cka(x, y))
        k, m = gram(x), gram(y)
        biased.append(np.vdot(k, m) / np.sqrt(np.vdot(k, k) * np.vdot(m, m)))
    assert abs(np.mean(debiased)) < 4 * np.std(debiased) / np.sqrt(300)
    assert np.mean(biased) > 0.5


def test_minibatches_of_the_whole_are_the_whole_and_many_tend_to_it():
    n = 1536
    x = features(n, 5)
    y = x @ features(5, 5, 1) + features(n, 5, 2)
    batches = MinibatchCKA()
    for start in range(0, n, 16):
        batches.update(x[start : start + 16], y[start : start + 16])
    assert batches.images == n
    assert batches.value == pytest.approx(linear_cka(x, y), abs=0.03)


def test_the_minibatch_numerator_is_unbiased():
    x, y = features(24, 3), features(24, 3) + features(24, 3, 1)
    whole = hsic(gram(x), gram(y))
    rng, terms = np.random.default_rng(0), []
    for _ in range(3000):
        batch = rng.choice(24, size=8, replace=False)
        terms.append(hsic(gram(x[batch]), gram(y[batch])))
    assert abs(np.mean(terms) - whole) < 4 * np.std(terms) / np.sqrt(3000)


def test_what_cannot_be_compared():
    assert np.isnan(linear_cka(features(8, 2), np.ones((8, 2))))
    with pytest.raises(SettingsError, match="same images; these are 8 and 9"):
        linear_cka(features(8, 2), features(9, 2))
    with pytest.raises(SettingsError, match=r"at least 4 images, not \(3, 2\)"):
        linear_cka(features(3, 2), features(3, 2))
