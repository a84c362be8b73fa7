"""Scenes: what stands on the table, under which light, on which background. Drawn from seeds, rendered elsewhere."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from vptft.data.suite.camera import on_table, project, x_at
from vptft.data.suite.shapes import COMPANIONS, TARGETS
from vptft.data.suite.textures import TEXTURES
from vptft.data.suite.tiles import PARTS, Part, Tile, background_tiles

SUITE_VERSION = 1
"""Counts up whenever any pixel or label of the suite changes: it enters every fingerprint."""

FACTORS = {"category": len(TARGETS), "count": 6, "location": 8, "orientation": 8, "distance": 6}
"""The five factors and their numbers of classes, all equally frequent and independent of each other."""

COLUMN_EDGES = np.linspace(-0.68, 0.68, FACTORS["location"] + 1)
"""Edges of the eight columns, in picture coordinates (-1 left, 1 right)."""
DISTANCE_EDGES = np.linspace(-0.64, 0.78, FACTORS["distance"] + 1)
"""Edges of the six distances: how far up the table the target lies; 0 is the middle."""
TARGET_SIZE = (0.27, 0.31)
"""Reach of a target's outline from its centroid; half the picture is 1 wide at the middle of the table."""
COMPANION_SIZE = (0.105, 0.13)

_ATTEMPTS = 400


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


def scene(part: Part, seed: int, index: int) -> Scene:
    """Scene ``index`` of a split's draw; it depends on the arguments and :data:`SUITE_VERSION` alone.

    Every factor is drawn in blocks as long as it has classes, each class once a block, by a shuffle of its own:
    factors are balanced in any number of scenes and independent of each other. Everything else is drawn without
    looking at the labels, except that companions are placed again until :func:`_in_view` accepts them.
    """
    labels = {factor: _label(part, seed, index, factor) for factor in FACTORS}
    draw = _generator(part, seed, index)
    tiles = background_tiles(part)
    base = Scene(
        solids=(_target(draw, labels),),
        sun=_sun(draw),
        warmth=float(draw.uniform(-1, 1)),
        tile=tiles[int(draw.integers(len(tiles)))],
        mirrored=bool(draw.uniform() < 0.5),
        labels=labels,
    )
    return _with_companions(draw, base)


def _generator(part: Part, seed: int, *more: int) -> np.random.Generator:
    return np.random.default_rng([SUITE_VERSION, PARTS.index(part), seed, *more])


def _label(part: Part, seed: int, index: int, factor: str) -> int:
    """Class of one factor: a place in the shuffled block that ``index`` falls into."""
    classes = FACTORS[factor]
    return int(_block(part, seed, index // classes, factor)[index % classes])


@cache
def _block(part: Part, seed: int, block: int, factor: str) -> np.ndarray:
    return _generator(part, seed, block, *factor.encode()).permutation(FACTORS[factor])


def _within(draw: np.random.Generator, edges: np.ndarray, label: int, share: float) -> float:
    """Draw a place in the middle ``share`` of a bin: no label hangs on a hair."""
    low, high = edges[label], edges[label + 1]
    return float((low + high) / 2 + (high - low) * share * draw.uniform(-0.5, 0.5))


def _target(draw: np.random.Generator, labels: dict[str, int]) -> Solid:
    height = float(draw.uniform(0.10, 0.14))
    y = _within(draw, DISTANCE_EDGES, labels["distance"], 0.7)
    u = _within(draw, COLUMN_EDGES, labels["location"], 0.7)
    eighth = np.pi / 4
    return Solid(
        shape=TARGETS[labels["category"]],
        x=x_at(u, y, height / 2),
        y=y,
        size=float(draw.uniform(*TARGET_SIZE)),
        height=height,
        turn=float(-eighth * labels["orientation"] + eighth * draw.uniform(-0.3, 0.3)),
        material=_material(draw),
    )


def _with_companions(draw: np.random.Generator, base: Scene) -> Scene:
    """Add as many companions as the count asks for, placed so that all solids can be seen."""
    from vptft.data.suite.raycast import visible_shares

    companions = [_companion(draw) for _ in range(base.labels["count"])]
    for _ in range(_ATTEMPTS):
        placed = _scattered(draw, base.target, companions)
        if placed is None:
            continue
        whole = replace(base, solids=(base.target, *placed))
        shares = visible_shares(whole)
        if shares[0] >= TARGET_SHOWS and min(shares) >= COMPANION_SHOWS:
            return whole
    raise RuntimeError("no arrangement")


def _material(draw: np.random.Generator) -> Material:
    """Any texture in any two colours that differ in hue and brightness."""
    hue, step = draw.uniform(), draw.uniform(0.08, 0.5)
    bright, dark = draw.uniform(0.65, 1.0), draw.uniform(0.12, 0.5)
    return Material(
        texture=str(draw.choice(list(TEXTURES))),
        colours=(
            _colour(hue, draw.uniform(0.25, 0.9), bright),
            _colour(hue + step, draw.uniform(0.3, 0.9), dark),
        ),
        scale=float(draw.uniform(0.6, 1.1)),
        offset=(float(draw.uniform()), float(draw.uniform())),
        gloss=float(draw.uniform()),
    )


def _colour(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """Linear RGB of a colour given by hue (in turns), saturation and brightness."""
    ramps = np.clip(np.abs((hue + np.array([0, 2 / 3, 1 / 3])) % 1.0 * 6 - 3) - 1, 0, 1)
    red, green, blue = (value * (1 - saturation * (1 - ramps))) ** 2.2
    return float(red), float(green), float(blue)


def _sun(draw: np.random.Generator) -> tuple[float, float, float]:
    """Light from behind or beside the solids, so that shadows fall towards the camera."""
    around, above = np.deg2rad(draw.uniform(15, 165)), np.deg2rad(draw.uniform(38, 60))
    flat = np.cos(above)
    return float(flat * np.cos(around)), float(flat * np.sin(around)), float(np.sin(above))
