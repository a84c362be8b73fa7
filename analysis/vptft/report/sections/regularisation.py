"""FT with and without what keeps it from overfitting."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.regularisation import draw_regularisation
from vptft.report.sections.columns import Column, table, training_images
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.why.overfitting.regularisation import Regularisation

CAUTION = (
    "A regulariser does more than keep a network from overfitting, so what FT gains by it is not all overfitting's; "
    "one whose loss rises no less than before tests nothing."
)


def _pictures(results: Sequence[Regularisation], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="regularisation",
            figure=draw_regularisation(result),
            alt="For each regulariser: change of the test loss's rise and of FT's accuracy, and the gap that remains.",
            caption="FT with each regulariser less FT without it, and VPT less FT with it, each with its 95% interval.",
        )


def _tables(results: Sequence[Regularisation]) -> list[Table]:
    numbers = [
        Column("rise of the test loss, nats", "rise_change", "+.3f", ("rise_change_low", "rise_change_high")),
        Column("accuracy, points", "accuracy_change", "+.1f", ("accuracy_change_low", "accuracy_change_high")),
        Column("gap that remains, points", "gap", "+.1f", ("gap_low", "gap_high")),
    ]
    return [
        made
        for result in results
        for made in (
            table(
                result.overall,
                "FT with each regulariser less FT without it, and VPT less FT with it: means over tasks with their 95% "
                "intervals.",
                [Column("regulariser", "arm"), Column("tasks", "n_tasks", "d"), Column("seeds", "n_seeds", "d"),
                 *numbers],
            ),
            table(
                result.table,
                "The same for each task, over its training draws and test images.",
                [Column("regulariser", "arm"), Column("task", "task"), *training_images(result.table),
                 Column("seeds", "n_seeds", "d"), *numbers],
            ),
        )
    ]  # fmt: skip


ANALYSIS = Analysis(
    key="regularisation", kind=Regularisation, heading="Regularised finetuning", caution=CAUTION, command="overfitting",
    pictures=_pictures, tables=_tables,
)  # fmt: skip
