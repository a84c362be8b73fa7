"""Tasks made of crops of few pictures, cut so that no two splits share a pixel."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from PIL import Image

from vptft.data.images import ImageSet
from vptft.data.suite.photographs import picture
from vptft.data.suite.tiles import PARTS, Part, Tile, cut
from vptft.data.tasks import Split, Task
from vptft.errors import SettingsError
from vptft.storage import key_of

SIZES: dict[Part, int] = {"train": 200, "val": 100, "test": 200}
"""Crops a split by default; there is no end of them, and no more pictures behind them."""
CUTS = 3
"""Every picture is cut into 3 x 3 regions, and each region is given to one split."""
LEAST = 0.6
"""Smallest side of a crop, as part of its region."""

Sources = Mapping[str, tuple[str, ...]]


def crop_task(name: str, sources: Sources) -> Task:
    """Build a task that tells crops apart by the class of the picture they come from.

    Parameters
    ----------
    name
        Name of the task.
    sources
        Class -> its photographs, in label order. With one or two pictures a class, high accuracy says that a
        picture is recognised again, not that a material is.
    """
    return Task(
        name=name,
        group="observed",
        objective="classification",
        classes=tuple(sources),
        load=partial(_load, name, sources),
        few_groups=True,
        source="crops of pictures that scikit-image ships; few independent pictures",
    )


def _load(name: str, sources: Sources, split: Split, n: int | None = None, seed: int = 0) -> ImageSet:
    """Crops of one split; the group id is the picture. Classes take turns, and the pictures of a class do."""
    if n is not None and n < 1:
        raise SettingsError(f"{name}: n must be at least 1, got {n}.")
    keys = _keys(split, n, seed)
    classes = tuple(sources)
    photos = [_photo(sources, index) for _, _, index in keys]
    return ImageSet(
        name=f"{name} ({split})",
        ids=tuple(f"{name}/{part}/{draw}/{index}" for part, draw, index in keys),
        read=lambda i: crop_of(photos[i], *keys[i])[1],
        groups=tuple(photos),
        fingerprint=lambda: key_of("vptft crops", name, 1, keys),
        labels=np.array([index % len(classes) for _, _, index in keys], dtype=np.int64),
        classes=classes,
    )


def crop_of(photo: str, part: Part, seed: int, index: int) -> tuple[tuple[int, int, int, int], Image.Image]:
    """One crop within one region of its split: its ``(left, top, right, bottom)`` and its pixels."""
    draw = np.random.default_rng([1, PARTS.index(part), seed, index, *photo.encode()])
    own = regions(photo, part)
    region = own[int(draw.integers(len(own)))]
    side = round(region.side * draw.uniform(LEAST, 1))
    left, top = (start + int(draw.integers(region.side - side + 1)) for start in (region.left, region.top))
    box = (left, top, left + side, top + side)
    return box, picture(photo).crop(box)


def regions(photo: str, part: Part) -> tuple[Tile, ...]:
    """Regions of a picture that belong to one split."""
    side = min(picture(photo).size) // CUTS
    return tuple(tile for tile in cut(photo, side) if tile.part == part)


def _photo(sources: Sources, index: int) -> str:
    names = list(sources.values())[index % len(sources)]
    return names[index // len(sources) % len(names)]


def _keys(split: Split, n: int | None, seed: int) -> list[tuple[Part, int, int]]:
    """(part, seed, index) of every crop of a split; trainval is two parts train, one part val."""
    if split == "trainval":
        whole = SIZES["train"] + SIZES["val"] if n is None else n
        held = whole // 3
        return [*_keys("train", whole - held, seed), *(_keys("val", held, seed) if held else [])]
    if split not in SIZES:
        raise SettingsError(f"A split is train, val, trainval or test; got {split!r}.")
    return [(split, seed if split == "train" else 0, i) for i in range(SIZES[split] if n is None else n)]
