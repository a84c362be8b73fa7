"""Statistics of sets too large to keep: images stream through, and what is held does not grow with their number."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from vptft.data.images import ImageSet, Skipped
from vptft.errors import SettingsError
from vptft.features.extraction import BATCH, Batch, embed, features_of, joined, no_image
from vptft.features.extractors import Extractor
from vptft.features.statistics import SAMPLE, Statistics, read_statistics
from vptft.storage import key_of, lock

CHUNK = 16 * BATCH
"""Images between two states on disk: what an interruption costs at most."""


def summarise(
    images: ImageSet,
    extractor: Extractor,
    target: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> Statistics:
    """Write the statistics of a set, or of one shard of it, to ``target`` and return them.

    State in memory and on disk is one matrix of the features' width and the features of at most 5,000 images, whatever
    the number of images. A file that holds these statistics already is read; an interrupted call goes on at the chunk
    where it stopped; a second process waits for the first.

    Parameters
    ----------
    images, extractor
        What is measured and how.
    target
        The ``.npz`` to write.
    shard
        (i, n): the i-th of n consecutive parts, counted from 0. Merged, the parts give the whole.
    on_batch
        Called with (images done, images in all).

    Raises
    ------
    SettingsError
        For a shard that is not there, or holds no image.
    DataError
        When no image can be read.
    """
    part, name = _part(images, shard)
    source = key_of(part.fingerprint(), asdict(extractor.space))
    with lock(target):
        if target.is_file() and (done := read_statistics(target)).source == source and done.shards == name:
            on_batch(len(part), len(part))
            return done
        state_file = target.with_name(f".{target.name}.{source[:16]}.partial.npz")
        statistics = _streamed(part, extractor, state_file, on_batch)
        statistics = replace(statistics, source=source, shards=name, skipped=(*part.skipped, *statistics.skipped))
        statistics.save(target)
        state_file.unlink(missing_ok=True)
    return statistics.as_saved()


def _part(images: ImageSet, shard: tuple[int, int]) -> tuple[ImageSet, tuple[str, ...]]:
    """Return the shard's images, and what it is called; the files skipped in listing belong to the first shard."""
    i, n = shard
    if not 0 <= i < n:
        raise SettingsError(f"A shard is I/N with 0 <= I < N; got {i}/{n}.")
    if n == 1:
        return images, ()
    start, stop = (len(images) * edge // n for edge in (i, i + 1))
    if start == stop:
        raise SettingsError(f"Shard {i}/{n} of {images.name} holds no image: there are {len(images)} in all.")
    part = images.subset(range(start, stop))
    return replace(part, skipped=images.skipped if i == 0 else ()), (f"{key_of(images.ids)[:16]} {i}/{n}",)


def _streamed(
    images: ImageSet, extractor: Extractor, state_file: Path, on_batch: Callable[[int, int], None]
) -> Statistics:
    """Fold chunk after chunk into one state; how many are done is what it has counted or skipped."""
    state = read_statistics(state_file) if state_file.is_file() else None
    done = (state.n or 0) + len(state.skipped) if state else 0
    unread: list[Skipped] = []
    while done < len(images):
        stop = min(done + CHUNK, len(images))
        chunk = _chunk(images, extractor, done, stop, on_batch)
        unread += chunk.skipped
        if len(chunk.kept):
            found = Statistics.of(replace(features_of(images, extractor, chunk), skipped=()))
            state = state.merge(found) if state else found.shrunk(SAMPLE)
        done = stop
        if state and (state.n or 0) > 1 and done < len(images):
            state, unread = replace(state, skipped=(*state.skipped, *unread)), []
            state.save(state_file)
            state = state.as_saved()  # so that going on from the file gives the same bits
    if state is None:
        raise no_image(images, unread)
    return replace(state, skipped=(*state.skipped, *unread))


def _chunk(
    images: ImageSet, extractor: Extractor, start: int, stop: int, on_batch: Callable[[int, int], None]
) -> Batch:
    """Features of consecutive images, batch by batch."""
    batches = []
    for first in range(start, stop, BATCH):
        last = min(first + BATCH, stop)
        batches.append(embed(images, extractor, first, last))
        on_batch(last, len(images))
    return joined(batches)
