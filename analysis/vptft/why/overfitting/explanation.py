"""Does overfitting explain the gap: the gap regressed on how much more FT overfits than VPT, and what remains (Y1).

Han et al. (2024, section 5.1) argue that overfitting explains only part: VPT is also ahead where neither overfits. Here
that is a number, the gap at equal overfitting, with its interval over tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import NotApplicable
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.evidence.statistics.interaction import TASKS_A_TERM
from vptft.evidence.statistics.resampling import Interval
from vptft.evidence.verdicts import REGION, Claim, decide
from vptft.why.overfitting.over_tasks import PREDICTORS, Compared, by, terms_of

JUDGED = "rise_nats"


@dataclass(frozen=True, kw_only=True)
class Explanation(Result):
    """The gap and the difference in overfitting, one row a task and size, and the regressions over tasks.

    Attributes
    ----------
    points
        As in :meth:`frame`.
    terms
        One row a pretraining and predictor. Columns: pretraining, predictor, n_tasks, n_left_out, n_seeds (least),
        mean_gap, mean_gap_low, mean_gap_high (points), mean_difference, difference_low, difference_high (nats), slope,
        slope_low, slope_high, slope_p, slope_least, slope_most (leaving each task out; points a nat), remaining,
        remaining_low, remaining_high, remaining_p, remaining_least, remaining_most (the gap at equal overfitting,
        points), explained (mean gap less remaining), r2, r2_low, r2_high, r2_new_task, residual_sd (points),
        noise_sd (of a task's gap: training draws and test images), reliability (of the predictor),
        slope_without_noise, explainable (share of the gap's variance that overfitting would explain if it were all the
        gap follows, noise of both and what they share of it being as it is), unexplained with its interval and
        unexplained_p (explainable less r2), slope_in_groups with its interval, remaining_in_groups with
        its interval and r2_in_groups (groups held fixed), slope_in_tasks with its interval and tasks_with_sizes (over
        sizes, within tasks). NaN where tasks are too few.
    line
        The fitted lines and their 95% bands: pretraining, predictor, difference, gap_points, low_points, high_points.
    """

    analysis: ClassVar[str] = "overfitting-gap"
    points: pd.DataFrame
    terms: pd.DataFrame
    line: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, group, pretraining, n_train, n_seeds, few_groups, gap_points, gap_least, gap_most (over
        seeds), and for each predictor its mean difference, ``_least`` and ``_most``.
        """  # noqa: D205
        return self.points

    def findings(self) -> tuple[Finding, ...]:
        """Y1, three claims for each pretraining objective: what overfitting explains, and what it leaves."""
        found: list[Finding] = []
        for row in self.terms[self.terms["predictor"] == JUDGED].to_dict("records"):
            named = {str(name): value for name, value in row.items()}
            found += decide(_claims(named)) if np.isfinite(named["slope_low"]) else [_too_few(named)]
        return tuple(found)


def measure(cells: Sequence[Compared], *, settings: Mapping[str, Any] | None = None) -> Explanation:
    """Regress the gap on the difference in overfitting over tasks.

    Parameters
    ----------
    cells
        One a task, size and seed.

    Raises
    ------
    NotApplicable
        There is none.

    Notes
    -----
    Seeds are averaged first, then sizes: tasks are the sample, and never pooled over pretraining objectives. One needs
    five tasks for each term, the slope being one and each further group of tasks another. An association over tasks
    is no cause: what makes a task hard may make it overfit and make prompts win. Noise of the predictor flattens the
    slope, and so makes overfitting explain too little: ``reliability`` and ``slope_without_noise`` say how much. Rise
    and gap come from the same runs, which ties their noise together: over seeds that is measured and counted, what the
    test images they share add is not. Where overfitting explains all, in 500 simulated studies of ten tasks each, a
    remaining gap came out supported in at most 6%, with a seed's noise in the rise of 0.4 nats and tasks that spread by
    0.7; unexplained variance in at most 5%.
    """
    if not cells:
        raise NotApplicable(
            "No VPT run has an FT run of the same task, size and seed: there is no gap to explain.",
            "`vptft-analyze runs FOLDER` lists what is there.",
        )
    frame = pd.DataFrame([_point(part) for part in by(cells, "pretraining", "task", "n_train")])
    parts = [(name, predictor) for name in sorted({cell.pretraining for cell in cells}) for predictor in PREDICTORS]
    found = [terms_of([cell for cell in cells if cell.pretraining == name], predictor) for name, predictor in parts]
    names = ["pretraining", "predictor", "difference", "gap_points", "low_points", "high_points"]
    return Explanation(
        settings=dict(settings or {}),
        points=frame,
        terms=pd.DataFrame([terms for terms, _ in found]),
        line=pd.DataFrame([row for _, rows in found for row in rows], columns=names).astype(
            dict.fromkeys(names[:2], "str") | dict.fromkeys(names[2:], "float64")
        ),
    )


def _point(cells: Sequence[Compared]) -> dict[str, Any]:
    first, gaps = cells[0], [cell.gap for cell in cells]
    row: dict[str, Any] = {
        "task": first.task, "group": first.group, "pretraining": first.pretraining, "n_train": first.n_train,
        "n_seeds": len(cells), "few_groups": first.few_groups, "gap_points": float(np.mean(gaps)),
        "gap_least": min(gaps), "gap_most": max(gaps),
    }  # fmt: skip
    for name in PREDICTORS:
        values = [getattr(cell, name) for cell in cells]
        stem = name.removesuffix("_nats")
        row |= {name: float(np.mean(values)), f"{stem}_least": min(values), f"{stem}_most": max(values)}
    return row


def _claims(row: Mapping[str, Any]) -> list[Claim]:
    n, n_seeds = int(row["n_tasks"]), int(row["n_seeds"])
    scope = f"{n} tasks, {row['pretraining']} pretraining"
    beyond = row["difference_least"] > 0 or row["difference_most"] < 0
    grouped = (
        f"; with groups of tasks held fixed {row['slope_in_groups']:+.1f} "
        f"[{row['slope_in_groups_low']:+.1f}, {row['slope_in_groups_high']:+.1f}]"
    )
    told = [
        (
            "slope", "points a nat", None,
            "Overfitting explains something: slope of the gap (VPT - FT) on how much more FT's test loss rises than "
            f"VPT's, over {scope}" + (grouped if np.isfinite(row["slope_in_groups"]) else ""),
        ),
        (
            "remaining", "points", REGION,
            f"Only part, on average: the gap that remains where both overfit alike, over {scope}; of the mean gap of "
            f"{row['mean_gap']:+.1f} points {row['explained']:+.1f} go with overfitting"
            + ("; no task has equal overfitting, so it is extrapolated" if beyond else ""),
        ),
        (
            "unexplained", "share", None,
            f"Only part, from task to task: overfitting explains {_share(row)} of the gap's variance over {scope}, of "
            f"the {row['explainable']:.0%} that noise would leave it; this much is left",
        ),
    ]  # fmt: skip
    return [
        Claim(
            hypothesis="Y1", statement=statement, predicted=1, unit=unit, region=region, n=n, n_seeds=n_seeds,
            effect=Interval(value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"]),
            p=None if np.isnan(row[f"{name}_p"]) else float(row[f"{name}_p"]),
            withheld="no test of it could be made" if np.isnan(row[f"{name}_p"]) else "",
        )
        for name, unit, region, statement in told
    ]  # fmt: skip


def _share(row: Mapping[str, Any]) -> str:
    interval = f" [{row['r2_low']:.0%}, {row['r2_high']:.0%}]" if np.isfinite(row["r2_low"]) else ""
    return f"{row['r2']:.0%}{interval}"


def _too_few(row: Mapping[str, Any]) -> Finding:
    n = int(row["n_tasks"])
    return Finding(
        hypothesis="Y1", verdict="inconclusive", n=n,
        statement=f"Mean gap (VPT - FT) {row['mean_gap']:+.1f} points, FT's test loss rising "
        f"{row['mean_difference']:+.2f} nats more than VPT's, over {n} task{'' if n == 1 else 's'}; "
        f"{row['pretraining']} pretraining",
        reason=f"{n} task{'s bear' if n != 1 else ' bears'} no regression: it takes {TASKS_A_TERM} that differ",
    )  # fmt: skip
