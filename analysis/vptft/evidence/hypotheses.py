"""The hypotheses every report is a loop over."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One hypothesis of Han et al. (ICLR 2024), as the reports name it."""

    id: str
    statement: str
    measured_by: str


HYPOTHESES: Mapping[str, Hypothesis] = {
    h.id: h
    for h in (
        Hypothesis(
            id="C0", statement="The comparison is fair: VPT and FT differ in the method only", measured_by="recipes"
        ),
        Hypothesis(id="W1", statement="VPT wins where data distributions are close", measured_by="quadrants"),
        Hypothesis(
            id="W2", statement="VPT wins where the task objective is far from pretraining", measured_by="quadrants"
        ),
        Hypothesis(id="W3", statement="FT closes the gap as data grows", measured_by="data size"),
        Hypothesis(id="Y1", statement="Overfitting explains only part of the gap", measured_by="overfitting"),
        Hypothesis(id="Y2", statement="Extra dimensions do not help optimisation", measured_by="landscape"),
        Hypothesis(id="Y3", statement="Preserved features matter, but not trivially", measured_by="features"),
        Hypothesis(id="Y4", statement="Prompts attend better", measured_by="attention"),
    )
}
