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
        Hypothesis(id="W0", statement="VPT beats FT on small downstream sets", measured_by="gaps over tasks"),
        Hypothesis(id="W1", statement="VPT wins where data distributions are close", measured_by="quadrants"),
        Hypothesis(
            id="W2", statement="VPT wins where the task objective is far from pretraining", measured_by="quadrants"
        ),
        Hypothesis(id="W3", statement="FT closes the gap as data grows", measured_by="data size"),
        Hypothesis(
            id="W4",
            statement="Which method wins depends on the backbone and how it was pretrained",
            measured_by="backbones side by side",
        ),
        Hypothesis(
            id="W5", statement="FT wins only where the objective is near and the data are far", measured_by="quadrants"
        ),
        Hypothesis(id="Y1", statement="Overfitting explains only part of the gap", measured_by="overfitting"),
        Hypothesis(id="Y2", statement="Extra dimensions do not help optimisation", measured_by="landscape"),
        Hypothesis(id="Y3", statement="Preserved features matter, but not trivially", measured_by="features"),
        Hypothesis(id="Y4", statement="Prompts attend better", measured_by="attention"),
    )
}
