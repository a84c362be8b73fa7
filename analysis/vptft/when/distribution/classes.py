"""Distances class by class, and the shift of the classes that a pretrained classifier sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vptft.when.distribution.debias import FOLDS, Pair, grouped_jackknife, make_folds
from vptft.when.distribution.frechet import Side
from vptft.when.distribution.kernels import Kernels, cubic, from_kernels
from vptft.when.distribution.products import Products

COLUMNS: Mapping[str, str] = {
    "class": "str", "against": "str", "n_first": "int64", "n_second": "int64",
    "distance": "float64", "debiased": "float64", "kid": "float64", "kid_se": "float64",
}  # fmt: skip
PERMUTATIONS = 200


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What class-wise distances need of a set: features ``(n, d)``, groups, and the name of each image's class."""

    values: np.ndarray
    groups: np.ndarray
    classes: np.ndarray


def class_distances(first: Labelled, whole: Labelled, rng: np.random.Generator, *, same: bool = False) -> pd.DataFrame:
    """Distance of each class of ``whole`` to all of ``first``, and to its own class there.

    Parameters
    ----------
    first
        The reference.
    whole
        The set whose classes are taken one by one; one of fewer than two images is left out.
    rng
        Of the folds.
    same
        Whether the reference has classes of the same names; else its classes do not matter.

    Returns
    -------
    DataFrame
        Columns: class, against (``all`` or ``same class``), n_first, n_second, distance (plug-in), debiased, kid,
        kid_se. Classes are small, often far smaller than the features are wide: read the KID, which is unbiased, and
        the Frechet values only between classes of one size.
    """
    rows = []
    side = Side.of_features(first.values)
    inside, among, between = cubic(Products.of(first.values, whole.values))
    for name in np.unique(whole.classes):
        here = np.flatnonzero(whole.classes == name)
        of_class = _of_class(whole, name)
        if len(here) < 2:
            continue
        kernels = (inside, among[np.ix_(here, here)], between[:, here])
        rows.append({"class": name, "against": "all", **_numbers(first, side, of_class, kernels, rng)})
        there = np.flatnonzero(first.classes == name) if same else ()
        if len(there) >= 2:
            namesake = _of_class(first, name)
            kernels = (inside[np.ix_(there, there)], among[np.ix_(here, here)], between[np.ix_(there, here)])
            numbers = _numbers(namesake, Side.of_features(namesake.values), of_class, kernels, rng)
            rows.append({"class": name, "against": "same class", **numbers})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def conditional_shift(table: pd.DataFrame) -> tuple[float, float] | None:
    """KID of the classes to themselves in the other set, averaged by size, and its standard error; None without any.

    Beside the KID of the whole sets it tells how much of their distance is not the mix of classes.
    """
    same = table[table["against"] == "same class"]
    if same.empty:
        return None
    weights = same["n_second"].to_numpy(dtype=float) / float(same["n_second"].sum())
    return float(weights @ same["kid"]), float(np.sqrt(np.square(weights) @ np.square(same["kid_se"])))


@dataclass(frozen=True, kw_only=True)
class HistogramShift:
    """How differently a pretrained classifier labels two sets.

    Attributes
    ----------
    distance
        Total variation between the histograms of the most probable class, in [0, 1].
    chance
        What two sets of this size and one distribution give on average: pooled groups divided at random.
    p
        Share of random divisions with at least this distance.
    """

    distance: float
    chance: float
    p: float


def histogram_shift(
    first: np.ndarray, second: np.ndarray, groups: tuple[Sequence[str], Sequence[str]], rng: np.random.Generator
) -> HistogramShift:
    """Compare the most probable pretraining classes ``(n,)`` and ``(m,)`` of two sets (Kynkaanniemi et al. 2023).

    A Frechet distance in features of an ImageNet classifier is close to a comparison of these histograms: where they
    differ, it tells of classes rather than of image quality or style.
    """
    both = np.concatenate([first, second])
    _, index = np.unique(both, return_inverse=True)
    indicator = np.eye(index.max() + 1)[index]
    names = np.concatenate([[f"1 {name}" for name in groups[0]], [f"2 {name}" for name in groups[1]]])
    _, member_of = np.unique(names, return_inverse=True)
    by_group = np.zeros((member_of.max() + 1, indicator.shape[1]))
    np.add.at(by_group, member_of, indicator)
    of_first = np.unique(member_of[: len(first)])
    # The division that is there, and random ones of as many groups, a row each.
    chosen = np.zeros((1 + PERMUTATIONS, len(by_group)))
    chosen[0, of_first] = 1
    for row in chosen[1:]:
        row[rng.permutation(len(by_group))[: len(of_first)]] = 1
    observed, *drawn = _total_variations(by_group, chosen)
    at_least = sum(value >= observed - 1e-12 for value in drawn)
    return HistogramShift(distance=float(observed), chance=float(np.mean(drawn)), p=(1 + at_least) / (1 + PERMUTATIONS))


def _total_variations(by_group: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Total variation between the histograms of the chosen groups and the others, for each row of ``chosen``."""
    inside = chosen @ by_group
    outside = by_group.sum(axis=0) - inside
    shares = (each / each.sum(axis=1, keepdims=True) for each in (inside, outside))
    return np.asarray(np.abs(np.subtract(*shares)).sum(axis=1) / 2)


def _of_class(whole: Labelled, name: str) -> Labelled:
    here = whole.classes == name
    return Labelled(values=whole.values[here], groups=whole.groups[here], classes=whole.classes[here])


def _numbers(
    first: Labelled, side: Side, second: Labelled, kernels: Kernels, rng: np.random.Generator
) -> dict[str, object]:
    pair = Pair(side, Side.of_features(second.values))
    count = min(FOLDS, len(np.unique(first.groups)), len(np.unique(second.groups)), len(second.values) // 2)
    debiased = float("nan")
    if count >= 2:
        debiased = grouped_jackknife(pair, [make_folds(each.groups, count, rng) for each in (first, second)])
    kid = from_kernels(kernels, (first.groups, second.groups))
    return {
        "n_first": len(first.values), "n_second": len(second.values), "distance": pair.whole.value,
        "debiased": debiased, "kid": kid.value, "kid_se": kid.se,
    }  # fmt: skip
