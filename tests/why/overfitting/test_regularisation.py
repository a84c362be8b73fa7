"""Regularised FT on made-up pairs of known truth."""

from dataclasses import replace

import numpy as np
import pytest

from vptft.errors import NotApplicable
from vptft.why.overfitting.regularisation import measure
from why.overfitting.histories import arms


def test_what_was_put_in_comes_out_for_each_task_and_over_them():
    result = measure(arms(np.random.default_rng(0), tasks=8))
    (row,) = result.overall.to_dict("records")
    assert (row["n_tasks"], row["n_seeds"]) == (8, 3)
    assert row["rise_change"] == pytest.approx(-0.2, abs=0.02)
    assert row["accuracy_change"] == pytest.approx(3, abs=0.5)
    assert row["gap"] == pytest.approx(5, abs=0.5)
    for each in [row, *result.frame().to_dict("records")]:
        for name in ("rise_change", "accuracy_change", "gap"):
            assert each[f"{name}_low"] < each[name] < each[f"{name}_high"]
    assert row["accuracy_change"] == pytest.approx(result.frame()["accuracy_change"].mean())
    something, part = result.findings()
    assert (something.verdict, part.verdict) == ("supported", "supported")
    assert "label_smoothing 0.1" in something.statement
    assert f"rising {row['rise_change']:+.3f} nats against before" in something.statement


def test_a_change_that_gains_nothing_explains_nothing():
    (something, _) = measure(arms(np.random.default_rng(1), tasks=6, gain=0.0)).findings()
    assert something.verdict == "refuted"  # within a point of nothing


def test_arms_are_one_family_and_few_tasks_have_no_p_small_enough():
    several = measure(arms(np.random.default_rng(0), tasks=6, names=("a", "b", "c")))
    alone = measure(arms(np.random.default_rng(0), tasks=6, names=("a",)))
    assert len(several.findings()) == 6
    assert several.findings()[0].p_adjusted > alone.findings()[0].p_adjusted
    assert {each.verdict for each in measure(arms(np.random.default_rng(0), tasks=4)).findings()} == {"inconclusive"}


def test_one_task_is_told_over_its_draws():
    result = measure(arms(np.random.default_rng(0), tasks=1))
    overall, row = result.overall.iloc[0], result.frame().iloc[0]
    assert overall["accuracy_change_low"] == row["accuracy_change_low"]
    assert 0 < overall["accuracy_change_p"] < 0.05
    assert "over 1 task," in result.findings()[0].statement


def test_sizes_of_a_task_are_averaged_first():
    cells = arms(np.random.default_rng(0), tasks=2)
    more = [replace(cell, n_train=900, rise_change=cell.rise_change + 1) for cell in cells if cell.task == "task 0"]
    overall = measure([*cells, *more]).overall.iloc[0]
    assert overall["n_tasks"] == 2
    assert overall["rise_change"] == pytest.approx((-0.2 + 0.5 - 0.2) / 2, abs=0.02)


def test_sizes_of_one_task_are_averaged_draw_by_draw():
    cells = arms(np.random.default_rng(0), tasks=1)
    more = [replace(cell, n_train=900, rise_change=cell.rise_change + 1) for cell in cells]
    one, both = measure(cells).overall.iloc[0], measure([*cells, *more]).overall.iloc[0]
    assert both["rise_change"] == pytest.approx(one["rise_change"] + 0.5)
    for name in ("accuracy_change", "accuracy_change_low", "accuracy_change_p", "gap", "gap_high", "gap_p"):
        assert both[name] == pytest.approx(one[name])  # the same images twice are no more images
    assert both["n_seeds"] == 3


def test_draws_that_lack_a_size_are_left_out_of_the_average():
    cells = arms(np.random.default_rng(0), tasks=1)
    more = [replace(cell, n_train=900) for cell in cells if cell.seed]
    overall = measure([*cells, *more]).overall.iloc[0]
    kept = measure([cell for cell in cells if cell.seed]).overall.iloc[0]
    assert overall["gap"] == pytest.approx(kept["gap"])
    assert overall["n_seeds"] == kept["n_seeds"] == 2, "two whole draws bear no verdict"
    none = measure([cells[0], replace(cells[1], n_train=900)])
    assert none.findings() == ()


def test_without_vpt_there_is_no_gap_and_few_groups_are_not_judged():
    rng = np.random.default_rng(0)
    result = measure(arms(rng, vpt=False))
    assert result.frame()["gap"].isna().all()
    assert len(result.findings()) == 1
    few = measure(arms(rng, few_groups=True))
    assert len(few.frame()) == 4
    assert few.findings() == ()


def test_nothing_to_compare():
    with pytest.raises(NotApplicable, match="keeps it from overfitting"):
        measure([])
