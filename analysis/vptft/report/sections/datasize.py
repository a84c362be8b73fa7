"""Whether FT closes the gap as data grow."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.datasize import draw_datasize
from vptft.report.sections.columns import Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
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


def _tables(results: Sequence[DataSize]) -> list[Table]:
    slope = ("slope_low", "slope_high")
    made = []
    for result in results:
        made.append(
            table(
                result.tasks,
                "Each task's gap a doubling of the training images, in points with its 95% interval, and what its "
                "crossing says: FT overtakes VPT at n* only where the set of sizes at which the gap may be zero has "
                "ends.",
                [
                    Column("task", "task"),
                    Column("group", "task_group"),
                    Column("sizes", "n_sizes", "d"),
                    Column("from", "n_least", ",d"),
                    Column("to", "n_most", ",d"),
                    Column("a doubling", "slope_points", "+.1f", slope),
                    Column("crossing", "says"),
                ],
            )
        )
        made.append(
            table(
                result.groups,
                "Over tasks: the mean slope with its 95% interval and p of sign flips, corrected over the groups. "
                "They cross where the mean of the tasks' lines is zero, which is not the mean of their crossings.",
                [
                    Column("tasks of", "task_group"),
                    Column("tasks", "n_tasks", "d"),
                    Column("a doubling", "slope_points", "+.1f", slope),
                    Column("p", "p", ".2g"),
                    Column("corrected", "p_holm", ".2g"),
                    Column("crossing", "says"),
                    Column("pretraining", "pretraining"),
                ],
            )
        )
    return made


ANALYSIS = Analysis(
    key="datasize", kind=DataSize, heading="Data size", caution=CAUTION, command="datasize", pictures=_pictures,
    tables=_tables,
)  # fmt: skip
