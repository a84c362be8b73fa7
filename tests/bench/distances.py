"""Speed of the distance itself, from features that are there already."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from itertools import product
from unittest import mock

import numpy as np
import torch
from scipy.linalg import sqrtm

from bench.timing import Options, Rival, compare, say, within
from vptft.data.images import ImageSet
from vptft.features.extraction import extract
from vptft.features.extractors import Extractor
from vptft.features.spaces import FeatureSpace
from vptft.features.statistics import Statistics
from vptft.features.weights import classifier
from vptft.report.assembly.distances import distances
from vptft.when.distribution import distance
from vptft.when.distribution.debias import Pair, fd_infinity
from vptft.when.distribution.frechet import Side, frechet_distance, frechet_distance_from_moments

Moments = tuple[np.ndarray, np.ndarray]

TASKS = 19
"""Of VTAB."""
POINTS, SMALLEST, TIMED = 15, 0.1, (0, 7, 14)
"""Sizes of the FD-infinity curve, the smallest as a share, and which of them the peer's way is timed at."""


def from_features(options: Options) -> None:
    """N = 1000 features of 2048 dimensions a side, as an Inception FID of a VTAB task has."""
    n, d = (128, 256) if options.quick else (1000, 2048)
    x, y = two_sets(n, d)
    _beside_peers(f"Distance from features, N={n}, d={d}", partial(frechet_distance, x, y), x, y, 60, options)


def from_moments(options: Options) -> None:
    """Means and covariances of full rank."""
    n, d = (600, 256) if options.quick else (6000, 2048)
    x, y = two_sets(n, d)
    ours = partial(frechet_distance_from_moments, *moments_of(x), *moments_of(y))
    _beside_peers(f"Distance from full-rank (mu, Sigma), N={n}, d={d}", ours, x, y, 10, options)


def to_infinity(options: Options) -> None:
    """The curve of distances of sub-samples: from one cross-Gram matrix, and as dgm-eval takes it."""
    n, d = (128, 256) if options.quick else (1000, 2048)
    x, y = two_sets(n, d)
    orders = [np.random.default_rng(seed).permutation(n) for seed in (1, 2)]
    sizes = np.linspace(SMALLEST * n, n, POINTS).astype(int)[list(TIMED)]

    def ours() -> object:
        return fd_infinity(Pair(Side.of_features(x), Side.of_features(y)), orders, points=POINTS, smallest=SMALLEST)

    scale = POINTS // len(TIMED)
    peer = Rival(
        f"dgm-eval's way, a full sqrtm a point; {len(TIMED)} points timed, times {scale}",
        partial(square_roots, x, y, sizes),
        bar=200,
        stands_for=scale,
    )
    compare(f"FD-infinity, {POINTS} points, N={n}, d={d}", ours, [peer], repetitions=options.repetitions)


