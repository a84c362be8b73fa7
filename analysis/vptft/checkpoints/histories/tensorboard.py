"""Scalars of TensorBoard's event files, through the package ``tensorboard`` (the extra of that name)."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vptft.checkpoints.histories.columns import EPOCH, LR, STEP, Meaning, Point, frame_of, meaning
from vptft.checkpoints.histories.frame import TRAIN
from vptft.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

NEEDS_EPOCHS = (
    "Log a scalar named epoch beside the others, or give the epoch as the step: how many steps an epoch has is not "
    "known here."
)


class Scalar(NamedTuple):
    """One number of an event file."""

    tag: str
    step: int
    value: float


def looks_like_events(path: Path) -> bool:
    """Whether a file starts with the record that every event file starts with."""
    try:
        with path.open("rb") as file:
            return b"brain.Event:" in file.read(64)
    except OSError:
        return False


def read_events(files: Sequence[Path], *, run: str) -> "pd.DataFrame":
    """Read the scalars of one run's event files; what a tag means is told by its words, as for columns of tables.

    Epochs come from a scalar named epoch at the same step; without one, steps that follow each other are epochs.

    Raises
    ------
    MissingExtraError
        The package ``tensorboard`` is not installed.
    CheckpointError
        There are no such scalars, or steps that cannot be told to be epochs.
    """
    scalars = [scalar for file in files for scalar in _scalars(file)]
    known = [(scalar, found) for scalar in scalars if (found := meaning(scalar.tag)) is not None]
    notes: list[str] = []
    epochs = {scalar.step: scalar.value for scalar, found in known if found.quantity == EPOCH}
    values = [(scalar, found) for scalar, found in known if found.quantity not in (EPOCH, STEP)]
    source = files[0] if len(files) == 1 else files[0].parent
    if values and not epochs:
        epochs = _steps_as_epochs(values, source)
        notes.append("There is no scalar named epoch; its steps follow each other, and are taken as epochs.")
    lacking = sorted({scalar.step for scalar, found in values if found.quantity != LR} - epochs.keys())
    if lacking:
        raise CheckpointError(f"{source} has no epoch at step {lacking[0]}.", NEEDS_EPOCHS)
    finite = [item for item in values if math.isfinite(item[0].value) and item[0].step in epochs]
    points = [
        Point(run, epochs[at.step], "" if found.quantity == LR else found.split or TRAIN, found.quantity, at.value)
        for at, found in finite
    ]
    return frame_of(points, source=source, notes=notes)


def _steps_as_epochs(values: Sequence[tuple[Scalar, Meaning]], source: Path) -> dict[int, float]:
    steps = sorted({scalar.step for scalar, found in values if found.quantity != LR})
    if steps and (steps[0] not in (0, 1) or steps != list(range(steps[0], steps[0] + len(steps)))):
        shown = ", ".join(map(str, steps[:4]))
        raise CheckpointError(f"{source} has steps {shown} ... and no epochs.", NEEDS_EPOCHS)
    return {step: float(step) for step in steps}


def _scalars(path: Path) -> Iterator[Scalar]:
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util import tensor_util
    except ImportError as error:
        raise MissingExtraError("tensorboard", "tensorboard", "Reading event files") from error
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    try:
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                sizes = [dim.size for dim in value.tensor.tensor_shape.dim]  # it may claim any, for one number
                if value.metadata.plugin_data.plugin_name == "scalars" and set(sizes) <= {1}:
                    yield Scalar(value.tag, event.step, float(tensor_util.make_ndarray(value.tensor)))
    except Exception as error:
        # protobuf, numpy and the record reader each have their own errors for a damaged file.
        raise CheckpointError(f"{path} could not be read as TensorBoard's events: {error}") from error
