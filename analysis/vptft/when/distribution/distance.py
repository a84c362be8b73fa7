"""How far apart two sets of images are in one feature space: every number, with what it takes to read it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from vptft.errors import DataError, SettingsError
from vptft.evidence.results import Result
from vptft.features.extraction import Features
from vptft.features.statistics import Statistics, require_same_space
from vptft.when.distribution.classes import (
    COLUMNS,
    HistogramShift,
    Labelled,
    class_distances,
    conditional_shift,
    histogram_shift,
)
from vptft.when.distribution.components import in_components
from vptft.when.distribution.debias import (
    FOLDS,
    Pair,
    delta_method,
    drawing_order,
    fd_infinity,
    grouped_jackknife,
    make_folds,
)
from vptft.when.distribution.frechet import Side
from vptft.when.distribution.influence import influences, standard_error
from vptft.when.distribution.kernels import cubic, gaussian, kernel_distance
from vptft.when.distribution.neighbours import NEIGHBOURS, support
from vptft.when.distribution.products import Products, drawn

Debias = Literal["jackknife", "infinity", "delta"]
DRIVERS = 20
"""Images a side that are listed as driving the distance."""
Z = 1.96
NO_CURVE = pd.DataFrame({"n": np.zeros(0, np.int64), "distance": np.zeros(0), "fitted": np.zeros(0)})


@dataclass(frozen=True, kw_only=True)
class DistanceSettings:
    """How a distance is measured.

    Attributes
    ----------
    seed
        Of everything that is drawn: folds, halves, subsets.
    debias
        How the bias is taken off: grouped ``jackknife``, extrapolation to ``infinity``, or the ``delta`` method.
    neighbours
        k of precision, recall, density and coverage.
    components
        Principal components of the first set to measure in; None for all dimensions.
    per_class
        Whether distances are taken class by class too.
    """

    seed: int = 0
    debias: Debias = "jackknife"
    neighbours: int = NEIGHBOURS
    components: int | None = None
    per_class: bool = False

    def __post_init__(self) -> None:
        if self.debias not in get_args(Debias):
            raise SettingsError(f"debias is one of {', '.join(get_args(Debias))}; got {self.debias!r}.")
        if self.neighbours < 1:
            raise SettingsError(f"neighbours must be at least 1, got {self.neighbours}.")
        if self.components is not None and self.components < 1:
            raise SettingsError(f"components must be at least 1, got {self.components}.")


@dataclass(frozen=True, kw_only=True)
class SetDistance(Result):
    """Distance between two sets in one feature space. What is None could not be had from what was given.

    Attributes
    ----------
    first, second
        The sets' names; the first is the reference.
    measure_name
        FID, or FD with the extractor: numbers of different names must not be compared.
    route
        How the plug-in value was computed.
    distance
        The plug-in value, what other tools report. Biased upward, the more the smaller the sets.
    debiased
        With the bias taken off, as ``settings["debias"]`` says. Can be negative near zero.
    se
        Standard error of the distance by sampling images, whole groups at a time. A side given as moments adds nothing.
    low, high
        95% interval: 1.96 standard errors, widened by the residual bias on the side it lies.
    noise_floor, noise_floor_n
        Plug-in distance between two halves of one set, mean of both sets where both can be halved, and the images a
        half. A plug-in distance at this level is no distance. Halves hold whole groups.
    residual_bias
        Debiased distance between the halves: what is left of the bias at ``noise_floor_n`` images, where
        0 is right.
    variance
        Trace of the second set's covariance: the scale to read a distance on.
    kid, kid_se
        Kernel distance with KID's kernel, unbiased; KID by name with Inception features.
    mmd, mmd_se, mmd_biased
        Kernel distance with CMMD's kernel, unbiased, and the biased form its authors use; CMMD with CLIP features.
    precision, recall, density, coverage, support_n
        See :class:`vptft.when.distribution.neighbours.Support`.
    class_shift, class_shift_chance, class_shift_p
        See :class:`vptft.when.distribution.classes.HistogramShift`: total variation of the classes that the extractor's
        own classifier sees.
    conditional_kid, conditional_kid_se
        KID between images of one class, averaged over the classes that both sets name; with ``per_class`` only.
    n_first, n_second, dimensions
        Images that were counted (None where a file does not say), and feature width.
    skipped
        Images that could not be read, as "path: reason".
    curve
        With ``debias="infinity"``: n, distance, fitted.
    drivers
        The images that drive the distance: side (first, second), image, group, influence; the largest of each side.
    classes
        With ``per_class``: see :func:`vptft.when.distribution.classes.class_distances`.
    """

    analysis: ClassVar[str] = "distance"
    first: str
    second: str
    measure_name: str
    route: str
    distance: float
    debiased: float
    se: float | None
    low: float | None
    high: float | None
    noise_floor: float | None
    noise_floor_n: int
    residual_bias: float | None
    variance: float
    kid: float | None
    kid_se: float | None
    mmd: float | None
    mmd_se: float | None
    mmd_biased: float | None
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    support_n: int
    class_shift: float | None
    class_shift_chance: float | None
    class_shift_p: float | None
    conditional_kid: float | None
    conditional_kid_se: float | None
    n_first: int | None
    n_second: int | None
    dimensions: int
    skipped: list[str]
    curve: pd.DataFrame
    drivers: pd.DataFrame
    classes: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row; columns as the attributes, without the tables, and ``skipped`` as its count. No number is NaN."""
        left_out = ("settings", "skipped", "curve", "drivers", "classes")
        row = {name: getattr(self, name) for name in (field.name for field in fields(self)) if name not in left_out}
        numbers = {name: np.nan if value is None else value for name, value in row.items()}
        return pd.DataFrame([{**numbers, "skipped": len(self.skipped)}])

    def warnings(self) -> list[str]:
        """What a reader must know before using the number."""
        out = []
        known = [n for n in (self.n_first, self.n_second) if n is not None]
        said = f"{self.first} (N={_count(self.n_first)}) vs {self.second} (N={_count(self.n_second)})"
        if known and min(known) <= self.dimensions:
            read = "read the debiased one" if self.debiased != self.distance else "nothing could be taken off of so few"
            out.append(
                f"{said}: fewer images than the {self.dimensions} dimensions, so a covariance has rank "
                f"{min(known) - 1} of {self.dimensions} and the plug-in value is far too high; {read}."
            )
        if self.kid is not None and self.precision is None:
            out.append(
                f"{said}: too few images for {self.settings['neighbours']} neighbours, so no precision or recall."
            )
        if self.n_first is None or self.n_second is None:
            out.append(f"{said}: a file does not say how many images it is of, so its share of the bias stays in.")
        if self.skipped:
            shown = "; ".join(self.skipped[:10]) + (f"; and {len(self.skipped) - 10} more" if self.skipped[10:] else "")
            out.append(f"images that could not be read and are not counted, {len(self.skipped)}: {shown}")
        return out


