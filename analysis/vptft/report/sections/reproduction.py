"""Own runs beside the numbers that the paper prints."""

from collections.abc import Iterator, Sequence

from vptft.published.reproduction import Reproduction
from vptft.report.figures.published import draw_reproduction
from vptft.report.sections.columns import METHOD, Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table

CAUTION = (
    "The paper prints no spread: the interval takes that of your runs for both. Another backbone, image size or search "
    "is another experiment, and a difference is then no failed reproduction."
)


def _pictures(results: Sequence[Reproduction], context: Context) -> Iterator[Picture]:
    for result in results:
        if result.table["difference_points"].notna().any():
            yield Picture(
                name="reproduction",
                figure=draw_reproduction(result),
                alt="Own minus printed accuracy of each task and method in points; numbers are in the table.",
                caption="Own minus printed accuracy; shaded is the region in which both count as equal.",
            )


def _tables(results: Sequence[Reproduction]) -> list[Table]:
    return [
        table(
            result.table,
            "Own accuracy (mean over seeds) and printed accuracy in percent; their difference in points with its "
            "95% interval, and p after Holm's correction over these rows.",
            [
                Column("task", "task"),
                METHOD,
                Column("n", "n_train"),
                Column("own backbone", "own_backbone"),
                Column("seeds", "n_seeds", "d"),
                Column("own", "own", ".1f"),
                Column("printed", "printed", ".1f"),
                Column("difference", "difference_points", "+.1f", ("low_points", "high_points")),
                Column("p", "p_adjusted", ".2g"),
                Column("outcome", "outcome"),
                Column("why", "reason"),
            ],
        )
        for result in results
    ]


ANALYSIS = Analysis(
    key="reproduction", kind=Reproduction, heading="Beside the published numbers", caution=CAUTION,
    command="published --runs", pictures=_pictures, tables=_tables,
)  # fmt: skip
