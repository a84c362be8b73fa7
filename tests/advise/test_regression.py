"""The closed form against numerical integration, against scikit-learn, against dense matrices, and by simulation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import BayesianRidge

from advise.evidence import made
from vptft.advise.prediction import Prediction
from vptft.advise.regression import Prior, fit, row_of
from vptft.advise.tasks import Trained
from vptft.errors import SettingsError


def trained(gaps, xs, noise=0.0):
    return [
        Trained(task=str(i), gaps=(float(y),), sizes=(300.0,), noise=(float(s),), values={"disparity": float(x)})
        for i, (y, x, s) in enumerate(zip(gaps, xs, np.broadcast_to(noise, len(gaps)), strict=True))
    ]


def integrated(gaps, xs, noise, at, new_noise, prior, values):
    """Predictive distribution function by brute force: a dense grid over intercept, slope and tau."""
    z, z_new = (xs - xs.mean()) / xs.std(), (at - xs.mean()) / xs.std()
    b0, b1 = np.linspace(-30, 30, 121), np.linspace(-20, 20, 101)
    u = (np.arange(150) + 0.5) / 150  # tau = scale tan(pi u / 2): equal weights under the half-Cauchy prior
    total, below = 0.0, np.zeros(len(values))
    grid0, grid1 = np.meshgrid(b0, b1, indexing="ij")
    prior_density = stats.norm.pdf(grid0, 0, prior.intercept) * stats.norm.pdf(grid1, 0, prior.slope)
    for tau in prior.between * np.tan(np.pi * u / 2):
        density = prior_density.copy()
        for y, x, s in zip(gaps, z, noise, strict=True):
            density *= stats.norm.pdf(y, grid0 + grid1 * x, np.sqrt(tau**2 + s))
        total += density.sum()
        spread = np.sqrt(tau**2 + new_noise)
        for i, value in enumerate(values):
            below[i] += (density * stats.norm.cdf(value, grid0 + grid1 * z_new, spread)).sum()
    return below / total


def test_the_prediction_is_the_integral_over_coefficients_and_residual():
    gaps, xs, noise = (
        np.array([4.0, -2.0, 1.0, 7.0, -1.0]),
        np.array([0.9, 0.1, 0.4, 0.8, 0.2]),
        np.array([1, 4, 0.5, 2, 1]),
    )
    prior = Prior(intercept=6, slope=4, between=3)
    values = np.array([-6.0, 0.0, 3.0, 9.0])
    expected = integrated(gaps, xs, noise, 1.1, 2.0, prior, values)
    found = fit(trained(gaps, xs, noise), ["disparity"], prior=prior).predict([1.1], noise=2.0)
    assert [found.cdf(value) for value in values] == pytest.approx(expected, abs=0.004)


def test_without_a_residual_it_is_scikit_learns_bayesian_ridge():
    rng = np.random.default_rng(0)
    xs = rng.uniform(size=30)
    gaps = 3 * (xs - xs.mean()) / xs.std() + rng.normal(size=30)
    z = (xs - xs.mean()) / xs.std()
    theirs = BayesianRidge().fit(z[:, None], gaps)
    prior = Prior(intercept=1e6, slope=float(theirs.lambda_**-0.5), between=1e-9)
    ours = fit(trained(gaps, xs, 1 / theirs.alpha_), ["disparity"], prior=prior)
    mean, sd = ours.coefficients()
    assert mean[1] == pytest.approx(theirs.coef_[0], rel=1e-6)
    assert sd[1] == pytest.approx(np.sqrt(theirs.sigma_[0, 0]), rel=1e-6)
    assert mean[0] == pytest.approx(theirs.intercept_, rel=1e-6)


def test_tasks_seen_at_several_sizes_have_one_residual_in_common_as_dense_covariances_have_it():
    rng = np.random.default_rng(1)
    tasks = made(rng, tasks=5, sizes=(300.0, 1000.0, 4000.0), within=1.0, noise=0.5)
    names, prior = ["disparity", "log2_n"], Prior()
    found = fit(tasks, names, prior=prior)
    rows = np.array([found.standardised(row_of(task, names, i)) for task in tasks for i in range(3)])
    gaps = np.array([gap for task in tasks for gap in task.gaps])
    same = np.kron(np.eye(5), np.ones((3, 3)))
    before = np.diag([prior.intercept**2, prior.slope**2, prior.slope**2])
    log_weights, means = [], []
    for tau, omega in zip(found.between, found.within, strict=True):
        rest = tau**2 * same + (omega**2 + 0.5) * np.eye(15)
        whole = rest + rows @ before @ rows.T
        log_weights.append(stats.multivariate_normal(np.zeros(15), whole).logpdf(gaps))
        means.append(before @ rows.T @ np.linalg.solve(whole, gaps))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    np.testing.assert_allclose(found.weights, weights / weights.sum(), rtol=1e-6, atol=1e-12)
    likely = found.weights > 1e-6
    np.testing.assert_allclose(found.means[likely], np.array(means)[likely], rtol=1e-6, atol=1e-8)


def test_it_is_calibrated_when_the_truth_is_drawn_from_the_prior():
    """Simulation-based calibration (Talts et al. 2018): the truth's place in the prediction is uniform."""
    rng, prior = np.random.default_rng(2), Prior(intercept=5, slope=3, between=2)
    places = []
    for _ in range(300):
        xs = rng.uniform(size=9)
        b0, b1 = rng.normal(0, prior.intercept), rng.normal(0, prior.slope)
        tau = stats.halfcauchy.rvs(scale=prior.between, random_state=rng)
        z = (xs - xs[:8].mean()) / xs[:8].std()
        gaps = b0 + b1 * z + rng.normal(0, np.sqrt(tau**2 + 1.5), size=9)
        found = fit(trained(gaps[:8], xs[:8], 1.5), ["disparity"], prior=prior).predict([xs[8]])
        places.append(found.cdf(gaps[8]))
    assert stats.kstest(places, "uniform").pvalue > 0.01


