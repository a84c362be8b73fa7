"""Outlines of the solids, and the height maps that turn them into solids with rounded edges."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

EXTENT = 1.5
"""Maps cover ``[-EXTENT, EXTENT]`` in both directions; an outline reaches out to 1."""
GRID = 320
BEVEL = 0.24
"""Width of the rounded edge, in outline units."""

_CANVAS = 960
_HALF = 1.6
_ROUNDING = 0.028
_SMOOTHING = 0.02
_EDGE = 0.03

Point = tuple[float, float]


@dataclass(frozen=True)
class Pen:
    """Draws an outline in units of about 1, its front towards +y, onto a black canvas."""

    draw: ImageDraw.ImageDraw

    def polygon(self, *points: Point, ink: int = 255) -> None:
        """Fill a polygon."""
        self.draw.polygon([_pixel(point) for point in points], fill=ink)

    def ellipse(self, centre: Point, across: float, along: float | None = None, ink: int = 255) -> None:
        """Fill an ellipse of the given half-axes; a disc where ``along`` is None."""
        x, y = centre
        along = across if along is None else along
        self.draw.ellipse([_pixel((x - across, y + along)), _pixel((x + across, y - along))], fill=ink)


def _pixel(point: Point) -> Point:
    return (point[0] + _HALF) * _CANVAS / (2 * _HALF), (_HALF - point[1]) * _CANVAS / (2 * _HALF)


def arrow(pen: Pen) -> None:
    """Block arrow; its front is the tip."""
    pen.polygon((0, 1), (0.8, 0.05), (-0.8, 0.05))
    pen.polygon((-0.26, 0.2), (0.26, 0.2), (0.26, -1), (-0.26, -1))


def chevron(pen: Pen) -> None:
    """Wide V; its front is where the two bars meet."""
    pen.polygon((0, 0.72), (1, -0.28), (0.64, -0.74), (0, -0.06), (-0.64, -0.74), (-1, -0.28))


def drop(pen: Pen) -> None:
    """Water drop; its front is the tip."""
    turns = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = 0.78 * np.sin(turns / 2) ** 1.6
    pen.polygon(*zip((radius * np.sin(turns)).tolist(), np.cos(turns).tolist(), strict=True))


def fish(pen: Pen) -> None:
    """Fish from above; its front is the nose, opposite the tail fin."""
    pen.ellipse((0, 0.3), 0.44, 0.74)
    pen.polygon((0, -0.12), (0.6, -1.0), (0, -0.76), (-0.6, -1.0))


def heart(pen: Pen) -> None:
    """Heart; its front is the tip."""
    turns = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    across = 16 * np.sin(turns) ** 3
    along = 13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)
    pen.polygon(*zip((across / 17).tolist(), (-along / 14.5).tolist(), strict=True))


def key(pen: Pen) -> None:
    """Key; its front is the end of the shaft, opposite the ring."""
    pen.polygon((-0.15, 1), (0.15, 1), (0.15, -0.3), (-0.15, -0.3))
    pen.polygon((-0.46, 0.92), (0.46, 0.92), (0.46, 0.58), (-0.46, 0.58))
    pen.ellipse((0, -0.48), 0.6)
    pen.ellipse((0, -0.48), 0.27, ink=0)


def mushroom(pen: Pen) -> None:
    """Mushroom; its front is the top of the cap."""
    pen.ellipse((0, 0.1), 0.94, 0.82)
    pen.polygon((-1.2, 0.1), (1.2, 0.1), (1.2, -1.2), (-1.2, -1.2), ink=0)
    pen.polygon((-0.26, 0.2), (0.26, 0.2), (0.32, -0.86), (-0.32, -0.86))


def plane(pen: Pen) -> None:
    """Aeroplane; its front is the nose, opposite the small tail wing."""
    pen.ellipse((0, 0), 0.19, 1.0)
    pen.polygon((0, 0.42), (1.0, -0.2), (1.0, -0.46), (0, -0.2), (-1.0, -0.46), (-1.0, -0.2))
    pen.polygon((0, -0.58), (0.46, -0.86), (0.46, -1.04), (0, -0.9), (-0.46, -1.04), (-0.46, -0.86))


def die(pen: Pen) -> None:
    """Square with round corners, the outline of a die."""
    pen.polygon((-0.7, -0.7), (0.7, -0.7), (0.7, 0.7), (-0.7, 0.7))


def peg(pen: Pen) -> None:
    """Disc, the outline of a short cylinder."""
    pen.ellipse((0, 0), 1.0)


OUTLINES: dict[str, Callable[[Pen], None]] = {
    outline.__name__: outline for outline in (arrow, chevron, drop, fish, heart, key, mushroom, plane, die, peg)
}

TARGETS = ("arrow", "chevron", "drop", "fish", "heart", "key", "mushroom", "plane")
"""Shapes of the target, in label order. Every one is mirror-symmetric about its front and has one front only."""
COMPANIONS = ("ball", "die", "peg")
"""Shapes of the companions: much smaller than a target, and without a front. A ball is no relief, see raycast."""


@dataclass(frozen=True, kw_only=True)
class Relief:
    """Maps of one shape on a grid over ``[-EXTENT, EXTENT]^2``, row = y, column = x, centroid at the origin.

    Attributes
    ----------
    distance
        Signed distance to the outline, negative inside, in outline units.
    height
        Height between 0 (outside) and 1.
    slope
        ``(2, GRID, GRID)``: derivative of the height along x and y.
    """

    distance: np.ndarray
    height: np.ndarray
    slope: np.ndarray


@cache
def relief(shape: str) -> Relief:
    """Relief of a shape: outline, rounded corners, quarter-circle bevel."""
    distance = _signed_distance(_drawn(shape))
    step = 2 * EXTENT / (GRID - 1)
    inward = gaussian_filter(-distance, _SMOOTHING / step) / BEVEL
    profile = np.clip(inward, _EDGE, 1)
    height = np.sqrt(1 - (1 - profile) ** 2)
    steepness = (1 - profile) / height
    along_y, along_x = np.gradient(inward, step)
    return Relief(
        distance=distance,
        height=np.where(distance < 0, height, 0.0),
        slope=steepness * np.stack([along_x, along_y]),
    )


def _drawn(shape: str) -> np.ndarray:
    """Outline as a boolean canvas with corners rounded, row 0 at the smallest y."""
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    OUTLINES[shape](Pen(ImageDraw.Draw(canvas)))
    ink = np.asarray(canvas, dtype=float)[::-1] / 255
    return gaussian_filter(ink, _ROUNDING * _CANVAS / (2 * _HALF)) > 0.5


def _signed_distance(inside: np.ndarray) -> np.ndarray:
    """Signed distance on the relief's grid, about the centroid and scaled so that the outline reaches out to 1."""
    rows, columns = np.nonzero(inside)
    centre = rows.mean(), columns.mean()
    unit = float(np.hypot(rows - centre[0], columns - centre[1]).max())
    signed = (distance_transform_edt(~inside) - distance_transform_edt(inside)) / unit
    steps = np.linspace(-EXTENT, EXTENT, GRID) * unit
    rows, columns = np.meshgrid(centre[0] + steps, centre[1] + steps, indexing="ij")
    beyond = np.hypot(rows - np.clip(rows, 0, _CANVAS - 1), columns - np.clip(columns, 0, _CANVAS - 1)) / unit
    return map_coordinates(signed, [rows, columns], order=1, mode="nearest") + beyond
