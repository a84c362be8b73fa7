r"""The Frechet distance without its bias: what the plug-in value of two small sets holds besides their distance.

The plug-in value is biased upward, as :math:`C / N` while there are at least as many images as dimensions and less
steeply below (Chong and Forsyth 2020). Three ways to take the bias off, best first for small sets: the grouped
jackknife, extrapolation to infinity, and the closed form of the delta method. None is good for N much smaller than d,
and the bootstrap is not among them: resampling with replacement *adds* bias, so its intervals hold neither the
estimate nor the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import svd
from scipy.linalg.blas import dsyrk

from vptft.when.distribution.frechet import Frechet, Side, assemble, couple, frechet, route_of

FOLDS = 10
"""Groups of the jackknife. Twenty cost twice the time and take hardly more bias off: of 53% of the variance at N = 64,
d = 128 they leave 15.0% where ten leave 15.7%, and both leave nothing to speak of from N = d on."""
POINTS = 10
"""Sizes of the curve to infinity, from half a set to all of it: from smaller sizes a straight line misleads."""
RESAMPLED = 5000
"""Largest set that is resampled. A larger one's share of the bias is small, and the closed form good."""


class Pair:
    """Two sides and the distances of their sub-samples, from one cross-Gram matrix.

    Parameters
    ----------
    first, second
        The sides. One with features of at most 5,000 images can be sub-sampled; of any other all is kept.
    with_vectors
        Whether singular vectors are wanted too; they cost as much again.

    Attributes
    ----------
    whole
        Distance of all images.
    vectors
        Left and right singular vectors ``(r, k)`` and ``(s, k)`` of the coupled factors, where wanted; None also where
        both sides are moments, of whose images nothing is known.
    resampled
        Whether each side can be sub-sampled.
    """

    def __init__(self, first: Side, second: Side, *, with_vectors: bool = False) -> None:
        self.sides = (first, second)
        self.resampled = tuple(side.rows is not None and len(side.rows) <= RESAMPLED for side in self.sides)
        self.vectors: tuple[np.ndarray, np.ndarray] | None = None
        coupled = None if first.rows is None and second.rows is None else couple(first, second)
        if coupled is not None and with_vectors:
            left, values, right = svd(coupled, full_matrices=False, check_finite=False)
            self.vectors = left, right.T
            self.whole = assemble(first, second, values, route_of(first, second))
        else:
            self.whole = frechet(first, second, coupled)
        self._cross = None if coupled is None else self._cross_gram(coupled)

    def distance(self, first: np.ndarray | None, second: np.ndarray | None) -> float:
        """Distance of the images at these indices, all of them where None.

        Goes through eigenvalues of a small Gram matrix, so it is right to about 1e-8 of the trace for each lost
        singular value: enough for what is compared with sampling error, not for the distance itself.
        """
        chosen = [index if can else None for index, can in zip((first, second), self.resampled, strict=True)]
        if self._cross is None:
            one, other = (_moments_of(side, index) for side, index in zip(self.sides, chosen, strict=True))
            return frechet(one, other).value
        means, traces, counts = zip(*map(_summary, self.sides, chosen), strict=True)
        difference = means[0] - means[1]
        nuclear = _nuclear_norm(self._cross, *chosen) / np.sqrt(counts[0] * counts[1])
        return float(difference @ difference) + sum(traces) - 2 * nuclear

    def _cross_gram(self, coupled: np.ndarray) -> np.ndarray | None:
        """Inner products of rows that can be left out; None where both sides have more rows than dimensions."""
        lengths = [len(side.rows) for side in self.sides if side.rows is not None]
        if min(lengths) > self.sides[0].dimensions:
            return None
        if any(can and side.basis is not None for side, can in zip(self.sides, self.resampled, strict=True)):
            return _rows_or_factor(self.sides[0]) @ _rows_or_factor(self.sides[1]).T
        scales = [len(side.rows) - 1 if can and side.rows is not None else 1 for side, can in self._with_resampled()]
        return coupled * np.sqrt(scales[0] * scales[1])

    def _with_resampled(self) -> list[tuple[Side, bool]]:
        return list(zip(self.sides, self.resampled, strict=True))


def grouped_jackknife(pair: Pair, folds: Sequence[Sequence[np.ndarray]]) -> float:
    """Distance with its bias in 1/N removed: one fold of both sets left out at a time (Quenouille 1956).

    For folds of equal size this is g F(all) - (g - 1) mean F(without one of g folds). Of a side that cannot be
    sub-sampled the closed form's share is taken off instead. Can be negative near zero.

    Parameters
    ----------
    pair
        The two sides.
    folds
        For each side, the indices of each fold (:func:`make_folds`); equally many folds.
    """
    counts = [sum(map(len, parts)) for parts in folds]
    without, gains = [], []
    for parts in zip(*folds, strict=True):
        kept = [np.delete(np.arange(count), part) for count, part in zip(counts, parts, strict=True)]
        without.append(pair.distance(*kept))
        can = [count / len(keep) for count, keep, yes in zip(counts, kept, pair.resampled, strict=True) if yes]
        gains.append(float(np.mean(can)) if can else 2.0)
    # F(n) = a + c / n: leaving out a fold multiplies the bias by n / (n - fold), so the excess is what it tells.
    bias = (np.mean(without) - pair.whole.value) / (np.mean(gains) - 1)
    return pair.whole.value - float(bias) - _unresampled_bias(pair)


@dataclass(frozen=True, kw_only=True, eq=False)
class Extrapolation:
    """The straight line in 1/N and the sub-samples it was fitted to.

    Attributes
    ----------
    value
        The line at N = infinity (FD-infinity).
    curve
        Columns: n (images of the smaller resampled set), distance, fitted.
    """

    value: float
    curve: pd.DataFrame


