import numpy as np
import pytest

from vptft.errors import SettingsError
from vptft.evidence.statistics import PairedDraw
from vptft.when.quadrants import TaskPair, measure


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
    w1, w2 = result.findings()
    assert (w1.hypothesis, w2.hypothesis) == ("W1", "W2")
    assert w1.effect == pytest.approx(0 - 20)
    assert w2.effect == pytest.approx(25 - -5)
    assert w1.verdict == "supported"
    assert w2.verdict == "supported"
    assert w1.low < w1.effect < w1.high < 0


def test_the_opposite_pattern_is_refuted_and_no_difference_is_inconclusive():
    assert [f.verdict for f in measure(factorial([-0.2, -0.3, 0.3, 0.1])).findings()] == ["refuted", "refuted"]
    assert [f.verdict for f in measure(factorial([0.1, 0.1, 0.1, 0.1])).findings()] == ["inconclusive"] * 2


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
    assert result.findings()[0].effect == pytest.approx(20)


def test_tasks_with_few_groups_are_shown_but_not_judged():
    pairs = [*factorial([0.1] * 4), pair("few", gap=0.9, far_data=False, far_objective=True, few_groups=True)]
    result = measure(pairs)
    assert len(result.frame()) == 5
    assert {f.n for f in result.findings()} == {4}
    assert all(abs(f.effect) < 1e-9 for f in result.findings())


def test_pretraining_objectives_are_never_pooled():
    pairs = factorial([0.1, 0.2, -0.1, 0.2]) + factorial([0.0] * 4, pretraining="supervised")
    findings = measure(pairs).findings()
    assert [f.hypothesis for f in findings] == ["W1", "W2", "W1", "W2"]
    assert sum("supervised" in f.statement for f in findings) == 2


def test_distances_of_different_measures_and_no_tasks_are_refused():
    pairs = factorial([0.1] * 4)
    mixed = [*pairs, pair("x", gap=0.1, far_data=True, far_objective=True, measure_name="FID")]
    with pytest.raises(SettingsError, match=r"FD \(x\)', 'FID'"):
        measure(mixed)
    with pytest.raises(SettingsError, match="no task with both"):
        measure([])
