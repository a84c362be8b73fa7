from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from advise.evidence import block, made, new
from vptft.advise import measure as advising
from vptft.advise.budget import Budget
from vptft.advise.measure import Advice, measure
from vptft.errors import SettingsError

COSTS = pd.DataFrame({
    "method": ["vpt_deep", "ft", "linear"], "batch_size": 16, "parameters_tuned": [5e4, 2e7, 1e3],
    "stored_bytes": [2e5, 8e7, 4e3], "step_ms": [90.0, 200, 1], "forward_ms": 3.0, "peak_bytes": [1e8, 4e8, 9e7],
})  # fmt: skip


@pytest.fixture(scope="module")
def sure():
    """Evidence in which disparity decides, and nearly nothing else."""
    tasks = made(np.random.default_rng(0), tasks=20, slope=20.0, mean=0.0, between=1.0, noise=1.0)
    return block(tasks, of_draws=2.0, of_images=1.0)


def test_a_far_objective_is_advised_vpt_and_a_near_one_ft(sure):
    near = new(values={"disparity": 0.05})
    assert measure(new(), [sure]).recommendation == "VPT"
    assert measure(near, [sure]).recommendation == "FT"
    assert measure(new(values={"disparity": 0.5}), [sure]).recommendation == "too close to call"


def test_far_beyond_the_evidence_nothing_is_advised_and_no_gap_exceeds_what_accuracies_can_differ_by(sure):
    strange = measure(new(values={"disparity": 40.0}), [sure])
    assert strange.recommendation == "too close to call"
    assert "disparity far beyond the evidence" in strange.reason
    assert strange.predictions[["predicted_points", "high95_points"]].max(axis=None) == 100
    beside = measure(new(values={"disparity": 1.1}), [sure])  # by less than a quarter of the evidence's range
    assert beside.recommendation == "VPT"


def test_the_points_of_the_predictors_add_up_to_the_predicted_gap(sure):
    found = measure(new(), [sure])
    used = found.reasons[found.reasons["used"]]
    assert used["predictor"].tolist() == ["mean", "disparity"]
    assert used["points"].sum() == pytest.approx(found.predictions["predicted_points"].iloc[0])
    assert (found.reasons.loc[~found.reasons["used"], "note"] != "").all()


def test_the_interval_holds_noise_of_measuring_beside_the_parts_of_the_variance(sure):
    row = measure(new(), [sure]).predictions.iloc[0]
    assert row["variance_noise"] == pytest.approx(1.0)
    sd = np.sqrt(row[["variance_parameters", "variance_residual", "variance_noise"]].astype(float).sum())
    assert row["high80_points"] - row["low80_points"] == pytest.approx(2 * 1.2816 * sd, rel=0.05)
    assert row["low95_points"] < row["low80_points"] < row["predicted_points"] < row["high80_points"]


def test_evidence_of_another_pretraining_never_decides(sure):
    other = replace(sure, name="other", mismatch="supervised pretraining, not random")
    both = measure(new(), [other, sure])
    assert both.predictions["block"].tolist() == ["made"]
    alone = measure(new(), [other])
    assert alone.recommendation == "too close to call"
    assert "borrowed, and not to be relied on (supervised pretraining, not random)" in alone.reason
    assert not alone.predictions["decides"].any()
    assert alone.predictions["advised"].tolist() == ["VPT"]


def test_the_first_block_that_may_decide_does_and_others_are_shown(sure):
    second = replace(sure, name="second", tasks=sure.tasks[:8])
    found = measure(new(), [sure, second])
    assert found.predictions["decides"].tolist() == [True, False]
    frame = found.frame()
    assert frame.groupby("role")["task"].count().to_dict() == {"evidence": 28, "new": 2}
    assert frame.loc[frame["role"] == "new", "gap_points"].isna().all()


def test_too_little_evidence_is_refused_and_little_has_no_record(sure):
    with pytest.raises(SettingsError, match="There is no evidence of 4 tasks"):
        measure(new(), [replace(sure, tasks=sure.tasks[:3])])
    found = measure(new(), [replace(sure, tasks=sure.tasks[:4])])
    assert "too few tasks to leave one out" in found.record
    assert found.frame()["role"].tolist() == ["new"]


def test_every_advice_carries_its_record(sure):
    assert "20 tasks, each foretold from others" in measure(new(), [sure]).record


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("storage=1MB", "VPT, the one within the budget (ft exceeds storage)"),
        ("step=10ms", "neither: vpt_deep exceeds step; ft exceeds step"),
        ("storage=1GB", "VPT"),
    ],
)
def test_the_budget_overrules_and_says_so(sure, limit, said):
    found = measure(new(), [sure], costs=COSTS, budget=Budget.parse([limit]))
    assert found.choice.startswith(said)
    assert found.recommendation == "VPT"


def test_a_budget_against_the_recommendation_says_what_it_costs(sure):
    found = measure(new(values={"disparity": 0.05}), [sure], costs=COSTS, budget=Budget.parse(["storage=1MB"]))
    gap = found.predictions["predicted_points"].iloc[0]
    assert found.recommendation == "FT"
    assert found.choice.endswith(f"{gap:+.1f} points are expected against the other")


def test_where_accuracy_does_not_decide_the_cheaper_is_named(sure):
    open_ = new(values={"disparity": 0.5})
    assert measure(open_, [sure], costs=COSTS).choice == "either: accuracy does not decide; VPT stores less a task"
    assert measure(open_, [sure]).choice == "either: accuracy does not decide"


def test_values_beyond_the_evidence_and_other_sizes_are_warned_of(sure):
    found = measure(new(values={"disparity": 1.7}, n_train=5000), [sure])
    assert any("disparity of the objective" in note and "above the evidence" in note for note in found.notes)
    assert any("trained on 300 images and this task has 5000" in note for note in found.notes)


def test_a_look_ahead_is_shown_beside_the_prediction_without_it(sure):
    rng = np.random.default_rng(1)
    tasks = tuple(
        replace(task, values={**task.values, "look_ahead": task.gaps[0] + rng.normal()}) for task in sure.tasks
    )
    found = measure(new(values={"disparity": 0.5, "look_ahead": 8.0}), [replace(sure, tasks=tasks)])
    assert found.predictions["predictors"].iloc[0] == "look_ahead, disparity"
    assert "without the look-ahead" in set(found.settling["measurement"])


def test_an_advice_comes_back_as_it_was(sure, tmp_path):
    found = measure(new(), [sure], costs=COSTS, budget=Budget.parse(["storage=1MB"]), settings={"seed": 0})
    found.save(tmp_path)
    loaded = Advice.load(tmp_path)
    assert (loaded.reason, loaded.notes, loaded.choice) == (found.reason, found.notes, found.choice)
    pd.testing.assert_frame_equal(loaded.frame(), found.frame(), check_exact=True)


def test_costs_are_named_as_a_profile_names_them():
    assert set(advising.COSTS) - {"over_budget"} <= set(COSTS.columns)
