"""Overfitting by experiment: FT with and without what keeps it from overfitting, and what that does to the gap.

Han et al. (2024, section 5.1) conclude from curves that overfitting is not the whole reason. A regression over tasks
(:mod:`.explanation`) cannot tell what causes what; here something is done to FT and the rest is held equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import NotApplicable
from vptft.evidence.findings import Finding, from_table, to_table
from vptft.evidence.results import Result
from vptft.evidence.statistics.components import nested_interval
from vptft.evidence.statistics.paired import mean_interval, sign_flip
from vptft.evidence.statistics.resampling import Interval, PairedDraw, no_interval
from vptft.evidence.verdicts import Claim, decide
from vptft.why.overfitting.over_tasks import by

NUMBERS = ("rise_change", "accuracy_change", "gap")
"""What is told of an arm: nats, points, points; each a column with ``_low`` and ``_high`` beside it."""
ARMS = {
    "pretraining": "str", "arm": "str", "task": "str", "n_train": "int64", "n_seeds": "int64", "few_groups": "bool",
    **{f"{name}{end}": "float64" for name in NUMBERS for end in ("", "_low", "_high")},
}  # fmt: skip
OVERALL = {
    "pretraining": "str", "arm": "str", "n_tasks": "int64", "n_seeds": "int64",
    **{f"{name}{end}": "float64" for name in NUMBERS for end in ("", "_low", "_high")},
    "accuracy_change_p": "float64", "gap_p": "float64",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Arm:
    """FT with one change beside FT without it, and VPT: one task, size and seed.

    Attributes
    ----------
    arm
        What was changed: ``label_smoothing 0.1``.
    rise_change
        Rise of the test loss with the change less without it, nats.
    gained
        Per test image: whether FT is right with the change, less whether it is without.
    gap
        Per test image: whether VPT is right, less whether FT is with the change; None without a VPT run.
    few_groups
        Too few independent pictures to be judged.
    """

    arm: str
    task: str
    pretraining: str
    n_train: int
    seed: int
    rise_change: float
    gained: PairedDraw
    gap: PairedDraw | None = None
    few_groups: bool = False


@dataclass(frozen=True, kw_only=True)
class Regularisation(Result):
    """What each change of FT does to its overfitting, its accuracy and the gap.

    Attributes
    ----------
    table
        See :meth:`frame`.
    overall
        A row a pretraining objective and arm: pretraining, arm, n_tasks, n_seeds (least), the means over tasks of
        rise_change, accuracy_change and gap with their 95% intervals, accuracy_change_p, gap_p. Sizes of a task are
        averaged first.
    claims
        Findings as a table.
    """

    analysis: ClassVar[str] = "regularisation"
    table: pd.DataFrame
    overall: pd.DataFrame
    claims: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: pretraining, arm, task, n_train, n_seeds, few_groups, rise_change (nats, with the change less
        without), accuracy_change (points, likewise), gap (VPT less FT with the change, points), each with ``_low`` and
        ``_high``. NaN where there is no VPT run, or one seed.
        """  # noqa: D205
        return self.table

    def findings(self) -> tuple[Finding, ...]:
        """Y1, two claims an arm: the change makes FT better; a gap remains all the same."""
        return from_table(self.claims)


def measure(cells: Sequence[Arm], *, settings: Mapping[str, Any] | None = None) -> Regularisation:
    """Compare FT with each change to FT without it, image by image.

    Parameters
    ----------
    cells
        One an arm, task, size and seed.

    Raises
    ------
    NotApplicable
        There is none.

    Notes
    -----
    Intervals of one task hold training draws and test images, those over tasks take tasks as the sample; with one task
    the claims are about that one. All arms of one pretraining objective are one family. A change does more than keep a
    network from overfitting (dropout slows training down, jitter shows other images), so what FT gains by it is not all
    overfitting's; and an arm whose loss rises no less than before tests nothing: read its rise first.
    """
    if not cells:
        raise NotApplicable(
            "No FT run differs from another of its task, size and seed in what keeps it from overfitting.",
            "`vptft-analyze protocol overfitting` trains such runs.",
        )
    rows = [_row(part) for part in by(cells, "pretraining", "arm", "task", "n_train")]
    parts = by([cell for cell in cells if not cell.few_groups], "pretraining", "arm")
    overall = [_over_tasks(part) for part in parts]
    findings = [
        finding
        for name in dict.fromkeys(row["pretraining"] for row in overall)
        for finding in decide([claim for row in overall if row["pretraining"] == name for claim in _claims(row)])
    ]
    return Regularisation(
        settings=dict(settings or {}),
        table=pd.DataFrame(rows, columns=list(ARMS)).astype(ARMS),
        overall=pd.DataFrame(overall, columns=list(OVERALL)).astype(OVERALL),
        claims=to_table(findings),
    )


