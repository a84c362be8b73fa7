"""From a predicted gap to advice: one written rule, and the paper's own rule to hold it against."""

from typing import Literal

from vptft.advise.prediction import Prediction
from vptft.advise.predictors import FAR
from vptft.evidence.verdicts import REGION

Advised = Literal["VPT", "FT", "too close to call"]
OPEN: Advised = "too close to call"

SURE = 0.8
"""Probability that the named method is ahead."""

RULE = (
    f"VPT (or FT) where it is ahead with a probability of at least {SURE:.0%} and by an expected {REGION:g} point or "
    "more; otherwise too close to call, and always so where a predictor lies beyond the evidence by more than "
    f"{FAR:.0%} of its range. The probability is of the gap itself: of coefficients and of the task, without noise of "
    "measuring where that is known (of printed tables it is not, and part of the task's)."
)
"""The rule in words, printed with every recommendation."""


def recommend(prediction: Prediction) -> Advised:
    """Advise by :data:`RULE`."""
    believed = prediction.true
    above = 1 - believed.cdf(0.0)
    return by_rule(believed.mean, above)


def by_rule(mean: float, above: float) -> Advised:
    """Advise by :data:`RULE`, given the expected gap and the probability that VPT is ahead."""
    if mean >= REGION and above >= SURE:
        return "VPT"
    return "FT" if mean <= -REGION and 1 - above >= SURE else OPEN


def forced(prediction: Prediction) -> Literal["VPT", "FT"]:
    """Return the method that is more probably ahead, for who must decide."""
    return "VPT" if prediction.true.cdf(0.0) <= 0.5 else "FT"


def papers_rule(objective_is_far: bool | None, data_is_far: bool | None) -> Literal["VPT", "FT", ""]:
    """Name a method as Han et al. 2024 (section 4.2, Figure 1) do: FT only where the objective is near, data far.

    Empty where a side that it needs is not known.
    """
    if objective_is_far:
        return "VPT"
    if objective_is_far is None or data_is_far is None:
        return ""
    return "FT" if data_is_far else "VPT"
