"""What overfitting explains of the gap over tasks: the terms of the regression, and how much noise there is in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from vptft.evidence.statistics.components import components
from vptft.evidence.statistics.interaction import TASKS_A_TERM
from vptft.evidence.statistics.paired import mean_interval
from vptft.evidence.statistics.resampling import Interval, PairedDraw, no_interval
from vptft.why.overfitting.regression import (
    Fit,
    corrected_slope,
    fit,
    greatest_correlation,
    line,
    reliability,
    unlike,
)

C = TypeVar("C")

PREDICTORS = {
    "rise_nats": "rise of the test loss since its onset",
    "loss_gap_nats": "test less training loss at the end",
}
"""What overfitting is measured by, FT less VPT; the first is judged, the second shown beside it.

Training less test accuracy is no such measure: where both methods learn their training images by heart, the difference
of it is the gap itself.
"""
POINTS_OF_LINE = 41


@dataclass(frozen=True, kw_only=True)
class Compared:
    """VPT and FT of one task, size and seed.

    Attributes
    ----------
    rise_nats, loss_gap_nats
        FT less VPT of each measure of overfitting.
    images
        Per test image: whether VPT is right, less whether FT is.
    group
        Which group of tasks it belongs to.
    few_groups
        Too few independent pictures to be judged.
    """

    task: str
    group: str
    pretraining: str
    n_train: int
    seed: int
    rise_nats: float
    loss_gap_nats: float
    images: PairedDraw
    few_groups: bool = False

    @property
    def gap(self) -> float:
        """Accuracy of VPT minus that of FT, points."""
        return 100 * float(self.images.differences.mean())


def by(cells: Sequence[C], *names: str) -> list[list[C]]:
    """Group cells by the values of these names, in their order."""
    groups: dict[tuple[Any, ...], list[C]] = {}
    for cell in cells:
        groups.setdefault(tuple(getattr(cell, name) for name in names), []).append(cell)
    return [groups[key] for key in sorted(groups)]


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One task, sizes averaged; ``slope`` over its sizes, NaN with one; noise as variances of its means."""

    group: str
    x: float
    y: float
    x_noise: float
    common_noise: float
    y_noise: float
    slope: float
    n_seeds: int


def _task(cells: Sequence[Compared], predictor: str) -> _Task:
    sizes = by(cells, "n_train")
    x = np.array([np.mean([getattr(cell, predictor) for cell in each]) for each in sizes])
    y = np.array([np.mean([cell.gap for cell in each]) for each in sizes])
    noise = np.array([_noise(each, predictor) for each in sizes]).mean(axis=0) / len(sizes)
    return _Task(
        group=cells[0].group, x=float(x.mean()), y=float(y.mean()), x_noise=noise[0], common_noise=noise[1],
        y_noise=noise[2], slope=float(np.polyfit(x, y, 1)[0]) if np.ptp(x) > 0 else float("nan"),
        n_seeds=min(len(each) for each in sizes),
    )  # fmt: skip


def _noise(cells: Sequence[Compared], predictor: str) -> tuple[float, float, float]:
    """Variance of the mean predictor, its covariance with the mean gap (both over seeds), variance of the mean gap."""
    variance = 1e4 * components([cell.images for cell in cells]).variance
    if len(cells) < 2:
        return float("nan"), float("nan"), variance
    found = np.cov([getattr(cell, predictor) for cell in cells], [cell.gap for cell in cells]) / len(cells)
    return float(found[0, 0]), float(found[0, 1]), variance


