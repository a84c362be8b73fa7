"""What goes in: accuracies of VPT and FT on one task at one training size, and how they combine over sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import PairedDraw


@dataclass(frozen=True, kw_only=True)
class Cell:
    """VPT and FT after training on the same images.

    Attributes
    ----------
    task, task_group, pretraining
        Which task, the group it is summed up in, and what its backbone was pretrained for.
    n_train
        Training images.
    accuracy_vpt, accuracy_ft
        Test accuracy, fractions.
    draw
        Number of the training draw (the seed); None for a published mean, whose draws are not known.
    images
        Per test image: correctness of VPT minus FT; None where only accuracies are known.
    few_groups
        True where few independent pictures stand behind the images.
    """

    task: str
    task_group: str
    pretraining: str
    n_train: int
    accuracy_vpt: float
    accuracy_ft: float
    draw: int | None = None
    images: PairedDraw | None = None
    few_groups: bool = False

    def __post_init__(self) -> None:
        if self.n_train < 1:
            raise SettingsError(f"{self.task}: a training size is at least 1, not {self.n_train}.")
        for value in (self.accuracy_vpt, self.accuracy_ft):
            if not 0 <= value <= 1:
                raise SettingsError(f"{self.task}: an accuracy is a fraction from 0 to 1, not {value}.")

    @property
    def gap(self) -> float:
        """Accuracy of VPT minus that of FT, points."""
        return 100 * (self.accuracy_vpt - self.accuracy_ft)


def sizes_of(cells: Sequence[Cell]) -> np.ndarray:
    """Sizes there are, ascending."""
    return np.unique([cell.n_train for cell in cells])


def mean_gaps(cells: Sequence[Cell]) -> np.ndarray:
    """Mean gap over draws at each of :func:`sizes_of`, points."""
    return np.array([np.mean([c.gap for c in cells if c.n_train == n]) for n in sizes_of(cells)])


def complete_draws(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Draws that have a cell at every size, each in the order of sizes; none of a published mean.

    Raises
    ------
    SettingsError
        When two cells stand for the same size and draw.
    """
    sizes, found = sizes_of(cells), {}
    for cell in cells:
        if (cell.draw, cell.n_train) in found:
            raise SettingsError(
                f"{cell.task} has two pairs of {cell.n_train} training images and "
                f"{'no draw' if cell.draw is None else f'draw {cell.draw}'}.",
                "Give each training draw a number of its own.",
            )
        found[cell.draw, cell.n_train] = cell
    draws = sorted({cell.draw for cell in cells if cell.draw is not None})
    rows = [[found[draw, n] for n in sizes if (draw, n) in found] for draw in draws]
    return [row for row in rows if len(row) == len(sizes)]


def combined(draws: Sequence[Sequence[Cell]], weights: np.ndarray) -> list[PairedDraw]:
    """Return sums over sizes, ``weights`` one a size, of each draw's per-image differences, in points.

    A level, a slope or a bend of the gap is such a sum, so that its noise is that of draws and of test images, which
    all sizes share. Where test images are not known or not the same for all sizes, each draw is one number, and what
    varies between draws holds everything but the share of test images that all draws have in common.
    """
    if all(_shared(row) for row in draws):
        return [
            PairedDraw(
                differences=100 * sum(w * _images(cell).differences for w, cell in zip(weights, row, strict=True)),
                groups=_images(row[0]).groups,
            )
            for row in draws
        ]
    sums = [float(np.dot(weights, [cell.gap for cell in row])) for row in draws]
    return [PairedDraw(differences=np.array([s]), groups=np.array([f"draw {i}"])) for i, s in enumerate(sums)]


def _images(cell: Cell) -> PairedDraw:
    assert cell.images is not None
    return cell.images


def _shared(row: Sequence[Cell]) -> bool:
    first = row[0].images
    return first is not None and all(
        cell.images is not None and np.array_equal(cell.images.groups, first.groups) for cell in row
    )
