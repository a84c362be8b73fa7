"""Data size: accuracy and gap against log n, where FT overtakes, and whether it closes the gap (W3).

Han et al. (2024, section 4.3, Figures 4 and 14-16) show curves of single draws. Here every size has its noise, every
task its crossing with a confidence set, and the slope is tested over tasks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import NotApplicable, SettingsError
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.evidence.statistics.components import nested_interval
from vptft.evidence.statistics.resampling import Interval
from vptft.evidence.verdicts import REGION, Claim, decide
from vptft.when.datasize.cells import Cell, combined, mean_gaps, sizes_of
from vptft.when.datasize.crossing import Line, Outcome, crossing_of, in_words, outcome_of
from vptft.when.datasize.extrapolation import curves_of, no_curves
from vptft.when.datasize.lines import Fitted, fit, sign_changes
from vptft.when.datasize.over_tasks import ALL, OUTCOMES, crossing_row, groups


@dataclass(frozen=True, kw_only=True)
class DataSize(Result):
    """One row a task and size in ``points``, a task in ``tasks``, a task group in ``groups``; learning curves.

    Attributes
    ----------
    tasks
        Columns: task, task_group, pretraining, few_groups, judged, n_sizes, n_least, n_most, n_draws, noise (see
        :class:`~vptft.when.datasize.lines.Fitted`), slope_points, slope_low, slope_high (points a doubling), bends
        (``yes``, ``no``, ``not known``), observed (who is ahead at the smallest and the largest size, and who passes
        whom in between, of the mean gaps as they are), crossing_n, crossing_low, crossing_high (images),
        crossing_kind, outcome, says.
    groups
        Columns: pretraining, task_group (``all tasks`` for all of a pretraining), n_tasks, n_left_out, n_seeds (least
        of its tasks, 0 where not known), slope_points, slope_low, slope_high, p (sign flips), p_holm (over the groups
        of a pretraining), doublings, region_points, the crossing as in ``tasks``, on how many tasks FT passes VPT in
        the mean gaps as they are, and how many have each outcome.
    curves
        Power laws and what they extrapolate to, where asked for.
    """

    analysis: ClassVar[str] = "datasize"
    points: pd.DataFrame
    tasks: pd.DataFrame
    groups: pd.DataFrame
    curves: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, task_group, pretraining, n_train, n_draws (0: not known), accuracy_vpt, vpt_low, vpt_high,
        accuracy_ft, ft_low, ft_high (fractions; lowest and highest draw), gap_points, low_points, high_points (95%
        interval over draws and test images; NaN where neither is known), line_points with line_low, line_high (the
        fitted line and its 95% interval, infinite where nothing tells it).
        """  # noqa: D205
        return self.points

    def findings(self) -> tuple[Finding, ...]:
        """W3, one for each pretraining objective: never pooled over it."""
        rows = self.groups[self.groups["task_group"] == ALL].to_dict("records")
        return decide([_claim({str(name): value for name, value in row.items()}) for row in rows])


