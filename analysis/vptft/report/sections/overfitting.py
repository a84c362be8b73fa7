"""Loss curves."""

from collections.abc import Iterator, Sequence

import pandas as pd

from vptft.report.figures.overfitting import draw_overfitting
from vptft.report.pages import words
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


def _curve_table(runs: pd.DataFrame) -> Table:
    rows = [
        [
            str(row["task"]),
            str(row["method"]),
            str(row["seed"]),
            f"{row['onset_epoch']:g}",
            f"{row['rise_nats']:+.3f}",
            f"{row['accuracy_change_points']:+.1f}",
            f"{row['loss_gap_nats']:.3f}",
        ]
        for row in runs.to_dict("records")
    ]
    columns = ["task", "method", "seed", "onset, epoch", "rise since, nats", "accuracy since, points",
               "test − training loss, nats"]  # fmt: skip
    return Table(caption="Where each run's test loss turns, chosen on the other seeds, and what followed.",
                 columns=columns, rows=rows, numbers=frozenset(range(2, 7)))  # fmt: skip


ANALYSIS = Analysis(
    key="overfitting", kind=OverfittingCurves, heading="Loss curves", caution=CAUTION, command="overfitting",
    pictures=_pictures, tables=lambda results: [_curve_table(result.runs) for result in results],
)  # fmt: skip
