"""What a measure still tells when a probe tells nothing: pairs of tasks brought to the same accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from vptft.features.probes import linear_above_chance
from vptft.when.objective.disparity import DISPARITY, measure
from vptft.when.objective.measures import DIRECTIONS
from vptft.when.objective.task import TaskFeatures

STEPS = 6
"""Halvings of the share of labels that are replaced: it is then known to 1/64."""


def with_noise(task: TaskFeatures, share: float, *, seed: int) -> TaskFeatures:
    """Return the task with that share of its labels exchanged among themselves at random.

    The images, the classes and their sizes stay; the answer gets harder to read and no other answer.
    """
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(rng.random(len(task.labels)) < share)
    labels = task.labels.copy()
    labels[chosen] = labels[rng.permutation(chosen)]
    return replace(task, labels=labels)


def at_accuracy(task: TaskFeatures, target: float, *, seed: int) -> TaskFeatures:
    """Return the task with as many labels exchanged as bring its linear probe down to ``target`` above chance."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        noisy = with_noise(task, middle, seed=seed)
        reached = linear_above_chance(noisy.values, noisy.labels, noisy.held_out, seed=seed)
        low, high = (middle, high) if reached > target else (low, middle)
    return with_noise(task, (low + high) / 2, seed=seed)


def matched(
    tasks: Sequence[TaskFeatures],
    near: Callable[[str], bool],
    *,
    seed: int = 0,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Compare every near with every far task of one backbone, the better one brought down to the other's accuracy.

    Parameters
    ----------
    tasks
        One draw each.
    near
        Whether an objective is near, by name.

    Returns
    -------
    DataFrame
        A row a pair and measure: backbone, near_task, far_task, linear_near, linear_far (reached), measure, nearer
        (1 where the measure puts the near task nearer, 0 where not, 0.5 for a tie, NaN where not applicable).

    Notes
    -----
    A measure that is accuracy alone is right in about half of the pairs. Pairs share tasks, so they are no sample.
    """
    accuracies = [linear_above_chance(t.values, t.labels, t.held_out, seed=seed) for t in tasks]
    pairs = [
        (i, j)
        for i, a in enumerate(tasks)
        for j, b in enumerate(tasks)
        if a.backbone == b.backbone and near(a.objective) and not near(b.objective)
    ]
    rows = []
    for done, (i, j) in enumerate(pairs, start=1):
        target = min(accuracies[i], accuracies[j])
        both = [tasks[k] if accuracies[k] == target else at_accuracy(tasks[k], target, seed=seed) for k in (i, j)]
        found = [measure([task], seed=seed).table.set_index("measure")["value"] for task in both]
        rows += [
            {
                "backbone": tasks[i].backbone, "near_task": tasks[i].task, "far_task": tasks[j].task,
                "linear_near": found[0]["linear"], "linear_far": found[1]["linear"], "measure": name,
                "nearer": _nearer(name, found[0][name], found[1][name]),
            }
            for name in found[0].index
            if name != DISPARITY
        ]  # fmt: skip
        on_done(done, len(pairs))
    return pd.DataFrame(rows)


def _nearer(name: str, near: float, far: float) -> float:
    difference = near - far if DIRECTIONS[name] == "near" else far - near
    return float("nan") if np.isnan(difference) else (np.sign(difference) + 1) / 2