def measure(
    first: Statistics,
    second: Statistics,
    *,
    options: DistanceSettings | None = None,
    settings: Mapping[str, Any] | None = None,
) -> SetDistance:
    """Measure the distance of two sets; the first is the reference.

    Raises
    ------
    DataError
        Different feature spaces, features that are not finite, or a set of fewer than two images: a single image has
        no covariance.
    """
    options = options or DistanceSettings()
    require_same_space(first, second)
    for each in (first, second):
        if each.n is not None and each.n < 2:
            raise DataError(
                f"{each.name} has {each.n} readable image; a distance needs at least 2.",
                "Useful values need about as many images as the features have dimensions.",
            )
        if not np.isfinite(each.mean).all():
            raise DataError(
                f"{each.name} has features that are NaN or infinite, so nothing can be measured.",
                "Compute them in float32, or find the image whose features are not numbers.",
            )
    space = first.space or second.space
    name = (first if first.space else second).distance_name
    if options.components:
        first, second = in_components(first, second, options.components)
        name = f"{name}, {first.dimensions} components"
    rng = np.random.default_rng(options.seed)
    return SetDistance(
        settings={**(settings or {}), **asdict(options), "space": None if space is None else asdict(space)},
        first=first.name,
        second=second.name,
        measure_name=name,
        **frechet_numbers(first, second, options.debias, rng, seed=options.seed),
        **_of_images(first.features, second.features, options, rng),
        **_of_classes(first.features, second.features, options, rng),
        n_first=first.n,
        n_second=second.n,
        dimensions=first.dimensions,
        skipped=[f"{item.path}: {item.reason}" for item in (*first.skipped, *second.skipped)],
    )


