"""Which solid every pixel sees, and where: rays against spheres and reliefs, nearest first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from vptft.data.suite.camera import POSITION, project, rays
from vptft.data.suite.scenes import Solid
from vptft.data.suite.shapes import EXTENT, GRID, relief

STEPS = 12
"""Samples along a ray through a relief; the hit is then refined to a 16th of a step."""
NOTHING = -1

Window = tuple[slice, slice]
LookUp = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a camera of ``size`` pixels sees of some solids.

    Attributes
    ----------
    solid
        ``(size, size)`` index of the solid that is seen; :data:`NOTHING` for the table.
    whole
        Pixels of each solid if nothing else were there.
    reach
        ``(size, size)`` ray parameter of what is seen.
    """

    solid: np.ndarray
    whole: tuple[int, ...]
    reach: np.ndarray

    def position(self, chosen: np.ndarray) -> np.ndarray:
        """World positions ``(n, 3)`` of what the chosen rays (a boolean mask) see."""
        return POSITION + self.reach[chosen][:, None] * _rays(len(self.solid))[chosen]


def see(solids: Sequence[Solid], size: int) -> Sight:
    """Cast one ray a pixel and keep the nearest hit."""
    directions = _rays(size)
    empty = table_reach(size)
    nearest = empty.copy()
    seen = np.full((size, size), NOTHING, dtype=np.int8)
    whole = []
    for index, solid in enumerate(solids):
        window = _window(solid, size)
        reach = _reach(solid, directions[window])
        whole.append(int((reach < empty[window]).sum()))
        closer = reach < nearest[window]
        nearest[window][closer] = reach[closer]
        seen[window][closer] = index
    return Sight(solid=seen, whole=tuple(whole), reach=nearest)


@cache
def table_points(size: int) -> np.ndarray:
    """Where on the table the pixels of an empty scene look, ``(size * size, 3)``."""
    return (POSITION + table_reach(size)[..., None] * _rays(size)).reshape(-1, 3)


@cache
def table_reach(size: int) -> np.ndarray:
    """Ray parameter at which each pixel's ray meets the table, ``(size, size)``."""
    return -POSITION[2] / _rays(size)[..., 2]


def visible_shares(solids: Sequence[Solid], size: int = 64) -> list[float]:
    """Part of each solid's own silhouette that no other solid hides, on a coarse grid of pixels."""
    sight = see(solids, size)
    return [float((sight.solid == index).sum()) / max(whole, 1) for index, whole in enumerate(sight.whole)]


def to_local(solid: Solid, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World ``(x, y)`` -> outline units of a solid: shifted, turned back, divided by its reach."""
    cos, sin = np.cos(solid.turn) / solid.size, np.sin(solid.turn) / solid.size
    right, ahead = x - solid.x, y - solid.y
    return cos * right + sin * ahead, cos * ahead - sin * right


def sample(grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear value of a relief's map at outline units; outside the map, the value at its border."""
    scale = (GRID - 1) / (2 * EXTENT)
    column = np.clip((x + EXTENT) * scale, 0, GRID - 1.001)
    row = np.clip((y + EXTENT) * scale, 0, GRID - 1.001)
    left, top = column.astype(np.intp), row.astype(np.intp)
    across, down = column - left, row - top
    corner = top * GRID + left
    flat = grid.ravel()
    upper = flat[corner] + across * (flat[corner + 1] - flat[corner])
    lower = flat[corner + GRID] + across * (flat[corner + GRID + 1] - flat[corner + GRID])
    return upper + down * (lower - upper)


def sample_coarsely(grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Value of the map's nearest grid point: a third of the time of :func:`sample`."""
    scale = (GRID - 1) / (2 * EXTENT)
    column = np.clip((x + EXTENT) * scale + 0.5, 0, GRID - 1).astype(np.intp)
    row = np.clip((y + EXTENT) * scale + 0.5, 0, GRID - 1).astype(np.intp)
    return grid.ravel()[row * GRID + column]


@cache
def _rays(size: int) -> np.ndarray:
    return rays(size)


def _window(solid: Solid, size: int) -> Window:
    """Rows and columns that hold the solid's bounding box."""
    reach = 1.02 * solid.size
    corners = np.array(
        [(solid.x + i * reach, solid.y + j * reach, k * solid.height) for i in (-1, 1) for j in (-1, 1) for k in (0, 1)]
    )
    u, v = project(corners)
    columns, rows = (u + 1) * size / 2, (1 - v) * size / 2
    return _span(rows, size), _span(columns, size)


def _span(values: np.ndarray, size: int) -> slice:
    return slice(max(int(np.floor(values.min())), 0), min(int(np.ceil(values.max())) + 1, size))


def _reach(solid: Solid, directions: np.ndarray) -> np.ndarray:
    """Ray parameter of the first hit; infinite where the ray misses the solid."""
    return _reach_ball(solid, directions) if solid.shape == "ball" else _reach_relief(solid, directions)


def _reach_ball(solid: Solid, directions: np.ndarray) -> np.ndarray:
    offset = POSITION - np.array([solid.x, solid.y, solid.size])
    square = (directions**2).sum(-1)
    half = directions @ offset
    rest = half**2 - square * (offset @ offset - solid.size**2)
    return np.where(rest > 0, (-half - np.sqrt(np.maximum(rest, 0))) / square, np.inf)


def _reach_relief(solid: Solid, directions: np.ndarray) -> np.ndarray:
    """March from the relief's top down to the table; the first sample below the surface, refined by bisection."""
    reach = np.full(directions.shape[:2], np.inf)
    near = _may_hit(solid, directions)
    directions = directions[near]
    enter = (solid.height - POSITION[2]) / directions[:, 2]
    leave = -POSITION[2] / directions[:, 2]
    shares = np.linspace(0, 1, STEPS + 1)[:, None]
    below = _is_below(solid, directions, enter + shares * (leave - enter), sample_coarsely)
    hit = below.any(axis=0)
    high = below.argmax(axis=0)[hit] / STEPS
    low = np.maximum(high - 1 / STEPS, 0)
    enter, leave, directions = enter[hit], leave[hit], directions[hit]
    for _ in range(4):
        middle = (low + high) / 2
        inside = _is_below(solid, directions, enter + middle * (leave - enter), sample)
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    near[near] = hit
    reach[near] = enter + high * (leave - enter)
    return reach


def _may_hit(solid: Solid, directions: np.ndarray) -> np.ndarray:
    """Rays whose way through the relief's layer comes near the outline: the others need no march."""
    halfway = (solid.height / 2 - POSITION[2]) / directions[..., 2]
    x, y = POSITION[0] + halfway * directions[..., 0], POSITION[1] + halfway * directions[..., 1]
    steepest = np.sqrt((directions[..., :2] ** 2).sum(-1)) / -directions[..., 2]
    reach = 0.5 * solid.height * steepest / solid.size + 0.05
    return sample_coarsely(relief(solid.shape).distance, *to_local(solid, x, y)) < reach


def _is_below(solid: Solid, directions: np.ndarray, reach: np.ndarray, look_up: LookUp) -> np.ndarray:
    """Whether the points at ``reach`` along the rays lie under the relief's surface."""
    x = POSITION[0] + reach * directions[..., 0]
    y = POSITION[1] + reach * directions[..., 1]
    z = POSITION[2] + reach * directions[..., 2]
    surface = solid.height * look_up(relief(solid.shape).height, *to_local(solid, x, y))
    return surface > np.maximum(z, 0)
