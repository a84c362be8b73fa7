import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from vptft.errors import SettingsError
from vptft.when.objective.comparison import auc, compare, partial_correlation, threshold

NEAR = {"classification"}.__contains__


def frame(values, *, backbones=("a", "b"), draws=1):
    """``values``: measure -> one value a task; the first two tasks are near, the last two are unseen."""
    rng = np.random.default_rng(0)
    rows = []
    for measure, of_tasks in values.items():
        for backbone in backbones:
            for i, value in enumerate(of_tasks):
                near = i < 2 or i >= len(of_tasks) - 2
                rows += [
                    {
                        "task": f"t{i}", "objective": "classification" if near else "counting", "backbone": backbone,
                        "pretraining": "random", "draw": draw, "measure": measure, "seconds": 0.5,
                        "value": value + (rng.normal(0, 0.01) if draws > 1 else 0),
                    }
                    for draw in range(draws)
                ]  # fmt: skip
    return pd.DataFrame(rows)


CHOSEN = tuple(f"t{i}" for i in range(8))
VALUES = {
    "linear": [0.5, 0.2, 0.1, 0.3, 0.15, 0.25, 0.35, 0.05, 0.9, 0.8],
    "class_readout": [0.5, 0.4, 0.1, 0.2, 0.1, 0.05, 0.3, 0.02, 0.9, 0.1],
    "ordinality": [0.1, 0.2, 0.9, 0.8, 0.7, 0.15, 0.6, 0.5, 0.0, 0.05],
}


@pytest.fixture
def compared():
    return compare(frame(VALUES), near=NEAR, chosen_from=CHOSEN)


def row(compared, measure, backbone="a"):
    table = compared.frame()
    (found,) = table[(table["measure"] == measure) & (table["backbone"] == backbone)].to_dict("records")
    return found


def test_auc_is_that_of_scikit_learn_and_higher_values_of_either_direction_count(compared):
    for name, sign in (("linear", -1), ("class_readout", -1), ("ordinality", 1)):
        scores = sign * np.array(VALUES[name][:8])
        expected = roc_auc_score(np.arange(8) >= 2, scores)
        found = row(compared, name)
        assert found["auc"] == pytest.approx(expected)
        assert found["low"] <= found["auc"] <= found["high"]
        assert (found["n_near"], found["n_far"], found["missing"]) == (2, 6, 0)


def test_the_interval_holds_the_aucs_within_196_of_their_own_standard_errors():
    """Newcombe's method 5, its ends put back into Hanley and McNeil's variance."""
    near, far = np.array([0.0, 2.5]), np.array([1.0, 2.0, 3, 4, 5, 6, 7, 8])
    found = auc(near, far)
    assert found.value == pytest.approx(14 / 16)
    for end in (found.low, found.high):
        extra = 4 * ((1 - end) / (2 - end) + end / (1 + end))
        assert (found.value - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) * (1 + extra) / 16, rel=1e-6)


def test_separated_samples_have_an_interval_all_the_same():
    found = auc(np.array([0.0, 1]), np.arange(2.0, 10))
    assert (found.value, found.high) == (1, 1)
    assert 0.4 < found.low < 0.7
    assert np.isnan(auc(np.array([]), np.array([1.0])).value)


def test_partial_correlation_is_that_of_residual_ranks():
    rng = np.random.default_rng(0)
    z = rng.normal(size=40)
    x, y = z + rng.normal(size=40), (z + rng.normal(size=40) > 0).astype(float)
    ranks = [rankdata(each) for each in (x, y, z)]
    design = np.stack([np.ones(40), ranks[2]], axis=1)
    left = [each - design @ np.linalg.lstsq(design, each, rcond=None)[0] for each in ranks[:2]]
    found = partial_correlation(x, y, z)
    assert found.value == pytest.approx(np.corrcoef(*left)[0, 1])
    half = 1.959964 * np.sqrt(1.06 / 36)
    assert np.arctanh([found.low, found.high]) == pytest.approx(np.arctanh(found.value) + np.array([-half, half]))


