"""What the quadrants need to know of one task."""

from dataclasses import dataclass

import numpy as np

from vptft.evidence.statistics.resampling import PairedDraw

UNKNOWN = float("nan")
ROUNDING = 1e-9
"""Points below which a mean of counts is a tie."""


@dataclass(frozen=True, kw_only=True)
class TaskPair:
    """VPT and FT on one task.

    Attributes
    ----------
    task, group, objective, objective_is_far, pretraining
        Which task, and what its backbone was pretrained for. Near and far objective is the paper's grouping by hand.
    data_is_far
        The designed factor level where there is one (``plain`` against ``photo``); None elsewhere, where the
        distance decides.
    distance, measure_name
        Debiased distance of the task's images to the pretraining reference, and in which measure; NaN where unknown.
    disparity
        Measured disparity of the objective in [0, 1] (:mod:`vptft.when.objective`); NaN where it was not measured.
    draws
        One a seed: per-image correctness of VPT minus FT. Empty where only accuracies are known, as in a paper's table.
    accuracy_vpt, accuracy_ft
        Mean test accuracy over seeds, fractions.
    n_seeds
        Trainings behind the accuracies, where there are no draws; None where a paper prints means of unknown many.
    seed_gaps
        Gap of each training in points, where a table tells them and not the images.
    few_groups
        True where few independent pictures stand behind the images.
    """

    task: str
    objective: str
    objective_is_far: bool
    pretraining: str
    data_is_far: bool | None
    accuracy_vpt: float
    accuracy_ft: float
    distance: float = UNKNOWN
    measure_name: str = ""
    draws: tuple[PairedDraw, ...] = ()
    group: str = ""
    disparity: float = UNKNOWN
    n_seeds: int | None = None
    seed_gaps: tuple[float, ...] = ()
    few_groups: bool = False

    @property
    def gap_points(self) -> float:
        """Accuracy of VPT minus FT in points, mean over seeds."""
        if not self.draws:
            return 100 * (self.accuracy_vpt - self.accuracy_ft)
        mean = 100 * float(np.mean([draw.differences.mean() for draw in self.draws]))
        return 0.0 if abs(mean) < ROUNDING else mean
