import numpy as np
import pytest
from scipy import stats

from vptft.evidence.statistics.items import grouped_sign_flip, mcnemar


@pytest.mark.parametrize(("first", "second"), [(1, 8), (8, 1), (5, 5), (0, 6), (30, 45)])
def test_the_mid_p_counts_the_observed_outcome_half(first, second):
    n, fewer = first + second, min(first, second)
    exact = stats.binomtest(fewer, n).pvalue
    found = mcnemar(first, second)
    assert found.p == pytest.approx(1.0 if first == second else exact - stats.binom.pmf(fewer, n, 0.5))
    assert (found.statistic, found.n) == (first - second, n)


def test_the_published_example_of_the_mid_p():
    """Fagerland, Lydersen and Laake 2013, Table 1: 1 against 7 discordant pairs, exact p 0.070, mid-p 0.039."""
    assert mcnemar(1, 7).p == pytest.approx(0.0391, abs=5e-5)


def test_items_that_agree_tell_nothing():
    assert mcnemar(0, 0).p == 1.0
    assert grouped_sign_flip(np.zeros(4), np.arange(4)).p == 1.0


def test_whole_groups_change_sign():
    differences = np.array([1, 1, 1, 0, -1, 1, 0, 0.0])
    groups = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    found = grouped_sign_flip(differences, groups)
    assert found.n == 2  # c cancels, d says nothing
    assert found.p == 0.5  # 2 + 1 and its mirror, of four
    assert found.statistic == pytest.approx(3 / 8)
    assert "of groups" in found.method


def test_items_of_their_own_give_the_exact_sign_test():
    differences = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 5)
    assert grouped_sign_flip(differences, np.arange(16)).p == pytest.approx(stats.binomtest(9, 11).pvalue)
