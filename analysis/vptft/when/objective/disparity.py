"""How far tasks' objectives are from what a backbone was pretrained for: every measure, and the default score."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import DataError, MissingExtraError, NotApplicable, SettingsError
from vptft.evidence.results import Result
from vptft.when.objective.calibration import DEFAULT, disparity
from vptft.when.objective.measures import COMPOSITES, MEASURES
from vptft.when.objective.task import MEANING_OF_FAR, TaskFeatures

DISPARITY = "disparity"
"""Name of the score among the measures."""
KINDS = {
    "task": "str", "objective": "str", "backbone": "str", "pretraining": "str", "draw": "int64", "measure": "str",
    "value": "float64", "seconds": "float64", "n": "int64", "n_classes": "int64", "n_groups": "int64",
    "dimensions": "int64", "note": "str",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Disparity(Result):
    """Every measure of every task in ``table``, long form."""

    analysis: ClassVar[str] = "objective"
    table: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """A row a task, backbone, draw and measure.

        Columns: task, objective, backbone, pretraining, draw, measure (a name of
        :mod:`vptft.when.objective.measures`, or ``disparity`` in [0, 1]), value (NaN where not applicable), seconds
        (CPU time of one thread), n (images), n_classes, n_groups, dimensions, note (why there is no value, or what it
        does not hold).
        """
        return self.table

    def scores(self) -> pd.DataFrame:
        """A row a task and backbone: the disparity, mean, lowest and highest of its draws, of one draw NaN.

        Columns: task, objective, backbone, pretraining, disparity, low, high, linear (the probe's accuracy above
        chance, mean), label_order (mean), draws, n, n_classes, n_groups, note.
        """
        keys = ["task", "objective", "backbone", "pretraining"]
        rows = []
        for key, group in self.table.groupby(keys, sort=False):
            by = group.pivot(index="draw", columns="measure", values="value")
            score, first = by[DISPARITY], group.iloc[0]
            ends = (score.min(), score.max()) if len(by) > 1 else (np.nan, np.nan)
            notes = group.loc[group["measure"] == DISPARITY, "note"]
            rows.append({
                **dict(zip(keys, key, strict=True)), DISPARITY: score.mean(), "low": ends[0], "high": ends[1],
                "linear": by["linear"].mean(), "label_order": by["label_order"].mean(), "draws": len(by),
                **{name: first[name] for name in ("n", "n_classes", "n_groups")}, "note": notes.iloc[0],
            })  # fmt: skip
        return pd.DataFrame(rows)


def measure(
    tasks: Sequence[TaskFeatures],
    *,
    slow: bool = False,
    seed: int = 0,
    workers: int = 1,
    on_done: Callable[[int, int], None] = lambda done, total: None,
    settings: Mapping[str, Any] | None = None,
) -> Disparity:
    """Measure tasks; nothing is trained but probes on the frozen features.

    Parameters
    ----------
    tasks
        One for each task, backbone and draw.
    slow
        Whether Task2Vec and OTDD are measured too.
    seed
        Of folds, halvings and clusters; a task's draw is added to it.
    workers
        Threads, each with tasks of its own.
    on_done
        Called with (tasks done, tasks in all).

    Notes
    -----
    Scores of different pretraining objectives are not on one scale of meaning, see :data:`MEANING_OF_FAR`, though on
    one scale of numbers. Draws of one task tell the noise of measuring; they are never tasks.
    """
    if not tasks:
        raise SettingsError("There is no task to measure.")
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(workers) as pool:
        for done, found in enumerate(pool.map(lambda task: _rows(task, slow, seed + task.draw), tasks), start=1):
            rows += found
            on_done(done, len(tasks))
    objectives = sorted({task.pretraining for task in tasks})
    return Disparity(
        settings={
            **(settings or {}), "seed": seed, "slow": slow, "default": DEFAULT,
            "far": {name: MEANING_OF_FAR.get(name, MEANING_OF_FAR["unknown"]) for name in objectives},
        },
        table=pd.DataFrame(rows, columns=list(KINDS)).astype(KINDS),
    )  # fmt: skip


def _rows(task: TaskFeatures, slow: bool, seed: int) -> list[dict[str, Any]]:
    values: dict[str, float] = {}
    costs: dict[str, float] = {}
    notes: dict[str, str] = {}
    for each in MEASURES:
        if each.slow and not slow:
            continue
        start = time.thread_time()
        try:
            values[each.name], notes[each.name] = each.compute(task, seed), ""
        except (NotApplicable, DataError, MissingExtraError) as error:
            values[each.name], notes[each.name] = np.nan, f"{error.problem} {error.hint}".strip()
        costs[each.name] = time.thread_time() - start
    known = dict(values)
    for composite in COMPOSITES:
        values[composite.name], notes[composite.name] = composite.compose(known), _caution(task, known)
    values[DISPARITY], notes[DISPARITY] = disparity(values[DEFAULT]), notes[DEFAULT]
    return [
        {
            "task": task.task, "objective": task.objective, "backbone": task.backbone,
            "pretraining": task.pretraining, "draw": task.draw, "measure": name, "value": value,
            "seconds": costs.get(name, 0.0), "n": len(task.labels), "n_classes": task.n_classes,
            "n_groups": len(np.unique(task.groups)), "dimensions": task.values.shape[1], "note": notes[name],
        }
        for name, value in values.items()
    ]  # fmt: skip


def _caution(task: TaskFeatures, known: Mapping[str, float]) -> str:
    """What a composite's value does not hold."""
    said = []
    if np.isnan(known["label_order"]):
        said.append("the order of the labels could not be measured; they count as classes")
    if not task.grouped:
        said.append("a class has few groups, so images of one picture are on both sides of the probe")
    if task.skipped:
        said.append(f"images that could not be read and are left out: {task.skipped}")
    return "; ".join(said)
