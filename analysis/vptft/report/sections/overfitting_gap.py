"""Whether overfitting explains the gap."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.overfitting_gap import draw_overfitting_gap
from vptft.report.sections.parts import Analysis, Context, Picture
from vptft.why.overfitting.explanation import Explanation

CAUTION = (
    "A regression over tasks says what goes together, not what causes what: a task that is hard for FT can make "
    "it overfit and lose for the same reason. Few tasks bear one slope and no more."
)


def _pictures(results: Sequence[Explanation], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="overfitting-gap",
            figure=draw_overfitting_gap(result),
            alt="Gap of each task over how much more FT overfits than VPT, with the regression line and its band.",
            caption="Gap VPT - FT over how much more FT's test loss rises after its onset; bars are the seeds' ranges. "
            "Where the line crosses the dotted one is the gap at equal overfitting.",
        )


ANALYSIS = Analysis(
    key="overfitting-gap", kind=Explanation, heading="Does overfitting explain the gap?", caution=CAUTION,
    command="overfitting", pictures=_pictures,
)  # fmt: skip
