"""A toy for the examples that need networks: small, random, and trained in a second. Read no number off it.

Three colours of a square on noise; the backbone ``tiny`` (a vision transformer with random weights), 32 px.
"""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vptft.checkpoints.native import Run
from vptft.data.images import ImageSet
from vptft.data.tasks import Task
from vptft.data.transforms import normalise
from vptft.models.tuned import TunedModel
from vptft.tuning.loop import train
from vptft.tuning.methods import find_method
from vptft.tuning.settings import TrainSettings
from vptft.why.landscape.evaluation import Sample

CLASSES = ("red", "green", "blue")
SETTINGS = TrainSettings(
    epochs=30, batch_size=8, image_size=32, prompt_length=4, n_train=48, n_val=24, n_test=96, lr=3e-3, n_curve=96
)
SHARE = 0.2
"""Of training labels that are drawn at random, so that there is something to overfit."""


def squares(split: str, n: int | None = None, seed: int = 0) -> ImageSet:
    """Draw ``n`` images of a split, and the masks of their squares."""
    n = n or 96
    rng = np.random.default_rng([len(split), seed if split == "train" else 0])
    labels = np.arange(n) % len(CLASSES)
    pixels = rng.integers(0, 60, size=(n, 32, 32, 3), dtype=np.uint8)
    masks = np.zeros((n, 32, 32), dtype=bool)
    for i, (label, (top, left)) in enumerate(zip(labels, rng.integers(0, 16, size=(n, 2)), strict=True)):
        masks[i, top : top + 16, left : left + 16] = True
        pixels[i][masks[i]] = pixels[i][masks[i]] // 2
        pixels[i, top : top + 16, left : left + 16, label] += 190
    if split == "train":
        labels = np.where(rng.random(n) < SHARE, rng.integers(0, len(CLASSES), n), labels)
    ids = tuple(f"{split} {i}" for i in range(n))
    return ImageSet(
        name=f"squares ({split})", ids=ids, read=lambda i: Image.fromarray(pixels[i]), groups=ids,
        fingerprint=lambda: f"squares 1 {split} {n} {seed}", labels=labels, classes=CLASSES, masks=masks.__getitem__,
    )  # fmt: skip


SQUARES = Task(name="squares", group="own", objective="classification", classes=CLASSES, load=squares)


@cache
def run(method: str, seed: int = 0) -> Run:
    """Train the toy by one method; once a build."""
    folder = Path(tempfile.mkdtemp()) / method
    settings = replace(SETTINGS, seed=seed, lr=3e-2 if method != "ft" else 2e-3)
    return train(SQUARES, find_method(method), backbone="tiny", settings=settings, folder=folder)


def model(method: str, seed: int = 0) -> TunedModel:
    """Give the trained network."""
    return run(method, seed).model()


def sample(split: str = "test", n: int = 48, seed: int = 0) -> Sample:
    """Give images of the toy as networks take them, with labels."""
    images, info = squares(split, n, seed), run("ft").info
    return Sample(
        split=split, images=normalise(images.pixels(32), info.mean, info.std), labels=torch.as_tensor(images.labels)
    )
