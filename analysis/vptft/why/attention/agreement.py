"""How alike two maps of the same image are: rank correlation and overlap of their strongest patches."""

import numpy as np
from scipy import stats

from vptft.errors import SettingsError
from vptft.why.attention.ranking import ranked

TOP = 0.1
"""Share of the patches that count as the strongest."""


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation over patches of each pair of maps ``(n, h, w)``, ``(n,)``; NaN where one of them is flat.

    Notes
    -----
    Every patch counts alike, so most of it is about the weak ones. Two maps that both follow the image's centre, or its
    edges, agree without either having followed the other.
    """
    a, b = (_ranks(maps) for maps in _alike(first, second))
    spread = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), spread, out=np.full(len(a), np.nan), where=spread > 0)


def top_overlap(first: np.ndarray, second: np.ndarray, *, share: float = TOP, seed: int = 0) -> np.ndarray:
    """Share of the strongest patches that two maps ``(n, h, w)`` have in common, ``(n,)``.

    At least one patch a map. Unrelated maps have ``share`` in common on average.
    """
    first, second = _alike(first, second)
    n_patches = first.shape[1] * first.shape[2]
    if not 0 < share <= 1:
        raise SettingsError(f"The share of strongest patches must lie in (0, 1], got {share}.")
    count = max(1, round(share * n_patches))
    chosen = np.zeros((2, len(first), n_patches), dtype=bool)
    for which, maps in enumerate((first, second)):
        # Other seeds break other ties: else two flat maps would seem to agree on the patches that chance put first.
        np.put_along_axis(chosen[which], ranked(maps, seed=seed + which)[:, :count], True, axis=1)
    return np.asarray(chosen.all(axis=0).sum(axis=1) / count)


def _alike(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if first.shape != second.shape:
        raise SettingsError(f"Maps of {first.shape} and {second.shape} cannot be compared patch by patch.")
    return first, second


def _ranks(maps: np.ndarray) -> np.ndarray:
    """Centred midranks of each map's patches, ``(n, h * w)``."""
    ranks = stats.rankdata(maps.reshape(len(maps), -1), axis=1)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))
