"""From pairs of runs to the images on which one of both is right: what the gap of each pair is made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vptft.checkpoints.native import Predictions
from vptft.checkpoints.pairs import RunPair
from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import PairedDraw
from vptft.report.assembly.saved import identity, saved_or
from vptft.when.quadrants import outcomes


def paired_images(vpt: Predictions, ft: Predictions, task: str) -> PairedDraw:
    """Per test image: whether VPT is right, less whether FT is.

    Raises
    ------
    SettingsError
        The two were tested on different images.
    """
    if not np.array_equal(vpt.ids, ft.ids):
        raise SettingsError(f"{task}: the VPT and FT runs were tested on different images.")
    return PairedDraw(differences=vpt.correct.astype(float) - ft.correct, groups=vpt.groups)


def outcomes_of(pairs: Sequence[RunPair], *, seed: int, folder: Path | None = None) -> outcomes.Outcomes:
    """Images that only one of both is right on, pair by pair, and whether so many are chance."""
    inputs = {"runs": [[identity(pair.vpt), identity(pair.ft)] for pair in pairs], "seed": seed}

    def make(settings: dict[str, Any]) -> outcomes.Outcomes:
        return outcomes.measure([_pair(each) for each in pairs], seed=seed, settings=settings)

    return saved_or(outcomes.Outcomes, folder, inputs, make)


def _pair(pair: RunPair) -> outcomes.TestedPair:
    info = pair.vpt.info
    vpt, ft = pair.vpt.predictions(), pair.ft.predictions()
    return outcomes.TestedPair(
        task=info.task, n_train=info.n_train, seed=info.seed, draw=paired_images(vpt, ft, info.task),
        both=int((vpt.correct & ft.correct).sum()),
    )  # fmt: skip
