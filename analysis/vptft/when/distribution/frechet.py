r"""Frechet distance between two sets' features, exact at any rank.

.. math:: d^2 = |m_1 - m_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1 S_2)^{1/2}

(Dowson and Landau 1982; Heusel et al. 2017.) The last trace is the nuclear norm of :math:`L_1 L_2^T` for any factors
:math:`S_i = L_i^T L_i`; the centred features themselves are such factors. The product :math:`S_1 S_2`, which squares
the singular values and gives the negative distances other tools print, is never formed: no matrix square root, no
complex numbers, nothing added to a diagonal, float64 throughout.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.linalg import lapack, qr, svdvals

from vptft.errors import DataError
from vptft.evidence.results import Result
from vptft.features.extraction import Features

GROUPS = 20


@dataclass(frozen=True, kw_only=True)
class FrechetDistance(Result):
    """Distance between two sets in one feature space.

    Attributes
    ----------
    first, second
        The sets' names.
    measure_name
        FID, or FD with the extractor: numbers of different names must not be compared.
    distance
        The plug-in value, what other tools report. Biased upward, the more the smaller the sets.
    debiased
        Grouped jackknife: g F(all) - (g - 1) mean F(without one of g = 20 groups). Can be negative near zero.
    noise_floor
        Debiasing ignored: the plug-in distance between random halves of the second set, of ``noise_floor_n`` images
        each; None below four images. A distance at this level is no distance.
    n_first, n_second, dimensions
        Images that could be read, and feature width.
    skipped
        Images that could not be read, as "path: reason".
    """

    analysis: ClassVar[str] = "frechet"
    first: str
    second: str
    measure_name: str
    distance: float
    debiased: float
    noise_floor: float | None
    noise_floor_n: int
    n_first: int
    n_second: int
    dimensions: int
    skipped: list[str]

    def frame(self) -> pd.DataFrame:
        """One row; columns as the attributes, without ``skipped``'s text but with its count."""
        names = ("first", "second", "measure_name", "distance", "debiased", "noise_floor", "noise_floor_n")
        row = {name: getattr(self, name) for name in (*names, "n_first", "n_second", "dimensions")}
        return pd.DataFrame([{**row, "skipped": len(self.skipped)}])

    def warnings(self) -> list[str]:
        """What a reader must know before using the number."""
        out = []
        if min(self.n_first, self.n_second) <= self.dimensions:
            out.append(
                f"{self.first} (N={self.n_first}) vs {self.second} (N={self.n_second}): fewer images than the "
                f"{self.dimensions} dimensions, so covariances are rank-deficient and the plug-in value is far too "
                "high; read the debiased one."
            )
        if self.skipped:
            out.append(f"{len(self.skipped)} images could not be read and are not counted: {'; '.join(self.skipped)}")
        return out


def measure(
    first: Features, second: Features, *, seed: int = 0, settings: Mapping[str, Any] | None = None
) -> FrechetDistance:
    """Measure the distance of two sets.

    Raises
    ------
    DataError
        Different extractors, or a set of fewer than two images: a single image has no covariance.
    """
    if first.identity != second.identity:
        raise DataError(f"Features differ in kind: {first.name} has {first.identity}, {second.name} {second.identity}.")
    for features in (first, second):
        if len(features.values) < 2:
            raise DataError(
                f"{features.name} has {len(features.values)} readable image; a distance needs at least 2.",
                "Useful values need about as many images as the features have dimensions.",
            )
    x, y = (features.values.astype(np.float64) for features in (first, second))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    half = len(y) // 2
    return FrechetDistance(
        settings={**(settings or {}), "seed": seed, "extractor": first.identity},
        first=first.name,
        second=second.name,
        measure_name=first.distance_name,
        distance=frechet_distance(x, y),
        debiased=grouped_jackknife(x, y, rng=rng),
        noise_floor=frechet_distance(y[order[:half]], y[order[half:]]) if half >= 2 else None,
        noise_floor_n=half,
        n_first=len(x),
        n_second=len(y),
        dimensions=x.shape[1],
        skipped=[f"{item.path}: {item.reason}" for item in (*first.skipped, *second.skipped)],
    )


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Distance from features ``(n1, d)`` and ``(n2, d)``; the scale of the features, squared. Never negative."""
    factors, traces = [], 0.0
    for values in (x, y):
        centred = (values - values.mean(axis=0)) / np.sqrt(len(values) - 1)
        traces += float(np.square(centred).sum())
        # A tall factor is replaced by its triangle, so the product below is never larger than d x d.
        factors.append(centred if len(values) <= values.shape[1] else qr(centred, mode="r")[0][: values.shape[1]])
    return _assemble(x.mean(axis=0) - y.mean(axis=0), traces, factors[0] @ factors[1].T)


def frechet_distance_from_moments(
    mean_1: np.ndarray, covariance_1: np.ndarray, mean_2: np.ndarray, covariance_2: np.ndarray
) -> float:
    """Distance from means ``(d,)`` and covariances ``(d, d)``, rank-deficient ones included.

    A covariance has already lost singular values below 1e-8 of the largest; from features nothing is lost.
    """
    first, second = _cholesky_factor(covariance_1), _cholesky_factor(covariance_2)
    traces = float(np.trace(covariance_1) + np.trace(covariance_2))
    return _assemble(np.asarray(mean_1) - np.asarray(mean_2), traces, first @ second.T)


def grouped_jackknife(x: np.ndarray, y: np.ndarray, *, rng: np.random.Generator, groups: int = GROUPS) -> float:
    """Distance with its bias in 1/N removed: one group of both sets left out at a time (Quenouille 1956).

    At N = 1000, d = 2048 it leaves about 0.6% of the feature variance where the plug-in value leaves 13%; at N much
    smaller than d no estimator is good. Images are grouped at random: dependence between images is not undone.
    """
    groups = min(groups, len(x) // 2, len(y) // 2)
    if groups < 2:
        return frechet_distance(x, y)
    parts = [np.array_split(rng.permutation(len(values)), groups) for values in (x, y)]
    without = [
        frechet_distance(np.delete(x, left, axis=0), np.delete(y, right, axis=0))
        for left, right in zip(*parts, strict=True)
    ]
    return groups * frechet_distance(x, y) - (groups - 1) * float(np.mean(without))


def _assemble(difference: np.ndarray, traces: float, cross: np.ndarray) -> float:
    return max(0.0, float(difference @ difference) + traces - 2 * float(svdvals(cross).sum()))


def _cholesky_factor(covariance: np.ndarray) -> np.ndarray:
    """Rows L with ``L^T L`` the covariance, by pivoted Cholesky, cut at its numerical rank."""
    lower, pivots, rank, info = lapack.dpstrf(np.asarray(covariance, dtype=np.float64), lower=1)
    if info < 0:
        raise DataError(f"The covariance of shape {np.shape(covariance)} holds values LAPACK refuses.")
    factor = np.zeros_like(lower)
    factor[pivots - 1] = np.tril(lower)
    return factor[:, :rank].T
