"""Image by image: what only one of both networks gets right."""

from collections.abc import Sequence

from vptft.report.sections.columns import Column, table, training_images
from vptft.report.sections.parts import Analysis, Table
from vptft.when.quadrants.outcomes import Outcomes

CAUTION = (
    "This is about these two networks of each row on images like these. Trained again, on other images or with another "
    "seed, both are other networks, and the difference can turn: verdicts ask about methods, over training draws."
)


def _tables(results: Sequence[Outcomes]) -> list[Table]:
    return [
        table(
            result.table.assign(seed=result.table["seed"].where(result.table["seed"] >= 0)),
            "Test images by which network of a pair is right; the gap in points with its 95% interval over images, "
            "none with fewer than 50 independent groups; p that both are right equally often (McNemar's mid-p, or "
            "sign flips of whole groups where images share a photograph), and after Holm's correction over these rows.",
            [
                Column("task", "task"),
                *training_images(result.table),
                Column("seed", "seed", "d"),
                Column("images", "n_test", ",d"),
                Column("groups", "n_groups", ",d"),
                Column("both", "both", ",d"),
                Column("only VPT", "only_vpt", ",d"),
                Column("only FT", "only_ft", ",d"),
                Column("neither", "neither", ",d"),
                Column("gap", "gap_points", "+.1f", ("low_points", "high_points")),
                Column("p", "p", ".2g"),
                Column("corrected", "p_holm", ".2g"),
            ],
        )
        for result in results
    ]


ANALYSIS = Analysis(
    key="outcomes", kind=Outcomes, heading="Image by image", caution=CAUTION, command="quadrants", tables=_tables
)
