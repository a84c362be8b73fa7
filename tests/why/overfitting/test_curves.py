import numpy as np
import pandas as pd
import pytest

from vptft.errors import SettingsError
from vptft.why.overfitting import measure
from why.overfitting.histories import history

RISING = [3.0, 2.0, 1.0, 1.5, 2.0, 2.5]


def three(losses=RISING, **names):
    return [history([loss + 0.01 * seed for loss in losses], seed=seed, **names) for seed in range(3)]


def test_a_run_s_onset_rise_and_gaps():
    train = [2, 1, 0.5, 0.2, 0.25, 0.1]
    runs = measure([history(RISING, train_loss=train, val_loss=[3, 1, 2, 2, 2, 2])]).runs
    row = runs.iloc[0]
    assert (row["onset_epoch"], row["end_epoch"], row["judged_on"]) == (2, 6, "test")
    assert row["onset_from"] == "its own validation"
    assert (row["rise_nats"], row["rise_from_minimum_nats"]) == (0.5, 1.5)
    assert row["loss_gap_nats"] == pytest.approx(2.4)
    assert row["accuracy_gap_points"] == pytest.approx(100 * (1 / 1.1 - 1 / 3.5))
    assert row["accuracy_change_points"] == pytest.approx(100 * (1 / 3.5 - 1 / 3))
    assert (row["test_accuracy_last"], row["test_accuracy_best"]) == pytest.approx((1 / 3.5, 0.5))


def test_seeds_are_judged_together_and_apart_from_other_methods_and_sizes():
    falling = [2.0, 1.5, 1.2, 1.1, 1.0, 0.9]
    made = [*three(), *three(falling, method="vpt_deep"), *three(falling, n_train=9)]
    cells = measure(made).cells.set_index(["method", "n_train"])
    assert cells["verdict"].to_dict() == {("ft", 0): "overfits", ("ft", 9): "does not", ("vpt_deep", 0): "does not"}
    row = cells.loc["ft", 0]
    assert (row["n_seeds"], row["onset_epoch"], row["accuracy"]) == (3, 3, "falls")
    assert row["rise_least"] <= row["rise_low"] + 1e-9 <= row["rise_nats"] + 1e-9
    assert np.isclose(row["rise_nats"], 1.5)


def test_a_rise_need_not_cost_accuracy():
    made = [history([loss + 0.01 * seed for loss in RISING], accuracy=[0.2, 0.3, 0.4, 0.5, 0.5, 0.6 + seed / 100],
                    seed=seed) for seed in range(3)]  # fmt: skip
    row = measure(made).cells.iloc[0]
    assert (row["verdict"], row["accuracy"]) == ("overfits", "rises")
    unknown = measure([each.assign(accuracy=np.nan) for each in made]).cells.iloc[0]
    assert (unknown["verdict"], unknown["accuracy"]) == ("overfits", "not known")


def test_with_two_seeds_there_is_a_range_and_no_verdict():
    row = measure(three()[:2]).cells.iloc[0]
    assert np.isnan(row["rise_low"])
    assert row["rise_least"] <= row["rise_most"]
    assert row["verdict"] == "cannot tell"


def test_a_run_that_kept_an_earlier_epoch_ends_there():
    row = measure([each.assign(end_epoch=4) for each in three()]).runs.iloc[0]
    assert (row["end_epoch"], row["rise_nats"]) == (4, 0.5)


def test_without_test_images_a_run_is_judged_on_validation():
    made = [each.replace({"split": {"test": "val"}}) for each in three()]
    result = measure(made)
    assert set(result.runs["judged_on"]) == {"val"}
    assert set(result.runs["onset_from"]) == {"other seeds' held-out curve"}
    assert result.cells["verdict"].tolist() == ["overfits"]


def test_validation_images_that_were_trained_on_judge_nothing():
    trained_on = history(RISING).replace({"split": {"test": "val_in_train"}})
    with pytest.raises(SettingsError, match="val_in_train images were trained on, so they judge nothing"):
        measure([trained_on])
    both = pd.concat([history(RISING), trained_on.query("split == 'val_in_train'")])
    assert measure([both]).runs["judged_on"].tolist() == ["test"]


def test_seeds_with_other_epochs_are_compared_on_those_they_share():
    longer = history([*RISING, 9.0, 9.0], seed=1)
    runs = measure([history(RISING), longer]).runs
    assert runs["end_epoch"].tolist() == [6, 6]
    with pytest.raises(SettingsError, match="The seeds of ft on t share no epoch"):
        measure([history(RISING), history(RISING, seed=1).assign(epoch=lambda frame: frame["epoch"] + 20)])


