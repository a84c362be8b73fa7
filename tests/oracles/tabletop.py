"""Reads labels back from masks: another camera, no rays, outlines swept upwards and compared with what is seen."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw
from skimage.measure import find_contours

from vptft.data.suite.shapes import BEVEL, EXTENT, GRID, TARGETS, relief

SIZE = 112
ELEVATION = np.deg2rad(57)
RANGE = 2.6
HEIGHT, REACH = 0.12, 0.335
COLUMNS = [-0.58 + 1.16 * k / 8 for k in range(9)]
DISTANCES = [-0.64 + 1.42 * k / 6 for k in range(7)]
LAYERS = (0.0, 0.4, 0.75, 0.95)
JITTER = np.deg2rad([-11, 0, 11])


def to_pixels(x, y, z):
    """Pinhole camera by hand: turn about the x axis, then divide by depth."""
    depth = RANGE + y * np.cos(ELEVATION) - z * np.sin(ELEVATION)
    rise = y * np.sin(ELEVATION) + z * np.cos(ELEVATION)
    return (1 + RANGE * x / depth) * SIZE / 2 - 0.5, (1 - RANGE * rise / depth) * SIZE / 2 - 0.5


def centroid(mask):
    rows, columns = np.nonzero(mask)
    return columns.mean(), rows.mean()


def location(mask):
    """Column that the middle of the target's mask lies in."""
    u = (centroid(mask)[0] + 0.5) * 2 / SIZE - 1
    return int(np.searchsorted(COLUMNS, u)) - 1


def lies_at(mask, z=HEIGHT / 10):
    """Find where on the table the target lies, by bisection on the projection of its middle.

    Round edges narrow a solid upwards, so the middle of its silhouette is little above the table.
    """
    column, row = centroid(mask)
    low, high = -1.5, 1.5
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if to_pixels(0, middle, z)[1] > row else (low, middle)
    edge = to_pixels(1.0, low, z)[0] - to_pixels(0.0, low, z)[0]
    return (column - to_pixels(0.0, low, z)[0]) / edge, low


def distance(mask):
    return int(np.searchsorted(DISTANCES, lies_at(mask)[1])) - 1


def category_and_orientation(mask):
    """Shape and eighth of a turn whose swept outline overlaps the mask best."""
    place = lies_at(mask)
    fits = {
        (category, eighth): max(
            overlap(mask, silhouette(shape, eighth * np.pi / 4 + jitter, place)) for jitter in JITTER
        )
        for category, shape in enumerate(TARGETS)
        for eighth in range(8)
    }
    return max(fits, key=fits.get)


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def silhouette(shape, clockwise, place):
    """Mask of a shape: its outlines at a few heights, narrowing as the rounded edge does, filled one over another."""
    canvas = Image.new("1", (SIZE, SIZE))
    pen = ImageDraw.Draw(canvas)
    cos, sin = np.cos(clockwise), np.sin(clockwise)
    for layer in LAYERS:
        for across, along, hole in outlines(shape, layer):
            x = place[0] + REACH * (cos * across + sin * along)
            y = place[1] + REACH * (cos * along - sin * across)
            columns, rows = to_pixels(x, y, layer * HEIGHT)
            if not hole:
                pen.polygon(list(zip(columns, rows, strict=True)), fill=1)
    return np.array(canvas)


@cache
def outlines(shape, layer):
    """Closed outlines at a share of the height, in outline units, and whether each is a hole."""
    level = -BEVEL * (1 - np.sqrt(1 - layer**2))
    found = []
    for contour in find_contours(relief(shape).distance, level):
        along, across = (contour * 2 * EXTENT / (GRID - 1) - EXTENT).T
        found.append((across, along, len(contour) < 150))
    return found
