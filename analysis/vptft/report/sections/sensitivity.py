"""Whether the verdict survives the design choices."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.sensitivity import draw_shares, draw_specifications, parts_of
from vptft.report.sections.parts import Analysis, Context, Picture
from vptft.when.sensitivity.measure import Sensitivity

CAUTION = "Only what was run can flip a verdict; seed and training draw are one source where runs vary both together."


def _pictures(results: Sequence[Sensitivity], context: Context) -> Iterator[Picture]:
    for result in results:
        for part in range(parts_of(result) if len(result.choices) else 0):
            yield Picture(
                name=f"specifications-{part + 1}" if part else "specifications",
                figure=draw_specifications(result, part=part),
                alt="Gap of each task in every specification that was run, above the choices it is made of.",
                caption="The gap in every combination of choices that was run, in one order for all tasks.",
            )
        if len(result.shares):
            yield Picture(
                name="variance-shares",
                figure=draw_shares(result),
                alt="Share of the gap's variance that each choice makes.",
                caption="What the gap's variance over specifications is made of.",
            )


ANALYSIS = Analysis(
    key="sensitivity", kind=Sensitivity, heading="Does the verdict survive the design?", caution=CAUTION,
    command="sensitivity", pictures=_pictures, notes=lambda results: [each.reason for each in results if each.reason],
)  # fmt: skip