def _row(cells: Sequence[Arm]) -> dict[str, Any]:
    """One arm, task and size over its seeds."""
    first, gaps = cells[0], [cell.gap for cell in cells if cell.gap is not None]
    return {
        "pretraining": first.pretraining, "arm": first.arm, "task": first.task, "n_train": first.n_train,
        "n_seeds": len(cells), "few_groups": first.few_groups,
        **_spread("rise_change", mean_interval(np.array([cell.rise_change for cell in cells]))),
        **_spread("accuracy_change", nested_interval([[cell.gained for cell in cells]], [100.0])),
        **_spread("gap", nested_interval([gaps], [100.0]) if len(gaps) == len(cells) else no_interval()),
    }  # fmt: skip


def _over_tasks(cells: Sequence[Arm]) -> dict[str, Any]:
    """One arm over the tasks that can be judged, sizes averaged; with one task, over its draws."""
    each = [_row(part) for part in by(cells, "task", "n_train")]
    rows = pd.DataFrame(each)
    told: dict[str, Any] = {
        "pretraining": cells[0].pretraining, "arm": cells[0].arm, "n_tasks": rows["task"].nunique(),
        "n_seeds": int(rows["n_seeds"].min()),
    }  # fmt: skip
    if told["n_tasks"] == 1:
        return told | _over_draws(cells)
    means = rows.groupby("task", sort=False)[list(NUMBERS)].mean()
    told |= {key: value for name in NUMBERS for key, value in _spread(name, _mean_of(means[name])).items()}
    return told | {f"{name}_p": _p(means[name]) for name in NUMBERS[1:]}


def _over_draws(cells: Sequence[Arm]) -> dict[str, float]:
    """One task's numbers over its draws, those of several sizes averaged first: they share a draw's test images."""
    sizes = len({cell.n_train for cell in cells})
    draws = [part for part in by(cells, "seed") if len(part) == sizes]
    rises = [float(np.mean([cell.rise_change for cell in draw])) for draw in draws]
    told = _spread("rise_change", mean_interval(np.array(rises)) if rises else no_interval())
    told["n_seeds"] = len(draws)
    for name, pieces in (
        ("accuracy_change", [[cell.gained for cell in draw] for draw in draws]),
        ("gap", [[cell.gap for cell in draw] for draw in draws]),
    ):
        means = [_averaged(draw) for draw in pieces]
        whole = [mean for mean in means if mean is not None]
        found = nested_interval([whole], [100.0]) if whole and len(whole) == len(means) else None
        told |= _spread(name, found or no_interval()) | {f"{name}_p": found.p if found else float("nan")}
    return told


def _averaged(draws: Sequence[PairedDraw | None]) -> PairedDraw | None:
    """One draw's differences, image by image, averaged over sizes; None where they are of other images, or missing."""
    there = [draw for draw in draws if draw is not None]
    if len(there) < len(draws) or any(not np.array_equal(draw.groups, there[0].groups) for draw in there):
        return None
    return replace(there[0], differences=np.mean([draw.differences for draw in there], axis=0))


def _mean_of(values: pd.Series) -> Interval:
    return mean_interval(values.to_numpy()) if values.notna().all() else no_interval()


def _p(values: pd.Series) -> float:
    return sign_flip(values.to_numpy()).p if values.notna().all() and len(values) > 1 else float("nan")


def _claims(row: Mapping[str, Any]) -> list[Claim]:
    n, seeds = int(row["n_tasks"]), int(row["n_seeds"])
    scope = f"{n} task{'' if n == 1 else 's'}, {row['pretraining']} pretraining"
    rise = f"its test loss rising {row['rise_change']:+.3f} nats against before"
    told = [
        ("accuracy_change", f"Overfitting explains something, by experiment: FT with {row['arm']} less FT without it, "
         f"{rise}, over {scope}"),
        ("gap", f"Only part, by experiment: the gap that remains, VPT less FT with {row['arm']}, over {scope}"),
    ]  # fmt: skip
    return [
        Claim(
            hypothesis="Y1", statement=statement, predicted=1, n=n, n_seeds=seeds,
            effect=Interval(value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"]),
            p=None if np.isnan(row[f"{name}_p"]) else float(row[f"{name}_p"]),
        )
        for name, statement in told
        if np.isfinite(row[name])
    ]  # fmt: skip


def _spread(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
