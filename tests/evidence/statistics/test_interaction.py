import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from vptft.errors import SettingsError
from vptft.evidence.statistics.interaction import interaction, interaction_weights, terms_for


def planted(n_tasks, *, noise=0.0, sizes=(400, 800, 5000), seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_tasks):
        distance, disparity = rng.normal(100, 20), rng.uniform()
        level, slope = rng.normal(0, noise), -1.5
        gap = 4 - 0.1 * (distance - 100) + 6 * (disparity - 0.5) + level
        rows += [
            {"task": f"t{i:02}", "distance": distance, "disparity": disparity, "n_train": n,
             "gap_points": gap + slope * np.log2(n / 1000) + rng.normal(0, noise / 2)}
            for n in sizes
        ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_weights_are_the_difference_of_two_differences():
    objective, data = [False, False, True, True, True], [False, True, False, True, True]
    weights = interaction_weights(objective, data)
    assert weights.tolist() == [-1.0, 1.0, 1.0, -0.5, -0.5]
    gaps = np.array([3.0, -5.0, 4.0, 6.0, 8.0])
    assert weights @ gaps == (-5 - 3) - (7 - 4)
    additive = np.array([1.0, 1.0 + 2.0, 9.0, 9.0 + 2.0, 9.0 + 2.0])
    assert weights @ additive == pytest.approx(0)


def test_a_quadrant_without_a_task_leaves_the_interaction_unknown():
    with pytest.raises(SettingsError, match="No task has a far objective and far data"):
        interaction_weights([False, False, True], [False, True, False])


def test_planted_effects_come_back():
    table = planted(20)
    found = interaction(table).set_index("term")
    tasks = table.groupby("task").first()
    assert found.loc["distance", "estimate"] == pytest.approx(-0.1 * tasks["distance"].std(ddof=1))
    assert found.loc["disparity", "estimate"] == pytest.approx(6 * tasks["disparity"].std(ddof=1))
    assert found.loc["distance:disparity", "estimate"] == pytest.approx(0, abs=1e-9)
    assert found.loc["log2 n", "estimate"] == pytest.approx(-1.5)
    assert (found["n_tasks"] == 20).all()
    assert found.loc["distance", "df"] == 16


def test_in_balanced_data_the_estimates_are_the_mixed_models():
    table = planted(24, noise=1.0)
    found = interaction(table).set_index("term")
    tasks = table.groupby("task")[["distance", "disparity"]].first()
    scaled = ((tasks - tasks.mean()) / tasks.std(ddof=1)).rename(columns=str.upper)
    data = table.join(scaled, on="task").assign(x=np.log2(table["n_train"]) - np.log2(table["n_train"]).mean())
    formula = "gap_points ~ DISTANCE * DISPARITY + x"
    mixed = smf.mixedlm(formula, data, groups="task").fit()
    for ours in ("distance", "disparity", "distance:disparity", "log2 n"):
        theirs = "x" if ours == "log2 n" else ours.upper()
        assert found.loc[ours, "estimate"] == pytest.approx(mixed.params[theirs], abs=1e-5)


def test_tasks_bear_one_term_for_every_five():
    assert [terms_for(n) for n in (4, 5, 10, 15, 19)] == [
        (), ("distance",), ("distance", "disparity"), *[("distance", "disparity", "distance:disparity")] * 2,
    ]  # fmt: skip
    one_size = interaction(planted(7, sizes=(300,)))
    assert one_size["term"].tolist() == ["distance", "mean"]
    with pytest.raises(SettingsError, match="4 tasks bear no task-level term; one needs 5"):
        interaction(planted(4))
