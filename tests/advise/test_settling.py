import numpy as np
import pytest
from scipy import stats

from advise.evidence import made
from vptft.advise.decision import OPEN, recommend
from vptft.advise.regression import fit
from vptft.advise.settling import parts, settled, worth


@pytest.fixture
def fitted():
    return fit(made(np.random.default_rng(0), tasks=10, between=3.0, noise=2.0), ["disparity"])


def test_more_tasks_leave_less_of_the_coefficients_and_all_of_the_task_itself(fitted):
    table = worth(fitted, [0.9]).set_index("measurement")
    now, more, many = (table.loc[name] for name in ("as it is", "10 more tasks like these", "30 more tasks like these"))
    assert now["parameters"] > more["parameters"] > many["parameters"]
    assert now["residual"] == more["residual"] == many["residual"]
    assert now["sd_points"] == pytest.approx(np.sqrt(now["parameters"] + now["residual"]))
    assert now["half80_points"] == pytest.approx(1.2816 * now["sd_points"], rel=1e-4)


def test_training_on_the_task_leaves_the_variance_of_a_normal_update(fitted):
    table = worth(fitted, [0.9], of_draws=12.0, of_images=4.0).set_index("measurement")
    before = table.loc["as it is", "sd_points"] ** 2
    for seeds, name in ((1, "1 seed"), (3, "3 seeds"), (5, "5 seeds")):
        left = 1 / (1 / before + 1 / (12.0 / seeds + 4.0))  # seeds share the test images
        assert table.loc[f"train both on this task, {name}", "sd_points"] ** 2 == pytest.approx(left)


def test_what_a_measurement_was_worth_is_shown_beside_the_prediction_without_it(fitted):
    other = fit(made(np.random.default_rng(0), tasks=10, between=9.0), []).predict([])
    table = worth(fitted, [0.9], without=("the look-ahead", other)).set_index("measurement")
    assert table.loc["without the look-ahead", "sd_points"] == pytest.approx(np.sqrt(sum(parts(other)[:2])))


@pytest.mark.parametrize(("mean", "before", "after"), [(0.5, 9.0, 1.0), (-3.0, 4.0, 3.0), (6.0, 25.0, 0.01)])
def test_the_probability_of_being_settled_is_that_of_simulated_measurements(mean, before, after):
    moved = np.random.default_rng(1).normal(mean, np.sqrt(before - after), size=400_000)
    above = stats.norm.sf(0, moved, np.sqrt(after))
    named = ((moved >= 1) & (above >= 0.8)) | ((moved <= -1) & (above <= 0.2))
    assert settled(mean, before, after) == pytest.approx(named.mean(), abs=0.004)


def test_nothing_measured_settles_nothing_that_is_not_settled_already():
    assert settled(3.0, 4.0, 4.0) == 1.0
    assert settled(3.0, 400.0, 400.0) == 0.0


def test_as_it_is_says_what_the_rule_says_where_the_approximation_would_not(fitted):
    unlike = 0
    for value in np.linspace(-1, 2, 61):
        now = worth(fitted, [value]).set_index("measurement").loc["as it is"]
        named = recommend(fitted.predict([value])) != OPEN
        assert now["settled"] == named
        unlike += settled(fitted.predict([value]).mean, now["sd_points"] ** 2, now["sd_points"] ** 2) != named
    assert unlike
