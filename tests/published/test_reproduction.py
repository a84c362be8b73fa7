from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vptft.published import reproduction
from vptft.published.reproduction import METHODS, OWN_COLUMNS, PRETRAINED, SETTINGS, own_accuracies
from vptft.tuning.methods import METHODS as TRAINED


def own(
    task, method, values, *, n_train="1000", backbone="timm/vit_base", pretraining="imagenet21k_supervised", reason=""
):
    rows = [(task, method, i, n_train, backbone, pretraining, value, reason) for i, value in enumerate(values)]
    return pd.DataFrame(rows, columns=list(OWN_COLUMNS))


def measured(printed, *frames):
    return reproduction.measure(pd.concat(frames, ignore_index=True), printed).table


def test_the_difference_and_its_interval_hold_both_spreads(printed):
    values = [77.0, 79.0, 80.5]
    row = measured(printed, own("cifar100", "vpt", values)).iloc[0]
    assert (row["own"], row["printed"], row["n_seeds"]) == (pytest.approx(np.mean(values)), 77.7, 3)
    se = np.std(values, ddof=1) * np.sqrt(1 / 3 + 1 / 5)
    half = stats.t.ppf(0.975, 2) * se
    assert (row["low_points"], row["high_points"]) == pytest.approx(
        (np.mean(values) - 77.7 - half, np.mean(values) - 77.7 + half)
    )
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(np.mean(values) - 77.7) / se, 2))


def test_the_interval_covers_a_true_reproduction_as_often_as_it_says(printed):
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        value, runs = rng.normal(50, 1, 5).mean(), rng.normal(50, 1, 4)
        effect, _ = reproduction._difference(runs, value)
        inside += effect.low <= 0 <= effect.high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("values", "outcome", "reason"),
    [
        ([64.4, 64.5, 64.6, 64.5], "reproduced", "lies within ±1 point"),
        ([54.4, 54.5, 54.6, 54.5], "different", "excludes zero"),
        ([60.0, 65.0, 70.0], "inconclusive", "includes zero and reaches beyond"),
        ([64.5, 64.5], "inconclusive", "2 seeds: no verdict"),
        ([64.5], "inconclusive", "1 seeds: no verdict"),
        ([np.nan], "not applicable", "no run of it has a test accuracy"),
    ],
)
def test_outcomes(printed, values, outcome, reason):
    row = measured(printed, own("cifar100", "ft", values)).iloc[0]
    assert row["outcome"] == outcome
    assert reason in row["reason"]


def test_p_values_are_corrected_over_all_cells(printed):
    close = [62.4, 63.0, 63.4, 62.8, 62.6]
    alone = measured(printed, own("cifar100", "ft", close)).iloc[0]
    assert alone["outcome"] == "different"
    others = [
        own(task, "ft", [value - 1, value, value + 1])
        for task, value in (("dtd", 65.0), ("pets", 84.6), ("svhn", 87.3))
    ]
    table = measured(printed, own("cifar100", "ft", close), *others).set_index("task")
    assert table.loc["cifar100", "p"] == pytest.approx(alone["p"])
    assert table.loc["cifar100", "p_adjusted"] == pytest.approx(4 * alone["p"])


@pytest.mark.parametrize(
    ("changes", "printed_value"),
    [
        ({"n_train": "10000"}, 88.7), ({"n_train": "800"}, 77.7), ({"n_train": "1 per class"}, 54.6),
        ({"pretraining": "mae"}, 8.2), ({"pretraining": "moco_v3"}, 70.1), ({"backbone": "timm/swin_base"}, 79.6),
    ],
    ids=str,
)  # fmt: skip
def test_each_run_meets_the_cell_of_its_own_size_and_backbone(printed, changes, printed_value):
    row = measured(printed, own("cifar100", "vpt", [1.0, 2.0, 3.0], **changes)).iloc[0]
    assert row["printed"] == printed_value


def test_fine_grained_sets_and_lora_have_tables_of_their_own(printed):
    table = measured(
        printed,
        own("nabirds", "ft", [1.0, 2.0, 3.0], n_train="full"),
        own("cifar100", "lora", [1.0, 2.0], n_train="400"),
    ).set_index("task")
    assert table["printed"].to_dict() == {"nabirds": 82.7, "cifar100": 69.6}


def test_what_is_not_printed_is_told(printed):
    table = measured(
        printed, own("dtd", "vpt", [1.0, 2.0, 3.0], n_train="5000"), own("mine", "ft", [1.0], reason="a task of mine")
    ).set_index("task")
    assert table["outcome"].unique().tolist() == ["not applicable"]
    assert table["reason"].to_dict() == {"dtd": "no number is printed for this cell", "mine": "a task of mine"}


def info(finished, **changes):
    run = finished["ft"]
    return replace(run, info=replace(run.info, **changes))


def test_runs_come_under_the_names_of_the_tables(finished):
    runs = [
        info(
            finished, task='vtab-smallnorb(predicted_attribute="label_azimuth")', pretraining="supervised", n_train=1000
        ),
        info(finished, task="clevr_dist", pretraining="masked", n_train=8, method="vpt_deep"),
        info(finished, task="OxfordFlowers", pretraining="contrastive"),
        info(finished, task="dtd", pretraining="supervised", method="bias"),
        info(finished, task="dtd", pretraining="self-distilled"),
        info(finished, pretraining="supervised", test_accuracy=None, seed=None),
    ]
    found = own_accuracies(runs)
    assert tuple(found.columns) == OWN_COLUMNS
    named = found[["task", "method", "n_train", "pretraining"]].to_numpy().tolist()
    assert named[0] == ["smallnorb_azimuth", "ft", "1000", "imagenet21k_supervised"]
    assert named[1] == ["clevr_distance", "vpt", "8", "mae"]
    assert named[2] == ["oxford_flowers", "ft", "full", "moco_v3"]
    assert found["reason"].tolist() == [
        "", "", "", "the paper prints no bias", "the paper has no backbone with self-distilled pretraining",
        "a task that is not in the paper's tables",
    ]  # fmt: skip
    assert found["accuracy"].iloc[0] == pytest.approx(100 * finished["ft"].info.test_accuracy)
    assert np.isnan(found["accuracy"].iloc[-1])


def test_one_image_a_class_is_one_shot(finished):
    (row,) = own_accuracies([info(finished, task="dtd", pretraining="supervised", n_train=47)]).to_dict("records")
    assert row["n_train"] == "1 per class"


def test_the_names_exist_on_both_sides(printed):
    cells = printed.accuracies
    assert set(METHODS) <= set(TRAINED)
    assert set(METHODS.values()) == set(cells["method"])
    assert set(PRETRAINED.values()) == set(cells["pretraining"])
    assert set(SETTINGS) == set(cells["n_train"])
    assert set(SETTINGS.values()) | {"lora"} == set(cells["setting"])
