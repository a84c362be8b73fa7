"""Whether preserved features predict accuracy."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.preservation import draw_preservation
from vptft.report.sections.parts import Analysis, Context, Picture
from vptft.why.features.explanation import PreservationEffect

CAUTION = (
    "Methods differ in more than in what they preserve, so a slope over methods is no cause; a linear probe preserves "
    "everything by construction. Few methods and few tasks bear one slope and hardly a curve."
)


def _pictures(results: Sequence[PreservationEffect], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="features-preservation",
            figure=draw_preservation(result),
            alt="Accuracy against preservation within each setting, and the slopes of every measure.",
            caption="Accuracy against preservation, each setting's mean taken away; right, the slope of every measure "
            "with its interval.",
        )


ANALYSIS = Analysis(
    key="feature-preservation", kind=PreservationEffect, heading="Does preservation matter?", caution=CAUTION,
    command="features", pictures=_pictures,
)  # fmt: skip
