"""Leaving tasks out: regret by hand, no leak, and what a useless and a good predictor give."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from advise.evidence import block, made
from vptft.advise import record
from vptft.advise.regression import fit, row_of
from vptft.errors import SettingsError


def by_hand():
    """Six gaps; the constant prediction always names VPT."""
    tasks = made(np.random.default_rng(0), tasks=6)
    return [replace(task, gaps=(gap,), values={}) for task, gap in zip(tasks, (5, 4, 6, 5, -2, 0), strict=True)]


def test_regret_is_what_the_named_method_loses():
    gaps = np.array([3.0, 3.0, -2.0, -2.0, 0.0])
    np.testing.assert_array_equal(record.regret(gaps, ["VPT", "FT", "VPT", "FT", "FT"]), [0, 3, 2, 0, 0])


def test_mean_regrets_and_their_paired_difference_are_those_by_hand():
    found = record.measure([block(tuple(by_hand()))])
    regrets = found.regrets.set_index("rule")
    assert found.table["forced"].tolist() == ["VPT"] * 6
    assert regrets.loc["always VPT", ["advice_points", "rule_points", "difference_points"]].tolist() == pytest.approx(
        [2 / 6, 2 / 6, 0]
    )
    assert regrets.loc["always FT", "rule_points"] == pytest.approx(20 / 6)
    differences = np.array([-5, -4, -6, -5, 2, 0.0])
    half = 2.5705818 * differences.std(ddof=1) / np.sqrt(6)  # Student's 97.5% quantile of 5 degrees of freedom
    row = regrets.loc["always FT"]
    assert [row["low_points"], row["high_points"]] == pytest.approx([-3 - half, -3 + half], abs=1e-5)
    summary = found.summary.iloc[0]
    assert (summary["n_won"], summary["forced_right"]) == (5, 4)
    assert summary["rmse_of_mean_points"] == pytest.approx(
        np.sqrt(np.mean([(g - (18 - g) / 5) ** 2 for g in (5, 4, 6, 5, -2, 0)]))
    )


def test_a_task_is_foretold_without_itself():
    tasks = made(np.random.default_rng(1), tasks=9)
    first = record.measure([block(tasks)]).frame()
    changed = (replace(tasks[0], gaps=(tasks[0].gaps[0] + 50,)), *tasks[1:])
    second = record.measure([block(changed)]).frame()
    assert second.loc[0, "predicted_points"] == first.loc[0, "predicted_points"]
    assert (second.loc[1:, "predicted_points"] != first.loc[1:, "predicted_points"]).all()
    expected = fit(tasks[1:], ["disparity"]).predict(row_of(tasks[0], ["disparity"], 0))
    assert first.loc[0, "predicted_points"] == pytest.approx(expected.mean)


def test_kin_of_each_sort_are_left_out_too_under_a_name_of_their_own():
    tasks = [
        replace(task, kin={"question": str(i % 5), "scenes": str(i // 5)})
        for i, task in enumerate(made(np.random.default_rng(2), tasks=10))
    ]
    found = record.measure([block(tuple(tasks))])
    names = ["made", "made, tasks of the same question left out too", "made, tasks of the same scenes left out too"]
    assert list(dict.fromkeys(found.table["block"])) == names
    plain, strict, strange = (found.table[found.table["block"] == name] for name in names)
    elsewhere = fit(tasks[5:], ["disparity"]).predict(row_of(tasks[0], ["disparity"], 0)).mean
    assert strange["predicted_points"].iloc[0] == pytest.approx(elsewhere)
    rest = [task for task in tasks if task.kin["question"] != "0"]
    expected = fit(rest, ["disparity"]).predict(row_of(tasks[0], ["disparity"], 0)).mean
    assert strict["predicted_points"].iloc[0] == pytest.approx(expected)
    assert plain["predicted_points"].iloc[0] != pytest.approx(expected)


def test_a_predictor_that_tells_the_gap_is_seen_to_beat_the_rules_and_one_that_does_not_is_not():
    rng = np.random.default_rng(3)
    good = record.measure([block(made(rng, tasks=30, slope=30.0, mean=0.0, between=1.0))])
    assert (good.regrets["says"] == "better").sum() >= 2
    assert "it is shown to beat always VPT" in good.lines()["made"]
    useless = record.measure([block(made(rng, tasks=30, slope=0.0, mean=0.0, between=5.0))])
    assert not (useless.regrets["says"] == "better").any()
    assert "it is not shown to beat any of these" in useless.lines()["made"]
    assert good.summary["rmse_points"].iloc[0] < good.summary["rmse_of_mean_points"].iloc[0] / 3


def test_intervals_that_held_are_counted_with_an_exact_interval():
    found = record.measure([block(made(np.random.default_rng(4), tasks=15))])
    table, held = found.table, found.calibration.set_index("level")
    inside = (table["low80_points"] <= table["gap_points"]) & (table["gap_points"] <= table["high80_points"])
    assert held.loc[0.8, "held"] == pytest.approx(inside.mean())
    assert held.loc[0.8, "low"] < held.loc[0.8, "held"] < held.loc[0.8, "high"]


def test_a_rule_without_an_answer_is_judged_on_the_others_only():
    tasks = [
        replace(task, data_is_far=None if i < 3 else True) for i, task in enumerate(made(np.random.default_rng(5)))
    ]
    found = record.measure([block(tuple(replace(task, objective_is_far=False) for task in tasks))])
    assert found.regrets.set_index("rule")["n"].to_dict() == {"always VPT": 12, "always FT": 12, "the paper's rule": 9}
    assert "on 9 tasks" in found.lines()["made"]


def test_blocks_are_never_pooled_and_one_too_small_is_left_out():
    rng = np.random.default_rng(6)
    one, two, small = (block(made(rng, tasks=n), name=name) for n, name in ((8, "a"), (9, "b"), (4, "c")))
    both = record.measure([one, two, small])
    assert both.summary["block"].tolist() == ["a", "b"]
    alone = record.measure([two]).table
    pd.testing.assert_frame_equal(both.table[both.table["block"] == "b"].reset_index(drop=True), alone)
    with pytest.raises(SettingsError, match="No evidence has the 5 tasks"):
        record.measure([small])


def test_tasks_of_several_sizes_are_judged_at_the_one_asked_for_or_the_usual():
    tasks = made(np.random.default_rng(7), tasks=8, sizes=(100.0, 1000.0))
    assert set(record.measure([block(tasks)], size=150).table["n_train"]) == {100.0}
    assert set(record.measure([block(tasks)]).table["n_train"]) == {1000.0}
