"""Bias of the debiased Frechet distance and coverage of its interval, by simulation; `nox -s simulate` runs it.

Known Gaussians, and samples with replacement from a fixed population of real features, whose distance is known exactly
because the population is finite. One row a repetition; a row that is there is not made again, so it can be interrupted.

    python tests/simulations/distances.py OUT.csv [repetitions]
"""

import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vptft.features.extraction import Features, extract
from vptft.features.extractors import load_extractor
from vptft.features.spaces import FeatureSpace
from vptft.features.statistics import Statistics
from vptft.when.distribution import distance
from vptft.when.distribution.debias import Pair, delta_method, drawing_order, fd_infinity

SIZES = (200, 500, 1000, 2000, 4000)
POPULATION = 3000
COLUMNS = (
    "case", "d", "n", "repetition", "truth", "variance", "plain", "jackknife", "infinity", "delta", "se", "low", "high",
    "noise_floor", "residual_bias",
)  # fmt: skip
SPACE = FeatureSpace(extractor="simulated", weights="", resize="none", dtype="float64")

Sampler = Callable[[int, np.random.Generator], np.ndarray]


class Case(NamedTuple):
    """Two distributions, and what the Frechet distance between them is."""

    name: str
    d: int
    truth: float
    first: Sampler
    second: Sampler
    sizes: tuple[int, ...] = SIZES


def spectrum(d: int) -> np.ndarray:
    """Variances as measured on real features: slopes -0.6, -1.15 and -1.4 over ranks to 10, to 100, and beyond."""
    rank = np.arange(1, d + 1, dtype=float)
    slopes = np.where(rank <= 10, 0.6, np.where(rank <= 100, 1.15, 1.4))
    steps = np.diff(np.log(rank), prepend=0.0)
    values = np.exp(-np.cumsum(slopes * steps))
    return 100 * values / values.sum()


def gaussians(d: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Case]:
    """A Gaussian against itself, a near one and a far one: other means, spectra and directions."""
    rng = np.random.default_rng(2024)
    scale = np.sqrt(spectrum(d))

    def white(n: int, draw: np.random.Generator) -> np.ndarray:
        return draw.normal(size=(n, d)) * scale

    yield Case(f"Gaussian, equal (d = {d})", d, 0.0, white, white, sizes)
    for name, mixing, jitter, shift in (("near", 0.05, 0.1, 0.1), ("far", 1.0, 0.5, 0.4)):
        turn = rng.normal(size=(d, d)) * mixing / np.sqrt(d)
        rotation = np.linalg.qr(np.eye(d) + turn - turn.T)[0]
        factor = (scale * np.exp(jitter * rng.normal(size=d)))[:, None] * rotation
        mean = shift * rng.normal(size=d) * scale
        nuclear = np.linalg.svd(factor * scale, compute_uv=False).sum()
        truth = float(mean @ mean + np.square(scale).sum() + np.square(factor).sum() - 2 * nuclear)

        def other(
            n: int, draw: np.random.Generator, mean: np.ndarray = mean, factor: np.ndarray = factor
        ) -> np.ndarray:
            return mean + draw.normal(size=(n, d)) @ factor

        yield Case(f"Gaussian, {name} (d = {d})", d, truth, white, other, sizes)


def real(name: str) -> Iterator[Case]:
    """Features of crops of photographs and of rendered scenes: photographs against themselves, and against scenes."""
    from vptft.data import registry

    network = load_extractor(name)
    photos, scenes = (
        extract(registry.images(which, n=POPULATION), network).values.astype(np.float64)
        for which in ("photos", "plain/category:train")
    )

    def of(population: np.ndarray) -> Sampler:
        return lambda n, draw: population[draw.integers(len(population), size=n)]

    (mean, root), (other_mean, other_root) = (
        (each.mean(axis=0), np.linalg.qr((each - each.mean(axis=0)) / np.sqrt(len(each)), mode="r"))
        for each in (photos, scenes)
    )
    nuclear = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    step = mean - other_mean
    truth = float(step @ step + np.square(root).sum() + np.square(other_root).sum() - 2 * nuclear)
    d = photos.shape[1]
    yield Case(f"{network.name}, photos twice", d, 0.0, of(photos), of(photos))
    yield Case(f"{network.name}, photos to plain/category", d, truth, of(photos), of(scenes))


def statistics(values: np.ndarray, name: str) -> Statistics:
    ids = tuple(f"{name} {i}" for i in range(len(values)))
    return Statistics.of(Features(
        name=name, distance_name="FD", space=SPACE, values=values, ids=ids, groups=ids, labels=None
    ))  # fmt: skip


def repetition(case: Case, n: int, number: int) -> dict[str, object]:
    """Draw both sets and measure: the numbers of a result, and beside them the two other ways of debiasing."""
    draw = np.random.default_rng([n, number])
    first, second = statistics(case.first(n, draw), "a"), statistics(case.second(n, draw), "b")
    found = distance.frechet_numbers(first, second, "jackknife", np.random.default_rng(number), seed=number)
    pair = Pair(distance._side(first), distance._side(second))
    orders = [drawing_order(np.arange(n), draw) for _ in range(2)]
    return {
        "case": case.name, "d": case.d, "n": n, "repetition": number, "truth": case.truth, "plain": found["distance"],
        "jackknife": found["debiased"], "infinity": fd_infinity(pair, orders).value, "delta": delta_method(pair),
        **{name: found[name] for name in ("variance", "se", "low", "high", "noise_floor", "residual_bias")},
    }  # fmt: skip


def cases() -> Iterator[Case]:
    yield from gaussians(384)
    yield from gaussians(2048, (1000,))
    for name in ("dinov2-s:56", "efficientnet-lite0"):
        yield from real(name)


def main(target: Path, repetitions: int) -> None:
    done = set()
    if target.is_file():
        with target.open(newline="") as file:
            done = {(row["case"], row["n"], row["repetition"]) for row in csv.DictReader(file)}
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for case in cases():
            for n in case.sizes:
                for number in range(repetitions if n < 4000 else repetitions // 2):
                    if (case.name, str(n), str(number)) not in done:
                        row = repetition(case, n, number)
                        writer.writerow({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()})
                        file.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40)
