"""The quadrants: distance of the data against distance of the objective, and who wins where.

Han et al. (2024, section 4.2, Figures 1 and 3): FT should win only where the objective is near pretraining's and the
data far. The objective's side is the paper's manual grouping: classification near, everything else far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding, judge
from vptft.evidence.results import Result
from vptft.evidence.statistics import PairedDraw, hierarchical_bootstrap


@dataclass(frozen=True, kw_only=True)
class TaskPair:
    """VPT and FT on one task: what the quadrants need to know of it.

    Attributes
    ----------
    task, objective, objective_is_far, pretraining
        Which task, and what its backbone was pretrained for.
    data_is_far
        The designed factor level where there is one (``plain`` against ``photo``); None elsewhere, where the
        distance decides.
    distance, measure_name
        Debiased distance of the task's images to the pretraining reference, and in which measure.
    draws
        One a seed: per-image correctness of VPT minus FT.
    accuracy_vpt, accuracy_ft
        Mean test accuracy over seeds, fractions.
    few_groups
        True where few independent pictures stand behind the images.
    """

    task: str
    objective: str
    objective_is_far: bool
    pretraining: str
    data_is_far: bool | None
    distance: float
    measure_name: str
    draws: tuple[PairedDraw, ...]
    accuracy_vpt: float
    accuracy_ft: float
    few_groups: bool


@dataclass(frozen=True, kw_only=True)
class Quadrants(Result):
    """One row a task in ``table``, and the contrasts between quadrants in ``contrasts``."""

    analysis: ClassVar[str] = "quadrants"
    table: pd.DataFrame
    contrasts: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, objective, objective_is_far, data_is_far, pretraining, distance, measure_name,
        accuracy_vpt, accuracy_ft (fractions), gap_points with its 95% interval low_points, high_points, winner
        (``vpt``, ``ft`` or ``uncertain``), n_test, n_groups, n_seeds, few_groups.
        """  # noqa: D205
        return self.table

    def findings(self) -> tuple[Finding, ...]:
        """W1 and W2, one for each pretraining objective: never pooled over it."""
        return tuple(
            Finding(
                hypothesis=str(row["hypothesis"]),
                statement=str(row["statement"]),
                verdict=row["verdict"],
                reason=str(row["reason"]),
                effect=float(row["effect_points"]),
                low=float(row["low_points"]),
                high=float(row["high_points"]),
                unit="points",
                n=int(row["n_tasks"]),
            )
            for row in self.contrasts.to_dict("records")
        )


def measure(
    pairs: Sequence[TaskPair], *, seed: int = 0, draws: int = 2000, settings: Mapping[str, Any] | None = None
) -> Quadrants:
    """Place tasks in the plane and contrast the gap between its sides.

    Notes
    -----
    The interval of one task's gap holds test images and seeds; with one seed, test images only. Contrasts are
    differences of means over tasks; without a designed factor, near and far data are split at the median distance
    of the tasks at hand, so they depend on which tasks those are.
    """
    if not pairs:
        raise SettingsError("There is no task with both a VPT and an FT run.")
    names = {pair.measure_name for pair in pairs}
    if len(names) > 1:
        raise SettingsError(f"Distances of different measures cannot share an axis: {sorted(names)}.")
    median = float(np.median([pair.distance for pair in pairs]))
    far = [pair.distance > median if pair.data_is_far is None else pair.data_is_far for pair in pairs]
    rows = [_row(pair, is_far, seed, draws) for pair, is_far in zip(pairs, far, strict=True)]
    contrasts = []
    for objective in sorted({pair.pretraining for pair in pairs}):
        chosen = [(p, f) for p, f in zip(pairs, far, strict=True) if p.pretraining == objective and not p.few_groups]
        contrasts += [
            row
            for row in (
                _contrast("W1", [p for p, _ in chosen], [f for _, f in chosen], seed, draws),
                _contrast("W2", [p for p, _ in chosen], [p.objective_is_far for p, _ in chosen], seed, draws),
            )
            if row is not None
        ]
    columns = ["hypothesis", "statement", "verdict", "reason", "effect_points", "low_points", "high_points", "n_tasks"]
    return Quadrants(
        settings={**(settings or {}), "seed": seed, "draws": draws},
        table=pd.DataFrame(rows),
        contrasts=pd.DataFrame(contrasts, columns=columns),
    )


def _row(pair: TaskPair, data_is_far: bool, seed: int, draws: int) -> dict[str, Any]:
    gap = hierarchical_bootstrap([pair.draws], lambda means: means[..., 0], seed=seed, draws=draws)
    winner = "vpt" if gap.low > 0 else "ft" if gap.high < 0 else "uncertain"
    return {
        "task": pair.task,
        "objective": pair.objective,
        "objective_is_far": pair.objective_is_far,
        "data_is_far": data_is_far,
        "pretraining": pair.pretraining,
        "distance": pair.distance,
        "measure_name": pair.measure_name,
        "accuracy_vpt": pair.accuracy_vpt,
        "accuracy_ft": pair.accuracy_ft,
        "gap_points": 100 * gap.value,
        "low_points": 100 * gap.low,
        "high_points": 100 * gap.high,
        "winner": winner,
        "n_test": len(pair.draws[0].differences),
        "n_groups": len(np.unique(pair.draws[0].groups)),
        "n_seeds": len(pair.draws),
        "few_groups": pair.few_groups,
    }


def _contrast(
    hypothesis: Literal["W1", "W2"], pairs: Sequence[TaskPair], is_far: Sequence[bool], seed: int, draws: int
) -> dict[str, Any] | None:
    """Mean gap on the far side minus the near side; None where one side has no task."""
    far = np.array(is_far, dtype=bool)
    if far.all() or not far.any():
        return None
    weights = np.where(far, 1 / far.sum(), -1 / (~far).sum())
    contrast = hierarchical_bootstrap([p.draws for p in pairs], lambda means: means @ weights, seed=seed, draws=draws)
    n_seeds = min(len(pair.draws) for pair in pairs)
    verdict, reason = judge(
        contrast.low, contrast.high, predicted_sign=-1 if hypothesis == "W1" else 1, n_seeds=n_seeds
    )
    axis = "data far from the reference" if hypothesis == "W1" else "a far objective"
    return {
        "hypothesis": hypothesis,
        "statement": f"Mean gap (VPT - FT) on {far.sum()} tasks with {axis}, minus on {(~far).sum()} near ones; "
        f"{pairs[0].pretraining} pretraining",
        "verdict": verdict,
        "reason": reason,
        "effect_points": 100 * contrast.value,
        "low_points": 100 * contrast.low,
        "high_points": 100 * contrast.high,
        "n_tasks": len(pairs),
    }
