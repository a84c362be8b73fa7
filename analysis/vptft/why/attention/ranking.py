"""Patches of a map from the strongest to the weakest, ties broken by chance and not by place."""

import numpy as np


def ranked(maps: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Patches of each map ``(n, h, w)`` from the largest value to the smallest, ``(n, h * w)`` indices in row-major order.

    Ties are in an order drawn by ``seed``: taken by place, the patches of a flat map would all come from its upper rows.
    """  # noqa: E501
    flat = np.asarray(maps, dtype=np.float64).reshape(len(maps), -1)
    drawn = at_random(*flat.shape, seed=seed)
    values = np.take_along_axis(flat, drawn, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(drawn, order, axis=1)


def at_random(n: int, n_patches: int, *, seed: int) -> np.ndarray:
    """Random orders of the patches of ``n`` images, ``(n, n_patches)``; the first ones do not depend on ``n``."""
    rng = np.random.default_rng(seed)
    return np.argsort(rng.random((n, n_patches)), axis=1)
