"""Image by image: what only one of both networks gets right."""

from collections.abc import Sequence

import pandas as pd

from vptft.evidence.statistics.resampling import LEAST
from vptft.evidence.verdicts import LEVEL
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
            "Test images by which network of a pair is right, and the gap in points with its 95% interval over images.",
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


def _notes(results: Sequence[Outcomes]) -> list[str]:
    return [_note(result.table) for result in results]


def _note(frame: pd.DataFrame) -> str:
    apart = frame[frame["p_holm"] < LEVEL]
    vpt = int((apart["gap_points"] > 0).sum())
    return (
        f"In {len(apart)} of {len(frame)} pairs the two networks are not right equally often, at 5% after Holm's "
        f"correction over all pairs: VPT more often in {vpt}, FT in {len(apart) - vpt}. p is McNemar's mid-p, or of "
        f"sign flips of whole groups where images share a photograph; with fewer than {LEAST} groups there is no "
        "interval."
    )


ANALYSIS = Analysis(
    key="outcomes", kind=Outcomes, heading="Image by image", caution=CAUTION, command="quadrants", tables=_tables,
    notes=_notes,
)  # fmt: skip
