"""Distance of the data against disparity of the objective, who wins where, and whether a rule foretells it.

Han et al. (2024, section 4.2, Figures 1 and 3): FT should win only where the objective is near pretraining's and the
data far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding, from_table, to_table
from vptft.evidence.results import Result
from vptft.evidence.statistics.components import nested_interval
from vptft.evidence.statistics.paired import mean_interval
from vptft.evidence.statistics.prediction import leave_one_out
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.evidence.verdicts import REGION
from vptft.when.quadrants import boundaries
from vptft.when.quadrants.boundaries import Boundary
from vptft.when.quadrants.claims import findings_of
from vptft.when.quadrants.pairs import TaskPair

Kind = Literal["design", "median", "fitted"]


@dataclass(frozen=True, kw_only=True)
class Quadrants(Result):
    """Tasks in the plane, its four cells, what they say, and how well a rule foretells winners.

    Attributes
    ----------
    table
        See :meth:`frame`.
    cells
        A row a pretraining objective and quadrant: pretraining, objective_is_far, data_is_far, predicted (winner by the
        paper's rule), n_tasks, n_vpt and n_ft (ahead beyond the region), n_open (neither), gap_points (mean),
        low_points, high_points.
    predictions
        A row a pretraining objective and boundary: pretraining, boundary (kind), value, value_low, value_high, n
        (tasks with a winner), ties, accuracy, low, high (of the paper's rule, each task named without it), base (of
        the others' usual winner), always_vpt (share), p (McNemar, rule against base).
    contrasts
        Findings as a table.
    """

    analysis: ClassVar[str] = "quadrants"
    table: pd.DataFrame
    cells: pd.DataFrame
    predictions: pd.DataFrame
    contrasts: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, group, objective, objective_is_far, data_is_far, pretraining, distance, measure_name,
        disparity, accuracy_vpt, accuracy_ft (fractions), gap_points with its 95% interval low_points, high_points,
        winner (``vpt`` or ``ft`` where the interval excludes 0, else ``uncertain``), clear (beyond the region of
        practical equivalence), n_test, n_groups, n_seeds (0 where it is not known), few_groups. Where the distance is
        not known, data_is_far is False.
        """  # noqa: D205
        return self.table

    def findings(self) -> tuple[Finding, ...]:
        """W1, W2 and their interaction W5 for each pretraining objective: never pooled over it."""
        return from_table(self.contrasts)


_GAP = {"gap_points": "float64", "low_points": "float64", "high_points": "float64"}
CELLS = {
    "pretraining": "str", "objective_is_far": "bool", "data_is_far": "bool", "predicted": "str", "n_tasks": "int64",
    "n_vpt": "int64", "n_ft": "int64", "n_open": "int64", **_GAP,
}  # fmt: skip
PREDICTIONS = {
    "pretraining": "str", "boundary": "str", "value": "float64", "value_low": "float64", "value_high": "float64",
    "n": "int64", "ties": "int64", "accuracy": "float64", "low": "float64", "high": "float64", "base": "float64",
    "always_vpt": "float64", "p": "float64",
}  # fmt: skip


JUDGED = ("W0", "W1", "W2", "W5")
"""Hypotheses that the tasks of one pretraining objective are asked about."""


def measure(
    pairs: Sequence[TaskPair],
    *,
    boundary: Kind | None = None,
    region: float = REGION,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Quadrants:
    """Place tasks in the plane, contrast the gap between its sides, and foretell each task from the others.

    Parameters
    ----------
    pairs
        Tasks; distances of one measure.
    boundary
        What parts near from far data; None for the design's where every task has a factor level, else the median.
    region
        Points within which two methods are practically equal.
    seed
        Of the bootstrap of a fitted boundary.
    settings
        Kept with the result.

    Notes
    -----
    A gap's interval holds test images and training draws by variance components; with one seed, test images only. Of
    accuracies a training, without images, it is Student's t over trainings. Where only means are known there is none,
    and a gap beyond the region is called clear as it is printed. With the
    median as boundary, near and far depend on which tasks are there. Tasks with few groups are shown, never judged.
    """
    if not pairs:
        raise SettingsError("There is no task with both a VPT and an FT run.")
    names = {pair.measure_name for pair in pairs}
    if len(names) > 1:
        raise SettingsError(f"Distances of different measures cannot share an axis: {sorted(names)}.")
    rows: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for pretraining in sorted({pair.pretraining for pair in pairs}):
        chosen = [pair for pair in pairs if pair.pretraining == pretraining]
        border = _boundary(chosen, boundary, seed)
        far = _is_far(chosen, border)
        rows += [_row(pair, is_far, region) for pair, is_far in zip(chosen, far, strict=True)]
        judged = [pair for pair in chosen if not pair.few_groups]
        sides = {pair.task: is_far for pair, is_far in zip(chosen, far, strict=True) if _placed(pair, border)}
        cells += _cells([(pair, sides[pair.task]) for pair in judged if pair.task in sides], region)
        predictions += _predictions(judged, seed)
        if judged:
            findings += findings_of(
                judged, [sides.get(pair.task) for pair in judged], chosen_by_gaps=border.kind == "fitted"
            )
    order = {pair.task: i for i, pair in enumerate(pairs)}
    return Quadrants(
        settings={**(settings or {}), "seed": seed, "region": region, "boundary": boundary},
        table=pd.DataFrame(rows).sort_values(
            "task", key=lambda tasks: tasks.map(order), kind="stable", ignore_index=True
        ),
        cells=pd.DataFrame(cells, columns=list(CELLS)).astype(CELLS),
        predictions=pd.DataFrame(predictions, columns=list(PREDICTIONS)).astype(PREDICTIONS),
        contrasts=to_table(findings),
    )


def _boundary(pairs: Sequence[TaskPair], kind: Kind | None, seed: int) -> Boundary:
    """Boundary of that kind over these tasks; the design's, where there is one, is not a distance but a factor."""
    x = np.array([pair.distance for pair in pairs])
    if kind == "design" or (kind is None and _by_hand(pairs)):
        if not _by_hand(pairs):
            raise SettingsError(
                "Not every task has a designed near or far level.", "Take the median or fitted boundary."
            )
        return boundaries.designed(x, np.array([pair.data_is_far for pair in pairs], dtype=bool))
    if kind == "fitted":
        near = [pair for pair in pairs if not pair.objective_is_far]
        return boundaries.fitted(*_points(near), seed=seed)
    return boundaries.median(x)


def _by_hand(pairs: Sequence[TaskPair]) -> bool:
    """Whether a factor or a paper's grouping says which data are far, wherever the rule asks for it.

    It asks of near objectives alone; where distances are known, a grouping of some tasks does not stand for them.
    """
    asked = [pair for pair in pairs if not pair.objective_is_far or np.isfinite(pair.distance)]
    return all(pair.data_is_far is not None for pair in asked)


def _points(pairs: Sequence[TaskPair]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([pair.distance for pair in pairs]), np.sign([pair.gap_points for pair in pairs])


def _is_far(pairs: Sequence[TaskPair], boundary: Boundary) -> list[bool]:
    if boundary.kind == "design":
        return [bool(pair.data_is_far) for pair in pairs]
    return [bool(pair.distance > boundary.value) for pair in pairs]


def _gap(pair: TaskPair) -> Interval:
    """Gap with its interval: over draws and images, over trainings where no images are known, or none."""
    if pair.draws:
        return nested_interval([pair.draws], [100.0])
    return mean_interval(np.array(pair.seed_gaps)) if len(pair.seed_gaps) > 1 else no_interval(pair.gap_points)


def is_clear(gap: Interval, region: float) -> bool:
    """Whether a gap lies beyond the region of practical equivalence, with its interval where there is one."""
    low, high = (gap.value, gap.value) if np.isnan(gap.low) else (gap.low, gap.high)
    return low > region or high < -region


def _row(pair: TaskPair, data_is_far: bool, region: float) -> dict[str, Any]:
    gap = _gap(pair)
    low, high = (gap.value, gap.value) if np.isnan(gap.low) else (gap.low, gap.high)
    first = pair.draws[0] if pair.draws else None
    names = ("task", "group", "objective", "objective_is_far")
    after = ("pretraining", "distance", "measure_name", "disparity", "accuracy_vpt", "accuracy_ft")
    return {
        **{name: getattr(pair, name) for name in names},
        "data_is_far": data_is_far,
        **{name: getattr(pair, name) for name in after},
        "gap_points": gap.value,
        "low_points": gap.low,
        "high_points": gap.high,
        "winner": "vpt" if low > 0 else "ft" if high < 0 else "uncertain",
        "clear": is_clear(gap, region),
        "n_test": 0 if first is None else len(first.differences),
        "n_groups": 0 if first is None else len(np.unique(first.groups)),
        "n_seeds": len(pair.draws) or pair.n_seeds or 0,
        "few_groups": pair.few_groups,
    }


def _cells(judged: Sequence[tuple[TaskPair, bool]], region: float) -> list[dict[str, Any]]:
    out = []
    for objective_is_far in (False, True):
        for data_is_far in (False, True):
            here = [p for p, far in judged if p.objective_is_far == objective_is_far and far == data_is_far]
            if not here:
                continue
            clear = np.array([np.sign(pair.gap_points) * is_clear(_gap(pair), region) for pair in here])
            mean = _mean_gap(here)
            out.append({
                "pretraining": here[0].pretraining, "objective_is_far": objective_is_far, "data_is_far": data_is_far,
                "predicted": "ft" if data_is_far and not objective_is_far else "vpt", "n_tasks": len(here),
                "n_vpt": int((clear > 0).sum()), "n_ft": int((clear < 0).sum()), "n_open": int((clear == 0).sum()),
                "gap_points": mean.value, "low_points": mean.low, "high_points": mean.high,
            })  # fmt: skip
    return out


def _placed(pair: TaskPair, boundary: Boundary) -> bool:
    """Whether it is known on which side of this boundary the task lies."""
    return pair.data_is_far is not None if boundary.kind == "design" else bool(np.isfinite(pair.distance))


def _mean_gap(pairs: Sequence[TaskPair]) -> Interval:
    """Mean gap of these tasks where outcomes are known, of tasks like these where only accuracies are."""
    if all(pair.draws for pair in pairs):
        return nested_interval([pair.draws for pair in pairs], np.full(len(pairs), 100 / len(pairs)))
    return mean_interval(np.array([pair.gap_points for pair in pairs]))


def _predictions(pairs: Sequence[TaskPair], seed: int) -> list[dict[str, Any]]:
    """The paper's rule under every boundary that these tasks allow, each task named from the others."""
    signs = np.sign([pair.gap_points for pair in pairs])
    if np.count_nonzero(signs) < 3:
        return []
    kinds: list[Kind] = ["median", "fitted"] if np.isfinite([pair.distance for pair in pairs]).all() else []
    if _by_hand(pairs):
        kinds.insert(0, "design")
    return [_predicted(pairs, signs, kind, seed) for kind in kinds]


def _predicted(pairs: Sequence[TaskPair], signs: np.ndarray, kind: Kind, seed: int) -> dict[str, Any]:
    def rule(others: np.ndarray, task: int) -> int:
        pair = pairs[task]
        if kind == "design":
            far = bool(pair.data_is_far)
        elif kind == "fitted":
            near = [pairs[i] for i in others if not pairs[i].objective_is_far]
            far = bool(near) and pair.distance > boundaries.best_cut(*_points(near))
        else:
            far = pair.distance > float(np.median([pairs[i].distance for i in others]))
        return -1 if far and not pair.objective_is_far else 1

    found, border = leave_one_out(signs, rule), _boundary(pairs, kind, seed)
    return {
        "pretraining": pairs[0].pretraining, "boundary": kind, "value": border.value, "value_low": border.low,
        "value_high": border.high, "n": found.n, "ties": found.ties, "accuracy": found.accuracy.value,
        "low": found.accuracy.low, "high": found.accuracy.high, "base": found.base_accuracy.value,
        "always_vpt": float(np.mean(signs[signs != 0] > 0)), "p": found.test.p,
    }  # fmt: skip
