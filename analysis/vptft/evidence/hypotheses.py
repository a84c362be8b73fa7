"""The hypotheses every report is a loop over."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One hypothesis of Han et al. (ICLR 2024), as the reports name it; ``needs`` is what it takes to judge it."""

    id: str
    statement: str
    needs: str


HYPOTHESES: Mapping[str, Hypothesis] = {
    h.id: h
    for h in (
        Hypothesis(
            id="C0",
            statement="The comparison is fair: VPT and FT differ in the method only",
            needs="a VPT and an FT run of one task and seed",
        ),
        Hypothesis(
            id="W0",
            statement="VPT beats FT on small downstream sets",
            needs="VPT and FT runs of a task that is not marked as of few groups",
        ),
        Hypothesis(
            id="W1",
            statement="VPT wins where data distributions are close",
            needs="tasks near to and far from the reference",
        ),
        Hypothesis(
            id="W2",
            statement="VPT wins where the task objective is far from pretraining",
            needs="tasks of near and of far objective",
        ),
        Hypothesis(
            id="W3",
            statement="FT closes the gap as data grows",
            needs="runs at several numbers of training images: protocol datasize",
        ),
        Hypothesis(
            id="W4",
            statement="Which method wins depends on the backbone and how it was pretrained",
            needs="a comparison of backbones, which only the published tables are asked for: published",
        ),
        Hypothesis(
            id="W5",
            statement="FT wins only where the objective is near and the data are far",
            needs="tasks in all four quadrants",
        ),
        Hypothesis(
            id="Y1",
            statement="Overfitting explains only part of the gap",
            needs="histories with a held-out curve",
        ),
        Hypothesis(
            id="Y2",
            statement="Extra dimensions do not help optimisation",
            needs="the escape test of FT runs with their weights: why --thorough, or landscape --what escape",
        ),
        Hypothesis(
            id="Y3",
            statement="Preserved features matter, but not trivially",
            needs="features of runs that hold their weights: why --images 200; of five methods for its line",
        ),
        Hypothesis(
            id="Y4",
            statement="Prompts attend better",
            needs="attention maps of runs that hold their weights: why --images 200",
        ),
    )
}
