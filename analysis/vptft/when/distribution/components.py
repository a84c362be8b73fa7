"""Two sets in the first one's principal components: few enough dimensions for few images."""

from dataclasses import replace

import numpy as np

from vptft.features.statistics import Statistics


def in_components(first: Statistics, second: Statistics, count: int) -> tuple[Statistics, Statistics]:
    """Project both sets on the ``count`` directions in which the first varies most, or leave them as they are.

    A distance of projections is a lower bound of the whole one: what differs outside the first set's directions is not
    seen. Numbers of different ``count``, or of different first sets, cannot be compared.
    """
    count = min(count, (first.n or first.dimensions) - 1)
    if count < 1 or count >= first.dimensions:
        return first, second
    directions = _directions(first, count)
    return _projected(first, directions), _projected(second, directions)


def _directions(statistics: Statistics, count: int) -> np.ndarray:
    """Orthonormal columns ``(d, count)``, from whichever of Gram and covariance matrix is smaller."""
    features = statistics.features
    if features is None or not statistics.complete or len(features.values) > statistics.dimensions:
        return np.linalg.eigh(statistics.second_moment())[1][:, ::-1][:, :count]
    centred = features.values.astype(np.float64) - statistics.mean
    squares, vectors = np.linalg.eigh(centred @ centred.T)
    kept = squares[::-1][:count] > squares[-1] * 1e-12
    return np.asarray(centred.T @ (vectors[:, ::-1][:, :count][:, kept] / np.sqrt(squares[::-1][:count][kept])))


def _projected(statistics: Statistics, directions: np.ndarray) -> Statistics:
    features = statistics.features
    return replace(
        statistics,
        mean=statistics.mean @ directions,
        scatter=None if statistics.scatter is None else directions.T @ statistics.scatter @ directions,
        features=features and replace(features, values=features.values @ directions),
    )
