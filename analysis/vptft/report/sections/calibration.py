"""How well confidence fits what happens."""

from collections.abc import Sequence

from vptft.report.sections.columns import METHOD, Column, table, training_images
from vptft.report.sections.parts import Analysis, Table
from vptft.why.overfitting.calibration import Calibration

CAUTION = (
    "A temperature says how far all answers are too sure alike, not which of them. The expected calibration error is "
    "biased upward: read it beside what calibrated predictions would show."
)


def _tables(results: Sequence[Calibration]) -> list[Table]:
    keys = ["task", "method", "n_train"]
    means = [result.table.groupby(keys, as_index=False, sort=False).mean(numeric_only=True) for result in results]
    return [
        table(
            mean,
            "Calibration of the final test predictions, mean over seeds: test loss as it is and with one temperature "
            "for all answers; their difference is what confidence alone costs. ECE: expected calibration error, and "
            "what calibrated predictions of the same confidences would show.",
            [
                Column("task", "task"),
                METHOD,
                *training_images(mean),
                Column("accuracy, %", "accuracy", ".1f", scale=100),
                Column("test loss, nats", "nll", ".3f"),
                Column("with a temperature", "nll_scaled", ".3f"),
                Column("by confidence alone", "confidence_nats", ".3f"),
                Column("temperature", "temperature", ".2f"),
                Column("ECE, %", "ece", ".1f", scale=100),
                Column("if calibrated, %", "ece_floor", ".1f", scale=100),
            ],
        )
        for mean in means
    ]


ANALYSIS = Analysis(
    key="calibration", kind=Calibration, heading="Calibration", caution=CAUTION, command="overfitting", tables=_tables
)
