"""Lanczos, trace and density against the exact prompt Hessian and against matrices of known spectrum."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from vptft.errors import SettingsError
from vptft.why.landscape.curvature.density import spectral_density
from vptft.why.landscape.curvature.eigenvalues import extreme_eigenvalues
from vptft.why.landscape.curvature.lanczos import lanczos, random_signs
from vptft.why.landscape.curvature.trace import beyond, hutchinson, hutchpp
from why.landscape.curvature.conftest import Matrix, of_spectrum

# Outliers, a bulk around 0 and a few negative eigenvalues, as a trained network has.
NETWORK = [97.4, 43.3, 29.1, 23.1, 13.8, 6.7, *np.linspace(2, -0.5, 490), -4.0, -7.0, -11.0, -33.0]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_basis_is_orthonormal_and_turns_the_hessian_into_t(hessian, exact):
    krylov = lanczos(hessian, random_signs(hessian, generator()), steps=20, generator=generator())
    q = krylov.basis.numpy()
    t = np.diag(krylov.diagonal) + np.diag(krylov.beside, 1) + np.diag(krylov.beside, -1)
    np.testing.assert_allclose(q @ q.T, np.eye(20), atol=1e-12)
    np.testing.assert_allclose(q @ exact @ q.T, t, atol=1e-11)


def test_the_basis_stays_orthonormal_in_single_precision_long_after_eigenvalues_converged():
    matrix = of_spectrum(NETWORK, torch.float32)
    krylov = lanczos(matrix, random_signs(matrix, generator()), steps=120, generator=generator())
    q = krylov.basis
    assert torch.allclose(q @ q.T, torch.eye(120), atol=1e-5)
    assert (krylov.ritz()[0] > 90).sum() == 1  # no copies of the largest


def test_both_ends_of_the_prompt_hessian_are_those_of_the_exact_matrix(hessian, exact):
    found = extreme_eigenvalues(hessian, k=4, tolerance=1e-4)
    expected = np.linalg.eigvalsh(exact)
    allowed = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(found.largest, expected[::-1][:4], atol=allowed)
    np.testing.assert_allclose(found.smallest, expected[:4], atol=allowed)
    assert found.largest_converged
    assert found.smallest_converged
    assert found.products == len(found.krylov.basis) <= 48


def test_eigenvectors_have_the_residuals_that_are_reported(hessian):
    found = extreme_eigenvalues(hessian, k=3, max_products=14)
    for end, values, residuals in (
        ("largest", found.largest, found.largest_residuals), ("smallest", found.smallest, found.smallest_residuals),
    ):  # fmt: skip
        for vector, value, residual in zip(found.vectors(3, end=end), values, residuals, strict=True):
            assert float(vector.norm()) == pytest.approx(1)
            assert float((hessian(vector) - value * vector).norm()) == pytest.approx(residual, abs=1e-12)


def test_the_largest_five_are_eigshs_in_fewer_products_than_25():
    matrix = of_spectrum(NETWORK)
    operator = LinearOperator((500, 500), matvec=lambda v: matrix.matrix.numpy() @ v, dtype=np.float64)
    expected = eigsh(operator, k=5, which="LA", return_eigenvectors=False, rng=np.random.default_rng(0))
    found = extreme_eigenvalues(matrix, k=5, ends="largest")
    assert found.products <= 25
    assert found.largest_converged
    assert not found.smallest_converged  # and that one was not waited for
    np.testing.assert_allclose(found.largest, np.sort(expected)[::-1], rtol=1e-4)


def test_negative_eigenvalues_are_not_ranked_among_the_largest():
    found = extreme_eigenvalues(of_spectrum([-100.0, 3.0, 2.0, *np.zeros(30)]), k=2)
    np.testing.assert_allclose(found.largest, [3, 2], atol=1e-6)
    assert found.smallest[0] == pytest.approx(-100)


def test_what_has_not_converged_says_so():
    found = extreme_eigenvalues(of_spectrum(np.linspace(-1, 1, 200)), k=5, max_products=12)
    assert not found.largest_converged
    assert not found.smallest_converged
    assert found.products == 12
    assert found.largest_residuals.max() > 1e-3


@pytest.mark.parametrize("spectrum", [[2.0], [3.0, 1.0, -2.0], [1.0] * 6, [0.0] * 4, [5.0, 5.0, 0.0, 0.0, -1.0]])
def test_of_a_small_or_degenerate_matrix_everything_is_found(spectrum):
    found = extreme_eigenvalues(of_spectrum(spectrum), k=5, max_products=100)
    n = min(5, len(spectrum))
    np.testing.assert_allclose(found.largest, np.sort(spectrum)[::-1][:n], atol=1e-9)
    assert found.largest_converged
    assert found.smallest_converged
    assert beyond(of_spectrum(spectrum), found.krylov).value == pytest.approx(sum(spectrum), abs=1e-9)


def test_trace_estimates_are_unbiased_and_their_standard_errors_are_their_spread(hessian, exact):
    """Over many seeds: the mean is the trace, the mean squared error is the mean squared standard error."""
    truth = np.trace(exact)
    krylov = extreme_eigenvalues(hessian, k=1, max_products=9).krylov
    matrix = Matrix(exact)
    for estimate in (
        lambda seed: hutchinson(matrix, probes=12, seed=seed),
        lambda seed: hutchpp(matrix, budget=18, seed=seed),
        lambda seed: beyond(matrix, krylov, probes=8, seed=seed),
    ):
        found = [estimate(seed) for seed in range(300)]
        errors = np.array([each.value - truth for each in found])
        squares = np.mean([each.se**2 for each in found])
        assert abs(errors.mean()) < 4 * errors.std() / 300**0.5
        assert np.mean(errors**2) == pytest.approx(squares, rel=0.25)
        covered = np.mean([each.interval.low <= truth <= each.interval.high for each in found])
        assert 0.91 <= covered <= 0.99


def test_hutchpp_errs_far_less_than_hutchinson_where_outliers_hold_the_trace():
    matrix = of_spectrum(NETWORK)
    truth = sum(NETWORK)
    median = {
        name: np.median([abs(estimate(seed).value / truth - 1) for seed in range(30)])
        for name, estimate in (
            ("++", lambda seed: hutchpp(matrix, budget=30, seed=seed)),
            ("plain", lambda seed: hutchinson(matrix, probes=30, seed=seed)),
        )
    }
    assert median["++"] < median["plain"] / 2


def test_with_as_many_products_as_rows_the_trace_is_exact(exact):
    found = hutchpp(Matrix(exact), budget=48)
    assert found.value == pytest.approx(np.trace(exact))
    assert (found.se, found.products, found.interval.low) == (0.0, 48, found.value)


def test_products_are_counted(exact):
    assert hutchpp(Matrix(exact), budget=31).products == 31
    assert hutchinson(Matrix(exact), probes=7).products == 7
    assert spectral_density(Matrix(exact), probes=2, steps=5).products == 10


def test_a_probes_quadrature_has_the_moments_of_that_probe(hessian, exact):
    """m nodes reproduce g' H^p g exactly up to p = 2 m - 1, one power more no longer."""
    found = spectral_density(hessian, probes=2, steps=4, seed=3)
    stream = generator(3)
    for i in range(2):
        g = random_signs(hessian, stream).numpy()
        for power in range(1, 8):
            expected = g @ np.linalg.matrix_power(exact, power) @ g
            assert found.moments(power)[i] == pytest.approx(expected, rel=1e-9)
        assert found.moments(8)[i] != pytest.approx(g @ np.linalg.matrix_power(exact, 8) @ g, rel=1e-9)


