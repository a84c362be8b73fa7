"""How concentrated a map is, whatever it is about: entropy, effective number of patches, Gini coefficient.

Concentration is neither good nor bad: a model may rightly look at several objects, and a narrow map may be narrowly
wrong. All scores depend on the number of patches, so compare within one grid.
"""

import numpy as np


def entropy_bits(maps: np.ndarray) -> np.ndarray:
    """Entropy of maps ``(n, h, w)`` that sum to 1, ``(n,)`` in bits: 0 for one patch, log2(h w) for an even map."""
    flat = np.asarray(maps, dtype=np.float64).reshape(len(maps), -1)
    return np.asarray(-(flat * np.log2(np.clip(flat, 1e-300, None))).sum(axis=1))


def effective_patches(maps: np.ndarray) -> np.ndarray:
    """Number of evenly weighted patches of the same entropy, ``(n,)`` (Hill 1973, order 1)."""
    return np.asarray(2 ** entropy_bits(maps))


def gini(maps: np.ndarray) -> np.ndarray:
    """Gini coefficient of maps ``(n, h, w)``, ``(n,)``: 0 for an even map, 1 - 1 / (h w) for one patch.

    Half the mean absolute difference of two patches over their mean; Hurley and Rickard 2009 find it the measure of
    sparsity with the properties one would ask for.
    """
    flat = np.sort(np.asarray(maps, dtype=np.float64).reshape(len(maps), -1), axis=1)
    n = flat.shape[1]
    total = flat.sum(axis=1)
    weighted = (flat * (2 * np.arange(1, n + 1) - n - 1)).sum(axis=1)
    return np.divide(weighted, n * total, out=np.full(len(flat), np.nan), where=total > 0)


def focus(maps: np.ndarray) -> dict[str, np.ndarray]:
    """Every score by the name of its column, each ``(n,)``."""
    return {
        "map_entropy_bits": entropy_bits(maps),
        "effective_patches": effective_patches(maps),
        "gini": gini(maps),
    }
