"""Over tasks: the mean slope, its test, and where the mean of the tasks' lines crosses zero."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vptft.evidence.statistics.families import holm
from vptft.evidence.statistics.paired import mean_interval, sign_flip
from vptft.evidence.statistics.resampling import Interval
from vptft.when.datasize.crossing import Crossing, Line, Outcome, crossing_of, in_words, outcome_of
from vptft.when.datasize.lines import Fitted

ALL = "all tasks"
OUTCOMES: tuple[Outcome, ...] = ("ft overtakes", "vpt overtakes", "ft ahead", "vpt ahead", "open")


def groups(tasks: pd.DataFrame, fits: Sequence[Fitted], region: float, seed: int) -> pd.DataFrame:
    """Rows for each pretraining objective, and for each of its task groups where there are several."""
    rows: list[dict[str, Any]] = []
    for pretraining, part in tasks.groupby("pretraining", sort=True):
        names = sorted(part["task_group"].unique())
        of_group = [
            _group_row(str(pretraining), name, part[part["task_group"] == name], fits, region, seed)
            for name in (names if len(names) > 1 else [])
        ]
        adjusted = holm([row["p"] for row in of_group])
        rows.append(_group_row(str(pretraining), ALL, part, fits, region, seed))
        rows += [row | {"p_holm": float(p)} for row, p in zip(of_group, adjusted, strict=True)]
    return pd.DataFrame([row for row in rows if row["n_tasks"]], columns=list(rows[0]))


def _group_row(
    pretraining: str, name: str, rows: pd.DataFrame, fits: Sequence[Fitted], region: float, seed: int
) -> dict[str, Any]:
    judged = rows[rows["judged"]]
    lines = [fits[i].line for i in judged.index]
    slopes = np.array([line.slope for line in lines])
    alone = fits[judged.index[0]].slope if len(judged) == 1 else None
    slope = alone or mean_interval(slopes)
    doublings = float(np.median(np.log2(judged["n_most"] / judged["n_least"]))) if len(judged) else math.nan
    p = sign_flip(slopes, seed=seed).p if len(slopes) > 1 else math.nan
    row = {
        "pretraining": pretraining, "task_group": name, "n_tasks": len(judged), "n_left_out": len(rows) - len(judged),
        "n_seeds": int(judged["n_draws"].min()) if len(judged) else 0, "doublings": doublings,
        "slope_points": slope.value, "slope_low": slope.low, "slope_high": slope.high, "p": p, "p_holm": p,
        "region_points": region / doublings,
    }  # fmt: skip
    counts = {"n_ft_passes": int((judged["observed"] == "ft passes").sum())}
    counts |= {f"n_{outcome.replace(' ', '_')}": int((judged["outcome"] == outcome).sum()) for outcome in OUTCOMES}
    return row | _mean_crossing(lines, judged, slope) | counts


def _mean_crossing(lines: Sequence[Line], judged: pd.DataFrame, slope: Interval) -> dict[str, Any]:
    """Where the mean of the tasks' lines is zero; its noise is how tasks differ."""
    if not lines:
        return crossing_row(Crossing(n=math.nan, low=0.0, high=math.inf, kind="everywhere"), "open", "")
    least, most = float(judged["n_least"].min()), float(judged["n_most"].max())
    line = lines[0]
    if len(lines) > 1:
        centre = float(np.mean([each.centre for each in lines]))
        levels = np.array([each.at(centre) for each in lines])
        spread = np.cov(levels, [each.slope for each in lines]) / len(lines)
        line = Line(
            level=float(levels.mean()), slope=slope.value, centre=centre, level_variance=float(spread[0, 0]),
            covariance=float(spread[0, 1]), slope_variance=float(spread[1, 1]),
            t=float(stats.t.ppf(0.975, len(lines) - 1)),
        )  # fmt: skip
    crossing = crossing_of(line)
    outcome = outcome_of(line, crossing, least, most)
    return crossing_row(crossing, outcome, in_words(line, crossing, outcome, least, most))


def crossing_row(crossing: Crossing, outcome: Outcome, says: str) -> dict[str, Any]:
    """Columns of a crossing, for tasks and for groups."""
    return {
        "crossing_n": crossing.n, "crossing_low": crossing.low, "crossing_high": crossing.high,
        "crossing_kind": crossing.kind, "outcome": outcome, "says": says,
    }  # fmt: skip