def frechet_numbers(
    first: Statistics, second: Statistics, debias: Debias, rng: np.random.Generator, *, seed: int
) -> dict[str, Any]:
    """Everything about the Frechet distance, by the names of :class:`SetDistance`'s attributes."""
    sides = (_side(first), _side(second))
    pair = Pair(*sides, with_vectors=True)
    debiased, curve = _debiased(pair, first, second, debias, rng)
    floor = _noise_floor((first, second), sides, seed)
    se, drivers = _sampling(pair, first, second)
    margin = None if se is None else Z * se
    residual = floor["residual_bias"] or 0.0
    return {
        "route": pair.whole.route,
        "distance": pair.whole.value,
        "debiased": debiased,
        "se": se,
        "low": None if margin is None else debiased - margin - max(residual, 0.0),
        "high": None if margin is None else debiased + margin + max(-residual, 0.0),
        **floor,
        "variance": sides[1].trace,
        "curve": curve,
        "drivers": drivers,
    }


def _side(statistics: Statistics) -> Side:
    if statistics.complete and statistics.features is not None:
        return Side.of_features(statistics.features.values)
    return Side.of_moments(statistics.mean, statistics.covariance(), statistics.n)


def _groups(statistics: Statistics, side: Side) -> np.ndarray:
    """Dependence groups of the side's rows; one entry where it has none and is always taken whole."""
    if side.rows is None or statistics.features is None:
        return np.zeros(1, dtype=np.int64)
    return np.asarray(statistics.features.groups)


def _debiased(
    pair: Pair, first: Statistics, second: Statistics, debias: Debias, rng: np.random.Generator
) -> tuple[float, pd.DataFrame]:
    groups = [_groups(each, side) for each, side in zip((first, second), pair.sides, strict=True)]
    if debias == "infinity":
        found = fd_infinity(pair, [drawing_order(of_side, rng) for of_side in groups])
        return found.value, found.curve
    return (delta_method(pair) if debias == "delta" else _jackknifed(pair, groups, rng)), NO_CURVE


