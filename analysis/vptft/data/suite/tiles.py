"""Pictures cut into tiles that share no pixel, and each tile given to one split."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image

from vptft.data.suite.photographs import photographs, picture

Part = Literal["train", "val", "test"]

PARTS: tuple[Part, ...] = ("train", "val", "test")
TILE = 80
"""Side of a background tile in pixels: small enough for over a hundred of them, large enough for 56 and 98 px."""

_TURN: tuple[Part, ...] = ("test", "train", "test", "train", "val")
"""Five tiles after shuffling: 40 % test, 40 % train, 20 % val."""
_SHUFFLE_SEED = 20240116


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A square of a photograph.

    Attributes
    ----------
    photo
        Name of the photograph.
    left, top, side
        Its place in pixels of the used part of the photograph.
    part
        The one split whose images may show it.
    """

    photo: str
    left: int
    top: int
    side: int
    part: Part

    @property
    def name(self) -> str:
        """Group id of everything that shows the tile."""
        return f"{self.photo}@{self.left},{self.top}"

    def pixels(self) -> Image.Image:
        """Return its RGB pixels."""
        return picture(self.photo).crop((self.left, self.top, self.left + self.side, self.top + self.side))


def cut(photo: str, side: int) -> tuple[Tile, ...]:
    """Cut a photograph into a centred grid of tiles and give every tile to a split.

    The order is a fixed shuffle, so every split sees all regions of a picture; neighbouring tiles of different
    splits share no pixel, but they do share a scene and its light, which no split of one picture can avoid.
    """
    width, height = picture(photo).size
    columns, rows = width // side, height // side
    left, top = (width - columns * side) // 2, (height - rows * side) // 2
    seed = np.random.SeedSequence([_SHUFFLE_SEED, *photo.encode()])
    order = np.random.default_rng(seed).permutation(columns * rows)
    return tuple(
        Tile(
            photo=photo,
            left=left + side * int(place % columns),
            top=top + side * int(place // columns),
            side=side,
            part=_TURN[turn % len(_TURN)],
        )
        for turn, place in enumerate(order)
    )


@cache
def background_tiles(part: Part) -> tuple[Tile, ...]:
    """Background tiles of one split."""
    tiles = [tile for photo in photographs("background") for tile in cut(photo.name, TILE)]
    return tuple(tile for tile in tiles if tile.part == part)
