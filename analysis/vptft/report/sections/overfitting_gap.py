"""Whether overfitting explains the gap."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.overfitting_gap import draw_overfitting_gap
from vptft.report.sections.columns import Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
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
            + (
                "Where the line crosses the dotted one is the gap at equal overfitting."
                if len(result.line)
                else "Too few tasks for a regression line."
            ),
        )


def _tables(results: Sequence[Explanation]) -> list[Table]:
    fitted = (
        "Regression over tasks of the gap on how much more FT overfits than VPT, by each way to measure that: points a "
        "nat, the gap that remains at equal overfitting, and the share of the gap's variance."
    )
    return [
        table(
            result.terms,
            fitted
            if result.terms["slope"].notna().any()
            else "Gap over tasks, which are too few for its regression on how much more FT overfits than VPT.",
            [
                Column("pretraining", "pretraining"),
                Column("overfitting by", "predictor"),
                Column("tasks", "n_tasks", "d"),
                Column("mean gap, points", "mean_gap", "+.1f", ("mean_gap_low", "mean_gap_high")),
                Column("slope", "slope", "+.1f", ("slope_low", "slope_high")),
                Column("remains, points", "remaining", "+.1f", ("remaining_low", "remaining_high")),
                Column("explained, %", "r2", ".0f", ("r2_low", "r2_high"), 100),
                Column("of a new task, %", "r2_new_task", ".0f", None, 100),
            ],
        )
        for result in results
    ]


ANALYSIS = Analysis(
    key="overfitting-gap", kind=Explanation, heading="Does overfitting explain the gap?", caution=CAUTION,
    command="overfitting", pictures=_pictures, tables=_tables,
)  # fmt: skip