def test_the_finding_counts_tasks_and_gives_no_verdict():
    (finding,) = measure([*three(), *three(task="u")]).findings()
    assert finding.verdict == "inconclusive"
    assert "FT: overfits 2, does not 0, cannot tell 0, accuracy falls 2" in finding.statement
    (few,) = measure(three()[:1]).findings()
    assert few.reason == "fewer than three seeds: no verdict"


def test_the_order_of_rows_and_runs_does_not_matter():
    made = three()
    shuffled = [each.sample(frac=1, random_state=0) for each in reversed(made)]
    pd.testing.assert_frame_equal(measure(shuffled).runs, measure(made).runs)


def test_missing_columns_missing_splits_repeated_runs_and_nothing_are_refused():
    with pytest.raises(SettingsError, match=r"lacks the columns \['loss'\]"):
        measure([history([1.0]).drop(columns="loss")])
    with pytest.raises(SettingsError, match=r"splits \['train'\] with a loss; train and test are needed"):
        measure([history([1.0]).query("split == 'train'")])
    with pytest.raises(SettingsError, match="Two histories are of ft on t, n 0, seed 0"):
        measure([history([1.0]), history([2.0])])
    with pytest.raises(SettingsError, match="no history"):
        measure([])


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["overfits"] * 8, [("structured", 8, 8, 0, "agrees")]),
        (["overfits"] * 7 + ["cannot tell"], [("structured", 8, 7, 0, "cannot tell")]),
        (["overfits"] * 7 + ["does not"], [("structured", 8, 7, 1, "differs")]),
        ([], []),
    ],
)
def test_agreement_with_the_printed_counts(verdicts, expected):
    losses = {"overfits": RISING, "does not": sorted(RISING, reverse=True), "cannot tell": RISING}
    made = [
        each
        for i, verdict in enumerate(verdicts)
        for method in ("ft", "vpt_deep")
        for each in three(losses[verdict], task=f"task {i}", method=method, task_group="structured")
    ]
    if "cannot tell" in verdicts:  # a seed that does not rise
        made[-1] = history([3.0] * 6, seed=2, task=f"task {len(verdicts) - 1}", method="vpt_deep",
                           task_group="structured")  # fmt: skip
    table = measure(made or three()).printed
    assert (
        table[["group", "printed", "both_overfit", "neither_or_one", "says"]].apply(tuple, axis=1).tolist() == expected
    )


def test_one_method_at_two_sizes_is_no_pair_of_methods():
    made = [
        each for n in (300, 1000) for each in three(task="t", method="vpt_deep", task_group="structured", n_train=n)
    ]
    assert measure(made).printed.empty


def test_a_run_whose_held_out_loss_is_lost_has_diverged():
    lost = history([3.0, 2.0, 1.0, np.inf, np.inf, np.inf], seed=7)
    with pytest.raises(SettingsError, match=r"ft on .*, seed 7, has diverged: its test loss is no number from epoch 4"):
        measure([*three(), lost])
    unknown = history([3.0, 2.0, 1.0, np.nan, 2.0, 2.5], accuracy=[0.1, 0.2, 0.3, 0.3, 0.3, 0.3])
    with pytest.raises(SettingsError, match="from epoch 4"):
        measure([unknown])


def test_an_epoch_that_was_not_tested_is_no_divergence():
    sparse = [each[~((each["split"] == "test") & (each["epoch"] % 2 == 1))] for each in three()]
    assert measure(sparse).cells["n_seeds"].tolist() == [3]


def test_weights_kept_before_the_curves_begin_are_refused():
    late = history(RISING)
    late = late[~((late["split"] == "test") & (late["epoch"] < 5))].assign(end_epoch=3)
    with pytest.raises(SettingsError, match="keeps the weights of epoch 3, and its curves begin at 5"):
        measure([late])


def test_what_is_not_told_drops_no_task():
    made = [each.assign(n_train=np.nan, pretraining=None) for each in three()]
    result = measure([*made, *three(task="other")])
    assert sorted(result.cells["task"]) == sorted({*(each["task"].iloc[0] for each in made), "other"})


def test_pretraining_objectives_are_counted_apart():
    result = measure([*three(pretraining="supervised"), *three(pretraining="masked")])
    found = result.findings()
    assert [finding.n for finding in found] == [1, 1]
    assert [finding.statement.rpartition("; ")[2] for finding in found] == [
        "masked pretraining", "supervised pretraining",
    ]  # fmt: skip