def test_moments_of_the_density_are_traces_of_powers(exact):
    found = spectral_density(Matrix(exact), probes=200, steps=6)
    for power in (1, 2, 3, 4):
        moments = found.moments(power)
        truth = np.trace(np.linalg.matrix_power(exact, power))
        assert abs(moments.mean() - truth) < 4 * moments.std() / 200**0.5


def test_the_blurred_density_integrates_to_one_with_its_weight_where_the_eigenvalues_are():
    found = spectral_density(of_spectrum([8.0] * 5 + [0.0] * 15), probes=50, steps=10)
    at = np.linspace(-3, 11, 2001)
    density = found.evaluate(at, width=0.2).mean(axis=0)
    assert np.trapezoid(density, at) == pytest.approx(1, abs=1e-6)
    above = at > 4
    assert np.trapezoid(density[above], at[above]) == pytest.approx(0.25, abs=0.05)
    assert found.below(4).mean() == pytest.approx(0.75, abs=0.05)


def test_equal_seeds_give_equal_estimates(exact):
    matrix = Matrix(exact)
    assert hutchpp(matrix, seed=4) == hutchpp(matrix, seed=4) != hutchpp(matrix, seed=5)
    first, second = (extreme_eigenvalues(matrix, k=2, max_products=10, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.largest, second.largest)


def test_settings_out_of_range_are_refused(exact):
    matrix = Matrix(exact)
    with pytest.raises(SettingsError, match="6 products at least"):
        hutchpp(matrix, budget=5)
    with pytest.raises(SettingsError, match="count of 1 or more"):
        extreme_eigenvalues(matrix, k=0)
    with pytest.raises(SettingsError, match="needs a probe"):
        spectral_density(matrix, probes=0)
    with pytest.raises(SettingsError, match="one step at least"):
        spectral_density(matrix, steps=0)
    with pytest.raises(SettingsError, match="positive, finite length"):
        lanczos(matrix, torch.zeros(48), steps=3, generator=generator())
    with pytest.raises(SettingsError, match="width of a node"):
        spectral_density(matrix, probes=1, steps=3).evaluate(np.zeros(1), width=0)
