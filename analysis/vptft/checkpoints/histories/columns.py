"""What the name of a logged quantity says: of which images, and which number; and the frame of many such numbers.

Programs write ``val_acc``, ``Validation/Accuracy``, ``eval.top1``, ``lr-AdamW``; all are read by their words.
"""

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from vptft.checkpoints.histories.frame import TEST, TRAIN, VAL, Row, history_frame
from vptft.errors import CheckpointError

if TYPE_CHECKING:
    import pandas as pd

LOSS, ACCURACY, LR, EPOCH, STEP = "loss", "accuracy", "lr", "epoch", "step"
MAX_EPOCH = 10_000_000

_SPLITS = {
    "train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "eval": VAL, "evaluation": VAL,
    "dev": VAL, "test": TEST, "testing": TEST,
}  # fmt: skip
# Words that say nothing about which number it is. "best", "max" and "min" are none: they are no curves.
_FILLERS = {"epoch", "avg", "average", "mean", "metrics", "metric", "trainer", "scalars", ""}
_QUANTITIES = {
    frozenset(words.split()): quantity
    for quantity, names in {
        LOSS: ("loss", "ce", "ce loss", "cross entropy", "cross entropy loss", "crossentropy", "nll", "nll loss"),
        ACCURACY: (
            "acc", "accuracy", "top1", "acc1", "top 1", "acc 1", "acc top1", "accuracy top1", "acc top 1",
            "accuracy top 1", "prec1", "prec 1", "multiclassaccuracy", "acc@1", "top@1",
        ),
        LR: ("lr", "learning rate", "learningrate"),
        STEP: ("step", "global step", "iteration", "iter"),
    }.items()
    for words in names
}  # fmt: skip


class Meaning(NamedTuple):
    """A quantity, and the split it was measured on; None where the name has no split."""

    quantity: str
    split: str | None


class Point(NamedTuple):
    """One logged number; ``epoch`` may be a fraction, as programs that log by steps write it."""

    run: str
    epoch: float
    split: str
    quantity: str
    value: float


def meaning(name: str) -> Meaning | None:
    """Return what a column or tag holds; None for what no history has."""
    words = [word for word in re.split(r"[\s/_.:\-()]+", name.strip().lower()) if word]
    if words in ([EPOCH], ["current", EPOCH], ["train", EPOCH], ["trainer", EPOCH], ["epochs"]):
        return Meaning(EPOCH, None)
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    rest = frozenset(word for word in words if word not in _SPLITS and word not in _FILLERS)
    if len(splits) > 1:
        return None
    split = next(iter(splits), None)
    if LR in rest or {"learning", "rate"} <= rest:
        return Meaning(LR, None)  # lr-AdamW, lr-SGD/pg1, trainer/lr
    quantity = _QUANTITIES.get(rest)
    return None if quantity is None else Meaning(quantity, split)


def frame_of(
    points: Iterable[Point], *, source: object, notes: Iterable[str] = (), epochs_done: bool = False
) -> "pd.DataFrame":
    """Return the frame of points; ``attrs["notes"]`` says what was decided on the way.

    Epochs that start at 0 are counted from 1, unless they tell how much is done (``epochs_done``, or some are
    fractions): 0.3 belongs to epoch 1, and 0 is before any training. Of several training losses of one epoch the mean
    is taken, of anything else the last.

    Raises
    ------
    CheckpointError
        There is no point, or an epoch or accuracy that is none.
    """
    points = list(points)
    notes = list(notes)
    if not points:
        raise CheckpointError(
            f"{source} has no loss or accuracy.",
            "Names are known by words: train, val or test with loss, acc, accuracy or top1, as in val_acc; lr; epoch.",
        )
    wrong = next((point.epoch for point in points if not 0 <= point.epoch <= MAX_EPOCH), None)
    if wrong is not None:
        raise CheckpointError(f"{source} has the epoch {wrong}; epochs are numbers from 0 or 1 on.")
    whole = all(point.epoch == int(point.epoch) for point in points)
    shift = 1 if whole and not epochs_done and min(point.epoch for point in points) == 0 else 0
    if shift:
        notes.append("Its epochs start at 0; here they start at 1.")
    if not whole:
        notes.append("Its epochs are fractions; what was logged within an epoch counts for that epoch.")
    scaled = _as_fractions(points, source, notes)
    cells: dict[tuple[str, int, str], dict[str, list[float]]] = {}
    rates: dict[tuple[str, int], float] = {}
    for point in scaled:
        epoch = math.ceil(point.epoch - 1e-6) + shift
        if point.quantity == LR:
            rates[point.run, epoch] = point.value
        else:
            cells.setdefault((point.run, epoch, point.split), {}).setdefault(point.quantity, []).append(point.value)
    if any(len(values) > 1 for cell in cells.values() for values in cell.values()):
        notes.append("Several values an epoch: the mean of training losses, the last of anything else.")
    order = {split: i for i, split in enumerate((TRAIN, VAL, TEST))}
    rows = [
        Row(
            run=run,
            epoch=epoch,
            split=split,
            loss=_one(cell.get(LOSS), mean=split == TRAIN),
            accuracy=_one(cell.get(ACCURACY), mean=False),
            lr=rates.get((run, epoch), math.nan),
        )
        for (run, epoch, split), cell in sorted(
            cells.items(), key=lambda item: (item[0][0], item[0][1], order.get(item[0][2], 9), item[0][2])
        )
    ]
    frame = history_frame(rows)
    frame.attrs["notes"] = tuple(notes)
    return frame


def _as_fractions(points: list[Point], source: object, notes: list[str]) -> list[Point]:
    """Accuracies as fractions, decided for each split by all of its values."""
    factors: dict[str, float] = {}
    for split in dict.fromkeys(point.split for point in points if point.quantity == ACCURACY):
        values = [point.value for point in points if (point.split, point.quantity) == (split, ACCURACY)]
        low, high = min(values), max(values)
        if low < 0 or high > 100:
            raise CheckpointError(f"{source} has {split} accuracies from {low:g} to {high:g}; expected 0 to 1 or 100.")
        factors[split] = 1.0 if high <= 1 else 0.01
        unit = "fractions" if high <= 1 else "percentages"
        notes.append(f"Accuracies of {split} are taken as {unit}: the largest is {high:g}.")
    return [
        point._replace(value=point.value * factors[point.split]) if point.quantity == ACCURACY else point
        for point in points
    ]


def _one(values: list[float] | None, *, mean: bool) -> float:
    if not values:
        return math.nan
    return sum(values) / len(values) if mean else values[-1]
