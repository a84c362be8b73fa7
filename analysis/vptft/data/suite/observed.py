"""Observed tasks: real images that scikit-learn and scikit-image ship, and one optional package."""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from io import BytesIO

import numpy as np
from PIL import Image

from vptft.data.images import ImageSet
from vptft.data.splits import check_draw, draw_order
from vptft.data.suite.crops import crop_task
from vptft.data.suite.factorial import CLASSES
from vptft.data.suite.photographs import shipped_bytes
from vptft.data.suite.tiles import Part
from vptft.data.tasks import Objective, Split, Task
from vptft.errors import DataError, SettingsError
from vptft.storage import key_of

Collection = tuple[np.ndarray, np.ndarray]
"""Grey or RGB images ``(n, h, w[, 3])`` uint8 and their labels ``(n,)``."""

SHARES: dict[Part, float] = {"train": 0.4, "val": 0.2, "test": 0.4}
"""Part of every class that a split gets."""
CANVAS = 56
"""Side of the picture that a digit is turned or placed in: the diagonal of what is turned fits."""
ENLARGED = 112
"""Least side an image is enlarged to when it is read, so that 8 px digits are not resized twice."""


def observed_tasks() -> tuple[Task, ...]:
    """Tasks of real images. Those marked ``few_groups`` show few pictures and bear no significance claim."""
    return (
        _collection_task("digits", _digits, tuple("0123456789"), "scikit-learn's 1,797 handwritten digits"),
        _collection_task(
            "digits/orientation", _turned_digits, CLASSES["orientation"], "the digits, each turned", "orientation"
        ),
        _collection_task(
            "digits/location", _placed_digits, CLASSES["location"], "the digits, each put somewhere", "location"
        ),
        _collection_task("faces", _faces, ("face", "no face"), "scikit-image's 200 crops of LFW"),
        crop_task("materials", {name: (name,) for name in ("brick", "coins", "grass", "gravel")}),
        crop_task(
            "instruments",
            {"deep sky": ("hubble",), "fundus": ("retina",), "histology": ("ihc",), "moon": ("moon",)},
        ),
        _collection_task("solar", _solar, ("sound", "defective"), "pip install elpv-dataset (CC BY-NC-SA 4.0)"),
    )


def _collection_task(
    name: str,
    collect: Callable[[], Collection],
    classes: tuple[str, ...],
    source: str,
    objective: Objective = "classification",
) -> Task:
    return Task(
        name=name,
        group="observed",
        objective=objective,
        classes=classes,
        load=partial(_load, name, collect, classes),
        source=source,
    )


def _load(
    name: str,
    collect: Callable[[], Collection],
    classes: tuple[str, ...],
    split: Split,
    n: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """Images of one split; every image is its own group. The split is fixed, ``seed`` orders the training draw."""
    images, labels = collect()
    members = _members(labels, split)
    check_draw(n, len(members), f"{name} ({split})")
    if split in ("train", "trainval") or n is not None:
        members = members[draw_order(labels[members], len(members), seed if "train" in split else 0)][:n]
    ids = tuple(f"{name}/{index:04d}" for index in members)
    return ImageSet(
        name=f"{name} ({split})",
        ids=ids,
        read=lambda i: _enlarged(images[members[i]]),
        groups=ids,
        fingerprint=lambda: key_of("vptft observed", name, 1, [int(index) for index in members]),
        labels=labels[members],
        classes=classes,
    )


def _members(labels: np.ndarray, split: Split) -> np.ndarray:
    """Indices of a split, stratified: a fixed shuffle of every class, cut by the shares."""
    parts: list[Part] = ["train", "val"] if split == "trainval" else [split]
    if not set(parts) <= set(SHARES):
        raise SettingsError(f"A split is train, val, trainval or test; got {split!r}.")
    chosen: list[np.ndarray] = []
    for label in np.unique(labels):
        shuffled = np.random.default_rng([20240116, int(label)]).permutation(np.flatnonzero(labels == label))
        ends = np.rint(np.cumsum(list(SHARES.values())) * len(shuffled)).astype(int)
        pieces = dict(zip(SHARES, np.split(shuffled, ends[:-1]), strict=True))
        chosen.extend(pieces[part] for part in parts)
    return np.sort(np.concatenate(chosen))


def _enlarged(pixels: np.ndarray) -> Image.Image:
    """RGB image, small ones enlarged by bicubic interpolation."""
    image = Image.fromarray(pixels).convert("RGB")
    factor = max(1.0, ENLARGED / min(image.size))
    width, height = (round(factor * side) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


@cache
def _digits() -> Collection:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


@cache
def _turned_digits() -> Collection:
    """Digits turned clockwise by eighths, give or take a third of one: which digit it is says nothing of the label.

    The paper's geometric tasks ask the like of dSprites; here the shapes are handwriting. Some digits look the same in
    two directions (0, 8), or like another one (6, 9), so not every image can be told.
    """
    rng, labels = _poses(len(CLASSES["orientation"]), of=0)
    turns = (labels + rng.uniform(-1 / 3, 1 / 3, len(labels))) * 360 / len(CLASSES["orientation"])
    return np.stack([_on_canvas(d, 46, turn=turn) for d, turn in zip(_digits()[0], turns, strict=True)]), labels


@cache
def _placed_digits() -> Collection:
    """Digits in one of eight columns and at any height: which digit it is says nothing of the label."""
    side, columns = 28, len(CLASSES["location"])
    rng, labels = _poses(columns, of=1)
    across = (labels + rng.uniform(0.2, 0.8, len(labels))) * (CANVAS - side) / columns
    down = rng.uniform(0, CANVAS - side, len(labels))
    places = zip(_digits()[0], across, down, strict=True)
    return np.stack([_on_canvas(digit, side, corner=(x, y)) for digit, x, y in places]), labels


def _poses(classes: int, *, of: int) -> tuple[np.random.Generator, np.ndarray]:
    """Balanced labels of every digit, and where more about their poses is drawn from; always the same."""
    rng = np.random.default_rng([20240116, 100 + of])
    return rng, rng.permutation(np.arange(len(_digits()[0])) % classes)


def _on_canvas(
    pixels: np.ndarray, side: int, *, turn: float = 0.0, corner: tuple[float, float] | None = None
) -> np.ndarray:
    """A digit ``side`` pixels large on black, in the middle unless its corner is given, turned clockwise by degrees."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    x, y = corner or ((CANVAS - side) / 2, (CANVAS - side) / 2)
    framed = np.pad(pixels, 1)  # strokes reach the border of the 8 pixels: without a frame they would end in a cut
    canvas.paste(Image.fromarray(framed).resize((side, side), Image.Resampling.BICUBIC), (round(x), round(y)))
    return np.asarray(canvas.rotate(-turn, Image.Resampling.BICUBIC))


@cache
def _faces() -> Collection:
    crops = np.load(BytesIO(shipped_bytes("skimage", "lfw_subset.npy")), allow_pickle=False)
    return np.rint(crops * 255).astype(np.uint8), np.repeat(np.arange(2), 100)


@cache
def _solar() -> Collection:
    """Solar cells under electroluminescence; defective where experts gave at least even odds."""
    try:
        cells = import_module("elpv_dataset.utils")
    except ImportError as error:
        raise DataError(
            "The task solar needs the package elpv-dataset, which is not installed.",
            "pip install elpv-dataset (its licence, CC BY-NC-SA 4.0, excludes commercial use)",
        ) from error
    images, odds, _ = cells.load_dataset()
    return images, (odds >= 0.5).astype(np.int64)
