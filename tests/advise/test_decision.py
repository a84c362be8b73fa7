import numpy as np
import pytest

from vptft.advise.decision import by_rule, forced, papers_rule, recommend
from vptft.advise.prediction import Prediction


def normal(mean, sd, noise=0.0):
    one = np.ones(1)
    return Prediction(weights=one, centres=mean * one, parameters=0 * one, residual=sd**2 * one, noise=noise * one)


@pytest.mark.parametrize(
    ("mean", "above", "advised"),
    [
        (1.0, 0.8, "VPT"), (-1.0, 0.2, "FT"), (0.99, 0.99, "too close to call"), (9.0, 0.79, "too close to call"),
        (-9.0, 0.21, "too close to call"), (0.0, 0.5, "too close to call"),
    ],
)  # fmt: skip
def test_a_method_is_named_if_it_is_probably_ahead_and_by_a_point(mean, above, advised):
    assert by_rule(mean, above) == advised


def test_noise_of_measuring_does_not_unsettle_what_is_known_of_the_gap():
    assert recommend(normal(2, 1)) == recommend(normal(2, 1, noise=100.0)) == "VPT"
    assert recommend(normal(2, 10)) == "too close to call"


def test_who_must_decide_is_given_the_more_probable_method():
    assert (forced(normal(0.1, 9)), forced(normal(-0.1, 9))) == ("VPT", "FT")


@pytest.mark.parametrize(
    ("objective", "data", "named"),
    [(True, True, "VPT"), (True, None, "VPT"), (False, False, "VPT"), (False, True, "FT"), (False, None, ""),
     (None, True, "")],
)  # fmt: skip
def test_the_papers_rule_names_ft_only_for_a_near_objective_and_far_data(objective, data, named):
    assert papers_rule(objective, data) == named
