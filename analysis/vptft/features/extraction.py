"""Features of an image set, extracted once and cached by content."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from vptft.data.images import ImageSet, Skipped, UnreadableImageError
from vptft.errors import DataError
from vptft.features.extractors import Extractor
from vptft.storage import atomic_path, cache_folder, key_of, lock, read_arrays

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of the readable images of a set.

    Attributes
    ----------
    name
        The set's name.
    extractor, distance_name, identity
        As in :class:`vptft.features.extractors.Extractor`.
    values
        ``(n, d)`` float32, one row an image that could be read, in the set's order.
    ids, groups
        Identifier and dependence group of each row.
    labels
        ``(n,)`` int64, or None.
    skipped
        The images that are not in ``values``, with path and reason.
    """

    name: str
    extractor: str
    distance_name: str
    identity: str
    values: np.ndarray
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: np.ndarray | None
    skipped: tuple[Skipped, ...]


def extract(
    images: ImageSet, extractor: Extractor, *, on_batch: Callable[[int, int], None] = lambda done, total: None
) -> Features:
    """Give the features of a set, from the cache where content and extractor are the same.

    Images that cannot be read are listed in ``skipped``, never dropped silently.

    Parameters
    ----------
    images
        The set.
    extractor
        From :func:`vptft.features.extractors.load_extractor`.
    on_batch
        Called with (images done, images in all).

    Raises
    ------
    DataError
        When no image can be read.
    """
    target = cache_folder() / "features" / f"{key_of(images.fingerprint(), extractor.identity)}.npz"
    with lock(target):
        if not target.is_file():
            values, kept, skipped = _run(images, extractor, on_batch)
            with atomic_path(target) as path:
                listed = json.dumps([(item.path, item.reason) for item in skipped])
                np.savez(path, values=values, kept=kept, skipped=np.array(listed))
        arrays = read_arrays(target)
    values, kept = arrays["values"], arrays["kept"]
    skipped = [Skipped(path=path, reason=reason) for path, reason in json.loads(str(arrays["skipped"]))]
    return Features(
        name=images.name,
        extractor=extractor.name,
        distance_name=extractor.distance_name,
        identity=extractor.identity,
        values=values,
        ids=tuple(images.ids[i] for i in kept),
        groups=tuple(images.groups[i] for i in kept),
        labels=None if images.labels is None else images.labels[kept],
        skipped=(*images.skipped, *skipped),
    )


@torch.inference_mode()
def _run(
    images: ImageSet, extractor: Extractor, on_batch: Callable[[int, int], None]
) -> tuple[np.ndarray, np.ndarray, list[Skipped]]:
    """Features, the indices they belong to, and what could not be read."""
    rows, kept, skipped = [], [], []
    for start in range(0, len(images), BATCH):
        inputs = []
        for i in range(start, min(start + BATCH, len(images))):
            try:
                inputs.append(extractor.prepare(images.read(i)))
                kept.append(i)
            except UnreadableImageError as error:
                skipped.append(error.skipped)
        if inputs:
            rows.append(extractor.embed(torch.stack(inputs)).float().cpu().numpy())
        on_batch(min(start + BATCH, len(images)), len(images))
    if not rows:
        listed = "\n".join(f"  {item.path}: {item.reason}" for item in (*images.skipped, *skipped))
        raise DataError(f"{images.name} holds no image that can be read.\n{listed}".rstrip())
    return np.concatenate(rows), np.array(kept, dtype=np.int64), skipped
