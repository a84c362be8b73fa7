"""Whether preserved features predict accuracy."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.preservation import draw_preservation
from vptft.report.sections.columns import Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
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
            caption="Accuracy against preservation, each setting's mean taken away: a line through it, and dashed a "
            "curve with one turning point; right, the slope of every measure with its interval.",
        )


def _tables(results: Sequence[PreservationEffect]) -> list[Table]:
    made = []
    for result in results:
        made.append(
            table(
                result.terms[result.terms["term"] == "linear"],
                "Accuracy over preservation within task and size: points for a step of 0.1, the interval over tasks "
                "and methods, the p from every order of the methods.",
                [
                    Column("pretraining", "pretraining"),
                    Column("preservation by", "predictor"),
                    Column("methods", "methods"),
                    Column("slope", "slope", "+.2f", ("low", "high")),
                    Column("p", "p", ".2g"),
                    Column("partial r", "partial_r", "+.2f"),
                    Column("tasks", "n_tasks", "d"),
                    Column("methods in all", "n_methods", "d"),
                ],
            )
        )
        made.append(
            table(
                result.contrasts,
                "Contrasts between methods, mean over tasks.",
                [
                    Column("pretraining", "pretraining"),
                    Column("contrast", "contrast"),
                    Column("value", "value", "+.3g", ("low", "high")),
                    Column("unit", "unit"),
                    Column("p", "p", ".2g"),
                    Column("tasks", "n_tasks", "d"),
                ],
            )
        )
    return made


ANALYSIS = Analysis(
    key="feature-preservation", kind=PreservationEffect, heading="Does preservation matter?", caution=CAUTION,
    command="features", pictures=_pictures, tables=_tables,
)  # fmt: skip
