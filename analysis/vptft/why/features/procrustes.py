"""Orthogonal Procrustes distance: what is left between two sets of features after the best rotation."""

import numpy as np

from vptft.errors import SettingsError


def procrustes_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Distance of features ``(n, d)`` of the same images, each centred and of unit Frobenius norm.

    min over orthogonal Q of ||X Q - Y||_F = sqrt(2 - 2 ||X^T Y||_*): 0 where they differ by a rotation, a scale and a
    shift, sqrt(2) where they have no direction in common (Williams et al. 2021, *Generalized Shape Metrics on Neural
    Representations*; Ding et al. 2021 find it tells apart what CKA cannot).

    Notes
    -----
    It counts small directions more than CKA does. It is not debiased: with fewer images than dimensions independent
    features come nearer than sqrt(2), so compare it between networks on equally many images only.
    """
    first, second = _scaled(x), _scaled(y)
    if first.shape != second.shape:
        raise SettingsError(f"Procrustes compares features of one shape; these are {first.shape} and {second.shape}.")
    nuclear = float(np.linalg.svd(first.T @ second, compute_uv=False).sum())
    return float(np.sqrt(max(0.0, 2 - 2 * nuclear)))


def _scaled(x: np.ndarray) -> np.ndarray:
    values = np.asarray(x, dtype=np.float64)
    values = values - values.mean(axis=0)
    norm = float(np.linalg.norm(values))
    if norm == 0:
        raise SettingsError("These features are the same for every image: they have no shape to compare.")
    return values / norm