def square_roots(x: np.ndarray, y: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """FD-infinity as dgm-eval is described to take it: the second set is sub-sampled, its moments are taken again, and
    every point is a distance through the square root of the full product of covariances; then a line in 1/N."""
    rng = np.random.default_rng(0)
    mean, covariance = moments_of(x)
    values = []
    for size in sizes:
        other_mean, other_covariance = moments_of(y[rng.choice(len(y), size, replace=False)])
        root, _ = sqrtm(covariance @ other_covariance, disp=False)
        step = mean - other_mean
        values.append(step @ step + np.trace(covariance) + np.trace(other_covariance) - 2 * np.trace(root.real))
    slope, value = np.polyfit(1 / sizes, values, 1)
    return float(value), float(slope)


def tasks(options: Options) -> None:
    """19 tasks of 1000 images against a reference of 1000 in two feature spaces, every number, from cached features."""
    n, count, widths = (64, 2, (96, 48)) if options.quick else (1000, TASKS, (2048, 384))
    what = f"{count} tasks x {n} images against {n}, d={widths[0]} and {widths[1]}, features from the cache"
    plain, by_class = distance.DistanceSettings(), distance.DistanceSettings(per_class=True)
    with own_home():
        spaces = [_made_space(d) for d in widths]
        sets = [_made_set(i, n) for i in range(count + 1)]
        for images, extractor in product(sets, spaces):
            extract(images, extractor)
        _all_distances(sets[:2], spaces, by_class)
        # Class by class takes long, and is asked for apart: once.
        for settings, repetitions in ((plain, options.repetitions), (by_class, 1)):
            said = f"{'with' if settings.per_class else 'without'} class by class, a set at a time on each core"
            call = partial(_all_distances, sets, spaces, settings)
            within(f"{what}, all numbers, {said}", call, 60, repetitions=repetitions)


def two_sets(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features, float64, whose variances fall as those of real features do."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, d + 1) ** -0.5
    return rng.normal(size=(n, d)) * scale, rng.normal(size=(n, d)) * scale + 0.01


def moments_of(values: np.ndarray) -> Moments:
    """Mean and covariance, as the peers take them."""
    return values.mean(axis=0), np.cov(values, rowvar=False)


@contextmanager
def own_home() -> Iterator[None]:
    """Caches in a folder that is empty at first and gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, VPTFT_HOME=folder):
        yield


def _pytorch_fid(first: Moments, second: Moments) -> Callable[[], object]:
    from pytorch_fid.fid_score import calculate_frechet_distance

    return partial(calculate_frechet_distance, *first, *second)


def _torchmetrics(first: Moments, second: Moments) -> Callable[[], object]:
    from torchmetrics.image.fid import _compute_fid

    return partial(_compute_fid, *(torch.from_numpy(each) for each in (*first, *second)))


def _torch_fidelity(first: Moments, second: Moments) -> Callable[[], object]:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    sides = [{"mu": mean, "sigma": covariance} for mean, covariance in (first, second)]
    return lambda: fid_statistics_to_metric(*sides, False)[KEY_METRIC_FID]


def _clean_fid(first: Moments, second: Moments) -> Callable[[], object]:
    from cleanfid.fid import frechet_distance as peer

    return partial(peer, *first, *second)


PEERS = {
    "pytorch-fid": _pytorch_fid,
    "torchmetrics": _torchmetrics,
    "torch-fidelity": _torch_fidelity,
    "clean-fid": _clean_fid,
}
"""Each by its own function, from moments that are ready."""


def _beside_peers(
    what: str, ours: Callable[[], object], x: np.ndarray, y: np.ndarray, bar: float, options: Options
) -> None:
    """Time ours beside every peer that is installed; the bar is pytorch-fid's."""
    first, second = moments_of(x), moments_of(y)
    rivals = []
    for name, build in PEERS.items():
        try:
            call = build(first, second)
        except ImportError as error:
            say(f"  {name} left out: {error}")
        else:
            rivals.append(Rival(f"{name} {version(name)}", call, bar if name == "pytorch-fid" else None))
    value, *others = compare(f"{what}; peers from ready moments", ours, rivals, repetitions=options.repetitions)
    trace = float(np.trace(first[1]))
    apart = ", ".join(f"{float(other) - float(value):.1e}" for other in others)
    say(f"  peers' values minus ours, of a trace of {trace:.3g}: {apart}")


_CLASSES = 10


def _made_space(d: int) -> Extractor:
    """An extractor whose features are drawn: the sets' images are nothing but numbers of a draw."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, d + 1) ** -0.5
    head = torch.from_numpy(rng.normal(size=(1008, d)))
    return Extractor(
        name="drawn",
        distance_name="FD (drawn)",
        space=FeatureSpace(extractor=f"drawn:{d}", weights="", resize="none", dtype="float32"),
        prepare=lambda seed: torch.from_numpy(np.random.default_rng(seed).normal(size=d) * scale + 0.01 * seed[0]),
        embed=lambda batch: batch,
        top_1=classifier(head, torch.zeros(1008)),
    )


def _made_set(number: int, n: int) -> ImageSet:
    ids = tuple(f"{number}/{i}" for i in range(n))
    return ImageSet(
        name=f"task {number}" if number else "reference",
        ids=ids,
        read=lambda i: (number, i),
        groups=ids,
        fingerprint=lambda: f"drawn {number} {n}",
        labels=np.arange(n) % _CLASSES,
        classes=tuple(map(str, range(_CLASSES))),
    )


def _all_distances(sets: list[ImageSet], spaces: list[Extractor], settings: distance.DistanceSettings) -> None:
    for extractor in spaces:
        reference, *others = (Statistics.of(extract(images, extractor)) for images in sets)
        distances([(reference, other, None) for other in others], options=settings)
