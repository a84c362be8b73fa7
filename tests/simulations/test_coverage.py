"""What `reports/evidence` says of intervals and tests, on fresh studies, with a margin for chance."""

import pandas as pd
import pytest

from simulations.coverage import DOMINANT, cell

STUDIES = 300
CHANCE = 100 * 3 * (0.05 * 0.95 / STUDIES) ** 0.5
"""Three standard errors of a coverage of 95%, in percent."""

pytestmark = pytest.mark.verify


def percents(*design):
    return pd.DataFrame(cell(*design, STUDIES)).set_index("method")["percent"]


@pytest.mark.parametrize(
    "design", [("normal", 1, 3, 1), ("skewed", 1, 5, 5), (DOMINANT, 1, 3, 1), ("normal", 10, 3, 5)]
)
def test_variance_components_hold_their_level_for_these_tasks(design):
    assert percents(*design)["variance components"] > 95 - CHANCE


def test_a_bootstrap_of_three_dominating_draws_is_too_short():
    found = percents(DOMINANT, 1, 3, 1)
    assert found["hierarchical bootstrap"] < found["variance components"] - CHANCE / 2


def test_over_tasks_the_t_interval_holds_and_bca_does_not():
    found = percents("normal", 5, 3, 1)
    assert found["Student t"] > 95 - CHANCE
    assert found["BCa"] < 95 - CHANCE


def test_false_positives_stay_below_five_percent_for_symmetric_effects():
    found = percents("normal", 10, 3, 1)
    assert found[["sign flips", "signed ranks", "win count"]].max() < 5 + CHANCE


def test_of_five_tasks_no_test_can_find_anything():
    assert percents("normal", 5, 3, 1)[["sign flips", "signed ranks", "win count"]].max() == 0
