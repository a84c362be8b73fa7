"""Light on what the camera sees: surface colour, sun and sky, soft shadows, contact darkening."""

import numpy as np

from vptft.data.suite.camera import POSITION
from vptft.data.suite.raycast import NOTHING, Sight, sample, to_local
from vptft.data.suite.scenes import Scene, Solid
from vptft.data.suite.shapes import relief
from vptft.data.suite.textures import look_up

SUNLIGHT = 1.0
SKYLIGHT = 0.5
SHADOW_DEPTH = 0.78
"""Part of the sun that a full shadow takes from the background."""

_SWEEP = np.array([0.0, 0.2, 0.45, 0.7, 1.0])


def shade_solids(scene: Scene, sight: Sight) -> np.ndarray:
    """Linear RGB of every ray that meets a solid, ``(rays, 3)``, in the order of ``sight.solid``'s rays."""
    met = sight.solid != NOTHING
    position, which = sight.position(met), sight.solid[met]
    lit = sunlit(scene, position, which)
    colours = np.empty((len(which), 3))
    for index, solid in enumerate(scene.solids):
        own = which == index
        colours[own] = _radiance(scene, solid, position[own], lit[own])
    return colours


def shade_table(scene: Scene, position: np.ndarray) -> np.ndarray:
    """Share of its light that the table keeps at points ``(n, 3)``: soft shadows and contact darkening, in (0, 1]."""
    kept = 1 - SHADOW_DEPTH * (1 - sunlit(scene, position, np.full(len(position), NOTHING)))
    for solid in scene.solids:
        near = _within(position, (solid.x, solid.y), solid.size + 0.15)
        foot = np.clip(_clearance(solid, position[near]), 0, None)
        kept[near] *= 1 - 0.5 * np.exp(-foot / 0.035)
    return kept


def sunlit(scene: Scene, position: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Part of the sun that reaches points ``(n, 3)``; ``which`` solid they are on, as a solid casts none on itself."""
    sun = np.array(scene.sun)
    slope = sun[:2] / sun[2]
    lit = np.ones(len(position))
    for index, solid in enumerate(scene.solids):
        middle = np.array([solid.x, solid.y]) - slope * solid.height / 2
        reach = solid.size + 0.5 * solid.height * float(np.hypot(*slope)) + 0.05
        near = np.flatnonzero(_within(position, middle, reach) & (which != index))
        cast = _ball_shadow if solid.shape == "ball" else _relief_shadow
        lit[near] *= 1 - cast(solid, position[near], sun)
    return lit


def _radiance(scene: Scene, solid: Solid, position: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """Light that leaves a solid: sun and sky on its colour, and the sun's highlight."""
    sun = np.array(scene.sun)
    tint = 1 + 0.07 * scene.warmth * np.array([1.0, 0.1, -1.0])
    normal = surface_normal(solid, position)
    facing = SUNLIGHT * lit * np.clip(normal @ sun, 0, None)
    above = 0.5 + 0.5 * np.clip(position[:, 2] / 0.1, 0, 1)
    sky = SKYLIGHT * above * (0.6 + 0.4 * normal[:, 2])
    highlight = solid.material.gloss * lit * _highlight(normal, position, sun)
    return surface_colour(solid, position) * (facing[:, None] * tint + sky[:, None]) + highlight[:, None]


def surface_normal(solid: Solid, position: np.ndarray) -> np.ndarray:
    """Unit normals ``(n, 3)`` at points on a solid."""
    if solid.shape == "ball":
        return (position - np.array([solid.x, solid.y, solid.size])) / solid.size
    maps = relief(solid.shape)
    local = to_local(solid, position[:, 0], position[:, 1])
    right, ahead = (solid.height / solid.size * sample(slope, *local) for slope in maps.slope)
    cos, sin = np.cos(solid.turn), np.sin(solid.turn)
    normal = np.stack([sin * ahead - cos * right, -sin * right - cos * ahead, np.ones(len(position))], axis=1)
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def surface_colour(solid: Solid, position: np.ndarray) -> np.ndarray:
    """Linear RGB ``(n, 3)`` of a solid's pattern at points on it."""
    material = solid.material
    across, along = to_local(solid, position[:, 0], position[:, 1])
    along = along - 0.8 * position[:, 2] / solid.size
    grey = look_up(
        material.texture,
        material.offset[0] + material.scale * across / 2,
        material.offset[1] + material.scale * along / 2,
    )
    first, second = np.array(material.colours)
    return first + grey[:, None] * (second - first)


def _highlight(normal: np.ndarray, position: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """Blinn's highlight: a tight one and a wide sheen."""
    view = POSITION - position
    half = view / np.linalg.norm(view, axis=1, keepdims=True) + sun
    facing = np.clip((normal * half).sum(1) / np.linalg.norm(half, axis=1), 0, 1)
    return 0.5 * facing**60 + 0.08 * facing**8


def _within(position: np.ndarray, centre: np.ndarray | tuple[float, float], reach: float) -> np.ndarray:
    """Which points lie in an upright cylinder."""
    return (position[:, 0] - centre[0]) ** 2 + (position[:, 1] - centre[1]) ** 2 < reach**2


def _clearance(solid: Solid, position: np.ndarray) -> np.ndarray:
    """Distance of points from the foot of a solid, in world units."""
    if solid.shape == "ball":
        return np.hypot(position[:, 0] - solid.x, position[:, 1] - solid.y) - 0.45 * solid.size
    local = to_local(solid, position[:, 0], position[:, 1])
    return solid.size * sample(relief(solid.shape).distance, *local)


def _ball_shadow(solid: Solid, position: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """Shadow of a ball, by how closely the ray to the sun passes its centre."""
    offset = np.array([solid.x, solid.y, solid.size]) - position
    ahead = offset @ sun
    miss = np.sqrt(np.maximum((offset**2).sum(1) - ahead**2, 0)) - solid.size
    return np.where(ahead > 0, _soft(miss, 0.012 + 0.12 * np.clip(ahead, 0, None)), 0.0)


def _relief_shadow(solid: Solid, position: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """Shadow of an upright solid: its outline swept along the light, softer the farther it falls."""
    maps = relief(solid.shape)
    rise = np.clip(0.92 * solid.height - position[:, 2], 0, None)
    covered = np.zeros(len(position))
    for share in _SWEEP:
        way = share * rise / sun[2]
        local = to_local(solid, position[:, 0] + way * sun[0], position[:, 1] + way * sun[1])
        miss = solid.size * sample(maps.distance, *local)
        covered = np.maximum(covered, _soft(miss, 0.012 + 0.16 * way))
    return covered


def _soft(miss: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Smooth step from 1 (inside by ``width``) to 0 (outside by ``width``)."""
    inside = np.clip(0.5 - miss / (2 * width), 0, 1)
    return inside**2 * (3 - 2 * inside)
