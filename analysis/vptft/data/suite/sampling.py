"""Drawing scenes from seeds: labels balanced and independent, everything else alike for all labels."""

from dataclasses import replace
from functools import cache

import numpy as np

from vptft.data.suite.camera import on_table, project, x_at
from vptft.data.suite.raycast import sample, to_local, visible_shares
from vptft.data.suite.scenes import (
    COLUMN_EDGES,
    DISTANCE_EDGES,
    FACTORS,
    SUITE_VERSION,
    Material,
    Scene,
    Solid,
)
from vptft.data.suite.shapes import COMPANIONS, TARGETS, relief
from vptft.data.suite.textures import TEXTURES
from vptft.data.suite.tiles import PARTS, Part, Tile, background_tiles
from vptft.errors import DataError

TARGET_SIZE = (0.32, 0.35)
"""Reach of a target's outline from its centroid; half the picture is 1 wide at the middle of the table."""
COMPANION_SIZE = (0.105, 0.13)
TARGET_SHOWS = 0.93
"""Least part of the target's silhouette that nothing hides; its direction stays readable."""
COMPANION_SHOWS = 0.6
"""Least part of a companion's silhouette that nothing hides; it can always be counted."""
GAP = 0.015
"""Least clearance between solids on the table."""
FRAME = 0.93
"""Solids stay within this part of the picture's half width and half height."""

_ATTEMPTS = 200


def sample_scene(part: Part, seed: int, index: int) -> Scene:
    """Scene ``index`` of a split's draw; it depends on the arguments and ``SUITE_VERSION`` alone.

    Everything but the labels is drawn without looking at them, save that companions are placed again until every
    solid can be seen.
    """
    labels = {factor: label_of(part, seed, index, factor) for factor in FACTORS}
    draw = _generator(part, seed, index)
    base = Scene(
        solids=(_target(draw, labels),),
        sun=_sun(draw),
        warmth=float(draw.uniform(-1, 1)),
        tile=tile_of(part, seed, index),
        mirrored=bool(draw.uniform() < 0.5),
        labels=labels,
    )
    return _with_companions(draw, base)


def label_of(part: Part, seed: int, index: int, factor: str) -> int:
    """Class of one factor of a scene.

    A factor is drawn in blocks as long as it has classes, each class once a block, in an order of its own: factors
    are balanced in any number of scenes (to within one) and independent of each other.
    """
    classes = FACTORS[factor]
    return int(_block(part, seed, index // classes, factor)[index % classes])


def tile_of(part: Part, seed: int, index: int) -> Tile:
    """Background of a scene, uniform over the tiles of its split."""
    tiles = background_tiles(part)
    return tiles[int(_generator(part, seed, index, *b"tile").integers(len(tiles)))]


def _generator(part: Part, seed: int, *more: int) -> np.random.Generator:
    return np.random.default_rng([SUITE_VERSION, PARTS.index(part), seed, *more])


@cache
def _block(part: Part, seed: int, block: int, factor: str) -> np.ndarray:
    return _generator(part, seed, block, *factor.encode()).permutation(FACTORS[factor])


def _within(draw: np.random.Generator, edges: np.ndarray, label: int, share: float) -> float:
    """Draw a place in the middle ``share`` of a bin: no label hangs on a hair."""
    low, high = edges[label], edges[label + 1]
    return float((low + high) / 2 + (high - low) * share * draw.uniform(-0.5, 0.5))


def _target(draw: np.random.Generator, labels: dict[str, int]) -> Solid:
    height = float(draw.uniform(0.10, 0.14))
    y = _within(draw, DISTANCE_EDGES, labels["distance"], 0.6)
    u = _within(draw, COLUMN_EDGES, labels["location"], 0.6)
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
    """Add one companion less than the count of solids, placed again until every solid shows enough of itself."""
    companions = [_companion(draw) for _ in range(base.labels["count"])]
    for _ in range(_ATTEMPTS):
        placed = _scattered(draw, base.target, companions)
        whole = replace(base, solids=(base.target, *placed))
        shows = visible_shares(whole.solids)
        if len(placed) == len(companions) and shows[0] >= TARGET_SHOWS and min(shows) >= COMPANION_SHOWS:
            return whole
    raise DataError(f"No arrangement of {len(companions)} companions was found in {_ATTEMPTS} attempts.")


def _companion(draw: np.random.Generator) -> Solid:
    shape = str(draw.choice(COMPANIONS))
    size = float(draw.uniform(*COMPANION_SIZE))
    thickness = {"ball": 2 * size, "die": 1.5 * size, "peg": 2.2 * size}[shape]
    return Solid(
        shape=shape,
        x=0.0,
        y=0.0,
        size=size,
        height=thickness,
        turn=float(draw.uniform(-np.pi, np.pi)),
        material=_material(draw),
    )


def _scattered(draw: np.random.Generator, target: Solid, companions: list[Solid]) -> list[Solid]:
    """Place companions one after the other, uniformly over the picture; fewer come back where no room was left."""
    placed: list[Solid] = []
    for companion in companions:
        for _ in range(_ATTEMPTS):
            x, y = on_table(draw.uniform(-FRAME, FRAME), draw.uniform(-FRAME, FRAME))
            moved = replace(companion, x=x, y=y)
            if in_frame(moved) and all(_apart(moved, other) for other in (target, *placed)):
                placed.append(moved)
                break
    return placed


def in_frame(solid: Solid) -> bool:
    """Whether the solid's bounding cylinder lies within the picture's frame."""
    around = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([solid.x + solid.size * np.cos(around), solid.y + solid.size * np.sin(around)], axis=-1)
    low = np.concatenate([ring, np.zeros((16, 1))], axis=1)
    high = np.concatenate([ring, np.full((16, 1), solid.height)], axis=1)
    return bool(np.abs(project(np.concatenate([low, high]))).max() <= FRAME)


def _apart(one: Solid, other: Solid) -> bool:
    """Whether the circle around a companion keeps the gap to a target's outline, or another companion's circle."""
    if other.shape in TARGETS:
        local = to_local(other, np.array(one.x), np.array(one.y))
        away = other.size * float(sample(relief(other.shape).distance, *local))
    else:
        away = float(np.hypot(one.x - other.x, one.y - other.y)) - other.size
    return away >= one.size + GAP


def _material(draw: np.random.Generator) -> Material:
    """Any texture in any two colours that differ in hue and brightness."""
    hue, step = draw.uniform(), draw.uniform(0.08, 0.5)
    bright, dark = draw.uniform(0.7, 1.0), draw.uniform(0.15, 0.55)
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
