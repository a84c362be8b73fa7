"""What a search is worth: the gap on validation that a smaller budget of trials would have led to."""

from collections.abc import Sequence
from math import comb

import numpy as np
import pandas as pd

from vptft.evidence.statistics.paired import mean_interval
from vptft.when.sensitivity.specifications import Specification

COLUMNS = {
    "pretraining": "str", "task": "str", "trials": "int64", "validation_vpt": "float64", "validation_ft": "float64",
    "gap_points": "float64", "low_points": "float64", "high_points": "float64", "n_tasks": "int64",
}  # fmt: skip
ALL = "all tasks"


def expected_best(accuracies: Sequence[float], k: int) -> float:
    """Mean of the best of ``k`` trials over all sets of k of them.

    sum_i a_(i) C(i - 1, k - 1) / C(n, k) with ascending a_(i): the expected validation performance of Dodge et al.
    2019 (*Show your work*), without replacement, so that k = n gives what the search found.
    """
    ordered, n = sorted(accuracies), len(accuracies)
    return sum(value * comb(i, k - 1) for i, value in enumerate(ordered)) / comb(n, k)


def budgets(specifications: Sequence[Specification]) -> pd.DataFrame:
    """Expected best validation accuracy of each side and the gap between them, for every budget both sides had.

    Returns
    -------
    DataFrame
        A row a task and number of trials, and where there are several tasks, rows of their mean with Student's t
        interval over tasks: pretraining, task, trials, validation_vpt, validation_ft (fractions), gap_points,
        low_points, high_points (NaN for one task), n_tasks.

    Notes
    -----
    On validation images, since no trial sees a test image: the gap of the best of k trials is optimistic for both
    sides, more for the one whose trials differ more. Trials come from one training draw, so a task alone has no
    interval. The last trial of a search is placed by the others, so small budgets look a little better than they were.
    """
    rows = [
        _row(spec.pretraining, spec.task, k, *(expected_best(trials, k) for trials in both), tasks=1)
        for spec in specifications
        if all(both := _trials(spec))
        for k in range(1, min(map(len, both)) + 1)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    means = [_mean(part, k) for _, part in table.groupby("pretraining") if part["task"].nunique() > 1
             for k in range(1, int(part.groupby("task")["trials"].max().min()) + 1)]  # fmt: skip
    return pd.concat([table, pd.DataFrame(means, columns=list(COLUMNS)).astype(COLUMNS)], ignore_index=True)


def _trials(spec: Specification) -> tuple[tuple[float, ...], tuple[float, ...]]:
    draw = spec.draws[0]
    return spec.vpt[draw].trials, spec.ft[draw].trials


def _mean(part: pd.DataFrame, k: int) -> dict[str, object]:
    rows = part[part["trials"] == k]
    gap = mean_interval(rows["gap_points"].to_numpy())
    first = str(part["pretraining"].iloc[0])
    row = _row(first, ALL, k, rows["validation_vpt"].mean(), rows["validation_ft"].mean(), tasks=len(rows))
    return row | {"low_points": gap.low, "high_points": gap.high}


def _row(pretraining: str, task: str, k: int, vpt: float, ft: float, *, tasks: int) -> dict[str, object]:
    return {
        "pretraining": pretraining, "task": task, "trials": k, "validation_vpt": vpt, "validation_ft": ft,
        "gap_points": 100 * (vpt - ft), "low_points": np.nan, "high_points": np.nan, "n_tasks": tasks,
    }  # fmt: skip
