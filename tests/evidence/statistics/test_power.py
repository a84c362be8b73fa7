import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from vptft.evidence.statistics.paired import sign_flip, sign_test, signed_rank
from vptft.evidence.statistics.power import detectable, detectable_by, smallest_p, wins_needed


def test_the_detectable_effect_is_what_r_gives():
    """R 4.2.2: power.t.test(n = 19, sd = 1, power = .8, type = "one.sample") gives delta = 0.6796816."""
    assert detectable(19, 1.0) == pytest.approx(0.6796816, rel=1e-5)
    assert detectable(19, 6.0) == pytest.approx(6 * detectable(19, 1.0))
    assert detectable(1, 1.0) == np.inf


@pytest.mark.parametrize("n", [4, 5, 8, 10, 50])
def test_the_detectable_effect_is_what_statsmodels_gives(n):
    assert detectable(n, 1.0) == pytest.approx(TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8), rel=1e-6)


def test_a_simulation_finds_that_effect_as_often_as_it_says():
    values = np.random.default_rng(3).normal(detectable(10, 2.0), 2.0, (20_000, 10))
    assert np.mean(stats.ttest_1samp(values, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("n", range(1, 25))
def test_wins_needed_is_the_fewest_that_are_significant(n):
    needed = wins_needed(n)
    significant = [k for k in range(n + 1) if k > n / 2 and sign_test(k, n - k).p < 0.05]
    assert needed == (significant[0] if significant else None)


@pytest.mark.parametrize("n", [1, 4, 5, 8])
def test_the_smallest_p_is_that_of_differences_on_one_side(n):
    values = np.arange(1.0, n + 1)
    assert smallest_p(n) == pytest.approx(sign_flip(values).p) == pytest.approx(signed_rank(values).p)


def test_what_an_interval_could_have_seen_is_what_its_test_sees():
    """Of many values, the interval's width and the t test's power tell the same."""
    half = stats.t.isf(0.025, 99) * 2.0 / 10
    assert detectable_by(-half, half) == pytest.approx(detectable(100, 2.0), rel=0.02)
    for n, more in ((2, 0.112), (5, 0.055), (20, 0.013)):
        own = stats.t.isf(0.025, n - 1) / n**0.5
        assert detectable_by(-own, own) / detectable(n, 1.0) - 1 == pytest.approx(more, abs=0.001)
    assert detectable_by(3 - half, 3 + half) == pytest.approx(detectable_by(-half, half))
    assert np.isnan(detectable_by(float("nan"), 1.0))
