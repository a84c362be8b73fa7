"""One tidy frame for the training histories of every producer."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("run", "epoch", "split", "loss", "accuracy", "lr")
"""Of the frame: ``epoch`` counts from 1 (0: before any training), ``loss`` is in the producer's unit (nats for cross
entropy), ``accuracy`` a fraction; what was never logged is NaN."""
TRAIN, VAL, TEST = "train", "val", "test"
VAL_IN_TRAIN = "val_in_train"
"""The "val" of a run that trains on training and validation images together (KMnP's ``_finalfinal``): images the model
was trained on, so a curve that no claim about overfitting may be built on."""
SPLITS = (TRAIN, VAL, TEST, VAL_IN_TRAIN)


class Row(NamedTuple):
    """One epoch of one split."""

    run: str
    epoch: int
    split: str
    loss: float = math.nan
    accuracy: float = math.nan
    lr: float = math.nan


def history_frame(rows: Iterable[Row]) -> "pd.DataFrame":
    """Return the frame of rows, ``COLUMNS`` with fixed types, also when there is no row."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    numbers = dict.fromkeys(("loss", "accuracy", "lr"), "float64")
    return frame.astype({"run": object, "epoch": "int64", "split": object, **numbers})
