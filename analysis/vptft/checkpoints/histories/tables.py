"""Histories as tables: CSV (W&B, lightning, timm, ours), JSON lines, and Hugging Face's ``trainer_state.json``."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vptft.checkpoints.histories.columns import EPOCH, LR, STEP, Meaning, Point, frame_of, meaning
from vptft.checkpoints.histories.frame import SPLITS, TRAIN
from vptft.errors import CheckpointError

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 1 << 28
START = 1 << 16
RUN_COLUMNS = {"run", "run_id", "run_name", "run name", "experiment"}
SPLIT_COLUMNS = {"split", "phase", "subset"}
NEEDS_EPOCHS = (
    "Export the epoch too (a column named epoch), or one row an epoch: how many steps an epoch has is not known here."
)

Record = Mapping[str, Any]


def looks_like_table(path: Path) -> bool:
    """Whether the first line is a header with a quantity of training in it, or the file starts as JSON does."""
    try:
        with path.open("rb") as file:
            start = file.read(START)
    except OSError:
        return False
    text = start.decode("utf-8-sig", errors="replace").lstrip()
    if text[:1] in ("{", "["):
        return True
    header = text.partition("\n")[0]
    return "\0" not in header and any(_meaning(name) is not None for name in _split(header, _delimiter(header)))


def read_table(path: Path, *, run: str | None = None) -> "pd.DataFrame":
    """Read a history; see :func:`vptft.checkpoints.histories.columns.frame_of` for what is decided, and said in attrs.

    Raises
    ------
    CheckpointError
        The file is damaged, has no epochs, or no column that is known.
    """
    text = _text(path)
    if text.lstrip()[:1] in ("{", "["):
        records, notes, epochs_done = _json_records(path, text)
    else:
        records, notes, epochs_done = _csv_records(path, text), [], False
    points = list(_points(path, records, run or str(path), notes))
    finite = [point for point in points if math.isfinite(point.value)]
    if len(finite) < len(points):
        notes.append(f"{len(points) - len(finite)} values are NaN or infinite, and left out: the training diverged.")
    return frame_of(finite, source=path, notes=notes, epochs_done=epochs_done)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} has more than {MAX_BYTES >> 20} MiB: that is no table of epochs.")
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror or error}.") from error


def _csv_records(path: Path, text: str) -> list[Record]:
    delimiter = _delimiter(text.partition("\n")[0])
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(rows, [])]
        records: list[Record] = []
        for row in rows:
            if len(row) > len(header):
                raise CheckpointError(f"{path} line {rows.line_num} has {len(row)} values under {len(header)} names.")
            records.append(dict(zip(header, row, strict=False)))
    except csv.Error as error:
        raise CheckpointError(f"{path} line {rows.line_num} could not be read: {error}.") from error
    return records


def _json_records(path: Path, text: str) -> tuple[list[Record], list[str], bool]:
    """Return records, notes, and whether epochs tell how much is done, as Hugging Face's do.

    Records are the objects of a JSON list, of JSON lines, of ``log_history``, or the rows of Keras' dict of lists.
    """
    notes: list[str] = []
    try:
        whole: Any = json.loads(text)
    except RecursionError as error:
        raise CheckpointError(f"{path} is nested too deeply for a history.") from error
    except ValueError:
        whole = _json_lines(path, text, notes)
    epochs_done = isinstance(whole, dict) and isinstance(whole.get("log_history"), list)
    if epochs_done:
        # The last entry sums the training up; it is no epoch.
        whole = [entry for entry in whole["log_history"] if not (isinstance(entry, dict) and "train_runtime" in entry)]
    elif isinstance(whole, dict) and whole and all(isinstance(value, list) for value in whole.values()):
        lengths = {len(value) for value in whole.values()}
        if len(lengths) != 1:
            raise CheckpointError(f"{path} has lists of lengths {sorted(lengths)}; expected a value an epoch in each.")
        numbered = {EPOCH: list(range(1, lengths.pop() + 1))} | whole
        whole = [dict(zip(numbered, row, strict=True)) for row in zip(*numbered.values(), strict=True)]
    elif isinstance(whole, dict):
        whole = [whole]
    if not isinstance(whole, list) or not all(isinstance(entry, dict) for entry in whole):
        raise CheckpointError(f"{path} holds JSON that is no history: expected objects, one an epoch or a step.")
    return [_flat(entry) for entry in whole], notes, epochs_done


def _json_lines(path: Path, text: str, notes: list[str]) -> list[Any]:
    entries = []
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    for number, line in lines:
        try:
            entries.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if entries and number == lines[-1][0]:
                notes.append(f"The last line ({number}) is cut off, and left out.")
                break
            raise CheckpointError(f"{path} line {number} is no JSON: {str(error)[:100]}.") from error
    return entries


def _flat(entry: Mapping[str, Any]) -> Record:
    """Names of the second level behind those of the first: ``{"val": {"loss": 1}}`` is ``val/loss``."""
    out: dict[str, Any] = {}
    for name, value in entry.items():
        if isinstance(value, dict):
            out |= {f"{name}/{inner}": below for inner, below in value.items()}
        else:
            out[name] = value
    return out


def _points(path: Path, records: Sequence[Record], run: str, notes: list[str]) -> Iterator[Point]:
    names = list(dict.fromkeys(name for record in records for name in record))
    run_column = next((name for name in names if name.lower() in RUN_COLUMNS), None)
    split_column = next((name for name in names if name.lower() in SPLIT_COLUMNS), None)
    known = _known(names, notes)
    epochs = {prefix: name for name, (prefix, found) in known.items() if found.quantity == EPOCH}
    values = {name: item for name, item in known.items() if item[1].quantity not in (EPOCH, STEP)}
    if values and not epochs:
        steps = any(found.quantity == STEP for _, found in known.values())
        raise CheckpointError(
            f"{path} has {'steps, but no epochs' if steps else 'no epochs'}: {', '.join(names)[:200]}.", NEEDS_EPOCHS
        )
    for number, record in enumerate(records, start=1):
        told = str(record.get(split_column) or "") if split_column else ""
        for name in [name for name in record if name in values]:
            prefix, found = values[name]
            value = _number(path, number, name, record[name])
            if value is None:
                continue
            column = epochs.get(prefix) or next(iter(epochs.values()))
            epoch = _number(path, number, column, record.get(column))
            if epoch is None:
                raise CheckpointError(f"{path}: record {number} has {name[:60]!r} but no epoch.", NEEDS_EPOCHS)
            label = prefix or (str(record[run_column]) if run_column and record.get(run_column) else run)
            split = found.split or _split_of(path, number, told) or TRAIN
            yield Point(label, epoch, "" if found.quantity == LR else split, found.quantity, value)


def _known(names: Sequence[str], notes: list[str]) -> dict[str, tuple[str, Meaning]]:
    """Each known column: the run that W&B puts before it, and its meaning; of several that mean the same the first."""
    out: dict[str, tuple[str, Meaning]] = {}
    firsts: dict[tuple[str, Meaning], str] = {}
    for name in names:
        run, _, rest = name.rpartition(" - ")
        found = _meaning(name)
        if found is None or rest.endswith(("__MIN", "__MAX")):
            continue
        first = firsts.setdefault((run, found), name)
        if first == name:
            out[name] = run, found
        elif found.quantity not in (STEP, EPOCH):
            notes.append(f"{name[:60]!r} says the same as {first[:60]!r}, and is left out.")
    return out


def _meaning(name: str) -> Meaning | None:
    return meaning(name.rpartition(" - ")[2])


def _split_of(path: Path, number: int, told: str) -> str | None:
    """Split that a column of splits names."""
    if not told or told in SPLITS:
        return told or None
    found = meaning(f"{told} loss")
    if found is None or found.split is None:
        raise CheckpointError(f"{path}: record {number} is of the split {told[:40]!r}; expected {', '.join(SPLITS)}.")
    return found.split


def _number(path: Path, number: int, name: str, value: Any) -> float | None:
    """A number; None where there is none."""
    if value is None or isinstance(value, bool | list):
        return None
    text = str(value).strip() if not isinstance(value, int | float) else value
    if isinstance(text, str) and text.lower() in ("", "none", "null", "na", "n/a"):
        return None
    try:
        return float(text)
    except (ValueError, OverflowError) as error:
        said = f"{name[:60]!r} = {str(value)[:40]!r}"
        raise CheckpointError(f"{path}: record {number} has {said}, which is no number.") from error


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _split(header: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"') for name in header.split(delimiter)]
