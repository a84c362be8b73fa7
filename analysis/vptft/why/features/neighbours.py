"""Neighbourhood overlap: whether the images nearest to an image stay the same."""

import numpy as np

from vptft.errors import SettingsError

NEIGHBOURS = 10
"""As Huh et al. 2024 take them."""


def neighbour_overlap(x: np.ndarray, y: np.ndarray, *, groups: np.ndarray, k: int = NEIGHBOURS) -> float:
    """Share of the k nearest images (cosine) that two networks have in common, mean over images.

    Mutual k-nearest-neighbour alignment (Huh et al. 2024, *The Platonic Representation Hypothesis*, section 2).
    It sees local structure alone, and no direction more than another as CKA does.

    Parameters
    ----------
    x, y
        Features ``(n, d)`` and ``(n, e)`` of the same images.
    groups
        What makes images dependent, ``(n,)``: an image's own group is never among its neighbours, since two crops of
        one photograph stay near each other whatever happens. :func:`overlap_by_chance` is what unrelated networks have.
    k
        Neighbours.
    """
    groups = np.asarray(groups)
    if not len(x) == len(y) == len(groups):
        raise SettingsError(f"Neighbours are of the same images; these are {len(x)}, {len(y)} and {len(groups)}.")
    _check(groups, k)
    own = groups[:, None] == groups[None, :]
    nearest = [_nearest(values, own, k) for values in (x, y)]
    return float((nearest[0] & nearest[1]).sum() / (k * len(x)))


def overlap_by_chance(groups: np.ndarray, *, k: int = NEIGHBOURS) -> float:
    """Expected overlap of networks that have nothing to do with each other: k over the images of other groups."""
    groups = np.asarray(groups)
    _check(groups, k)
    _, member_of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return float(np.mean(k / (len(groups) - counts[member_of])))


def _check(groups: np.ndarray, k: int) -> None:
    most = len(groups) - int(np.unique(groups, return_counts=True)[1].max())
    if not 1 <= k <= most:
        raise SettingsError(f"k = {k} neighbours must lie between 1 and {most}, the images of other groups.")


def _nearest(x: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """Which images ``(n, n)`` are among each image's k nearest."""
    values = np.asarray(x, dtype=np.float64)
    values = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(float).tiny)
    similar = np.where(own, -np.inf, values @ values.T)
    found = np.zeros(similar.shape, dtype=bool)
    np.put_along_axis(found, np.argsort(-similar, axis=1, kind="stable")[:, :k], True, axis=1)
    return found
