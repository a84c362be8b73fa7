"""From runs to how they compare with the paper's printed accuracies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vptft.checkpoints.native import Run
from vptft.published import reproduction, tables
from vptft.report.assembly.saved import identity, saved_or


def reproduction_of(runs: Sequence[Run], *, folder: Path | None = None) -> reproduction.Reproduction:
    """Own accuracies laid over the printed ones, with a test of whether they reproduce them."""
    inputs = {"runs": [identity(run) for run in runs]}

    def make(settings: dict[str, Any]) -> reproduction.Reproduction:
        return reproduction.measure(reproduction.own_accuracies(runs), tables.load(), settings=settings)

    return saved_or(reproduction.Reproduction, folder, inputs, make)
