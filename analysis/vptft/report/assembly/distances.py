"""From sets of images to their statistics and distances."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from threadpoolctl import threadpool_limits

from vptft.data.images import ImageSet
from vptft.features.extraction import extract
from vptft.features.extractors import Extractor
from vptft.features.statistics import Statistics
from vptft.features.streaming import summarise
from vptft.report.assembly.saved import saved_or
from vptft.storage import cache_folder, key_of
from vptft.when.distribution.distance import DistanceSettings, SetDistance
from vptft.when.distribution.distance import measure as measure_distance

BatchCallback = Callable[[int, int], None]

KEPT = 20_000
"""Images of which all features are kept: 160 MB of Inception's."""


def _untold(done: int, total: int) -> None:
    """Tell nobody."""


def statistics(images: ImageSet, extractor: Extractor, *, on_batch: BatchCallback = _untold) -> Statistics:
    """Statistics of a set's features, from the cache where they are there.

    All features are kept of up to 20,000 images; a larger set is streamed, and a sample of its features kept.
    """
    if len(images) <= KEPT:
        return Statistics.of(extract(images, extractor, on_batch=on_batch))
    key = key_of(images.fingerprint(), asdict(extractor.space))
    return summarise(images, extractor, cache_folder() / "statistics" / f"{key}.npz", on_batch=on_batch)


def distance(
    first: Statistics,
    second: Statistics,
    *,
    options: DistanceSettings,
    folder: Path | None = None,
) -> SetDistance:
    """Distance between two sets, by their statistics in one feature space."""
    inputs = {"first": first.key(), "second": second.key(), "options": asdict(options)}
    return saved_or(
        SetDistance, folder, inputs, lambda made: measure_distance(first, second, options=options, settings=made)
    )


def distances(
    pairs: Sequence[tuple[Statistics, Statistics, Path | None]],
    *,
    options: DistanceSettings,
    on_done: BatchCallback = _untold,
) -> list[SetDistance]:
    """Distances between many sets, each with the folder it is saved in; several are measured at a time.

    Every core measures a pair of its own with one thread of linear algebra: threads inside one decomposition of this
    size wait for each other more than they help.
    """
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        started = [
            pool.submit(distance, first, second, options=options, folder=folder) for first, second, folder in pairs
        ]
        try:
            for done, future in enumerate(as_completed(started), start=1):
                future.result()
                on_done(done, len(pairs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in started]
