"""How far each task's objective is from pretraining's."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.objective import draw_disparity
from vptft.report.pages import words
from vptft.report.sections.columns import Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.when.objective.calibration import off_scale
from vptft.when.objective.disparity import Disparity

CAUTION = (
    "Disparity was chosen among many measures on ten tasks of two backbones, and its evidence does not exclude chance."
)


def _pictures(results: Sequence[Disparity], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="disparity",
            figure=draw_disparity(result),
            alt="Disparity of each task's objective, between 0 and 1.",
            caption="Disparity of the objective, from frozen features and labels; near 0 is like pretraining's.",
        )


def _tables(results: Sequence[Disparity]) -> list[Table]:
    return [
        table(
            result.scores(),
            "Disparity"
            + (" with the range of its draws" if (result.scores()["low"] < result.scores()["high"]).any() else "")
            + ", and what else frozen features say of each task.",
            [
                Column("task", "task"),
                Column("objective", "objective"),
                Column("backbone", "backbone"),
                Column("disparity", "disparity", ".2f", ("low", "high")),
                Column("probe above chance", "linear", ".2f"),
                Column("label order", "label_order", ".2f"),
                Column("images", "n", "d"),
                Column("classes", "n_classes", "d"),
                Column("remark", "note"),
            ],
        )
        for result in results
    ]


def _notes(results: Sequence[Disparity]) -> list[str]:
    return [words.capital(f"{note}.") for result in results for note in off_scale(result.scores())]


ANALYSIS = Analysis(
    key="objective",
    kind=Disparity,
    heading="Objective",
    caution=CAUTION,
    command="objective",
    pictures=_pictures,
    tables=_tables,
    notes=_notes,
)
