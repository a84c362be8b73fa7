"""Any checkpoint as a model with its history: other programs' files and our run folders alike."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vptft.checkpoints.building import build_model
from vptft.checkpoints.found import Asked, Normalisation
from vptft.checkpoints.histories import read_history
from vptft.checkpoints.histories.frame import COLUMNS
from vptft.checkpoints.native import load_run
from vptft.checkpoints.readers import read_checkpoint
from vptft.errors import VptftError
from vptft.models.tuned import TunedModel


class Loaded(NamedTuple):
    """What every analysis needs of a checkpoint.

    Attributes
    ----------
    model
        In evaluation mode, on the CPU, in float32.
    image_size
        Side of the square input in pixels.
    normalisation
        Of pixels in [0, 1]; None where nothing tells it: then it is to be asked for, not assumed.
    method
        In our words; None where neither keys nor logs nor the base tell it.
    history
        Loss and accuracy per epoch, as :mod:`vptft.checkpoints.histories.frame` describes; empty without one.
    notes
        What a user should know before using it; among it why there is no history.
    """

    model: TunedModel
    image_size: int
    normalisation: Normalisation | None
    method: str | None
    history: pd.DataFrame
    notes: tuple[str, ...]


def load(path: Path, asked: Asked = Asked()) -> Loaded:  # noqa: B008 - a tuple, not mutable
    """Load a checkpoint of any known producer, or one of our runs.

    Parameters
    ----------
    path
        A file of weights, a folder that holds one, or a run folder.
    asked
        What the user says about it.

    Raises
    ------
    WeightsError, CheckpointError
        It cannot be read; what is missing or left over is named.
    NotApplicable
        It holds no model of a plain vision transformer or a Swin.
    """
    if (path / "run.json").is_file():
        run = load_run(path)
        info = run.info
        known = Normalisation(tuple(info.mean), tuple(info.std))
        notes = tuple((info.imported or {}).get("notes", ()))
        return Loaded(run.model(), info.image_size, known, info.method, *_history(path, notes))
    found = read_checkpoint(path, asked).found
    model = build_model(found)
    assert found.shape is not None  # else there is no model
    side = found.shape.image_size[0]  # only square grids are read
    return Loaded(model, side, found.normalisation, found.method, *_history(found.path.parent, found.notes))


def _history(folder: Path, notes: tuple[str, ...]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The history in a folder, and the notes; a missing or damaged one is no reason to have no model."""
    try:
        return read_history(folder), notes
    except VptftError as error:
        return pd.DataFrame(columns=list(COLUMNS)), (*notes, f"No history: {error.problem}")
