"""A task: the orientation of drawn stripes."""

from functools import partial

import numpy as np
from PIL import Image

from vptft.data.images import ImageSet
from vptft.data.splits import check_draw
from vptft.data.tasks import Split, Task
from vptft.storage import key_of

ANGLES = (0, 45, 90, 135)
CLASSES = tuple(f"{angle} degrees" for angle in ANGLES)
SIZES = {"train": 160, "val": 40, "test": 400}
PARTS = {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)}
SIDE = 64
"""Pixels."""


def stripes() -> Task:
    """Return the task; nothing is drawn until its images are read."""
    return Task(
        name="stripes", group="own", objective="orientation", classes=CLASSES, load=load, source="drawn when read"
    )


def load(split: Split, n: int | None = None, seed: int = 0) -> ImageSet:
    """Return a split; another seed gives other training images and the same test images."""
    name = f"stripes ({split})"
    numbers = [(part, i) for part in PARTS[split] for i in range(SIZES[part])]
    check_draw(n, len(numbers), name)
    numbers = numbers[:n]
    of = 0 if split == "test" else seed
    ids = tuple(f"{part}-{of}-{i}" for part, i in numbers)
    return ImageSet(
        name=name,
        ids=ids,
        read=lambda i: drawn(*numbers[i], seed=of),
        groups=ids,  # every image is drawn by itself, so all are independent
        fingerprint=partial(key_of, "stripes 1", SIDE, ids),
        labels=np.array([i % len(ANGLES) for _, i in numbers], dtype=np.int64),
        classes=CLASSES,
    )


def drawn(part: str, i: int, *, seed: int) -> Image.Image:
    """Draw one image: a grating with a period, a phase, two colours and noise of its own."""
    rng = np.random.default_rng([list(SIZES).index(part), seed, i])
    angle = np.deg2rad(ANGLES[i % len(ANGLES)])
    y, x = np.mgrid[:SIDE, :SIDE]
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = np.sin(2 * np.pi * (along / rng.uniform(6, 20) + rng.uniform()))[..., None]
    low, high = rng.uniform(0, 255, size=(2, 3))
    values = low + (high - low) * (wave + 1) / 2 + rng.normal(0, 25, size=(SIDE, SIDE, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))
