"""Test images of a run, drawn by a seed and never picked, as its model takes them."""

import numpy as np
import torch

from vptft.checkpoints.native import Run
from vptft.data import registry
from vptft.data.images import ImageSet
from vptft.data.transforms import normalise
from vptft.errors import SettingsError


def drawn(run: Run, count: int, seed: int) -> ImageSet:
    """Test images of a run's task, drawn without replacement and kept in test order."""
    test = registry.task(run.info.task).load("test", n=run.info.settings["n_test"], seed=run.info.seed)
    chosen = np.random.default_rng(seed).choice(len(test), size=min(count, len(test)), replace=False)
    return test.subset(np.sort(chosen))


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
        out.append(torch.nn.functional.interpolate(mask, size=(size, size), mode="area")[0, 0].numpy() >= 0.5)
    return np.stack(out)
