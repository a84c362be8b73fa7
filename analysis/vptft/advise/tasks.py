"""What advice needs to know: of tasks on which both methods were trained, and of the one that it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vptft.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A task on which VPT and FT were both trained, at one or several training sizes.

    Attributes
    ----------
    task
        Its name.
    gaps, sizes, noise
        One an observation: accuracy of VPT minus FT in points; training images, NaN where they are not known; variance
        of the measured gap in points squared from training draws and test images, 0 where it is not known (the
        residual then holds it).
    values
        Predictors by name (:data:`vptft.advise.predictors.PREDICTORS`), those that are known; ``log2_n`` is taken from
        the sizes.
    objective_is_far, data_is_far
        Sides by the paper's grouping, by the design or by a distance; None where nobody said.
    n_seeds
        Trainings behind each gap; 0 where that is not known.
    kin
        What it shares with others that are not independent of it, by sort: the ``question`` that is asked of two looks,
        the ``scenes`` that several questions are asked of.
    """

    task: str
    gaps: tuple[float, ...]
    sizes: tuple[float, ...]
    noise: tuple[float, ...]
    values: Mapping[str, float] = field(default_factory=dict)
    objective_is_far: bool | None = None
    data_is_far: bool | None = None
    n_seeds: int = 0
    kin: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.gaps or {len(self.gaps)} != {len(self.sizes), len(self.noise)}:
            raise SettingsError(f"{self.task}: as many gaps, sizes and noises are needed, and not none.")
        if not np.isfinite(self.gaps).all() or not np.all(np.asarray(self.noise) >= 0):
            raise SettingsError(f"{self.task}: gaps {self.gaps} and their variances {self.noise} must be numbers.")

    def nearest(self, size: float) -> int:
        """Which observation is of about that many training images; the first where sizes are not known."""
        if not np.isfinite(self.sizes).all() or not size > 0:
            return 0
        return int(np.argmin(np.abs(np.log(self.sizes) - np.log(size))))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Evidence that may be pooled: one backbone, one pretraining objective, one source.

    Attributes
    ----------
    name, backbone, pretraining
        Where it comes from, in words; whose gaps these are.
    tasks
        Its tasks.
    mismatch
        Why it must not decide about the task that is asked for; empty where it may.
    of_draws, of_images
        Variance in points squared of a gap that is measured with one pair of trainings: from the training draw, which
        more trainings average out, and from the test images, which they do not; NaN where nothing tells it.
    notes
        What a reader must know of it.
    """

    name: str
    backbone: str
    pretraining: str
    tasks: tuple[Trained, ...]
    mismatch: str = ""
    of_draws: float = float("nan")
    of_images: float = float("nan")
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """The task that advice is asked for, as it was measured on frozen features.

    Attributes
    ----------
    task, backbone, pretraining
        Its name, and what would be tuned.
    n_train
        Images that it would be trained on.
    values
        Predictors by name.
    objective_is_far, data_is_far
        As in :class:`Trained`.
    notes
        How a value came about that nobody gave.
    """

    task: str
    backbone: str
    pretraining: str
    n_train: int
    values: Mapping[str, float]
    objective_is_far: bool | None = None
    data_is_far: bool | None = None
    notes: tuple[str, ...] = ()
