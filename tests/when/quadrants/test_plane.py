from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import PairedDraw
from vptft.when.quadrants.pairs import TaskPair
from vptft.when.quadrants.plane import measure


def pair(task, *, gap, far_data, far_objective, distance=1.0, seeds=3, n=400, **other):
    """A task whose VPT is right, where FT is not, on ``gap`` of its test images, in every seed."""
    rng = np.random.default_rng(len(task))
    draws = []
    for _ in range(seeds):
        differences = np.zeros(n)
        differences[: round(abs(gap) * n)] = np.sign(gap)
        draws.append(PairedDraw(differences=rng.permutation(differences), groups=np.arange(n)))
    values = {
        "task": task,
        "objective": "counting" if far_objective else "classification",
        "objective_is_far": far_objective,
        "pretraining": "self-distilled",
        "data_is_far": far_data,
        "distance": distance,
        "measure_name": "FD (x)",
        "draws": tuple(draws),
        "accuracy_vpt": 0.5 + gap,
        "accuracy_ft": 0.5,
        "few_groups": False,
    }
    return TaskPair(**{**values, **other})


def factorial(gaps, **other):
    names = ("near/near", "near/far", "far/near", "far/far")
    return [
        pair(name, gap=gap, far_data=name.startswith("far"), far_objective=name.endswith("far"), **other)
        for name, gap in zip(names, gaps, strict=True)
    ]


def test_gaps_winners_and_contrasts_are_the_designed_ones():
    result = measure(factorial([0.10, 0.30, -0.20, 0.20]), seed=0)
    frame = result.frame().set_index("task")
    assert frame["gap_points"].round(6).tolist() == [10, 30, -20, 20]
    assert frame["winner"].tolist() == ["vpt", "vpt", "ft", "vpt"]
    w0, w1, w2, w5 = result.findings()
    assert [each.hypothesis for each in result.findings()] == ["W0", "W1", "W2", "W5"]
    assert (w0.effect, w0.n, w0.p_adjusted) == (pytest.approx(10), 4, w0.p)  # a family of its own
    assert w1.effect == pytest.approx(0 - 20)
    assert w2.effect == pytest.approx(25 - -5)
    assert w5.effect == pytest.approx((-20 - 10) - (20 - 30))
    assert w1.verdict == "supported"
    assert w2.verdict == "supported"
    assert w5.verdict == "supported"
    assert w1.low < w1.effect < w1.high < 0


def test_the_opposite_pattern_is_refuted_and_no_difference_is_inconclusive():
    assert [f.verdict for f in measure(factorial([-0.2, -0.3, 0.3, 0.1])).findings()[1:]] == ["refuted"] * 3
    assert [f.verdict for f in measure(factorial([0.1, 0.1, 0.1, 0.1])).findings()[1:]] == ["inconclusive"] * 3


@pytest.mark.parametrize(("seeds", "reason"), [(1, "one seed: no verdict"), (2, "2 seeds: no verdict")])
def test_few_seeds_give_no_verdict(seeds, reason):
    findings = measure(factorial([0.1, 0.4, -0.4, 0.2], seeds=seeds)).findings()
    assert {(f.verdict, f.reason) for f in findings} == {("inconclusive", reason)}


def test_a_task_without_difference_has_no_winner():
    assert measure([pair("t", gap=0.0, far_data=None, far_objective=False)]).frame()["winner"].tolist() == ["uncertain"]


def test_without_a_designed_factor_the_median_distance_splits():
    pairs = [pair(str(i), gap=0.1 * i, far_data=None, far_objective=False, distance=float(i)) for i in range(4)]
    result = measure(pairs)
    assert result.frame()["data_is_far"].tolist() == [False, False, True, True]
    assert result.findings()[1].effect == pytest.approx(20)


def test_tasks_with_few_groups_are_shown_but_not_judged():
    pairs = [*factorial([0.1] * 4), pair("few", gap=0.9, far_data=False, far_objective=True, few_groups=True)]
    result = measure(pairs)
    assert len(result.frame()) == 5
    assert {f.n for f in result.findings()} == {4}
    assert [f.effect for f in result.findings()] == pytest.approx([10, 0, 0, 0])


