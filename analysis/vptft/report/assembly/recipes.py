"""From pairs of runs to what differs in their recipes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vptft.checkpoints import fairness
from vptft.checkpoints.fairness import Fairness
from vptft.checkpoints.pairs import RunPair
from vptft.checkpoints.recipe import of_run
from vptft.report.assembly.saved import identity, saved_or


def fairness_of(pairs: Sequence[RunPair], *, folder: Path | None = None) -> Fairness:
    """What differs between the two sides of each pair besides the method."""
    inputs = {"runs": [[identity(pair.vpt), identity(pair.ft)] for pair in pairs]}

    def make(settings: dict[str, Any]) -> Fairness:
        return fairness.measure([(of_run(pair.vpt), of_run(pair.ft)) for pair in pairs], settings=settings)

    return saved_or(Fairness, folder, inputs, make)
