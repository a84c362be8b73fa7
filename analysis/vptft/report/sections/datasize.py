"""Whether FT closes the gap as data grow."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.datasize import draw_datasize
from vptft.report.sections.parts import Analysis, Context, Picture
from vptft.when.datasize.measure import DataSize

CAUTION = (
    "Beyond the measured sizes nothing is claimed, and a gap that bends crosses zero elsewhere than its line. Sizes "
    "share test images, and training draws of one task can share images."
)


def _pictures(results: Sequence[DataSize], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="datasize",
            figure=draw_datasize(result),
            alt="Accuracy of VPT and FT against training images, one panel a task.",
            caption="Accuracy of VPT and FT against training images, and where FT overtakes, with its 95% set.",
        )


ANALYSIS = Analysis(
    key="datasize", kind=DataSize, heading="Data size", caution=CAUTION, command="datasize", pictures=_pictures
)
