from itertools import combinations, permutations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vptft.published import comparisons
from vptft.published.comparisons import PAIRS, all_gaps, summaries
from vptft.published.tables import chosen


def frame(values, **columns):
    return pd.DataFrame({"task": [f"t{i}" for i in range(len(values))], "gap_points": values, **columns})


def flips(values):
    """Share of all sign assignments whose mean is as far from 0 as the observed one."""
    sums = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=len(values))]
    return np.mean(np.array(sums) >= abs(sum(values)) - 1e-9)


@pytest.fixture(scope="module")
def every(printed):
    return all_gaps(printed)


def test_the_repeated_size_is_in_the_gaps_and_in_no_summary(every):
    assert every["repeats"].sum() == 19
    table = summaries(every)
    assert set(chosen(table, setting="data_scale")["n_train"]) == {"400", "5000", "10000"}
    counted = table[(table["group"] == "all") | table["setting"].isin(["fgvc", "lora"])]["n"].sum()
    assert counted == (~every["repeats"]).sum()


def test_wins_ties_and_losses_by_hand(every):
    keys = ["method", "against", "setting", "backbone", "pretraining", "n_train", "group"]
    table = summaries(every).set_index(keys).sort_index()
    main = table.loc[("vpt", "ft", "vtab1k", "vit_b16", "imagenet21k_supervised", "1000")]
    counts = {group: tuple(row) for group, row in main[["won", "tied", "lost"]].iterrows()}
    assert counts == {"natural": (6, 0, 1), "specialized": (2, 0, 2), "structured": (7, 1, 0), "all": (15, 1, 3)}
    assert main.loc["all", "mean_points"] == pytest.approx(4.8316, abs=1e-4)
    assert main.loc["specialized", ["median_low_points", "median_high_points"]].tolist() == [-np.inf, np.inf]
    swin = table.loc[("vpt", "ft", "vtab1k", "swin_b", "imagenet21k_supervised", "1000")]
    assert swin["won"].to_dict() == {"natural": 6, "specialized": 0, "structured": 0, "all": 6}


@pytest.mark.parametrize("group", ["natural", "specialized", "structured"])
def test_the_tests_of_a_group_against_enumeration_and_scipy(every, group):
    values = chosen(every, method="vpt", against="mixed", group=group)["gap_points"].to_numpy()
    row = chosen(summaries(every), method="vpt", against="mixed", group=group).iloc[0]
    assert row["p_sign_flip"] == pytest.approx(flips(values))
    untied = int((values != 0).sum())
    assert row["p_sign"] == pytest.approx(stats.binomtest(int((values > 0).sum()), untied).pvalue)
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert (row["low_points"], row["high_points"]) == pytest.approx((low, high))


def test_every_pair_that_the_paper_sets_against_each_other_is_there(every):
    assert set(zip(every["method"], every["against"], strict=True)) == set(PAIRS)


def test_a_change_is_paired_by_task():
    here, there = frame([1.0, 5.0, -2.0]), frame([0.5, 2.0, -4.0]).iloc[::-1]
    found = comparisons.paired_change(here, there)
    assert found.effect.value == pytest.approx((0.5 + 3 + 2) / 3)
    assert (found.won, found.tied, found.lost, found.n) == (3, 0, 0, 3)
    assert found.p == pytest.approx(0.25)
    assert found.smallest_p == 0.25


def test_a_contrast_tries_every_division_of_the_tasks():
    one, other = [8.0, 9.0, 11.0, 7.0], [1.0, 2.0, 8.5, 0.0]
    found = comparisons.contrast(frame(one), frame(other))
    whole, observed = one + other, np.mean(one) - np.mean(other)
    parts = [np.array([whole[i] for i in part]) for part in combinations(range(8), 4)]
    apart = np.array([part.mean() - (sum(whole) - part.sum()) / 4 for part in parts])
    tail = min(np.mean(apart >= observed - 1e-9), np.mean(apart <= observed + 1e-9))
    assert found.p == pytest.approx(2 * tail)
    assert found.effect.value == pytest.approx(observed)
    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    assert (found.effect.low, found.effect.high) == pytest.approx((interval.low, interval.high))
    assert found.smallest_p == pytest.approx(2 / 70)


def test_a_slope_is_that_of_a_line_and_needs_all_four_sizes():
    sizes = np.array([400.0, 800.0, 5000.0, 10000.0])
    exact = frame(3 - 2 * np.log2(sizes), images=sizes, group="natural").assign(task="exact")
    short = frame([1.0, 2.0], images=sizes[:2], group="natural").assign(task="short")
    found = comparisons.slopes(pd.concat([exact, short]))
    assert found["task"].tolist() == ["exact"]
    assert found["slope"].iloc[0] == pytest.approx(-2)


def test_slopes_use_the_repeated_size_once(every):
    sizes = chosen(every, method="vpt", against="ft", setting="data_scale")
    found = comparisons.slopes(sizes).set_index("task")["slope"]
    assert len(found) == 14
    part = sizes[sizes["task"] == "svhn"]
    assert len(part) == 4
    line = stats.linregress(np.log2([400, 800, 5000, 10000]), [2.4, -4.8, -3.4, -2.4])
    assert found["svhn"] == pytest.approx(line.slope)


def sizes(first, last, between=0.0):
    columns = {"task": [f"t{i}" for i in range(len(first))] * 3}
    images = np.repeat([400.0, 800.0, 10_000.0], len(first))
    return pd.DataFrame({**columns, "images": images, "gap_points": [*first, *[between] * len(first), *last]})


def test_a_task_is_passed_where_its_gap_turns_whatever_it_does_between():
    found = comparisons.share_passed(sizes([2.0, 0.0, 1.0, 3.0, -1.0, 2.0], [-1.0, -2.0, -0.5, -3.0, -2.0, 0.0], 9.0))
    interval = stats.binomtest(4, 6).proportion_ci(method="exact")
    assert (found.won, found.lost, found.n) == (4, 2, 6)  # behind from the start, and a tie at the end: not passed
    assert found.effect.value == pytest.approx(100 * 4 / 6 - 50)
    assert (found.effect.low, found.effect.high) == pytest.approx((100 * interval.low - 50, 100 * interval.high - 50))
    assert found.p == pytest.approx(stats.binomtest(4, 6).pvalue)
    assert found.wins_needed == 6


def test_tasks_without_the_smallest_or_the_largest_size_are_not_asked():
    frame = sizes([1.0, 1.0], [-1.0, -1.0])
    assert comparisons.share_passed(frame[~((frame["task"] == "t0") & (frame["images"] == 10_000))]).n == 1


def test_a_rank_correlation_tries_every_order(every, printed):
    found = comparisons.rank_correlation(chosen(every, setting="fgvc"), printed.fids, "fid")
    fid = [146.845, 169.117, 167.69, 143.84, 182.487]
    gap = [1.2, 1.5, 0.2, 0.8, -0.9]
    assert found.effect.value == pytest.approx(stats.spearmanr(fid, gap).statistic)
    x, y = stats.rankdata(fid), stats.rankdata(gap)
    every_rho = np.array([np.corrcoef(order, y)[0, 1] for order in permutations(x)])
    tails = np.mean(every_rho >= found.effect.value - 1e-9), np.mean(every_rho <= found.effect.value + 1e-9)
    assert found.p == pytest.approx(min(1, 2 * min(tails)))
    assert found.effect.low < found.effect.value < found.effect.high
