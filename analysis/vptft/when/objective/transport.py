"""OTDD: how far images must travel when their labels travel with them."""

from types import ModuleType

import numpy as np

from vptft.errors import DataError, MissingExtraError, NotApplicable
from vptft.when.distribution.frechet import Side, frechet
from vptft.when.objective.own_classes import own_classes

IMAGES = 400
"""Images a side at most: an exact plan of 400 x 400 takes 0.2 s."""


def otdd(first: np.ndarray, first_labels: np.ndarray, second: np.ndarray, second_labels: np.ndarray) -> float:
    """Return the optimal transport distance between two labelled sets, exact, labels as Gaussians.

    The cost of moving (x, y) to (x', y') is ``|x - x'|^2 + W_2^2(N_y, N_y')`` with N_y the Gaussian of the features of
    class y; the result is the square root of the least mean cost. Classes of a single image are points.

    Raises
    ------
    MissingExtraError
        Without the package POT.

    Notes
    -----
    Source: Alvarez-Melis and Fusi 2020 (arXiv:2002.02923). Cost: a linear program of n x n and a Frechet distance a
    pair of classes: seconds. Known failure: it is dominated by the distance of the images, and biased upward the more
    the fewer images there are; equal sets drawn twice are not at 0.
    """
    ot = _pot()
    between, y, z = _label_costs(first, first_labels, second, second_labels)
    a, b = (np.asarray(each, np.float64) for each in (first, second))
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None, :] - 2 * a @ b.T
    cost = np.maximum(squares, 0) + between[np.ix_(y, z)]
    plan = ot.emd2(np.full(len(a), 1 / len(a)), np.full(len(b), 1 / len(b)), cost, numItermax=1_000_000)
    return float(np.sqrt(max(0.0, float(plan))))


def transport(values: np.ndarray, labels: np.ndarray, *, seed: int = 0, images: int = IMAGES) -> float:
    """Return how much farther the task is from the backbone's own classes than these are from themselves.

    The images are halved at random. With X and X' the halves, y the labels and z the own classes, the result is
    ``OTDD((X, y), (X', z)) / OTDD((X, z), (X', z)) - 1``: the images are the same in both, so only the labels count.

    Returns
    -------
    float
        0 where labels are the own classes. Higher means farther.

    Raises
    ------
    NotApplicable
        With fewer than 4 images a class on average, or halves that lie on each other.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(values))[: 2 * images]
    count = len(np.unique(labels))
    if len(chosen) < 8 * count:
        raise NotApplicable(f"{len(chosen)} images are too few to halve into Gaussians of {count} classes.")
    own = own_classes(values, count, seed=seed)
    one, other = np.array_split(chosen, 2)
    base = otdd(values[one], own[one], values[other], own[other])
    if not base > 0:
        raise NotApplicable("The two halves of the images are the same.")
    return otdd(values[one], labels[one], values[other], own[other]) / base - 1


def _label_costs(
    first: np.ndarray, first_labels: np.ndarray, second: np.ndarray, second_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared distances between the Gaussians of classes, and each image's class on either side."""
    sides, index = [], []
    for values, labels in ((first, first_labels), (second, second_labels)):
        if len(values) != len(labels):
            raise DataError(f"OTDD needs a label an image, got {len(labels)} for {len(values)}.")
        classes, of_image = np.unique(labels, return_inverse=True)
        sides.append([_gaussian(values[of_image == i]) for i in range(len(classes))])
        index.append(of_image)
    costs = np.array([[frechet(a, b).value for b in sides[1]] for a in sides[0]])
    return costs, index[0], index[1]


def _gaussian(values: np.ndarray) -> Side:
    if len(values) > 1:
        return Side.of_features(values)
    return Side(mean=np.asarray(values[0], np.float64), rows=np.zeros((2, values.shape[1])), n=2)


def _pot() -> ModuleType:
    try:
        import ot
    except ImportError as error:
        raise MissingExtraError("POT", "transport", "OTDD") from error
    return ot
