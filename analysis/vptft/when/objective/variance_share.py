"""How much of the features' variance the labels account for."""

import numpy as np

from vptft.when.objective.task import class_means


def variance_share(values: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of the features' variance that lies between classes, free of bias (omega squared).

    With the sums of squares between and within classes, over all dimensions,
    ``(SS_b - (C - 1) MS_w) / (SS_b + SS_w + MS_w)``: 0 in expectation for labels that say nothing.

    Returns
    -------
    float
        Up to 1; slightly negative by chance. Higher means nearer.

    Notes
    -----
    Source: Hays 1963; over many dimensions, the trace criterion of discriminant analysis. Cost: milliseconds. Known
    failure: the share depends on how much else varies in the images: a cluttered set of the same objects has less, so
    it says more of the images than of the question.
    """
    x = np.asarray(values, np.float64) - np.mean(values, axis=0)
    means = class_means(x, labels)
    _, counts = np.unique(labels, return_counts=True)
    between = float((counts * np.square(means).sum(axis=1)).sum())
    within = float(np.square(x).sum()) - between
    error = within / (len(x) - len(means))
    return (between - (len(means) - 1) * error) / (between + within + error)