def _jackknifed(pair: Pair, groups: list[np.ndarray], rng: np.random.Generator) -> float:
    """Grouped jackknife with as many folds as the fewer groups allow; the plug-in value where they allow none.

    Both sides get equally many folds. A side that is kept whole gets none of its images left out.
    """
    free = [of_side for of_side, can in zip(groups, pair.resampled, strict=True) if can]
    count = min([FOLDS, *(min(len(np.unique(of_side)), len(of_side) // 2) for of_side in free)])
    if count < 2:
        return pair.whole.value
    folds = [
        make_folds(of_side, count, rng) if can else [np.zeros(0, dtype=np.int64)] * count
        for of_side, can in zip(groups, pair.resampled, strict=True)
    ]
    return grouped_jackknife(pair, folds)


def _noise_floor(sets: tuple[Statistics, Statistics], sides: tuple[Side, Side], seed: int) -> dict[str, Any]:
    """Distance between disjoint halves of one set, of equal size for both sets, plug-in and debiased.

    A set is halved in the same way whatever it is compared with, so that the reference's floor is one number.
    """
    halves = [_halves(each, side, np.random.default_rng(seed)) for each, side in zip(sets, sides, strict=True)]
    sizes = [min(map(len, two)) for two in halves if two]
    if not sizes:
        return {"noise_floor": None, "noise_floor_n": 0, "residual_bias": None}
    n = min(sizes)
    measured = [
        _between_halves(each.features, two, n, seed)
        for each, two in zip(sets, halves, strict=True)
        if two and each.features is not None
    ]
    plain, left = (float(np.mean(values)) for values in zip(*measured, strict=True))
    return {"noise_floor": plain, "noise_floor_n": n, "residual_bias": left}


_MEASURED: WeakKeyDictionary[Features, dict[tuple[int, int], tuple[float, float]]] = WeakKeyDictionary()
"""Distances between halves by features, size and seed: a reference is compared with many sets, but halved once."""


def _between_halves(features: Features, halves: list[np.ndarray], n: int, seed: int) -> tuple[float, float]:
    """Plug-in and debiased distance between ``n`` images of each half."""
    known = _MEASURED.setdefault(features, {})
    if (n, seed) not in known:
        rows, groups = features.values, np.asarray(features.groups)
        pair = Pair(*(Side.of_features(rows[half[:n]]) for half in halves))
        rng = np.random.default_rng([seed, n])
        known[n, seed] = pair.whole.value, _jackknifed(pair, [groups[half[:n]] for half in halves], rng)
    return known[n, seed]


def _halves(statistics: Statistics, side: Side, rng: np.random.Generator) -> list[np.ndarray]:
    """Indices of two halves that share no group, each in random order; empty where a half has fewer than two images."""
    if statistics.features is None or (side.rows is None and len(statistics.features.values) < 2):
        return []
    groups = np.asarray(statistics.features.groups)
    halves = make_folds(groups, 2, rng)
    if len(halves) < 2 or min(map(len, halves)) < 2:
        return []
    return [half[drawing_order(groups[half], rng)] for half in halves]


def _sampling(pair: Pair, first: Statistics, second: Statistics) -> tuple[float | None, pd.DataFrame]:
    """Standard error, and the images that drive the distance."""
    found = influences(pair)
    rows = []
    for name, each, values in zip(("first", "second"), (first, second), found, strict=True):
        if values is not None and each.features is not None:
            for i in np.argsort(-values, kind="stable")[:DRIVERS]:
                rows.append((name, each.features.ids[i], each.features.groups[i], float(values[i])))
    drivers = pd.DataFrame(rows, columns=["side", "image", "group", "influence"])
    if all(values is None for values in found):
        return None, drivers
    groups = [_groups(each, side) for each, side in zip((first, second), pair.sides, strict=True)]
    sides = list(zip(found, groups, strict=True))
    se = standard_error(sides, pair.whole.singular_values, [side.n for side in pair.sides])
    return (se if np.isfinite(se) else None), drivers


def _of_images(
    first: Features | None, second: Features | None, options: DistanceSettings, rng: np.random.Generator
) -> dict[str, Any]:
    """What is measured from single images' features: kernel distances and supports."""
    names = ("kid", "kid_se", "mmd", "mmd_se", "mmd_biased", "precision", "recall", "density", "coverage")
    if first is None or second is None or min(len(first.values), len(second.values)) < 2:
        return {**dict.fromkeys(names), "support_n": 0}
    chosen = [drawn(len(each.values), rng) for each in (first, second)]
    products = Products.of(first.values[chosen[0]], second.values[chosen[1]])
    groups = [np.asarray(each.groups)[index] for each, index in zip((first, second), chosen, strict=True)]
    kid, mmd = (kernel_distance(products, kernel, groups) for kernel in (cubic, gaussian))
    found = support(products, rng=rng, k=options.neighbours)
    return {
        "kid": kid.value, "kid_se": _finite(kid.se), "mmd": mmd.value, "mmd_se": _finite(mmd.se),
        "mmd_biased": mmd.biased, "support_n": found.n if found else 0,
        **{name: getattr(found, name, None) for name in ("precision", "recall", "density", "coverage")},
    }  # fmt: skip


def _of_classes(
    first: Features | None, second: Features | None, options: DistanceSettings, rng: np.random.Generator
) -> dict[str, Any]:
    """Class by class, and the shift of the classes a pretrained classifier sees."""
    shift: HistogramShift | None = None
    table = pd.DataFrame([], columns=list(COLUMNS)).astype(COLUMNS)
    if first is not None and second is not None:
        if first.predicted is not None and second.predicted is not None:
            shift = histogram_shift(first.predicted, second.predicted, (first.groups, second.groups), rng)
        if options.per_class and second.labels is not None:
            same = bool(set(first.classes) & set(second.classes))
            table = class_distances(_labelled(first), _labelled(second), rng, same=same)
    conditional = conditional_shift(table)
    return {
        "class_shift": shift and shift.distance,
        "class_shift_chance": shift and shift.chance,
        "class_shift_p": shift and shift.p,
        "conditional_kid": conditional and conditional[0],
        "conditional_kid_se": conditional and _finite(conditional[1]),
        "classes": table,
    }


def _labelled(features: Features) -> Labelled:
    """Features by class name; images without labels are of no class."""
    names = np.asarray(features.classes or ("",))
    labels = np.zeros(len(features.values), np.int64) if features.labels is None else features.labels
    return Labelled(
        values=features.values.astype(np.float64), groups=np.asarray(features.groups), classes=names[labels]
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _count(n: int | None) -> str:
    return "unknown" if n is None else str(n)
