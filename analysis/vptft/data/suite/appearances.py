"""The same scene in different looks, at any size, and the exact mask of each solid."""

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from vptft.data.suite.raycast import NOTHING, Sight, see, table_points
from vptft.data.suite.scenes import Scene
from vptft.data.suite.shading import shade_solids, shade_table

NATIVE = 112
"""Side of a rendered scene in pixels: twice 56, and reduced without harm to 98."""
FINER = 2
"""Rays along each side of a pixel."""
GAMMA = 2.2

_LINEAR = (np.arange(256) / 255) ** GAMMA


def photo(scene: Scene, sight: Sight) -> np.ndarray:
    """Lit, textured solids with shadows on a photographic background; sRGB in [0, 1]."""
    size = len(sight.solid) // FINER
    free = _mean((sight.solid == NOTHING)[..., None].astype(float))
    table = _background(scene, size) * shade_table(scene, table_points(size)).reshape(size, size, 1)
    solids = np.zeros((*sight.solid.shape, 3))
    solids[sight.solid != NOTHING] = np.clip(shade_solids(scene, sight), 0, 1)
    return (free * table + _mean(solids)) ** (1 / GAMMA)


def _background(scene: Scene, size: int) -> np.ndarray:
    """Linear RGB of the scene's tile, enlarged to the picture."""
    tile = scene.tile.pixels()
    if scene.mirrored:
        tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    enlarged = tile.resize((size, size), Image.Resampling.BICUBIC)
    return _LINEAR[np.asarray(enlarged)]


def plain(scene: Scene, sight: Sight) -> np.ndarray:
    """White silhouettes on black, a thin black seam where one hides part of another."""
    silhouettes = (sight.solid != NOTHING) & ~_seams(sight)
    return np.repeat(_mean(silhouettes[..., None].astype(float)), 3, axis=2)


APPEARANCES: dict[str, Callable[[Scene, Sight], np.ndarray]] = {look.__name__: look for look in (photo, plain)}


def render(scene: Scene, appearance: str, size: int = NATIVE) -> Image.Image:
    """Render a scene as an RGB image of ``size x size`` pixels, antialiased by 2 x 2 rays a pixel."""
    sight = see(scene.solids, FINER * size)
    values = APPEARANCES[appearance](scene, sight)
    return Image.fromarray(np.floor(values * 255 + 0.5).astype(np.uint8))


def solid_masks(scene: Scene, size: int = NATIVE) -> np.ndarray:
    """Visible pixels of each solid, ``(solids, size, size)`` bool; the same in every appearance.

    A pixel belongs to a solid when at least half its rays hit it, so masks never overlap by more than a tie.
    """
    seen = see(scene.solids, FINER * size).solid
    each = np.stack([seen == index for index in range(len(scene.solids))], axis=-1)
    return np.moveaxis(_mean(each.astype(float)) >= 0.5, -1, 0)


def _seams(sight: Sight) -> np.ndarray:
    """Rays beside the line where two solids meet; a line against the table is no seam."""
    lowest = minimum_filter(np.where(sight.solid == NOTHING, np.int8(127), sight.solid), 5)
    return (sight.solid != NOTHING) & (maximum_filter(sight.solid, 5) != lowest)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the rays of a pixel, ``(2 s, 2 s, c)`` -> ``(s, s, c)``."""
    shifts = [values[row::FINER, column::FINER] for row in range(FINER) for column in range(FINER)]
    return np.sum(shifts, axis=0) / FINER**2
