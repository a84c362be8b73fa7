"""LEEP: how well the classes that a source head sees predict the labels, its probabilities taken as they are."""

import numpy as np

from vptft.errors import DataError


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean log likelihood of the labels under the expected empirical predictor.

    With the source head's probabilities q_i(z): ``P(y, z) = mean_i q_i(z) [y_i = y]``, ``P(y | z) = P(y, z) / P(z)``,
    and LEEP is ``mean_i log sum_z P(y_i | z) q_i(z)``.

    Parameters
    ----------
    probabilities
        ``(n, source classes)``, rows that sum to 1.
    labels
        ``(n,)`` whole numbers.

    Returns
    -------
    float
        Nats an image, at most 0 and about minus the entropy of the labels where the head says nothing. Higher means
        nearer.

    Raises
    ------
    DataError
        When rows are no probabilities.

    Notes
    -----
    Source: Nguyen et al. 2020 (arXiv:2002.12462). Cost: milliseconds. Known failure: it needs a source head, so it
    says nothing of self-supervised backbones; with many source classes for few images the predictor fits itself (it
    is scored on the images it was made from), and it falls with the number of classes.
    """
    q = np.asarray(probabilities, np.float64)
    if q.ndim != 2 or len(q) != len(labels) or (q < 0).any() or not np.allclose(q.sum(axis=1), 1, atol=1e-4):
        raise DataError(f"LEEP needs one row of probabilities an image for {len(labels)} images, got {q.shape}.")
    _, index = np.unique(labels, return_inverse=True)
    joint = (np.eye(index.max() + 1)[index].T @ q) / len(q)
    seen = joint.sum(axis=0)
    given = np.divide(joint, seen, out=np.zeros_like(joint), where=seen > 0)
    return float(np.mean(np.log(np.einsum("nz,nz->n", given[index], q))))
