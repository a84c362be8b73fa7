r"""Frechet distance between two sets' features, exact at any rank.

.. math:: d^2 = |m_1 - m_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1 S_2)^{1/2}

(Dowson and Landau 1982; Heusel et al. 2017.) The last trace is the nuclear norm of :math:`L_1 L_2^T` for any factors
:math:`S_i = L_i^T L_i`; the centred features themselves are such factors. The product :math:`S_1 S_2`, which squares
the singular values and gives the negative distances other tools print, is never formed: no matrix square root, no
complex numbers, nothing added to a diagonal, float64 throughout.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack, qr, svdvals

from vptft.errors import DataError

WELL_CONDITIONED = 1e-10
"""Least reciprocal condition of a covariance for the eigenvalue route, which squares singular values: at it, the
smallest of them are still right to 1e-6 of their size."""

CROSS_GRAM = "features: singular values of the cross-Gram matrix"
TRIANGLES = "features: QR triangles, singular values"
EIGENVALUES = "moments: Cholesky, symmetric eigenvalues"
PIVOTED = "moments: pivoted Cholesky, singular values"
MIXED = "features against moments: pivoted Cholesky, singular values"


class Frechet(NamedTuple):
    """A distance, the route it was computed by, and the singular values of :math:`S_1^{1/2} S_2^{1/2}`."""

    value: float
    route: str
    singular_values: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One of the two sets, as the distance sees it: centred features where they are there, else a covariance.

    Attributes
    ----------
    mean
        ``(d,)``.
    rows
        Centred features ``(n, d)``, float64; None where only moments are known.
    covariance
        ``(d, d)`` where only moments are known; None otherwise.
    n
        Images behind it; None where a file does not say.
    """

    mean: np.ndarray
    rows: np.ndarray | None = None
    covariance: np.ndarray | None = None
    n: int | None = None

    @classmethod
    def of_features(cls, values: np.ndarray) -> "Side":
        """Return the side of features ``(n, d)``, n >= 2."""
        exact = np.asarray(values, dtype=np.float64)
        mean = exact.mean(axis=0)
        return cls(mean=mean, rows=exact - mean, n=len(exact))

    @classmethod
    def of_moments(cls, mean: np.ndarray, covariance: np.ndarray, n: int | None = None) -> "Side":
        """Return the side of a mean ``(d,)`` and a covariance ``(d, d)``, which may be rank-deficient."""
        return cls(mean=np.asarray(mean, np.float64), covariance=np.asarray(covariance, np.float64), n=n)

    @property
    def dimensions(self) -> int:
        """Width of the features."""
        return len(self.mean)

    @cached_property
    def trace(self) -> float:
        """Trace of the covariance: the variance of the features, summed."""
        if self.rows is None:
            return float(np.trace(self.moments()))
        return float(self.squares.sum()) / (len(self.rows) - 1)

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared length of each centred row, ``(n,)``; empty without rows."""
        return np.zeros(0) if self.rows is None else np.square(self.rows).sum(axis=1)

    @cached_property
    def basis(self) -> np.ndarray | None:
        """Orthonormal Q ``(n, d)`` with ``rows = sqrt(n - 1) Q factor``, where there are more rows than columns."""
        return None if self._tall is None else self._tall[0]

    @cached_property
    def factor(self) -> np.ndarray:
        """Rows L with ``L^T L`` the covariance; at most as many as there are dimensions."""
        if self.rows is None:
            return _pivoted_factor(self.moments())
        if self._tall is not None:
            return self._tall[1]
        return self.rows / np.sqrt(len(self.rows) - 1)

    @cached_property
    def lower(self) -> np.ndarray | None:
        """Cholesky factor L of the covariance ``L L^T``; None where that is not well-conditioned."""
        covariance = self.moments()
        lower, info = lapack.dpotrf(covariance, lower=1, clean=1)
        if info != 0:
            return None
        rcond, _ = lapack.dpocon(lower, np.abs(covariance).sum(axis=0).max(), uplo="L")
        return lower if rcond >= WELL_CONDITIONED else None

    @cached_property
    def _tall(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.rows is None or len(self.rows) <= self.dimensions:
            return None
        q, r = qr(self.rows / np.sqrt(len(self.rows) - 1), mode="economic", check_finite=False)
        return q, r

    def moments(self) -> np.ndarray:
        """Return the covariance of a side that is known by it."""
        if self.covariance is None:
            raise TypeError("A side has rows or a covariance.")
        return self.covariance


def frechet(first: Side, second: Side, coupled: np.ndarray | None = None) -> Frechet:
    """Distance of two sides, by the route that rank and condition allow; in squared units of the features.

    From features its error is at most about 1e-12 of the trace. A covariance has already lost the singular values below
    1e-8 of the largest, so from moments it is at most about 1e-8 of the trace. Never negative. ``coupled`` is what
    :func:`couple` gives, where it is known already.
    """
    if first.rows is None and second.rows is None and first.lower is not None and second.lower is not None:
        inner, _ = lapack.dsygst(second.moments(), first.lower, itype=2, lower=1)  # L^T S L, of which eigvalsh reads
        squares = np.linalg.eigvalsh(inner)  # the lower triangle
        return assemble(first, second, np.sqrt(np.clip(squares[::-1], 0, None)), EIGENVALUES)
    coupled = couple(first, second) if coupled is None else coupled
    return assemble(first, second, svdvals(coupled, check_finite=False), route_of(first, second))


def couple(first: Side, second: Side) -> np.ndarray:
    """Return the matrix :math:`L_1 L_2^T`, whose singular values the distance is made of."""
    return first.factor @ second.factor.T


def assemble(first: Side, second: Side, singular_values: np.ndarray, route: str) -> Frechet:
    """Put means, traces and singular values together; what rounding took below zero is zero."""
    difference = first.mean - second.mean
    squared = float(difference @ difference)
    return Frechet(
        max(0.0, squared + first.trace + second.trace - 2 * float(singular_values.sum())), route, singular_values
    )


def route_of(first: Side, second: Side) -> str:
    """Name the route that goes through the singular values of :func:`couple`."""
    if first.rows is None or second.rows is None:
        return PIVOTED if first.rows is None and second.rows is None else MIXED
    short = min(len(first.rows), len(second.rows)) <= first.dimensions
    return CROSS_GRAM if short else TRIANGLES


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Distance from features ``(n1, d)`` and ``(n2, d)``."""
    return frechet(Side.of_features(x), Side.of_features(y)).value


def frechet_distance_from_moments(
    mean_1: np.ndarray, covariance_1: np.ndarray, mean_2: np.ndarray, covariance_2: np.ndarray
) -> float:
    """Distance from means ``(d,)`` and covariances ``(d, d)``, rank-deficient ones included."""
    return frechet(Side.of_moments(mean_1, covariance_1), Side.of_moments(mean_2, covariance_2)).value


def _pivoted_factor(covariance: np.ndarray) -> np.ndarray:
    """Rows L with ``L^T L`` the covariance, by pivoted Cholesky, cut at its numerical rank."""
    lower, pivots, rank, info = lapack.dpstrf(covariance, lower=1)
    if info < 0:
        raise DataError(f"The covariance of shape {np.shape(covariance)} holds values LAPACK refuses.")
    factor = np.zeros_like(lower)
    factor[pivots - 1] = np.tril(lower)
    return factor[:, :rank].T
