import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from vptft.why.overfitting.regression import corrected_slope, fit, greatest_correlation, line, reliability, unlike


@pytest.fixture
def tasks():
    rng = np.random.default_rng(0)
    x = rng.normal(1, 1, 12)
    return pd.DataFrame({"x": x, "y": 2 + 3 * x + rng.normal(0, 2, 12), "g": ["a", "b", "b"] * 4})


def test_slope_and_intercept_are_statsmodels(tasks):
    found, expected = fit(tasks["x"].to_numpy(), tasks["y"].to_numpy()), ols("y ~ x", tasks).fit()
    for name, own, p in (("x", found.slope, found.slope_p), ("Intercept", found.intercept, found.intercept_p)):
        assert own.value == pytest.approx(expected.params[name])
        assert (own.low, own.high) == pytest.approx(tuple(expected.conf_int().loc[name]))
        assert p == pytest.approx(expected.pvalues[name])
    assert found.r2.value == pytest.approx(expected.rsquared)
    assert found.residual_sd == pytest.approx(np.sqrt(expected.mse_resid))
    interval = stats.pearsonr(tasks["x"], tasks["y"]).confidence_interval()
    assert (found.r2.low, found.r2.high) == pytest.approx((interval.low**2, interval.high**2))
    frame = expected.get_prediction(pd.DataFrame({"x": [0.0, 2.0]})).summary_frame()
    assert np.allclose(
        line(tasks["x"].to_numpy(), tasks["y"].to_numpy(), np.array([0.0, 2.0])),
        frame[["mean", "mean_ci_lower", "mean_ci_upper"]].T,
    )


def test_groups_are_held_fixed(tasks):
    found = fit(tasks["x"].to_numpy(), tasks["y"].to_numpy(), tasks["g"].to_numpy())
    expected = ols("y ~ x + C(g)", tasks).fit()
    assert found.slope.value == pytest.approx(expected.params["x"])
    assert found.slope.high == pytest.approx(expected.conf_int().loc["x", 1])
    at_zero = expected.predict(pd.DataFrame({"x": 0.0, "g": tasks["g"]})).mean()
    assert found.intercept.value == pytest.approx(at_zero)
    within = tasks[["x", "y"]] - tasks.groupby("g")[["x", "y"]].transform("mean")
    assert found.r2.value == pytest.approx(within.corr().loc["x", "y"] ** 2)


def test_leaving_out_a_task(tasks):
    found = fit(tasks["x"].to_numpy(), tasks["y"].to_numpy())
    errors, baseline = [], []
    for i in range(12):
        rest = tasks.drop(index=i)
        fitted = ols("y ~ x", rest).fit()
        assert (found.slopes[i], found.intercepts[i]) == pytest.approx((fitted.params["x"], fitted.params["Intercept"]))
        errors.append(tasks["y"][i] - fitted.predict(tasks.loc[[i]]).iloc[0])
        baseline.append(tasks["y"][i] - rest["y"].mean())
    assert found.predicted == pytest.approx(1 - np.sum(np.square(errors)) / np.sum(np.square(baseline)))


def test_noise_of_the_predictor_flattens_the_slope_and_is_taken_out():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1, 20_000)
    noise = rng.normal(0, 0.6, (2, 20_000))
    x, y = true + noise[0], 4 * true + noise[0] + noise[1]  # noise of both from the same runs
    variance = np.full(20_000, 0.36)
    assert reliability(variance, x) == pytest.approx(1 / 1.36, abs=0.02)
    assert fit(x[:500], y[:500]).slope.value < 3.6
    assert corrected_slope(x, y, variance, variance) == pytest.approx(4, abs=0.05)
    assert np.isnan(corrected_slope(x, y, 3 * variance, variance))
    assert np.isnan(reliability(variance * np.nan, x))


def test_a_correlation_unlike_what_it_should_be():
    rng = np.random.default_rng(1)
    ps = []
    for sign in (-1, 1):
        for _ in range(400):
            x = rng.normal(size=12)
            ps.append(unlike(x, sign * x + rng.normal(size=12), sign * np.sqrt(0.5)))
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert unlike(x, rng.normal(size=12), 0.97) < 0.01
    assert np.isnan(unlike(x, x, 1.0))


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("tie", [-0.9, 0.0, 0.9])
def test_the_greatest_correlation_counts_noise_that_both_share(sign, tie):
    rng = np.random.default_rng(2)
    n = 200_000
    true = rng.normal(0, 1, n)
    noise = rng.multivariate_normal([0, 0], [[0.36, 0.6 * tie], [0.6 * tie, 1.0]], n).T
    x, y = true + noise[0], 3 * sign * true + noise[1]
    known = (np.full(n, value) for value in (0.36, 1.0, 0.6 * tie))
    assert greatest_correlation(x, y, *known) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=0.01)


def test_the_greatest_correlation_is_unknown_where_noise_is():
    x, one = np.arange(6.0), np.ones(6)
    assert np.isnan(greatest_correlation(x, x, one * np.nan, one, one))
    assert np.isnan(greatest_correlation(x, one, one, one, one))
