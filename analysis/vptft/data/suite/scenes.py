"""What a scene is: solids on a table, a light, a background, and the five labels. Sampled and rendered elsewhere."""

from dataclasses import dataclass

import numpy as np

from vptft.data.suite.shapes import TARGETS
from vptft.data.suite.tiles import Tile

SUITE_VERSION = 1
"""Counts up whenever any pixel or label of the suite changes: it enters every fingerprint."""

FACTORS = {"category": len(TARGETS), "count": 6, "location": 8, "orientation": 8, "distance": 6}
"""The five factors and their numbers of classes, all equally frequent and independent of each other."""

COLUMN_EDGES = np.linspace(-0.58, 0.58, FACTORS["location"] + 1)
"""Edges of the eight columns, in picture coordinates (-1 left, 1 right)."""
DISTANCE_EDGES = np.linspace(-0.64, 0.78, FACTORS["distance"] + 1)
"""Edges of the six distances: how far up the table the target lies; 0 is the middle."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """Surface of a solid.

    Attributes
    ----------
    texture
        Name in the table of textures.
    colours
        The two linear RGB colours that the texture mixes, ``(2, 3)`` as tuples.
    scale
        Repeats of the texture over twice the outline's reach.
    offset
        Place in the texture.
    gloss
        Strength of the highlight, 0 to 1.
    """

    texture: str
    colours: tuple[tuple[float, float, float], tuple[float, float, float]]
    scale: float
    offset: tuple[float, float]
    gloss: float


@dataclass(frozen=True, kw_only=True)
class Solid:
    """One solid on the table: its shape, its place ``(x, y)``, reach, height, turn (counter-clockwise) and surface."""

    shape: str
    x: float
    y: float
    size: float
    height: float
    turn: float
    material: Material


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything a renderer needs, and the five labels.

    Attributes
    ----------
    solids
        The target first, then the companions.
    sun
        Unit vector from the table to the light.
    warmth
        Colour of the light from cold (-1) to warm (1).
    tile, mirrored
        Background, and whether it is mirrored left to right.
    labels
        Class index a factor. ``count`` is the number of solids, target included; ``location`` the column of the
        target from left to right; ``orientation`` the eighth of a turn its front points to, 0 away from the
        camera, then clockwise; ``distance`` how far from the camera it lies, 0 nearest.
    """

    solids: tuple[Solid, ...]
    sun: tuple[float, float, float]
    warmth: float
    tile: Tile
    mirrored: bool
    labels: dict[str, int]

    @property
    def target(self) -> Solid:
        """The one solid that four of the five questions are about: the largest, the only one with a front."""
        return self.solids[0]