def test_pretraining_objectives_are_never_pooled():
    pairs = factorial([0.1, 0.2, -0.1, 0.2]) + factorial([0.0] * 4, pretraining="supervised")
    findings = measure(pairs).findings()
    assert [f.hypothesis for f in findings] == ["W0", "W1", "W2", "W5"] * 2
    assert sum("supervised" in f.statement for f in findings) == 4


def test_distances_of_different_measures_and_no_tasks_are_refused():
    pairs = factorial([0.1] * 4)
    mixed = [*pairs, pair("x", gap=0.1, far_data=True, far_objective=True, measure_name="FID")]
    with pytest.raises(SettingsError, match=r"FD \(x\)', 'FID'"):
        measure(mixed)
    with pytest.raises(SettingsError, match="no task with both"):
        measure([])


def observed(n, *, gap, noise=0.0, seed=0):
    """Tasks of no design: half of them far objectives; ``gap`` maps distance and disparity to points."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n):
        distance, disparity = float(rng.uniform(0, 100)), float(rng.uniform(0, 1))
        points = gap(distance, disparity) + rng.normal(0, noise)
        pairs.append(TaskPair(
            task=f"t{i}", objective="o", objective_is_far=disparity > 0.5, pretraining="supervised", data_is_far=None,
            accuracy_vpt=0.5 + points / 100, accuracy_ft=0.5, distance=distance, measure_name="FID",
            disparity=disparity,
        ))  # fmt: skip
    return pairs


def test_accuracies_alone_have_no_interval_and_are_clear_as_printed():
    frame = measure(observed(4, gap=lambda distance, disparity: 5.0)).frame()
    assert frame[["low_points", "high_points"]].isna().all(axis=None)
    assert frame["winner"].tolist() == ["vpt"] * 4
    assert frame["clear"].all()
    assert (frame["n_seeds"] == 0).all()
    near = measure(observed(4, gap=lambda distance, disparity: 0.5)).frame()
    assert not near["clear"].any()


def test_observed_tasks_are_a_sample():
    pairs = observed(12, gap=lambda distance, disparity: 0.1 * distance, noise=1.0)
    _, w1, w2, w5 = measure(pairs).findings()
    gaps, distances = np.array([p.gap_points for p in pairs]), np.array([p.distance for p in pairs])
    far = distances > np.median(distances)
    expected = stats.ttest_ind(gaps[far], gaps[~far], equal_var=False)
    assert (w1.low, w1.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert w1.verdict == "refuted"
    assert w2.verdict == "inconclusive"
    assert (w5.verdict, w5.n) == ("not applicable", 12)
    assert "15 tasks with distance and disparity bear an interaction; here are 12" in w5.reason


def test_many_observed_tasks_bear_the_interaction():
    only_near = measure(observed(40, gap=lambda d, o: 5 - 0.2 * d * (1 - o), noise=1.0)).findings()[-1]
    additive = measure(observed(40, gap=lambda d, o: 5 - 0.2 * d + 5 * o, noise=1.0)).findings()[-1]
    assert (only_near.hypothesis, only_near.verdict) == ("W5", "supported")
    assert only_near.effect > 1
    assert additive.verdict == "refuted"  # practically no interaction


def test_every_quadrant_counts_who_is_clearly_ahead():
    cells = measure(factorial([0.10, 0.30, -0.20, 0.002])).cells
    assert cells["predicted"].tolist() == ["vpt", "ft", "vpt", "vpt"]
    assert cells[["n_vpt", "n_ft", "n_open"]].to_numpy().tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert cells["gap_points"].tolist() == pytest.approx([10, -20, 30, 0.25])


def test_the_rule_is_judged_on_tasks_it_has_not_seen():
    rule_holds = measure(factorial([0.10, 0.30, -0.20, 0.20])).predictions.set_index("boundary")
    assert rule_holds.loc["design", "accuracy"] == 1.0
    assert rule_holds.loc["design", "always_vpt"] == 0.75
    assert rule_holds.loc["design", "n"] == 4
    fitted = measure(observed(30, gap=lambda d, o: -5.0 if d > 60 and o <= 0.5 else 5.0), boundary="fitted")
    row = fitted.predictions.set_index("boundary").loc["fitted"]
    assert row["accuracy"] >= 0.95
    assert row["value_low"] <= 60 <= row["value_high"]
    assert row["base"] == row["always_vpt"] < 0.95


def test_a_designed_boundary_needs_a_design():
    with pytest.raises(SettingsError, match="Not every task has a designed near or far level"):
        measure(observed(4, gap=lambda distance, disparity: 1.0), boundary="design")


def test_a_task_whose_distance_is_unknown_says_nothing_of_near_and_far():
    known = observed(8, gap=lambda distance, disparity: -0.2 * distance)
    strange = [
        replace(each, task=f"u{i}", distance=float("nan"), accuracy_vpt=0.1)
        for i, each in enumerate(observed(8, gap=lambda distance, disparity: 0.0))
    ]
    for boundary in (None, "median"):
        alone, both = measure(known, boundary=boundary), measure([*known, *strange], boundary=boundary)
        w1, with_strange = alone.findings()[1], both.findings()[1]
        assert (with_strange.statement, with_strange.effect, with_strange.n) == (w1.statement, w1.effect, 8)
        assert both.cells["n_tasks"].sum() == 8
    designed = [pair(f"d{i}", gap=0.1, far_data=i % 2 == 0, far_objective=False, distance=np.nan) for i in range(4)]
    assert measure(designed).cells["n_tasks"].sum() == 4
    assert measure(designed, boundary="median").cells.empty


def test_a_boundary_that_the_gaps_chose_is_not_judged_by_them():
    pairs = observed(12, gap=lambda distance, disparity: -0.2 * distance + 10)
    found = {finding.hypothesis: finding for finding in measure(pairs, boundary="fitted").findings()}
    assert (found["W1"].verdict, found["W1"].reason) == (
        "not applicable", "the boundary was fitted to the gaps it would be judged by",
    )  # fmt: skip
    assert found["W2"].verdict != "not applicable"


def test_tasks_of_one_disparity_bear_no_interaction():
    pairs = [replace(each, disparity=0.5) for each in observed(16, gap=lambda distance, disparity: distance, noise=1)]
    (w5,) = (finding for finding in measure(pairs).findings() if finding.hypothesis == "W5")
    assert (w5.verdict, w5.reason) == ("not applicable", "all tasks have the same disparity")


def test_rounding_is_a_tie():
    draws = tuple(PairedDraw(differences=np.array([0.1, 0.2, -0.3]), groups=np.arange(3)) for _ in range(3))
    assert np.mean([0.1, 0.2, -0.3]) != 0
    assert pair("t", gap=0.0, far_data=None, far_objective=False, draws=draws).gap_points == 0


def test_the_mean_gap_of_observed_tasks_has_the_spread_of_tasks_and_one_task_that_of_its_draws():
    pairs = observed(6, gap=lambda distance, disparity: distance / 10)
    w0 = measure(pairs).findings()[0]
    gaps = np.array([each.gap_points for each in pairs])
    half = stats.t.ppf(0.975, 5) * gaps.std(ddof=1) / np.sqrt(6)
    assert (w0.hypothesis, w0.low, w0.high) == (
        "W0",
        pytest.approx(gaps.mean() - half),
        pytest.approx(gaps.mean() + half),
    )
    assert w0.p == pytest.approx(2 / 2**6)
    alone, *_ = measure([pair("t", gap=0.1, far_data=None, far_objective=False, seeds=3)]).findings()
    assert (alone.hypothesis, alone.n, alone.effect) == ("W0", 1, pytest.approx(10))
    assert alone.low < 10 < alone.high