def test_accuracy_says_nothing_given_accuracy(compared):
    assert np.isnan(row(compared, "linear")["partial"])
    assert np.isnan(partial_correlation(np.ones(8), np.arange(8.0), np.arange(8.0) ** 2).value)


def test_the_threshold_separates_what_can_be_separated_in_the_middle():
    assert threshold(np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, False, True, True])) == pytest.approx(0.4)
    assert threshold(np.array([0.9, 0.2, 0.6, 0.5]), np.array([False, False, True, True])) == pytest.approx(0.35)


def test_left_out_tasks_are_put_on_the_side_a_threshold_of_the_others_gives(compared):
    found = row(compared, "class_readout")
    signs, values = np.arange(8) >= 2, -np.array(VALUES["class_readout"][:8])
    right = 0
    for i in range(8):
        others = np.arange(8) != i
        right += (values[i] > threshold(values[others], signs[others])) == signs[i]
    assert (found["left_out_right"], found["left_out_base"], found["left_out_n"]) == (right, 6, 8)


def test_unseen_tasks_take_no_part_in_the_choice(compared):
    found = row(compared, "class_readout")
    assert (found["unseen_near"], found["unseen_n"]) == (1, 2)
    moved = {name: [*values[:8], 0.0, 0.0] for name, values in VALUES.items()}
    again = compare(frame(moved), near=NEAR, chosen_from=CHOSEN)
    for name in VALUES:
        kept = ("auc", "low", "high", "partial", "left_out_right")
        assert [row(again, name)[k] for k in kept] == pytest.approx([row(compared, name)[k] for k in kept], nan_ok=True)


def test_the_rule_takes_the_highest_auc_among_measures_with_a_value_for_every_task():
    values = {**VALUES, "spread": [0.9, 0.8, 0.1, np.nan, 0.1, 0.1, 0.1, 0.1, 0.5, 0.5]}
    compared = compare(frame(values), near=NEAR, chosen_from=CHOSEN)
    ranking = compared.ranking()
    assert list(ranking["measure"]) == ["class_readout", "ordinality", "linear", "spread"]
    assert row(compared, "spread")["auc"] == 1
    assert row(compared, "spread")["missing"] == 1


def test_equal_aucs_go_by_agreement_between_backbones():
    table = frame(
        {"knn": VALUES["class_readout"], "class_readout": VALUES["class_readout"], "linear": VALUES["linear"]}
    )
    swapped = (table["measure"] == "knn") & (table["backbone"] == "b") & (table["task"] == "t7")
    table.loc[swapped, "value"] = 0.25
    compared = compare(table, near=NEAR, chosen_from=CHOSEN)
    assert list(compared.ranking()["measure"])[:2] == ["class_readout", "knn"]
    agreement = compared.agreement.set_index("measure")
    assert agreement.loc["class_readout", "rho"] == pytest.approx(1)
    assert agreement.loc["knn", "rho"] < 1
    assert agreement.loc["knn", "n"] == 8


def test_draws_are_noise_and_not_tasks():
    compared = compare(frame(VALUES, draws=4), near=NEAR, chosen_from=CHOSEN)
    found = row(compared, "class_readout")
    assert (found["n_near"], found["n_far"]) == (2, 6)
    assert found["noise"] == pytest.approx(0.01 / np.std(VALUES["class_readout"][:8], ddof=1), rel=0.5)


def test_pairs_at_equal_accuracy_are_averaged(compared):
    pairs = pd.DataFrame({"measure": ["knn", "linear"] * 2, "backbone": "a", "nearer": [1.0, 0.0, 0.5, 1.0]})
    found = compare(frame({**VALUES, "knn": VALUES["linear"]}), near=NEAR, chosen_from=CHOSEN, matched=pairs)
    assert row(found, "knn")["matched_auc"] == 0.75
    assert np.isnan(row(found, "knn", "b")["matched_auc"])
    assert np.isnan(row(compared, "linear")["matched_auc"])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(SettingsError, match=r"no value for \['elsewhere'\]"):
        compare(frame(VALUES), near=NEAR, chosen_from=["elsewhere"])
    with pytest.raises(SettingsError, match="tasks of both kinds"):
        compare(frame(VALUES), near=NEAR, chosen_from=CHOSEN[:2])
