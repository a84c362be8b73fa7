r"""Whether a map lies on the object: energy, pointing, and overlap, against exact object masks.

Each patch's value is spread evenly over its pixels, so all scores are exact sums over pixels. A map that knows nothing
about the image scores the object's area in energy and pointing: read both against it.
"""

from collections.abc import Callable

import numpy as np

from vptft.errors import SettingsError
from vptft.why.attention.ranking import ranked

LEVELS = np.round(np.geomspace(0.25, 8.0, 21), 4)
"""Thresholds tried for a map, in multiples of what each patch would have if all were alike."""


def coverage(masks: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Share of each patch that the object covers, ``(n, h, w)``, of masks ``(n, H, W)`` bool.

    Raises
    ------
    SettingsError
        When patches do not divide the mask.
    """
    height, width = grid
    if masks.shape[1] % height or masks.shape[2] % width:
        raise SettingsError(f"Masks of {masks.shape[1:]} pixels do not divide into {height} x {width} patches.")
    parts = masks.reshape(len(masks), height, masks.shape[1] // height, width, masks.shape[2] // width)
    return np.asarray(parts.mean(axis=(2, 4), dtype=np.float64))


def energy(maps: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Share of each map ``(n, h, w)`` that falls on the object, ``(n,)`` (Wang et al. 2020, Score-CAM, section 4.3).

    Notes
    -----
    A map wholly on the object's edge scores less than 1, for its patches reach beyond the object; on small objects the
    patch size limits the score more than the model does. Maps with negative values have no such share.
    """
    values = _positive(maps)
    return _safe_ratio((values * cover).sum(axis=(1, 2)), values.sum(axis=(1, 2)))


def pointing(maps: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Chance that a point in the strongest patch hits the object, ``(n,)`` (Zhang et al. 2018, the pointing game).

    The patch is the resolution of the map: instead of a tolerance in pixels, the score is the share of it that the
    object covers. Patches that tie for the strongest count alike, so a flat map scores the object's area.
    """
    flat, covered = maps.reshape(len(maps), -1), cover.reshape(len(cover), -1)
    strongest = flat == flat.max(axis=1, keepdims=True)
    return np.asarray((strongest * covered).sum(axis=1) / strongest.sum(axis=1))


def overlap_at_area(maps: np.ndarray, cover: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Intersection over union of the object with as many of the strongest patches as its area fills, ``(n,)``.

    At least one patch. The area is the object's own, so this scores which patches come first and not how sharply the
    map falls off; it cannot be reached without knowing the mask. NaN where there is no object.
    """
    n, patches = len(maps), cover.reshape(len(cover), -1)
    count = np.maximum(1, np.rint(patches.sum(axis=1))).astype(int)
    place = np.empty_like(patches, dtype=int)
    np.put_along_axis(place, ranked(maps, seed=seed), np.arange(patches.shape[1])[None].repeat(n, axis=0), axis=1)
    return _overlap(place < count[:, None], patches)


def overlap_at_threshold(maps: np.ndarray, cover: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Intersection over union of the object with the patches above the best threshold, ``(n,)``.

    The threshold, in multiples of the even map's value (:data:`LEVELS`), is the best mean over one half of the groups
    and is used on the other half, and the other way round: no image is scored at a threshold it helped to choose.
    NaN where there is no object, or where one group holds every image.
    """
    flat = maps.reshape(len(maps), -1)
    patches = cover.reshape(len(cover), -1)
    relative = flat.shape[1] * _safe_ratio(flat, flat.sum(axis=1, keepdims=True))
    scores = np.stack([_overlap(relative > level, patches) for level in LEVELS], axis=1)  # (n, levels)
    _, member_of = np.unique(np.asarray(groups), return_inverse=True)
    out = np.full(len(maps), np.nan)
    for half in (0, 1):
        here, there = member_of % 2 == half, member_of % 2 != half
        known = scores[there][~np.isnan(scores[there]).any(axis=1)]
        if len(known):
            out[here] = scores[here, int(np.argmax(known.mean(axis=0)))]
    return out


Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
LOCALISATION: dict[str, Score] = {
    "on_object": lambda maps, cover, groups: energy(maps, cover),
    "pointing": lambda maps, cover, groups: pointing(maps, cover),
    "iou_area": lambda maps, cover, groups: overlap_at_area(maps, cover),
    "iou_threshold": overlap_at_threshold,
}
"""Scores by name: of maps, coverage and groups."""


def localisation(maps: np.ndarray, masks: np.ndarray | None, groups: np.ndarray) -> dict[str, np.ndarray]:
    """Every score of :data:`LOCALISATION` and ``object_area``, each ``(n,)``; NaN where there is no object to see."""
    if masks is None:
        return dict.fromkeys((*LOCALISATION, "object_area"), np.full(len(maps), np.nan))
    cover = coverage(masks, (maps.shape[1], maps.shape[2]))
    seen = np.where(cover.any(axis=(1, 2)), 1.0, np.nan)
    scores = {name: score(maps, cover, groups) * seen for name, score in LOCALISATION.items()}
    return {**scores, "object_area": cover.mean(axis=(1, 2))}


def _overlap(chosen: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Pixel overlap of chosen patches ``(n, p)`` with an object that covers these shares of them."""
    inside = (chosen * patches).sum(axis=1)
    union = chosen.sum(axis=1) + patches.sum(axis=1) - inside
    return np.where(patches.any(axis=1), _safe_ratio(inside, union), np.nan)


def _positive(maps: np.ndarray) -> np.ndarray:
    if (maps < 0).any():
        raise SettingsError(f"Maps must not be negative to have a share on the object; the least is {maps.min():.3g}.")
    return maps.astype(np.float64)


def _safe_ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Ratio, NaN where there is nothing to divide by: a map of zeros has no share anywhere."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
