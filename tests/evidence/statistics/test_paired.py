from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vptft.errors import SettingsError
from vptft.evidence.statistics.paired import (
    mean_interval,
    relabelling,
    share_interval,
    sign_flip,
    sign_test,
    signed_rank,
    welch_interval,
)

# Hollander and Wolfe's depression scores, the example of R's wilcox.test.
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
ZERO_AND_TIES = np.array([2.1, -0.4, 3.3, 0, 0.2, 1.7, 4.4, -1.7, 2.8, 0.4])

whole = st.lists(st.integers(-4, 4), min_size=1, max_size=9).map(np.array)


def by_hand(values, statistic):
    """Share of all sign assignments at least as far from 0 as the one observed."""
    every = [statistic(np.array(signs) * np.abs(values)) for signs in product((-1, 1), repeat=len(values))]
    return np.mean(np.abs(every) >= abs(statistic(values)) - 1e-9)


@settings(max_examples=60, deadline=None)
@given(whole)
def test_sign_flips_are_all_tried(values):
    found = sign_flip(values / 3)
    assert found.p == pytest.approx(by_hand(values / 3, np.mean))
    assert (found.statistic, found.n) == (pytest.approx(values.mean() / 3), len(values))
    assert found.method == "sign-flip permutation, exact"


def test_the_smallest_p_of_four_tasks_is_an_eighth():
    assert sign_flip(np.array([1.0, 2.0, 3.0, 9.0])).p == 0.125


def test_many_differences_are_drawn_and_agree_with_the_exact_p():
    values = np.random.default_rng(0).normal(0.5, 1, 20)
    exact = sign_flip(values)
    drawn = sign_flip(np.append(values, 0.0), seed=1)
    assert drawn.method == "sign-flip permutation, 100,000 assignments"
    assert drawn.p == pytest.approx(exact.p, abs=4 * np.sqrt(exact.p / 100_000))
    assert drawn == sign_flip(np.append(values, 0.0), seed=1)
    assert sign_flip(np.full(40, 1.0)).p == 1e-5  # never 0: the observed assignment counts


def test_signed_rank_gives_what_r_gives():
    """R 4.2.2: wilcox.test(BEFORE, AFTER, paired = TRUE, conf.int = TRUE)."""
    found = signed_rank(BEFORE - AFTER)
    assert found.p == pytest.approx(0.0390625)  # printed 0.03906
    assert (found.low, found.value, found.high) == pytest.approx((0.010, 0.46, 0.786))
    assert found.level == pytest.approx(1 - 2 * stats.wilcoxon(np.arange(1, 10) * 1.0, method="exact").pvalue * 5)


def test_signed_rank_with_a_zero_and_ties_gives_what_coin_gives():
    """R 4.2.2, coin 1.4-2: wilcoxsign_test(x ~ rep(0, 10), distribution = "exact", zero.method = "Pratt")."""
    found = signed_rank(ZERO_AND_TIES)
    assert found.p == pytest.approx(0.07812, abs=1e-5)
    assert (found.n, found.zeros) == (10, 1)


@settings(max_examples=60, deadline=None)
@given(whole)
def test_signed_rank_tries_every_assignment_of_its_midranks(values):
    ranks = stats.rankdata(np.abs(values)) * np.sign(values)
    nonzero = ranks[values != 0]
    expected = by_hand(nonzero, np.sum) if len(nonzero) else 1.0
    assert signed_rank(values).p == pytest.approx(expected)


@pytest.mark.parametrize("n", [6, 7, 11, 19])
def test_the_interval_inverts_the_test(n):
    """Every shift inside is not rejected at 5%, every one just outside is."""
    values = np.random.default_rng(n).normal(1, 1, n)
    found = signed_rank(values)
    for shift, rejected in ((found.low + 1e-9, False), (found.low - 1e-9, True), (found.high + 1e-9, True)):
        assert (stats.wilcoxon(values - shift, method="exact").pvalue < 0.05) == rejected
    assert 0.95 <= found.level < 0.98


def test_five_differences_cannot_give_95_percent():
    found = signed_rank(np.array([1.0, 2.0, 3.0, 4.0, 5.5]))
    assert (found.low, found.high, found.p) == (-np.inf, np.inf, 0.0625)


def test_wins_and_shares_give_what_r_gives():
    """R 4.2.2: binom.test(16, 19)."""
    assert sign_test(16, 3).p == pytest.approx(0.004425, abs=5e-7)
    share = share_interval(16, 19)
    assert (share.low, share.value, share.high) == pytest.approx((0.6042154, 0.8421053, 0.9661738), abs=5e-8)
    assert np.isnan(sign_test(0, 0).p)
    assert np.isnan(share_interval(0, 0).value)


def test_student_and_welch_give_what_r_gives():
    """R 4.2.2: t.test(BEFORE, AFTER) is [-0.3286079, 1.1923857]; the paired one is scipy's too."""
    welch = welch_interval(BEFORE, AFTER)
    assert (welch.low, welch.high) == pytest.approx((-0.3286079, 1.1923857), abs=5e-8)
    differences = BEFORE - AFTER
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    student = mean_interval(differences)
    assert (student.low, student.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_intervals_of_one_value_and_of_none_are_not_known():
    assert mean_interval(np.array([2.0])).value == 2.0
    assert np.isnan([mean_interval(np.array([2.0])).low, mean_interval(np.array([])).value]).all()
    assert [np.isnan(welch_interval(BEFORE[:n], AFTER).low) for n in (1, 3, 4)] == [True, True, False]
    assert np.isnan([relabelling(np.array(few), BEFORE).p for few in ([], [2.0])]).all()
    assert np.isnan([sign_flip(np.array([])).p, signed_rank(np.array([])).p]).all()


def test_relabelling_tries_every_division():
    """Of 3 and 4 values there are 35 divisions; the two extreme ones are as far apart as 1, 2, 3 from 4, 5, 6, 7."""
    found = relabelling(np.array([1.0, 2, 3]), np.array([4.0, 5, 6, 7]))
    assert found.p == pytest.approx(2 / 35)
    assert (found.statistic, found.n) == (-3.5, 7)


def test_what_is_no_number_is_refused():
    with pytest.raises(SettingsError, match=r"Differences must be finite numbers in one row; these are \(2,\)"):
        sign_flip(np.array([1.0, np.nan]))


@pytest.mark.parametrize(("shape", "low", "high"), [((2, 2), 0.1, 0.16), ((2, 5), 0.2, 0.3)])
def test_crossed_tasks_are_not_independent_draws(shape, low, high):
    """The limit that docs/verdicts.md states: appearance, objective and the rest vary alike, and nothing is there."""
    rng, found, alone = np.random.default_rng(0), 0, 0
    appearances, objectives = shape
    for _ in range(1500):
        rest = rng.normal(size=shape)
        crossed = rng.normal(size=(appearances, 1)) + rng.normal(size=(1, objectives)) + rest
        both = [mean_interval(each.ravel()) for each in (crossed, rest)]
        found += both[0].low > 0 or both[0].high < 0
        alone += both[1].low > 0 or both[1].high < 0
    assert low < found / 1500 < high
    assert alone / 1500 < 0.07
