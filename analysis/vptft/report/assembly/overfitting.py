"""From runs to their loss curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vptft.checkpoints.native import Run
from vptft.report.assembly.saved import identity, saved_or
from vptft.why import overfitting


def curves(runs: Sequence[Run], *, folder: Path | None = None) -> overfitting.OverfittingCurves:
    """Loss curves of runs."""

    def make(settings: dict[str, Any]) -> overfitting.OverfittingCurves:
        histories = [
            run.history().assign(task=run.info.task, method=run.info.method, seed=run.info.seed) for run in runs
        ]
        return overfitting.measure([pd.DataFrame(history) for history in histories], settings=settings)

    return saved_or(overfitting.OverfittingCurves, folder, {"runs": [identity(run) for run in runs]}, make)
