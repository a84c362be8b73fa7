r"""How much each image moves the distance, and the standard error that follows.

The influence of an image x of the first set on the Frechet distance is

.. math:: \psi(x) = 2 (m_1 - m_2)^T (x - m_1) + |x - m_1|^2 - (x - m_1)^T T (x - m_1)

with T the optimal map between the two Gaussians; from the singular value decomposition U t V^T of the coupled factors
the last form is :math:`(n - 1) \sum_k U_{ik}^2 t_k`. It costs one matrix product.
"""

from collections.abc import Sequence

import numpy as np

from vptft.evidence.statistics.resampling import variance_of_sum
from vptft.when.distribution.debias import Pair
from vptft.when.distribution.frechet import Side


def influences(pair: Pair) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Influence of every image of each side, centred at 0, in units of the distance; None for a side of moments.

    A distance rises by about influence / n when the image is counted once more. Large positive: it drives the sets
    apart. Large negative: it holds them together.
    """
    if pair.vectors is None:
        if any(side.rows is not None for side in pair.sides):
            raise TypeError("Influences need a Pair made with_vectors=True.")
        return None, None
    (first, second), (left, right) = pair.sides, pair.vectors
    difference, values = first.mean - second.mean, pair.whole.singular_values
    return _influence(first, left, values, difference), _influence(second, right, values, -difference)


def counted_twice(singular_values: np.ndarray, counts: Sequence[int | None]) -> float:
    r"""Return the part of the variance that is of second order, which sums of squared influences count twice.

    .. math:: 2 c^2 [\sum_i t_i^2 + \sum_{i<j} (t_i t_j / (t_i + t_j))^2 + \sum_i t_i^2 / 4],\quad c = \sum 1/n

    is the variance of the plug-in distance of two Gaussian samples of one distribution, where the first order is zero.
    Influences estimated from the very images they are taken of hold it twice (Efron and Stein 1981), which makes the
    plain standard error up to 1.4 times too wide near zero.

    Parameters
    ----------
    singular_values
        Of the two sides' coupling (:class:`~vptft.when.distribution.frechet.Frechet`).
    counts
        Images a side; None where unknown, which counts as infinite.
    """
    t = singular_values[singular_values > 0]
    harmonic = np.square(np.multiply.outer(t, t) / np.add.outer(t, t)) if len(t) else np.zeros((0, 0))
    pairs = (float(harmonic.sum()) - float(np.trace(harmonic))) / 2
    return 2 * sum(1 / n for n in counts if n) ** 2 * (1.25 * float(np.square(t).sum()) + pairs)


def standard_error(
    sides: Sequence[tuple[np.ndarray | None, Sequence[str] | np.ndarray]],
    singular_values: np.ndarray,
    counts: Sequence[int | None],
) -> float:
    """Standard error of the distance, calibrated: the second-order part is counted once, never more than half is taken.

    Parameters
    ----------
    sides
        For each side its influences and groups; a side without influences (moments only) adds nothing.
    singular_values, counts
        As in :func:`counted_twice`.
    """
    plain = sum(variance_of_sum(values / len(values), groups) for values, groups in sides if values is not None)
    return float(np.sqrt(max(plain - counted_twice(singular_values, counts), plain / 2)))


def _influence(side: Side, vectors: np.ndarray, values: np.ndarray, difference: np.ndarray) -> np.ndarray | None:
    if side.rows is None:
        return None
    if side.basis is not None:
        vectors = side.basis @ vectors
    quadratic = (len(side.rows) - 1) * (np.square(vectors) @ values)
    raw = 2 * side.rows @ difference + np.square(side.rows).sum(axis=1) - quadratic
    return np.asarray(raw - raw.mean())
