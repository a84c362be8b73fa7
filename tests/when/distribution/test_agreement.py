from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from report.builders import make_distance
from vptft.errors import SettingsError
from vptft.when.distribution.agreement import distances_by_set, rank_agreement, spearman


def rho_by_differences(first, second):
    """1 - 6 sum d^2 / (n (n^2 - 1)), for values without ties; ranks by counting."""
    ranks = [[sum(other <= value for other in values) for value in values] for values in (first, second)]
    squares = sum((a - b) ** 2 for a, b in zip(*ranks, strict=True))
    n = len(first)
    return 1 - 6 * squares / (n * (n**2 - 1))


def in_two_spaces(values, other, names="abcdefghijkl"):
    return [
        make_distance(name, value, measure_name=measure)
        for measure, column in (("FD (x)", values), ("FID", other))
        for name, value in zip(names, column, strict=False)
    ]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(5)))
def test_the_exact_p_counts_every_order(order):
    first = np.array([0.5, 1.0, 7.0, 8.5, 100.0])
    second = np.array([3.0, 4.0, 10.0, 11.0, 13.0])[list(order)]
    found = spearman(first, second)
    rho = rho_by_differences(first, second)
    every = [rho_by_differences(first, other) for other in permutations(second)]
    assert found.rho == pytest.approx(rho)
    assert found.p == pytest.approx(np.mean([abs(one) >= abs(rho) - 1e-9 for one in every]))


def test_with_ties_the_exact_p_is_over_scipys_distribution_of_rho():
    rng = np.random.default_rng(3)
    for n in (4, 5, 6):
        first, second = rng.integers(0, 4, (2, n)).astype(float)
        reference = stats.permutation_test(
            (first,), lambda x, second=second: stats.spearmanr(x, second).statistic, permutation_type="pairings",
            n_resamples=np.inf, vectorized=False,
        )  # fmt: skip
        found = spearman(first, second)
        assert found.rho == pytest.approx(reference.statistic)
        as_far = np.abs(reference.null_distribution) >= abs(reference.statistic) - 1e-9
        assert found.p == pytest.approx(as_far.mean())  # scipy's own p doubles one tail; ours counts both


@pytest.mark.parametrize("n", [3, 8, 9, 24])
def test_rho_is_scipys_and_so_is_p_where_not_every_order_can_be_tried(n):
    rng = np.random.default_rng(n)
    first, second = rng.normal(size=(2, n))
    reference = stats.spearmanr(first, second)
    found = spearman(first, second)
    assert found.rho == pytest.approx(reference.statistic)
    assert (found.p == pytest.approx(reference.pvalue, rel=1e-12)) == (n > 8)


def test_few_sets_cannot_be_significant_and_none_or_constant_ones_have_no_rho():
    assert spearman(np.array([1.0, 2.0]), np.array([5.0, 9.0])) == (pytest.approx(1.0), 1.0)
    assert spearman(np.arange(3.0), np.array([5.0, 6.0, 9.0])).p == pytest.approx(2 / 6)
    for first, second in (([1.0], [2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])):
        assert np.isnan(spearman(np.array(first), np.array(second))).all()


def test_agreement_has_a_row_a_pair_of_spaces():
    values, other = [3.0, 1.0, 2.0, 9.0], [30.0, 10.0, -20.0, 90.0]
    third = [make_distance(name, -value, measure_name="z") for name, value in zip("abcd", values, strict=True)]
    frame = rank_agreement([*in_two_spaces(values, other), *third])
    assert list(frame.columns) == ["first_space", "second_space", "rho", "p", "n"]
    pairs = list(zip(frame["first_space"], frame["second_space"], strict=True))
    assert pairs == [("FD (x)", "FID"), ("FD (x)", "z"), ("FID", "z")]
    assert frame["rho"].tolist() == pytest.approx([0.8, -1.0, -0.8])
    assert frame["p"].tolist() == pytest.approx([8 / 24, 2 / 24, 8 / 24])
    assert frame["n"].tolist() == [4, 4, 4]


def test_only_sets_that_are_in_both_spaces_count():
    results = in_two_spaces([3.0, 1.0, 2.0, 9.0], [30.0, 10.0, 20.0])
    assert rank_agreement(results)[["rho", "n"]].values.tolist() == [[pytest.approx(1.0), 3]]
    nothing = rank_agreement([make_distance("a", 1.0, measure_name="x"), make_distance("b", 1.0, measure_name="y")])
    assert nothing["n"].tolist() == [0]
    assert nothing["rho"].isna().all()
    assert rank_agreement(results[:4]).empty


def test_distances_are_by_set_and_measure_whichever_side_the_reference_is_on():
    results = in_two_spaces([3.0, 1.0], [30.0])
    turned = make_distance("photos", 10.0, reference="b", measure_name="FID")
    expected = pd.DataFrame({"FD (x)": [3.0, 1.0], "FID": [30.0, 10.0]}, index=["a", "b"])
    pd.testing.assert_frame_equal(distances_by_set([*results, turned]), expected)
    pd.testing.assert_frame_equal(distances_by_set([*results, *results, turned]), expected)


def test_one_reference_is_needed_and_one_distance_a_set():
    results = [*in_two_spaces([3.0, 1.0], [30.0, 10.0]), make_distance("b", 7.0, reference="a")]
    with pytest.raises(SettingsError, match=r"from one reference; these are from \['a', 'photos'\]"):
        rank_agreement(results)
    assert rank_agreement(results, reference="photos")["n"].tolist() == [2]
    with pytest.raises(SettingsError, match=r"No distance is from 'c'; there are distances of \['a', 'b', 'photos'\]"):
        rank_agreement(results, reference="c")
    with pytest.raises(SettingsError, match=r"a has two distances from photos in FID: 30 and 31; give one"):
        rank_agreement([*results, make_distance("a", 31.0, measure_name="FID")], reference="photos")
    with pytest.raises(SettingsError, match="no distance to rank"):
        rank_agreement([])
