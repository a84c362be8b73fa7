"""Neural collapse: how far features of one class have become one point, and the points a simplex.

Papyan, Han and Donoho 2020, *Prevalence of Neural Collapse*.
"""

from dataclasses import dataclass

import numpy as np

from vptft.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """Measures of collapse, all 0 at full collapse.

    Attributes
    ----------
    nc1
        Trace of the covariance within classes over that between class means (their NC1 in its trace form, which needs
        no inverse). Both are measured on these images: with m a class, means of classes that do not differ are still
        apart by chance, and it is about m rather than infinite.
    nc2_norms
        Standard deviation over mean of the class means' distances from the centre: equal norms.
    nc2_angles
        Mean of |cosine + 1 / (C - 1)| over pairs of class means: equal and largest angles. Always 0 for two classes.
    """

    nc1: float
    nc2_norms: float
    nc2_angles: float


def collapse(x: np.ndarray, labels: np.ndarray) -> Collapse:
    """Measure the collapse of features ``(n, d)`` with classes ``(n,)``, each class counting alike.

    Raises
    ------
    SettingsError
        With one class, or one image a class.
    """
    values = np.asarray(x, dtype=np.float64)
    classes = class_means(values, labels)
    if len(classes) < 2 or len(values) <= len(classes):
        raise SettingsError(f"Collapse needs two classes of several images; {len(values)} have {len(classes)}.")
    means = np.stack(list(classes.values()))
    within = np.mean([np.square(values[labels == label] - mean).sum(axis=1).mean() for label, mean in classes.items()])
    from_centre = means - means.mean(axis=0)
    norms = np.linalg.norm(from_centre, axis=1)
    between = float(np.mean(np.square(norms)))
    if between <= (np.finfo(float).eps * np.abs(values).max()) ** 2 * values.shape[1]:
        return Collapse(nc1=float("inf"), nc2_norms=float("nan"), nc2_angles=float("nan"))
    unit = from_centre / np.maximum(norms, np.finfo(float).tiny)[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(len(means), 1)]
    return Collapse(
        nc1=float(within) / between,
        nc2_norms=float(norms.std() / norms.mean()),
        nc2_angles=float(np.abs(cosines + 1 / (len(means) - 1)).mean()),
    )


def class_means(x: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
    """Mean feature ``(d,)`` of each class that has an image, by label."""
    return {int(label): x[labels == label].mean(axis=0) for label in np.unique(labels)}
