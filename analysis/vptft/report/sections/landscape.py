"""Loss slices."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.landscape import draw_slices
from vptft.report.interactive.surfaces import surface_viewer
from vptft.report.pages import words
from vptft.report.sections.parts import Analysis, Context, Picture
from vptft.why.landscape.slices import LossSlice

CAUTION = (
    "This is a picture, not evidence: two random directions among millions, others look different, and VPT and FT "
    "move different parameters, so their steps are not of the same kind."
)


def _pictures(results: Sequence[LossSlice], context: Context) -> Iterator[Picture]:
    yield Picture(
        name="landscape",
        figure=draw_slices(results),
        alt=words.alt_of("Contours of the test loss around", (item.label for item in results)),
        caption=words.CAPTION_SLICES,
    )


ANALYSIS = Analysis(
    key="landscape", kind=LossSlice, heading="Loss slices", caution=CAUTION, command="landscape", many=True,
    pictures=_pictures, widgets=lambda results, context: [surface_viewer(results)],
    name=lambda result: f"{result.analysis}: {result.label}",
)  # fmt: skip
