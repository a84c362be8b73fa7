"""Which images are drawn and which are set aside: class-balanced draws, and splits that stay put as a folder grows."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vptft.data.images import ImageSet
from vptft.errors import DataError, SettingsError

TEST_SHARE = 0.2
"""Part of an unsplit folder that is set aside for testing."""

VAL_SHARE = 0.2
"""Part of what may be trained on that is set aside for validation: 64/16/20 in all, VTAB-1k's 800/200 within train."""


def draw_order(labels: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """Return all ``count`` indices in the order they are drawn.

    Every class gives its first image before any class gives its second, so the first ``n`` are as balanced as the
    classes allow. Draws of one seed are nested: the first 100 are among the first 200.

    Parameters
    ----------
    labels
        Class of each image, ``(count,)``; None for images without classes, which are drawn evenly.
    count
        Number of images.
    seed
        Seed of the draw.
    """
    shuffled = np.random.default_rng(seed).permutation(count)
    if labels is None or count == 0:
        return shuffled
    classes = labels[shuffled]
    by_class = np.argsort(classes, kind="stable")
    _, start, sizes = np.unique(classes[by_class], return_index=True, return_counts=True)
    turn = np.empty(count, dtype=np.int64)
    turn[by_class] = np.arange(count) - np.repeat(start, sizes)
    return shuffled[np.argsort(turn, kind="stable")]


def check_draw(n: int | None, count: int, name: str) -> None:
    """Refuse a draw of no image, or of more images than there are."""
    if n is not None and n < 1:
        raise SettingsError(f"{name}: n must be at least 1, got {n}.")
    if n is not None and n > count:
        raise DataError(
            f"{name}: {n} images were asked for; it holds {count}.", f"Ask for {count} or fewer, or for all."
        )


def drawn(images: ImageSet, n: int | None, seed: int) -> ImageSet:
    """Return ``n`` images of a set, balanced over classes, in the set's order; all of them where ``n`` is None."""
    check_draw(n, len(images), images.name)
    if n is None:
        return images
    return images.subset(np.sort(draw_order(images.labels, len(images), seed)[:n]))


def set_aside(groups: Sequence[str], labels: np.ndarray | None, share: float, *, seed: int = 0) -> np.ndarray:
    """Return the ``(n,)`` boolean mask of the images set aside: ``share`` of every class's groups.

    A group is never divided. It counts for the class of its first image; a class of one group sets nothing aside,
    any other at least one group and never all. The order in which groups are taken is that of their hashed names,
    so an image added later leaves most others where they were, and every machine splits alike.
    """
    members: dict[int, dict[str, None]] = defaultdict(dict)
    seen: set[str] = set()
    for position, group in enumerate(groups):
        if group not in seen:
            seen.add(group)
            members[0 if labels is None else int(labels[position])][group] = None
    chosen: set[str] = set()
    for names in members.values():
        ordered = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
        if len(ordered) > 1:
            chosen.update(ordered[: min(len(ordered) - 1, max(1, round(share * len(ordered))))])
    return np.array([group in chosen for group in groups], dtype=bool)