def measure(
    cells: Sequence[Cell],
    *,
    least_sizes: int = 3,
    region: float = REGION,
    curves: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> DataSize:
    """Fit each task's gap against log n, find where it crosses zero, and test the slope over tasks.

    Parameters
    ----------
    cells
        One a task, size and draw; published means have no draw, and one value a size.
    least_sizes
        Sizes a task needs for its slope to count in a mean over tasks: a line through two points has no noise, and
        their range is often another.
    region
        Points of accuracy, over the median measured range, within which a change of the gap is practically none.
    curves
        Whether to fit a learning curve to each method, and extrapolate it.
    seed
        Of the sign flips, where there are more than 20 tasks.

    Raises
    ------
    NotApplicable
        No task has two sizes.

    Notes
    -----
    Means over tasks take tasks as the sample, so that n counts tasks: suite tasks that share scenes, and tasks of one
    data set, are less than independent, and the interval is then too short. Tasks with few groups are shown and not
    judged. A group's crossing is where the mean of its tasks' lines is zero, which is not the mean of their crossings.
    """
    if least_sizes < 2 or region < 0:
        raise SettingsError(f"least_sizes must be at least 2 and region not negative; got {least_sizes}, {region}.")
    by_task = _by_task(cells)
    usable = {key: each for key, each in by_task.items() if len(sizes_of(each)) > 1}
    if not usable:
        raise NotApplicable(
            "No task has runs at two training sizes, so nothing can be said of data size.",
            "Make them: vptft-analyze protocol datasize, or sweep with several n_train.",
        )
    fits = {key: fit(each) for key, each in usable.items()}
    tasks = pd.DataFrame([_task_row(usable[key], fits[key], least_sizes) for key in usable])
    return DataSize(
        settings={**(settings or {}), "least_sizes": least_sizes, "region": region, "curves": curves, "seed": seed},
        points=pd.DataFrame([row for key in usable for row in _points(usable[key], fits[key])]),
        tasks=tasks,
        groups=groups(tasks, list(fits.values()), region, seed),
        curves=curves_of(usable) if curves else no_curves(),
    )


def _by_task(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in sorted(cells, key=lambda c: (c.pretraining, c.task_group, c.task, c.n_train, c.draw or 0)):
        found.setdefault((cell.pretraining, cell.task), []).append(cell)
    return found


def _points(cells: Sequence[Cell], fitted: Fitted) -> list[dict[str, Any]]:
    return [_point([cell for cell in cells if cell.n_train == n], fitted.line) for n in sizes_of(cells)]


def _point(cells: Sequence[Cell], line: Line) -> dict[str, Any]:
    draws = [[cell] for cell in cells if cell.draw is not None]
    gap = nested_interval([combined(draws, np.ones(1))], [1.0]) if draws else None
    x = math.log2(cells[0].n_train)
    row: dict[str, Any] = {
        "task": cells[0].task, "task_group": cells[0].task_group, "pretraining": cells[0].pretraining,
        "n_train": cells[0].n_train, "n_draws": len(draws),
    }  # fmt: skip
    for side in ("vpt", "ft"):
        values = [getattr(cell, f"accuracy_{side}") for cell in cells]
        row |= {f"accuracy_{side}": float(np.mean(values)), f"{side}_low": min(values), f"{side}_high": max(values)}
    return row | {
        "gap_points": float(np.mean([cell.gap for cell in cells])),
        "low_points": gap.low if gap else math.nan,
        "high_points": gap.high if gap else math.nan,
        "line_points": line.at(x),
        "line_low": line.at(x) - line.half_width(x),
        "line_high": line.at(x) + line.half_width(x),
    }


def _task_row(cells: Sequence[Cell], fitted: Fitted, least_sizes: int) -> dict[str, Any]:
    sizes = sizes_of(cells)
    return {
        "task": cells[0].task, "task_group": cells[0].task_group, "pretraining": cells[0].pretraining,
        "few_groups": cells[0].few_groups, "judged": len(sizes) >= least_sizes and not cells[0].few_groups,
        "n_sizes": len(sizes), "n_least": int(sizes[0]), "n_most": int(sizes[-1]), "n_draws": fitted.n_draws,
        "noise": fitted.noise, "slope_points": fitted.slope.value, "slope_low": fitted.slope.low,
        "slope_high": fitted.slope.high,
        "bends": {True: "yes", False: "no", None: "not known"}[fitted.bends], "observed": _observed(mean_gaps(cells)),
    } | _crossing_of_task(cells, fitted)  # fmt: skip


def _crossing_of_task(cells: Sequence[Cell], fitted: Fitted) -> dict[str, Any]:
    """Where the gap is zero: on the line, or where it bends, on the secant between the sizes around the change."""
    sizes = sizes_of(cells)
    least, most = float(sizes[0]), float(sizes[-1])
    line = fitted.secant or fitted.line
    crossing = crossing_of(line)
    outcome = outcome_of(line, crossing, least, most)
    if fitted.bends and fitted.secant is None:
        outcome = _outcome_of_points(_points(cells, fitted))
        if outcome == "open":
            return crossing_row(crossing, outcome, "cannot tell: the gap bends, and its line does not say where")
    said = in_words(line, crossing, outcome, least, most)
    return crossing_row(crossing, outcome, said + (", between two sizes: the gap bends" if fitted.secant else ""))


def _observed(gaps: np.ndarray) -> str:
    """What the mean gaps do, without regard to noise; a gap of 0 is on no side."""
    sides = np.sign(gaps[np.flatnonzero(gaps)])
    if len(sides) and sides[0] != sides[-1]:
        return "ft passes" if sides[0] > 0 else "vpt passes"
    if not len(sides) or sign_changes(gaps):
        return "mixed"
    return "vpt ahead" if sides[0] > 0 else "ft ahead"


def _outcome_of_points(points: Sequence[Mapping[str, Any]]) -> Outcome:
    """Who is ahead at every size, by each one's own interval."""
    if all(row["low_points"] > 0 for row in points):
        return "vpt ahead"
    return "ft ahead" if all(row["high_points"] < 0 for row in points) else "open"


def _claim(row: Mapping[str, Any]) -> Claim:
    counted = ", ".join(
        f"{outcome} on {count}" for outcome in OUTCOMES if (count := row[f"n_{outcome.replace(' ', '_')}"])
    ).replace("ft ", "FT ").replace("vpt ", "VPT ")  # fmt: skip
    left = f" ({row['n_left_out']} more have too few sizes or groups)" if row["n_left_out"] else ""
    n = int(row["n_tasks"])
    return Claim(
        hypothesis="W3",
        statement=f"Change of the gap (VPT - FT) with one doubling of the training images, mean of {n} "
        f"task{'' if n == 1 else 's'}{left} over {row['doublings']:.1f} doublings; {row['pretraining']} pretraining. "
        f"By task: {counted}; of the mean gaps as they are, FT passes VPT on {row['n_ft_passes']}",
        effect=Interval(value=row["slope_points"], low=row["slope_low"], high=row["slope_high"]),
        predicted=-1,
        unit="points a doubling",
        region=float(row["region_points"]),
        p=None if math.isnan(row["p"]) else float(row["p"]),
        n=n,
        n_seeds=int(row["n_seeds"]) or None,
    )
