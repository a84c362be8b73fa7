"""Features of an image set, extracted once and cached by content."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from vptft.data.images import ImageSet, Skipped, UnreadableImageError
from vptft.errors import DataError
from vptft.features.extractors import Extractor
from vptft.features.spaces import FeatureSpace
from vptft.storage import atomic_path, cache_folder, key_of, lock, read_arrays

BATCH = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of the readable images of a set.

    Attributes
    ----------
    name
        The set's name.
    distance_name, space
        As in :class:`vptft.features.extractors.Extractor`.
    values
        ``(n, d)`` float32, one row an image that could be read, in the set's order.
    ids, groups
        Identifier and dependence group of each row.
    labels
        ``(n,)`` int64, or None.
    skipped
        The images that are not in ``values``, with path and reason.
    classes
        Names of the classes that ``labels`` index.
    predicted
        Most probable pretraining class of each row, ``(n,)`` int64, where the extractor has a classifier.
    """

    name: str
    distance_name: str
    space: FeatureSpace
    values: np.ndarray
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: np.ndarray | None
    skipped: tuple[Skipped, ...] = ()
    classes: tuple[str, ...] = ()
    predicted: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What became of consecutive images of a set: features of those that could be read, and the others."""

    values: np.ndarray
    kept: np.ndarray
    skipped: list[Skipped]


def extract(
    images: ImageSet, extractor: Extractor, *, on_batch: Callable[[int, int], None] = lambda done, total: None
) -> Features:
    """Give the features of a set, from the cache where content and extractor are the same.

    Images that cannot be read are listed in ``skipped``, never dropped silently. Every batch is kept as it is done, so
    an interrupted extraction goes on at the batch where it stopped; a second process waits for the first.

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
    target = cache_folder() / "features" / f"{key_of(images.fingerprint(), asdict(extractor.space))}.npz"
    with lock(target):
        if not target.is_file():
            whole = joined(list(_resumed(images, extractor, target, on_batch)))
            if len(whole.kept):
                _write(target, whole)
            shutil.rmtree(_parts(target), ignore_errors=True)
            if not len(whole.kept):
                raise no_image(images, whole.skipped)
        found = _read(target)
    return features_of(images, extractor, found)


def features_of(images: ImageSet, extractor: Extractor, found: Batch) -> Features:
    """Put names, groups and labels to the rows of a batch."""
    return Features(
        name=images.name,
        distance_name=extractor.distance_name,
        space=extractor.space,
        values=found.values,
        ids=tuple(images.ids[i] for i in found.kept),
        groups=tuple(images.groups[i] for i in found.kept),
        labels=None if images.labels is None else images.labels[found.kept],
        skipped=(*images.skipped, *found.skipped),
        classes=images.classes,
        predicted=None if extractor.top_1 is None else extractor.top_1(found.values),
    )


@torch.inference_mode()
def embed(images: ImageSet, extractor: Extractor, start: int, stop: int) -> Batch:
    """Features of the images ``start`` to ``stop``; ``(0, 0)`` where none of them can be read."""
    inputs, kept, skipped = [], [], []
    for i in range(start, stop):
        try:
            inputs.append(extractor.prepare(images.read(i)))
            kept.append(i)
        except UnreadableImageError as error:
            skipped.append(error.skipped)
    values = extractor.embed(torch.stack(inputs)).float().cpu().numpy() if inputs else np.empty((0, 0), np.float32)
    return Batch(values=values, kept=np.array(kept, dtype=np.int64), skipped=skipped)


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches one after another; without a row where none of their images could be read."""
    rows = [batch.values for batch in batches if len(batch.kept)]
    return Batch(
        values=np.concatenate(rows) if rows else np.empty((0, 0), np.float32),
        kept=np.concatenate([batch.kept for batch in batches]),
        skipped=[item for batch in batches for item in batch.skipped],
    )


def no_image(images: ImageSet, skipped: list[Skipped]) -> DataError:
    """Return the error for a set of which nothing can be read."""
    listed = "\n".join(f"  {item.path}: {item.reason}" for item in (*images.skipped, *skipped))
    return DataError(f"{images.name} holds no image that can be read.\n{listed}".rstrip())


def _resumed(
    images: ImageSet, extractor: Extractor, target: Path, on_batch: Callable[[int, int], None]
) -> Iterator[Batch]:
    """Give every batch, from disk where an interrupted extraction left it there."""
    for start in range(0, len(images), BATCH):
        stop = min(start + BATCH, len(images))
        part = _parts(target) / f"{start}-{stop}.npz"
        if part.is_file():
            batch = _read(part)
        else:
            batch = embed(images, extractor, start, stop)
            _write(part, batch)
        on_batch(stop, len(images))
        yield batch


def _parts(target: Path) -> Path:
    return target.with_suffix(".parts")


def _write(path: Path, batch: Batch) -> None:
    listed = json.dumps([(item.path, item.reason) for item in batch.skipped])
    with atomic_path(path) as temporary:
        np.savez(temporary, values=batch.values, kept=batch.kept, skipped=np.array(listed))


def _read(path: Path) -> Batch:
    arrays = read_arrays(path)
    skipped = [Skipped(path=where, reason=reason) for where, reason in json.loads(str(arrays["skipped"]))]
    return Batch(values=arrays["values"], kept=arrays["kept"], skipped=skipped)
