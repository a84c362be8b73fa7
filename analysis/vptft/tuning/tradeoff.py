"""Accuracy against cost: which rows of a profile are points that compare, and which of these no other beats."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vptft.errors import SettingsError
from vptft.tuning.profile import COSTS

KIND = ["method", "variant", "backbone", "image_size", "prompt_length", "batch_size"]
"""Columns that tell one thing to be compared from another, whatever the task and the seed."""


def points(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a :data:`KIND` that was measured, costs and accuracy averaged over runs, then over tasks.

    Only tasks and training sizes that every kind with an accuracy has count: accuracies of others do not compare.
    Where no row has an accuracy, ``accuracy`` is NaN; else kinds without one are left out.

    Parameters
    ----------
    table
        As of :meth:`vptft.tuning.profile.Profile.frame`.

    Returns
    -------
    DataFrame
        The columns of :data:`KIND`, the costs, ``accuracy``, ``low`` and ``high`` (its range over runs where there is
        one task and size, else NaN: not an interval), ``n_tasks``, ``n_runs``.

    Raises
    ------
    SettingsError
        The kinds have accuracies, and no task in common.
    """
    rows = table[table["not_applicable"] == ""]
    if rows["accuracy"].notna().any():
        rows = rows[rows["accuracy"].notna()]
        rows = rows.assign(cell=rows.groupby(["task", "n_train"]).ngroup())
        common = set.intersection(*(set(kind["cell"]) for _, kind in rows.groupby(KIND)))
        if not common:
            raise SettingsError(
                "The runs to compare have no task and training size in common, and accuracies of different ones do not "
                "compare.",
                "Give runs of every method on the same tasks, trained on as many images.",
            )
        rows = rows[rows["cell"].isin(common)]
    groups = rows.groupby(KIND, sort=False)
    return pd.DataFrame([dict(zip(KIND, key, strict=True)) | _averaged(kind) for key, kind in groups])


def on_front(costs: Sequence[float], accuracies: Sequence[float]) -> np.ndarray:
    """Return which points no other beats: none costs as little or less and is as accurate or more, and is not equal.

    Both are point estimates: a front knows nothing of the noise of times, seeds and test images.
    """
    cost, accuracy = np.asarray(costs, dtype=float), np.asarray(accuracies, dtype=float)
    as_good = (cost[None] <= cost[:, None]) & (accuracy[None] >= accuracy[:, None])
    better = (cost[None] < cost[:, None]) | (accuracy[None] > accuracy[:, None])
    return np.logical_not((as_good & better).any(axis=1))


def _averaged(kind: pd.DataFrame) -> dict[str, Any]:
    """Means over the runs of each task and training size, then over sizes, then over tasks."""
    cells = kind.groupby(["task", "n_train"], sort=False)[[*COSTS, "accuracy"]].mean()
    tasks = cells.groupby("task", sort=False).mean()
    one = len(cells) == 1
    return {
        **{str(name): value for name, value in tasks.mean().items()},
        "low": kind["accuracy"].min() if one else np.nan,
        "high": kind["accuracy"].max() if one else np.nan,
        "n_tasks": len(tasks),
        "n_runs": len(kind),
    }
