"""Source: an opened checkpoint and what lies beside it, as every reader takes it."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vptft.errors import CheckpointError
from vptft.models.tensorfiles import Container, open_tensors, state_dict

# What a folder's weights are called, by the programs that write folders; the first that is there counts.
WEIGHT_FILES = (
    "adapter_model.safetensors",
    "adapter_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
    "last_model.pth",
    "model_best.pth.tar",
    "checkpoint.pth",
)
MAX_CONFIG_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file of weights, opened.

    Attributes
    ----------
    path, container
        Where it is, and how it was written.
    content
        What the file holds.
    state
        Its tensors by name, without wrappers and prefixes that all share.
    """

    path: Path
    container: Container
    content: Any
    state: Mapping[str, torch.Tensor]

    def beside(self, name: str) -> Path | None:
        """A file of that name in the same folder, if there is one."""
        path = self.path.parent / name
        return path if path.is_file() else None

    def config(self, name: str) -> dict[str, Any]:
        """A JSON object in the same folder; empty where there is none.

        Raises
        ------
        CheckpointError
            The file is there but holds no JSON object, or is far too large for one.
        """
        path = self.beside(name)
        if path is None:
            return {}
        try:
            if path.stat().st_size > MAX_CONFIG_BYTES:
                raise CheckpointError(f"{path} is too large for settings: {path.stat().st_size} bytes.")
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} could not be read as JSON: {error}") from error
        if not isinstance(found, dict):
            raise CheckpointError(f"{path} holds a {type(found).__name__}; expected an object of settings.")
        return found


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights under a known name."""
    return any((folder / name).is_file() for name in WEIGHT_FILES)


def open_source(path: Path) -> Source:
    """Open a file, or the weights of a folder.

    Raises
    ------
    CheckpointError
        There is nothing there, or a folder without weights that are known by name.
    WeightsError
        The file cannot be read.
    """
    if path.is_dir():
        names = (path / name for name in WEIGHT_FILES)
        found = next((each for each in names if each.is_file()), None)
        if found is None:
            raise CheckpointError(
                f"{path} holds no weights under a known name ({', '.join(WEIGHT_FILES)}).",
                "Give the file of weights itself. KMnP/vpt saves none unless told to: `runs list` reads its logs.",
            )
        path = found
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint {path}.")
    opened = open_tensors(path)
    return Source(path=path, container=opened.container, content=opened.content, state=state_dict(opened.content, path))


def positive(value: Any, name: str, path: object) -> int:
    """Return a count from somebody's settings; what is none is refused."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"{path}: {name} is {value!r}; expected a positive whole number.")
    return value


def finite(value: Any, name: str, path: object) -> float:
    """Return a number from somebody's settings; what is none is refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise CheckpointError(f"{path}: {name} is {value!r}; expected a number.")
    return float(value)
