import numpy as np
import pytest
from scipy import optimize, stats

from vptft.errors import SettingsError
from vptft.when.datasize.curves import fit_curve, meeting

SIZES = np.array([400, 800, 2000, 5000, 10000, 20000], dtype=float)


def accuracy(limit, drop, exponent):
    return limit - drop * (SIZES / 400) ** -exponent


@pytest.mark.parametrize("planted", [(0.9, 0.5, 0.5), (0.95, 0.3, 0.2), (0.6, 0.4, 1.2)])
def test_planted_parameters_come_back(planted):
    curve = fit_curve(SIZES, accuracy(*planted))
    assert (curve.limit, curve.drop, curve.exponent) == pytest.approx(planted, rel=1e-4)
    assert curve.rmse < 1e-6
    assert not curve.at_bound
    assert curve.at(1e6) == pytest.approx(planted[0] - planted[1] * 2500 ** -planted[2], abs=1e-4)


def test_estimate_and_interval_are_those_of_scipys_curve_fit():
    values = accuracy(0.9, 0.5, 0.5) + np.random.default_rng(0).normal(0, 0.01, len(SIZES))
    curve = fit_curve(SIZES, values)

    def power(n, a, b, c):
        return a - b * (n / 400) ** -c

    best, covariance = optimize.curve_fit(power, SIZES, values, p0=(0.9, 0.4, 0.4))
    assert (curve.limit, curve.drop, curve.exponent) == pytest.approx(tuple(best), rel=1e-4)
    np.testing.assert_allclose(curve.covariance, covariance, rtol=1e-3)
    step = 1e-6 * np.eye(3)
    gradient = np.array([(power(50_000, *(best + s)) - power(50_000, *(best - s))) / 2e-6 for s in step])
    half = stats.t.ppf(0.975, 3) * np.sqrt(gradient @ covariance @ gradient)
    low, high = curve.interval(50_000)
    assert (low, high) == pytest.approx((curve.at(50_000) - half, min(1, curve.at(50_000) + half)), rel=1e-3)


def test_a_curve_that_does_not_saturate_stops_at_a_bound_and_has_no_interval():
    curve = fit_curve(SIZES, 0.1 + 0.1 * np.log2(SIZES / 400))
    assert curve.at_bound
    assert curve.limit == pytest.approx(1)
    assert np.isnan(curve.interval(40_000)).all()


def test_curves_meet_where_they_do():
    first, second = (fit_curve(SIZES, accuracy(*p)) for p in ((0.80, 0.2, 0.5), (0.95, 0.6, 0.5)))
    n = meeting(first, second, most=2e5)
    assert n == pytest.approx(400 * (0.4 / 0.15) ** 2, rel=1e-3)
    assert np.isnan(meeting(first, second, most=1000))


def test_three_sizes_are_too_few():
    with pytest.raises(SettingsError, match="needs 4 sizes; there are 3"):
        fit_curve(np.array([1.0, 2.0, 3.0, 3.0]), np.full(4, 0.5))
