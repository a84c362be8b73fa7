"""TaskFeatures: what every measure of this folder is taken from."""

from dataclasses import dataclass

import numpy as np

from vptft.errors import DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskFeatures:
    """One task as one frozen backbone sees it.

    Attributes
    ----------
    task, objective
        Its name, and what is asked of the image (``"unknown"`` where nobody said).
    backbone, pretraining
        Whose features, and what that network was pretrained for; see :data:`MEANING_OF_FAR`.
    values
        Features ``(n, d)``.
    labels
        ``(n,)`` whole numbers in the order of the classes: for a count, a place or an angle their order is known.
    groups
        What makes images dependent, ``(n,)``.
    probabilities
        Classes that the backbone's own pretrained head sees, ``(n, source classes)``; None without a head.
    draw
        Which draw of the task's images this is.
    skipped
        Images that could not be read and are left out.

    Raises
    ------
    DataError
        Lengths that differ, features that are not finite, or a single class.
    """

    task: str
    objective: str
    backbone: str
    pretraining: str
    values: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    probabilities: np.ndarray | None = None
    draw: int = 0
    skipped: int = 0

    def __post_init__(self) -> None:
        lengths = {"features": len(self.values), "labels": len(self.labels), "groups": len(self.groups)}
        if self.values.ndim != 2 or len(set(lengths.values())) > 1:
            raise DataError(f"{self.task}: features {self.values.shape}, {lengths}; one row, label and group an image.")
        if not np.isfinite(self.values).all():
            raise DataError(
                f"{self.task} has features that are NaN or infinite, so nothing can be measured.",
                "Compute them in float32, or find the image whose features are not numbers.",
            )
        if self.n_classes < 2:
            raise DataError(
                f"{self.task} has {self.n_classes} class among {len(self.labels)} images; an objective needs two.",
                "Give a folder with one sub-folder a class, or more images.",
            )

    @property
    def n_classes(self) -> int:
        """Classes that occur."""
        return len(np.unique(self.labels))

    @property
    def held_out(self) -> np.ndarray:
        """What is kept together when images are held out, ``(n,)``: groups, or images where a class has few groups.

        With fewer than :data:`LEAST_GROUPS` groups a class cannot be in all parts of a cross-validation. Its images
        then stand for themselves, pictures are recognised, and a probe scores too high.
        """
        return self.groups if self.grouped else np.arange(len(self.labels))

    @property
    def grouped(self) -> bool:
        """Whether every class has groups enough to hold some out."""
        return all(
            len(np.unique(self.groups[self.labels == label])) >= LEAST_GROUPS for label in np.unique(self.labels)
        )


LEAST_GROUPS = 4
"""Groups of a class below which images are held out one by one: a class must be in each of two halves and three folds,
which with random halves of fewer groups it often is not."""

MEANING_OF_FAR = {
    "supervised": "the question is not answered by classes of named objects, which is what the labels asked for",
    "contrastive": "the question is about what two views or an image and its caption do not share: crops and flips "
    "change place, size and side",
    "masked": "little is far: pixels are to be restored, so place and number are kept, though not as classes; a low "
    "disparity then says that they can be read",
    "self-distilled": "the question is about what differs between crops of one image, which the prototypes leave out",
    "random": "nothing was asked, so far means only that random features do not hold the answer as classes",
    "unknown": "the pretraining is not known, so far means only that these features do not hold the answer as classes",
}
"""What a disparity near 1 says, for each pretraining objective. Scores are compared within one, never across."""


def class_means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean features of each class that occurs, in the order of the labels, ``(classes, d)`` float64."""
    classes, index = np.unique(labels, return_inverse=True)
    members = index[None, :] == np.arange(len(classes))[:, None]
    return (members @ np.asarray(values, np.float64)) / members.sum(axis=1, keepdims=True)
