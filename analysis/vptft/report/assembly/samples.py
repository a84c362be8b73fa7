"""Images that something is measured on, drawn by a seed and never picked."""

from pathlib import Path
from typing import get_args

import numpy as np
import torch

from vptft.checkpoints.native import Run
from vptft.data import registry
from vptft.data.catalogue import REFERENCE
from vptft.data.images import ImageSet
from vptft.data.tasks import Split
from vptft.data.transforms import normalise
from vptft.errors import SettingsError, VptftError


def drawn(run: Run, count: int, seed: int) -> ImageSet:
    """Test images of a run's task, drawn without replacement and kept in test order."""
    test = registry.task(run.info.task).load("test", n=run.info.settings["n_test"], seed=run.info.seed)
    chosen = np.random.default_rng(seed).choice(len(test), size=min(count, len(test)), replace=False)
    return test.subset(np.sort(chosen))


def images_up_to(name: str, n: int, seed: int = 0, *, split: Split | None = None) -> ImageSet:
    """Draw ``n`` images of a task, folder or any set; all where there are no more."""
    whole = registry.images(name, split=split)
    # A generated set has as many as are asked for, whatever it gives when not asked.
    asked = len(whole) > n or name == REFERENCE or is_generated(name)
    return registry.images(name, split=split, n=n, seed=seed) if asked else whole


def bare(name: str) -> str:
    """Return a task's name without a split."""
    task, colon, split = name.rpartition(":")
    return task if colon and split in get_args(Split) and not Path(name).exists() else name


def is_generated(name: str) -> bool:
    """Whether a task's images are made on demand, so that there are as many as are asked for."""
    try:
        return registry.task(bare(name)).appearance is not None
    except VptftError:
        return False


def model_inputs(run: Run, pixels: torch.Tensor) -> torch.Tensor:
    """Pixels in [0, 1], ``(n, 3, H, W)``, normalised as the run's model takes them."""
    return normalise(pixels, tuple(run.info.mean), tuple(run.info.std))


def labels_of(images: ImageSet) -> np.ndarray:
    """Classes of a set, ``(n,)`` int64; an error where it has none."""
    if images.labels is None:
        raise SettingsError(f"{images.name} has no labels.")
    return np.asarray(images.labels, dtype=np.int64)


def masks_of(images: ImageSet, size: int) -> np.ndarray | None:
    """Masks at the model's input size, ``(n, size, size)`` bool, cut as the images are."""
    if images.masks is None:
        return None
    out = []
    for i in range(len(images)):
        mask = torch.from_numpy(images.masks(i).astype(np.float32))[None, None]
        height, width = mask.shape[2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = mask[:, :, top : top + side, left : left + side]
        out.append(torch.nn.functional.interpolate(square, size=(size, size), mode="area")[0, 0].numpy() >= 0.5)
    return np.stack(out)
