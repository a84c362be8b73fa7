"""One way for every result: load what is saved, make what is not, save it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vptft.checkpoints.native import Run
from vptft.errors import StorageError
from vptft.evidence.results import Result
from vptft.storage import key_of, read_json

R = TypeVar("R", bound=Result)


def saved_or(kind: type[R], folder: Path | None, inputs: Mapping[str, Any], make: Callable[[dict[str, Any]], R]) -> R:
    """Load the result in ``folder`` if these inputs made it; otherwise make it and save it there.

    So is one that cannot be read: cut off, or written by a version that kept less. ``make`` takes the settings to keep
    with the result: the inputs and their key.
    """
    settings = {**inputs, "key": key_of(kind.analysis, inputs)}
    if folder is not None and (folder / "result.json").is_file():
        try:
            saved = read_json(folder / "result.json")
            if saved.get("analysis") == kind.analysis and saved.get("settings", {}).get("key") == settings["key"]:
                return kind.load(folder)
        except StorageError:
            pass
    result = make(settings)
    if folder is not None:
        result.save(folder)
    return result


def identity(run: Run) -> str:
    """What makes a run this run: its tuned tensors and its settings."""
    return f"{run.info.model_sha256} {run.info.settings.get('key')}"
