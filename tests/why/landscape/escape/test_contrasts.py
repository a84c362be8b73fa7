"""Verdicts on tables of known truth: Y2 says that extra dimensions do not help."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vptft.evidence.statistics.families import holm
from vptft.why.landscape.escape.contrasts import CONTROLS, ONE_TASK, _summary, contrasts, verdicts
from why.landscape.escape.planted import tables

SEEDS = range(3)


def effects(tasks=("a", "b"), seeds=SEEDS, *, ahead, spread=0.002):
    """What each extension removes: prompts ``ahead`` of the others, which differ by task and seed alike."""
    rng = np.random.default_rng(0)
    common = {(task, seed): rng.normal(0.5, 0.3) for task in tasks for seed in seeds}
    noise = {name: {cell: rng.normal(0, spread) for cell in common} for name in ("prompts", "lora", "neurons", "none")}
    return {
        name: {cell: value + noise[name][cell] + (ahead if name == "prompts" else 0) for cell, value in common.items()}
        for name in noise
    }


def controls(gap, method="mixed", spread=0.1, tasks=("a", "b", "c", "d")):
    rng = np.random.default_rng(1)
    rows = [
        ("random", task, method, seed, 0.5 + (gap + rng.normal(0, spread)) / 100, 0.5)
        for task in tasks
        for seed in SEEDS
    ]
    return pd.DataFrame(rows, columns=CONTROLS)


def judged(ahead, *, beside=None, **other):
    table = tables(effects(ahead=ahead, **other))
    given = pd.DataFrame(columns=CONTROLS) if beside is None else beside
    return verdicts(contrasts(table), given, table)


@pytest.mark.parametrize(
    ("ahead", "verdict"), [(0.2, "refuted"), (-0.2, "supported"), (0.0, "supported"), (0.004, "supported")]
)
def test_y2_is_refuted_where_prompts_remove_more_and_supported_where_they_do_not(ahead, verdict):
    findings = judged(ahead, tasks="abcd", spread=0.001)
    assert len(findings) == 3
    assert {finding.verdict for finding in findings} == {verdict}
    assert all(finding.reason.startswith("that they help is ") for finding in findings)


def test_the_accuracy_is_said_beside_the_loss():
    """Ten points a nat: 0.2 nats more are 2 points more."""
    assert all("; accuracy +2.0 [+2.0, +2.0] points;" in finding.statement for finding in judged(0.2, spread=1e-6))


def test_noise_gives_no_verdict_either_way():
    assert {finding.verdict for finding in judged(0.05, spread=0.5)} == {"inconclusive"}


def test_two_seeds_give_no_verdict():
    (reason,) = {finding.reason for finding in judged(0.2, seeds=range(2))}
    assert reason == "2 seeds: no verdict"


def test_the_effect_is_prompts_less_the_mean_of_the_controls_paired():
    given = effects(ahead=0.1, spread=0.05)
    rows = contrasts(tables(given)).set_index(["variant", "against", "on", "quantity"])
    cells = list(given["prompts"])
    other = np.array([given["prompts"][c] - (given["lora"][c] + given["neurons"][c]) / 2 for c in cells])
    none = np.array([given["prompts"][c] - given["none"][c] for c in cells])
    # The sample is tasks, each with the mean of its seeds.
    other, none = (values.reshape(2, 3).mean(axis=1) for values in (other, none))
    for variant, against, values in [
        ("alone", "other dimensions", other), ("joint", "other dimensions", other), ("joint", "no dimensions", none),
    ]:  # fmt: skip
        row = rows.loc[variant, against, "fresh", "loss"]
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert (row["effect"], row["low"], row["high"]) == pytest.approx((values.mean(), low, high))
        assert row["p"] == pytest.approx(stats.ttest_rel(values, np.zeros(2)).pvalue)
        assert (row["n"], row["n_tasks"], row["n_seeds"]) == (2, 2, 3)
        assert rows.loc[variant, against, "train", "loss"]["effect"] == pytest.approx(values.mean() / 5)
        assert rows.loc[variant, against, "fresh", "accuracy"]["effect"] == pytest.approx(10 * values.mean())
    assert len(rows) == 12


def test_a_seed_that_lacks_a_control_is_left_out_and_an_absent_control_gives_no_contrast():
    given = effects(ahead=0.1)
    del given["lora"]["a", 0]
    rows = contrasts(tables(given)).query("on == 'fresh' and quantity == 'loss'").set_index(["variant", "against"])
    assert rows.loc[("joint", "other dimensions"), "n"] == 2
    assert rows.loc[("joint", "other dimensions"), "n_seeds"] == 2
    assert rows.loc[("joint", "no dimensions"), "n_seeds"] == 3
    assert contrasts(tables(effects(ahead=0.1), extensions=("prompts", "lora"))).empty


def test_of_one_task_the_seeds_are_the_sample():
    given = effects(tasks=("a",), ahead=0.1, spread=0.05)
    row = contrasts(tables(given)).query("on == 'fresh' and quantity == 'loss' and against == 'no dimensions'").iloc[0]
    values = np.array([given["prompts"][c] - given["none"][c] for c in given["prompts"]])
    assert (row["n"], row["n_tasks"], row["n_seeds"]) == (3, 1, 3)
    assert row["p"] == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_seeds_of_a_task_are_no_replicates_where_tasks_differ():
    """Of studies in which tasks differ by chance and seeds hardly, one in twenty may find something."""
    rng, found = np.random.default_rng(2), []
    for _ in range(300):
        pairs = pd.DataFrame([(task, seed) for task in "abcd" for seed in SEEDS], columns=["task", "seed"])
        values = np.repeat(rng.normal(size=4), 3) + 0.3 * rng.normal(size=12)
        found.append(_summary(pairs, values)["p"] < 0.05)
    assert np.mean(found) < 0.09


def test_sizes_of_one_seed_are_no_replicates():
    once = controls(0.3, spread=1.0)
    four = pd.concat([once.assign(accuracy=once["accuracy"] + shift) for shift in (0, 1e-4, -1e-4, 2e-4)])
    first, second = (judged(0.1, beside=each)[-1] for each in (once, four))
    assert (first.n, second.n) == (4, 4)
    assert second.p == pytest.approx(first.p, rel=0.2)


@pytest.mark.parametrize(("gap", "verdict"), [(5, "refuted"), (-5, "supported"), (0.2, "supported")])
def test_mixed_stands_beside_in_points(gap, verdict):
    *_, finding = judged(0.2, beside=controls(gap))
    assert finding.statement.startswith("Test accuracy of Mixed")
    assert (finding.verdict, finding.unit) == (verdict, "points")
    assert finding.effect == pytest.approx(gap, abs=0.2)


def test_equal_values_do_not_tell_their_variance():
    *_, finding = judged(0.2, beside=controls(5, spread=0))
    assert (finding.verdict, finding.reason) == ("inconclusive", "the 95% interval is not defined")
    assert (finding.low, finding.high) == (None, None)


def test_one_task_bears_no_verdict_its_test_images_are_not_in_the_interval():
    *_, finding = judged(0.2, beside=controls(5, tasks=("a",)))
    assert (finding.verdict, finding.reason) == ("inconclusive", ONE_TASK)
    assert finding.low > 4


def test_all_claims_are_one_family():
    beside = pd.concat([controls(1.5, spread=1), controls(-2, "ft_then_pt", spread=1)])
    findings = judged(0.05, beside=beside, spread=0.03)
    assert len(findings) == 5
    assert [finding.p_adjusted for finding in findings] == pytest.approx(holm([finding.p for finding in findings]))


def test_pretrainings_and_starts_are_never_pooled():
    table = pd.concat([
        tables(effects(ahead=0.2)), tables(effects(ahead=0.2), start="pretrained"),
        tables(effects(ahead=0.2), pretraining="masked"),
    ])  # fmt: skip
    found = contrasts(table)
    assert len(found.groupby(["pretraining", "start"])) == 3
    assert found["n"].eq(2).all()
    findings = verdicts(found, pd.DataFrame(columns=CONTROLS), table)
    assert sum("pretrained point" in finding.statement for finding in findings) == 3
    assert sum("masked pretraining" in finding.statement for finding in findings) == 3