def fd_infinity(
    pair: Pair, orders: Sequence[np.ndarray], *, smallest: float = 0.5, points: int = POINTS
) -> Extrapolation:
    """Extrapolate the distance of nested sub-samples to infinitely many images (Chong and Forsyth 2020).

    Parameters
    ----------
    pair, orders
        The sides, and for each the order in which its images enter; whole groups together where they depend.
    smallest
        Part of the sets that the smallest sub-sample holds. Below a half the line leaves most of the bias where N < d.
    points
        Number of sub-samples.
    """
    shares = 1 / np.linspace(1 / smallest, 1, points)
    distances = []
    for share in shares:
        first, second = (order[: max(2, round(share * len(order)))] for order in orders)
        distances.append(pair.distance(first, second))
    slope, value = np.polyfit(1 / shares, distances, 1)
    smaller = min(
        len(order) for order, can in zip(orders, pair.resampled, strict=True) if can or not any(pair.resampled)
    )
    curve = pd.DataFrame({
        "n": np.round(shares * smaller).astype(np.int64),
        "distance": distances,
        "fitted": value + slope / shares,
    })  # fmt: skip
    return Extrapolation(value=float(value) - _unresampled_bias(pair), curve=curve)


def closed_form_bias(whole: Frechet, trace: float, n: int) -> float:
    r"""Return one side's share of the plug-in value's bias, by the delta method, for Gaussian features.

    .. math:: tr S / n + (\sum_{ij} t_i t_j / (t_i + t_j) + \sum_i t_i / 2) / 2n

    with t the singular values of :math:`S_1^{1/2} S_2^{1/2}`. Good for N >= d only; heavier tails than a Gaussian's
    give more bias.
    """
    t = whole.singular_values[whole.singular_values > 0]
    pairs = float((np.multiply.outer(t, t) / np.add.outer(t, t)).sum()) if len(t) else 0.0
    return trace / n + (pairs + float(t.sum()) / 2) / (2 * n)


def delta_method(pair: Pair) -> float:
    """Distance with the closed form's bias of both sides removed; a side of unknown size counts as infinite."""
    return pair.whole.value - sum(closed_form_bias(pair.whole, side.trace, side.n) for side in pair.sides if side.n)


def make_folds(groups: Sequence[str] | np.ndarray, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Divide images at random into ``count`` folds of about equal size, or fewer, whole groups together.

    Images of one group (crops of a photograph, scenes on a background) are not independent: a fold that left out half
    of a group would leave its information in.
    """
    _, member_of, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    count = min(count, len(sizes))
    load, fold_of = np.zeros(count), np.empty(len(sizes), dtype=np.int64)
    shuffled = rng.permutation(len(sizes))
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold_of[group] = np.argmin(load)
        load[fold_of[group]] += sizes[group]
    return [np.flatnonzero(fold_of[member_of] == fold) for fold in range(count)]


def drawing_order(groups: Sequence[str] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return all indices in random order, the images of a group one after another."""
    _, member_of = np.unique(np.asarray(groups), return_inverse=True)
    place = rng.permutation(member_of.max() + 1)
    shuffled = rng.permutation(len(member_of))
    return shuffled[np.argsort(place[member_of[shuffled]], kind="stable")]


def _unresampled_bias(pair: Pair) -> float:
    """Closed-form bias of the sides that are kept whole and whose size is known."""
    return sum(
        closed_form_bias(pair.whole, side.trace, side.n)
        for side, can in zip(pair.sides, pair.resampled, strict=True)
        if not can and side.n
    )


def _rows_or_factor(side: Side) -> np.ndarray:
    """Rows that can be left out, or those of any factor where none will be."""
    if side.rows is not None and len(side.rows) <= RESAMPLED:
        return side.rows
    return side.factor


def _summary(side: Side, index: np.ndarray | None) -> tuple[np.ndarray, float, float]:
    """Mean and trace of the chosen images, and what their part of the cross-Gram matrix is to be divided by."""
    if side.rows is None or len(side.rows) > RESAMPLED:
        return side.mean, side.trace, 1.0
    count = len(side.rows) if index is None else len(index)
    chosen = np.ones(count) if index is None else np.bincount(index, minlength=len(side.rows)).astype(np.float64)
    shift = chosen @ side.rows / count
    trace = (float(chosen @ side.squares) - count * float(shift @ shift)) / (count - 1)
    return side.mean + shift, trace, count - 1.0


def _nuclear_norm(cross: np.ndarray, first: np.ndarray | None, second: np.ndarray | None) -> float:
    """Sum of singular values of the chosen part, centred anew along each axis that was sub-sampled."""
    part = cross if first is None else cross[first]
    if second is not None:
        part = part[:, second]
        part = part - part.mean(axis=1, keepdims=True)
    if first is not None:
        part = part - part.mean(axis=0)
    # The transpose is what LAPACK calls contiguous, and eigvalsh reads one triangle only.
    inner = dsyrk(1.0, part.T, trans=int(len(part) <= part.shape[1]), lower=1)
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(inner), 0, None)).sum())


def _moments_of(side: Side, index: np.ndarray | None) -> Side:
    """The chosen images' mean and covariance: cheaper to hold than rows where there are more images than dimensions."""
    if side.rows is None:
        return side
    rows = side.rows if index is None else side.rows[index]
    shift = rows.mean(axis=0)
    scatter = rows.T @ rows - len(rows) * np.multiply.outer(shift, shift)
    return Side.of_moments(side.mean + shift, scatter / (len(rows) - 1), len(rows))
