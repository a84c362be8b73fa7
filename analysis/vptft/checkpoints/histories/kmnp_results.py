"""What KMnP/vpt and VPT-or-FT pickle beside their logs: metrics, prompts of every epoch, logits.

Each is opened with ``weights_only`` and the shortest list of names that reads it, then checked: kinds, shapes, numbers.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vptft.errors import CheckpointError, WeightsError
from vptft.models.pickled_arrays import ARRAYS_ALLOWED, unpacked
from vptft.models.tensorfiles import load_pickled

if TYPE_CHECKING:
    import pandas as pd

RESULT_COLUMNS = ("epoch", "split", "dataset", "metric", "value")


def _plain_dict(*_: object) -> dict[str, Any]:
    """Stand in for ``collections.defaultdict``, whose factory nobody needs: the items come after."""
    return {}


METRICS_ALLOWED = ((_plain_dict, "collections.defaultdict"), (dict, "builtins.dict"))
"""What ``eval_results.pth`` needs; ``weights_only`` would not fill a defaultdict even where it may make one."""

_EPOCH = re.compile(r"epoch_(\d{1,7})")


class Logits(NamedTuple):
    """Of one split after the last epoch: ``labels`` (n,) int64, ``logits`` (n, n_classes) float32."""

    labels: np.ndarray
    logits: np.ndarray


class Prompts(NamedTuple):
    """Of one epoch: ``shallow`` (1, P, d) before the first layer, ``deep`` (L - 1, P, d) before the others or None."""

    shallow: np.ndarray
    deep: np.ndarray | None


def read_eval_results(path: Path) -> "pd.DataFrame":
    """Read ``eval_results.pth``: ``RESULT_COLUMNS``, epochs from 1, values as fractions.

    Raises
    ------
    CheckpointError
        Anything but metrics by epoch, kind, data set and name.
    """
    import pandas as pd

    content = _load(path, METRICS_ALLOWED)
    frame = pd.DataFrame(list(_metrics(path, content)), columns=list(RESULT_COLUMNS))
    if frame.empty:
        raise CheckpointError(f"{path} holds no metrics.")
    return frame.sort_values("epoch", kind="stable", ignore_index=True)


def read_logits(path: Path) -> Logits:
    """Read ``val_NAME_logits.pth`` or ``test_NAME_logits.pth``.

    Raises
    ------
    CheckpointError
        Anything but as many labels as rows of finite logits, every label a column.
    """
    content = _mapping(path, _load(path, ARRAYS_ALLOWED), ("targets", "joint_logits"))
    logits = _array(path, content, "joint_logits", 2)
    try:
        labels = np.asarray(content["targets"])
    except (ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path}: 'targets' is no list of classes.") from error
    if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
        raise CheckpointError(
            f"{path} has {labels.dtype} labels of shape {labels.shape} for logits of shape {logits.shape}."
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise CheckpointError(f"{path} has labels that are not among its {logits.shape[1]} classes.")
    return Logits(labels.astype(np.int64), logits)


def read_prompts(path: Path) -> Prompts:
    """Read ``prompt_epN.pth``; N = 0 are the prompts before training. Where they are projected, before the projection.

    Raises
    ------
    CheckpointError
        Anything but finite arrays that fit each other.
    """
    content = _mapping(path, _load(path, ARRAYS_ALLOWED), ("shallow_prompt",))
    shallow = _array(path, content, "shallow_prompt", 3)
    deep = None if content.get("deep_prompt") is None else _array(path, content, "deep_prompt", 3)
    if len(shallow) != 1 or (deep is not None and deep.shape[1:] != shallow.shape[1:]):
        found = f"{shallow.shape}" if deep is None else f"{shallow.shape} and {deep.shape}"
        raise CheckpointError(f"{path} has prompts of shape {found}; expected (1, P, d) and (layers - 1, P, d).")
    return Prompts(shallow, deep)


def _load(path: Path, allowed: Any) -> Any:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    try:
        return unpacked(load_pickled(path, allowed))
    except WeightsError as error:
        raise CheckpointError(error.problem, error.hint) from error
    except (ValueError, RecursionError) as error:
        what = "is nested without end" if isinstance(error, RecursionError) else f"holds {error}"
        raise CheckpointError(f"{path} {what}.") from error


def _metrics(path: Path, content: Any) -> Iterator[tuple[int, str, str, str, float]]:
    for epoch, kinds in _items(path, content, "epochs"):
        match = _EPOCH.fullmatch(epoch)
        if match is None:
            raise CheckpointError(f"{path} has the key {epoch[:60]!r}; expected epoch_0, epoch_1 and so on.")
        for kind, names in _items(path, kinds, epoch):
            if kind != "classification":
                raise CheckpointError(f"{path}: {epoch} has {kind[:60]!r}; expected 'classification'.")
            for name, metrics in _items(path, names, kind):
                split, found, dataset = name.partition("_")
                if not found or not split.isidentifier():
                    raise CheckpointError(f"{path}: {epoch} has {name[:60]!r}; expected val_NAME or test_NAME.")
                for metric, value in _items(path, metrics, name):
                    yield int(match[1]) + 1, split, dataset, metric, _fraction(path, epoch, metric, value)


def _items(path: Path, value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise CheckpointError(f"{path}: {where[:60]} is no mapping from names, but {type(value).__name__}.")
    yield from value.items()


def _fraction(path: Path, epoch: str, metric: str, value: Any) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 1:
        raise CheckpointError(f"{path}: {epoch} has {metric[:60]} = {str(value)[:60]}; expected a fraction.")
    return float(value)


def _mapping(path: Path, content: Any, needed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(content, Mapping) or not all(name in content for name in needed):
        found = [str(key)[:40] for key in content][:5] if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(f"{path} holds {found}; expected {list(needed)}.")
    return content


def _array(path: Path, content: Mapping[str, Any], name: str, dimensions: int) -> np.ndarray:
    value = content[name]
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != dimensions or not value.size:
        found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise CheckpointError(f"{path}: {name!r} is {found}; expected floats in {dimensions} dimensions.")
    if not np.isfinite(value).all():
        raise CheckpointError(f"{path}: {name!r} holds values that are no numbers.")
    return value.astype(np.float32)
