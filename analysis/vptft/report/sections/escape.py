"""Whether extra dimensions help to leave an optimum."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.escape import draw_escape
from vptft.report.sections.columns import Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.why.landscape.escape.measure import EscapeTest

CAUTION = (
    "An equal budget is equal in steps and trials, not in what a step can do: parameters of different kinds "
    "move the function differently. A point whose own gradient is not small is no optimum, and what is removed "
    "there is training."
)


def _pictures(results: Sequence[EscapeTest], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="escape",
            figure=draw_escape(result),
            alt="Loss that each extension lets an equal budget remove, on training and on fresh images.",
            caption="Loss removed from the same point by extensions that leave the function as it was: prompts, LoRA, "
            "new neurons, none. A thin line is a task and seed.",
        )


def _tables(results: Sequence[EscapeTest]) -> list[Table]:
    return [
        table(
            result.frame(),
            "Loss (nats) before and after the budget, from each point with each extension; fresh images were not "
            "trained on.",
            [
                Column("task", "task"),
                Column("start", "start"),
                Column("seed", "seed", "d"),
                Column("extension", "extension"),
                Column("moves", "variant"),
                Column("added", "parameters", ",d"),
                Column("train before", "loss_train_before", ".4f"),
                Column("after", "loss_train", ".4f"),
                Column("fresh before", "loss_fresh_before", ".3f"),
                Column("fresh after", "loss_fresh", ".3f"),
                Column("fresh accuracy after, %", "accuracy_fresh", ".1f", scale=100),
            ],
        )
        for result in results
    ]


ANALYSIS = Analysis(
    key="escape", kind=EscapeTest, heading="Do extra dimensions help?", caution=CAUTION,
    command="landscape --what escape", pictures=_pictures, tables=_tables,
)  # fmt: skip
