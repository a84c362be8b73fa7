"""NCE: what of the labels is left to know once the source head's class is known."""

import numpy as np


def nce(assigned: np.ndarray, labels: np.ndarray) -> float:
    """Return the negative conditional entropy -H(Y | Z) of the labels given each image's source class.

    Parameters
    ----------
    assigned
        Most probable source class, ``(n,)`` whole numbers.
    labels
        ``(n,)`` whole numbers.

    Returns
    -------
    float
        Nats an image, at most 0; minus the entropy of the labels where the source class says nothing. Higher means
        nearer.

    Notes
    -----
    Source: Tran et al. 2019 (arXiv:1908.08142). Cost: milliseconds. Known failure: the plug-in entropy is too near 0
    with many source classes for few images: an image alone in its source class counts as known. It falls with the
    number of classes, and needs a source head.
    """
    _, y = np.unique(labels, return_inverse=True)
    _, z = np.unique(assigned, return_inverse=True)
    joint = np.zeros((y.max() + 1, z.max() + 1))
    np.add.at(joint, (y, z), 1 / len(y))
    given = np.divide(joint, joint.sum(axis=0), out=np.ones_like(joint), where=joint > 0)
    return float(np.sum(joint * np.log(given)))