def terms_of(cells: Sequence[Compared], predictor: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give one row of the terms of a pretraining objective and predictor, and the rows of its line."""
    by_task = by([cell for cell in cells if not cell.few_groups], "task")
    tasks = [_task(each, predictor) for each in by_task]
    x, y = (np.array([getattr(task, name) for task in tasks]) for name in ("x", "y"))
    gap, difference = mean_interval(y), mean_interval(x)
    row: dict[str, Any] = {
        "pretraining": cells[0].pretraining, "predictor": predictor, "n_tasks": len(tasks),
        "n_left_out": len({cell.task for cell in cells}) - len(tasks),
        "n_seeds": min((task.n_seeds for task in tasks), default=0),
        **_spread("mean_gap", "mean_gap", gap), **_spread("mean_difference", "difference", difference),
    }  # fmt: skip
    enough = len(tasks) >= TASKS_A_TERM and np.ptp(x) > 0
    row |= _fitted(fit(x, y) if enough else None, gap.value, x)
    row["noise_sd"] = float(np.sqrt(np.mean([task.y_noise for task in tasks]))) if tasks else float("nan")
    noise = np.array([task.x_noise for task in tasks])
    common = np.array([task.common_noise for task in tasks])
    row["reliability"] = reliability(noise, x) if enough else float("nan")
    row["slope_without_noise"] = corrected_slope(x, y, noise, common) if enough else float("nan")
    of_gap = np.array([task.y_noise for task in tasks])
    most = greatest_correlation(x, y, noise, of_gap, common) if enough else float("nan")
    row |= _explainable(row, x, y, most)
    row |= _in_groups(tasks, x, y) | _in_tasks(tasks)
    if not enough:
        return row, []
    at = np.linspace(min(0.0, x.min()), max(0.0, x.max()), POINTS_OF_LINE)
    names = ("difference", "gap_points", "low_points", "high_points")
    values = np.vstack([at, line(x, y, at)]).T
    named = {"pretraining": cells[0].pretraining, "predictor": predictor}
    return row, [named | dict(zip(names, map(float, each), strict=True)) for each in values]


def _fitted(found: Fit | None, gap: float, x: np.ndarray) -> dict[str, Any]:
    names = (
        "slope", "slope_low", "slope_high", "slope_p", "slope_least", "slope_most", "remaining", "remaining_low",
        "remaining_high", "remaining_p", "remaining_least", "remaining_most", "explained", "r2", "r2_low", "r2_high",
        "r2_new_task", "residual_sd", "difference_least", "difference_most",
    )  # fmt: skip
    if found is None:
        return dict.fromkeys(names, float("nan"))
    values = (
        found.slope.value, found.slope.low, found.slope.high, found.slope_p, found.slopes.min(), found.slopes.max(),
        found.intercept.value, found.intercept.low, found.intercept.high, found.intercept_p, found.intercepts.min(),
        found.intercepts.max(), gap - found.intercept.value, found.r2.value, found.r2.low, found.r2.high,
        found.predicted, found.residual_sd, x.min(), x.max(),
    )  # fmt: skip
    return dict(zip(names, map(float, values), strict=True))


def _explainable(row: dict[str, Any], x: np.ndarray, y: np.ndarray, most: float) -> dict[str, float]:
    """What overfitting could explain at most, noise being what it is, and what it leaves of that."""
    share = most**2
    return {
        "explainable": share, "unexplained": share - row["r2"], "unexplained_low": share - row["r2_high"],
        "unexplained_high": share - row["r2_low"], "unexplained_p": unlike(x, y, most),
    }  # fmt: skip


def _in_groups(tasks: Sequence[_Task], x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The regression with groups of tasks held fixed, where tasks bear so many terms."""
    groups = np.array([task.group for task in tasks])
    n_groups = len(set(groups))
    varies = any(np.ptp(x[groups == name]) > 0 for name in set(groups))
    found = fit(x, y, groups) if n_groups > 1 and len(tasks) >= TASKS_A_TERM * n_groups and varies else None
    slope, remaining = (found.slope, found.intercept) if found else (no_interval(), no_interval())
    return {
        "n_groups": n_groups, **_spread("slope_in_groups", "slope_in_groups", slope),
        **_spread("remaining_in_groups", "remaining_in_groups", remaining),
        "r2_in_groups": found.r2.value if found else float("nan"),
    }  # fmt: skip


def _in_tasks(tasks: Sequence[_Task]) -> dict[str, Any]:
    """Mean over tasks of the slope over their sizes: no difference between tasks can make it."""
    slopes = np.array([task.slope for task in tasks if np.isfinite(task.slope)])
    return {"tasks_with_sizes": len(slopes), **_spread("slope_in_tasks", "slope_in_tasks", mean_interval(slopes))}


def _spread(name: str, stem: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{stem}_low": interval.low, f"{stem}_high": interval.high}
