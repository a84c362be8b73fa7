"""Loss curves."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.overfitting import draw_overfitting
from vptft.report.interactive.curves import curve_viewer
from vptft.report.pages import words
from vptft.report.sections.columns import METHOD, Column, table, training_images
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.why.overfitting import OverfittingCurves

CAUTION = (
    "A rising test loss need not cost accuracy: confidence alone raises it. The training loss is taken while "
    "weights move, so early epochs look worse than they end."
)


def _pictures(results: Sequence[OverfittingCurves], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="overfitting",
            figure=draw_overfitting(result),
            alt=words.alt_of("Training and test loss per epoch of VPT and FT", result.frame()["task"]),
            caption=words.CAPTION_CURVES,
        )


def _tables(results: Sequence[OverfittingCurves]) -> list[Table]:
    return [
        made
        for result in results
        for made in (
            table(
                result.cells,
                "Whether each method overfits on each task, over its seeds: held-out loss since its onset, mean with "
                "its 95% interval.",
                [
                    Column("task", "task"),
                    METHOD,
                    *training_images(result.cells),
                    Column("seeds", "n_seeds", "d"),
                    Column("onset, epoch", "onset_epoch", "g"),
                    Column("rise, nats", "rise_nats", "+.3f", ("rise_low", "rise_high")),
                    Column("held-out accuracy", "accuracy"),
                    Column("verdict", "verdict"),
                ],
            ),
            table(
                result.runs,
                "Where each run's test loss turns, chosen on the other seeds, and what followed.",
                [
                    Column("task", "task"),
                    METHOD,
                    *training_images(result.runs),
                    Column("seed", "seed", "d"),
                    Column("onset, epoch", "onset_epoch", "g"),
                    Column("rise since, nats", "rise_nats", "+.3f"),
                    Column("accuracy since, points", "accuracy_change_points", "+.1f"),
                    Column("test − training loss, nats", "loss_gap_nats", ".3f"),
                ],
            ),
        )
    ]


ANALYSIS = Analysis(
    key="overfitting", kind=OverfittingCurves, heading="Loss curves", caution=CAUTION, command="overfitting",
    pictures=_pictures, tables=_tables,
    notes=lambda results: [result.settings["rule"] for result in results],
    widgets=lambda results, context: [curve_viewer(result) for result in results],
)  # fmt: skip