@pytest.mark.verify
@pytest.mark.parametrize(("tasks", "between", "noise"), [(10, 4.0, 0.0), (10, 2.0, 9.0), (20, 7.0, 0.0), (6, 3.0, 4.0)])
def test_intervals_hold_their_level_over_studies_with_one_truth(tasks, between, noise):
    rng = np.random.default_rng(3)
    held = {0.8: 0, 0.95: 0}
    for _ in range(1500):
        study = made(rng, tasks=tasks + 1, between=between, noise=noise, slope=6.0)
        found = fit(study[:-1], ["disparity"]).predict(row_of(study[-1], ["disparity"], 0), noise=noise)
        place = found.cdf(study[-1].gaps[0])
        for level in held:
            held[level] += abs(2 * place - 1) <= level
    assert held[0.8] / 1500 == pytest.approx(0.8, abs=0.05)
    assert held[0.95] / 1500 == pytest.approx(0.95, abs=0.025)


def test_a_prediction_has_the_moments_and_quantiles_of_its_mixture():
    parts = {name: np.array(values, dtype=float) for name, values in {
        "weights": [0.3, 0.7], "centres": [-2, 4], "parameters": [1, 0.5], "residual": [2, 1], "noise": [1, 1],
    }.items()}  # fmt: skip
    found, rng = Prediction(**parts), np.random.default_rng(4)
    which = rng.choice(2, size=400_000, p=parts["weights"])
    spread = np.sqrt(parts["parameters"] + parts["residual"] + parts["noise"])
    drawn = rng.normal(parts["centres"][which], spread[which])
    assert found.mean == pytest.approx(drawn.mean(), abs=0.02)
    assert found.sd == pytest.approx(drawn.std(), abs=0.02)
    assert found.interval(0.8) == pytest.approx(np.quantile(drawn, [0.1, 0.9]), abs=0.03)
    assert found.cdf(found.quantile(0.31)) == pytest.approx(0.31, abs=1e-9)
    assert found.true.sd == pytest.approx(np.sqrt(found.sd**2 - 1))


def test_noise_of_measuring_widens_the_interval_and_more_tasks_like_these_narrow_it():
    fitted = fit(made(np.random.default_rng(5), tasks=8, noise=2.0), ["disparity"])
    plain, noisy, more = (
        fitted.predict([0.9], **options) for options in ({"noise": 0.0}, {"noise": 25.0}, {"noise": 0.0, "tasks": 4})
    )
    assert np.ptp(noisy.interval(0.8)) > np.ptp(plain.interval(0.8)) > np.ptp(more.interval(0.8))
    np.testing.assert_allclose(plain.residual, more.residual)
    assert (more.parameters < plain.parameters).all()


def test_without_predictors_it_foretells_the_mean():
    tasks = made(np.random.default_rng(6), tasks=30, slope=0.0, mean=5.0, between=1.0)
    found = fit(tasks, []).predict([])
    assert found.mean == pytest.approx(np.mean([task.gaps[0] for task in tasks]), abs=0.1)


def test_three_tasks_are_too_few_and_a_missing_predictor_is_named():
    tasks = made(np.random.default_rng(7), tasks=5)
    with pytest.raises(SettingsError, match="needs 4 tasks on which both methods were trained; got 3"):
        fit(tasks[:3], ["disparity"])
    with pytest.raises(SettingsError, match=r"Not every task of the evidence has the predictors \['distance'\]"):
        fit(tasks, ["distance"])
