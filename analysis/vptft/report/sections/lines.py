"""Loss along lines between runs."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.lines import between_solutions, draw_barriers, draw_lines
from vptft.report.sections.columns import Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.why.landscape.lines import Lines

CAUTION = (
    "A barrier on the straight line is no barrier of the landscape: networks that permute their units are the "
    "same function, and a curve may go around. Lines include the head."
)


def _pictures(results: Sequence[Lines], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="landscape-lines",
            figure=draw_lines(result),
            alt="Training and test loss along straight lines between runs of one task.",
            caption="Loss along each line; dashes are test loss, bands hold 95% over images.",
        )
        if between_solutions(result.barriers).any():
            yield Picture(
                name="landscape-barriers",
                figure=draw_barriers(result),
                alt="Barrier of each line above its ends, in nats, with its interval.",
                caption="Highest loss on each line above the straight line between its ends' losses; a diamond is the "
                "mean over pairs of seeds.",
            )


def _tables(results: Sequence[Lines]) -> list[Table]:
    return [
        table(
            result.pooled,
            "Barriers above the ends, mean over lines of a kind.",
            [
                Column("task", "task"),
                Column("line", "kind"),
                Column("path", "path"),
                Column("images", "split"),
                Column("barrier, nats", "barrier", "+.3f", ("low", "high")),
                Column("lines", "n_lines", "d"),
                Column("seeds", "n_seeds", "d"),
            ],
        )
        for result in results
    ]


def _notes(results: Sequence[Lines]) -> list[str]:
    told = (result.settings.get("train_images") for result in results)
    return [f"Training images: {each}." for each in dict.fromkeys(told) if each]


ANALYSIS = Analysis(
    key="landscape-lines", kind=Lines, heading="Lines between solutions", caution=CAUTION,
    command="landscape --what lines", pictures=_pictures, tables=_tables,
    notes=_notes,
)  # fmt: skip
