"""Procedural surface patterns: grey maps that repeat without a seam, mixing a solid's two colours."""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE = 256


def _axes() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.meshgrid(np.arange(SIDE) / SIDE, np.arange(SIDE) / SIDE, indexing="ij")
    return x, y


def _cloud(seed: int, blur: float | tuple[float, float]) -> np.ndarray:
    """Periodic smooth noise with mean 0 and standard deviation 1."""
    noise = np.random.default_rng([SIDE, seed]).standard_normal((SIDE, SIDE))
    smooth = gaussian_filter(noise, blur, mode="wrap")
    return (smooth - smooth.mean()) / smooth.std()


def _edge(value: np.ndarray, softness: float) -> np.ndarray:
    """Map value < 0 to 0 and value > 0 to 1, with a soft step between."""
    return np.clip(0.5 + value / (2 * softness), 0, 1)


def plain() -> np.ndarray:
    """One even colour with the faintest unevenness."""
    return np.clip(0.12 + 0.05 * _cloud(1, 12), 0, 1)


def stripes() -> np.ndarray:
    """Six even stripes."""
    x, _ = _axes()
    return _edge(np.sin(2 * np.pi * 6 * x), 0.35)


def checks() -> np.ndarray:
    """Checkerboard of eight by eight."""
    x, y = _axes()
    return _edge(np.sin(2 * np.pi * 4 * x) * np.sin(2 * np.pi * 4 * y), 0.2)


def dots() -> np.ndarray:
    """Dots on a hexagonal-like grid."""
    x, y = _axes()
    first = np.cos(2 * np.pi * 5 * x) + np.cos(2 * np.pi * 5 * y)
    second = np.cos(2 * np.pi * 5 * x + np.pi) + np.cos(2 * np.pi * 5 * y + np.pi)
    return _edge(np.maximum(first, second) - 1.15, 0.25)


def speckle() -> np.ndarray:
    """Granite: fine grains of two sizes."""
    return np.clip(0.45 + 0.2 * _cloud(2, 1.6) + 0.16 * _cloud(3, 4.5), 0, 1)


def wood() -> np.ndarray:
    """Wood: long wavy grain."""
    x, _ = _axes()
    waves = np.sin(2 * np.pi * (9 * x + 0.32 * _cloud(4, (60, 14))))
    return np.clip(0.5 + 0.33 * waves + 0.13 * _cloud(5, (30, 1.2)), 0, 1)


def marble() -> np.ndarray:
    """Marble: thin dark veins."""
    x, y = _axes()
    veins = np.abs(np.sin(2 * np.pi * (x + 2 * y + 0.28 * _cloud(6, 14) + 0.07 * _cloud(7, 4))))
    return np.clip((1 - veins) ** 3 + 0.06 * _cloud(8, 6), 0, 1)


def weave() -> np.ndarray:
    """Cloth: over and under threads."""
    x, y = _axes()
    over = np.sin(2 * np.pi * 14 * x) * np.sin(2 * np.pi * 14 * y)
    return np.clip(0.5 + 0.35 * over + 0.08 * _cloud(9, 1.5), 0, 1)


TEXTURES: dict[str, Callable[[], np.ndarray]] = {
    texture.__name__: texture for texture in (plain, stripes, checks, dots, speckle, wood, marble, weave)
}


@cache
def pattern(name: str) -> np.ndarray:
    """Grey map of a texture, ``(SIDE, SIDE)`` in [0, 1]."""
    return TEXTURES[name]()


def look_up(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pattern at texture coordinates, bilinear; it repeats with period 1."""
    grey = pattern(name)
    column, row = (x % 1.0) * SIDE, (y % 1.0) * SIDE
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    across, down = column - left, row - top
    left, top = left % SIDE, top % SIDE
    right, bottom = (left + 1) % SIDE, (top + 1) % SIDE
    upper = grey[top, left] * (1 - across) + grey[top, right] * across
    lower = grey[bottom, left] * (1 - across) + grey[bottom, right] * across
    return upper * (1 - down) + lower * down
