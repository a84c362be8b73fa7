"""Accuracy and gap against the number of training images, a pair of panels a task (Han et al. 2024, Figure 4).

All tasks share their axes, so that a small gap looks small. Above: VPT solid, FT dashed, bands from the lowest to the
highest draw. Below: the gap with its interval, the fitted line, and where it crosses zero.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from vptft.report.figures.style import (
    FAINT,
    FT,
    INK,
    MUTED,
    UNCERTAIN,
    VPT,
    WIDTH,
    Look,
    fitted,
    fitting,
    legend_above,
    legend_columns,
    place,
    root,
    small,
    styled,
    table_of,
)
from vptft.when.datasize.measure import DataSize

COLUMNS = (
    "task", "pretraining", "n_train", "accuracy_vpt", "vpt_low", "vpt_high", "accuracy_ft", "ft_low", "ft_high",
    "gap_points", "low_points", "high_points", "line_points", "line_low", "line_high",
)  # fmt: skip
SIDES: tuple[tuple[str, Look], ...] = (("vpt", VPT), ("ft", FT))
OUTCOMES = {"ft overtakes": FT, "vpt overtakes": VPT, "ft ahead": FT, "vpt ahead": VPT, "open": UNCERTAIN}
TALL, LOW = 0.78, 0.55
"""Inches of a panel of accuracies, and of gaps, where a page has room for that."""
PAGE = 9.0
"""Inches a page is high; panels of many tasks are made lower."""
PANEL, NARROW = 1.3, 1.05
"""Inches a task takes across, and in a column where there are many."""
MANY = 8
FULL = int((PAGE - 0.75) / (TALL + LOW + 0.27))
"""Tasks one below the other on a page, in panels of full height."""


@styled
def draw_datasize(result: DataSize, *, width: float | None = None, ax: Axes | None = None) -> Figure:
    """Draw each task's accuracies above its gap, against n on a log axis.

    On the zero line of the gap, a bar spans the sizes at which the fitted gap may be zero, and a diamond stands at n*;
    neither where nothing can be told. Bars end at the measured sizes.

    Parameters
    ----------
    result
        Of :func:`vptft.when.datasize.measure.measure`.
    width
        Inches; a column of the page where that is wide enough, else its text.
    ax
        Where to draw; a new figure where None.
    """
    frame = table_of(result, *COLUMNS)
    tasks = result.tasks.to_dict("records")
    width = width or fitting(PANEL * -(-len(tasks) // FULL))
    across = max(1, min(len(tasks), int(width / (NARROW if len(tasks) > MANY and width < WIDTH else PANEL))))
    rows = -(-len(tasks) // across)
    handles = _handles(frame, tasks)
    told = -(-len(handles) // legend_columns(handles, width))
    height = rows * (TALL + LOW + 0.27) + 0.45 + told * 1.5 * small() / 72
    labels = ("accuracy, %", "gap, points") if height <= PAGE and width >= WIDTH else ("acc., %", "gap, pts")
    figure, grid = place(
        ax, rows=2 * rows, columns=across, height=min(PAGE, height), width=width,
        height_ratios=[TALL, LOW] * rows,
    )  # fmt: skip
    several = frame["pretraining"].nunique() > 1
    limits = _limits(frame)
    for i, task in enumerate(tasks):
        part = frame[(frame["task"] == task["task"]) & (frame["pretraining"] == task["pretraining"])]
        above = figure.add_subplot(grid[2 * (i // across), i % across])
        below = figure.add_subplot(grid[2 * (i // across) + 1, i % across], sharex=above)
        _accuracies(above, part)
        _gaps(below, part, task)
        last = i + across >= len(tasks)
        _axes(above, below, limits, labels=labels if i % across == 0 else None, last=last)
        name = f"{task['task']}, {task['pretraining']}" if several else str(task["task"])
        above.set_title(fitted(name, 72 * (width / across - 0.2), small()), fontsize=small(), pad=2)
    figure.supxlabel("training images", fontsize=small())
    legend_above(figure, handles, width)
    return root(figure)


def _limits(frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Limits that all panels share, with room at the ends; the noise of a line may be cut, not its values."""
    accuracies = 100 * frame[["vpt_low", "vpt_high", "ft_low", "ft_high"]].to_numpy(dtype=float)
    ends = frame[["gap_points", "low_points", "high_points", "line_points"]].to_numpy(dtype=float)
    most = np.abs(frame[["gap_points", "line_points"]].to_numpy(dtype=float)).max()
    gaps = np.append(ends[np.abs(ends) <= 4 * most], 0.0)  # two draws alone have intervals of any length
    sizes = np.log2(frame["n_train"].to_numpy(dtype=float))
    x = _padded(sizes, 0.08)
    return {"x": (2 ** x[0], 2 ** x[1]), "accuracy": _padded(accuracies, 0.06), "gap": _padded(gaps, 0.1)}


def _padded(values: np.ndarray, share: float) -> tuple[float, float]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    pad = share * (high - low) or 1.0
    return low - pad, high + pad


def _accuracies(axes: Axes, part: pd.DataFrame) -> None:
    x = part["n_train"].to_numpy(dtype=float)
    for side, look in SIDES:
        axes.fill_between(x, 100 * part[f"{side}_low"], 100 * part[f"{side}_high"], color=look.colour, alpha=0.2, lw=0)
        axes.plot(
            x, 100 * part[f"accuracy_{side}"], color=look.colour, linestyle=look.linestyle, marker=look.marker,
            markersize=2.8, linewidth=1.1, label=look.label,
        )  # fmt: skip


def _gaps(axes: Axes, part: pd.DataFrame, task: dict[Any, Any]) -> None:
    x = part["n_train"].to_numpy(dtype=float)
    axes.axhline(0, color=MUTED, linewidth=0.6, zorder=1)
    if np.isfinite(part["line_low"]).all():
        axes.fill_between(x, part["line_low"], part["line_high"], color=FAINT, alpha=0.7, lw=0, zorder=0)
    axes.plot(x, part["line_points"], color=MUTED, linewidth=0.9, linestyle=(0, (1, 1)), label="line", zorder=2)
    known = part["low_points"].notna()
    axes.vlines(x[known], part["low_points"][known], part["high_points"][known], color=INK, linewidth=0.8, zorder=3)
    axes.plot(x, part["gap_points"], "o", color=INK, markersize=2.8, label="gap", zorder=4)
    _crossing(axes, task)


def _crossing(axes: Axes, task: dict[Any, Any]) -> None:
    """Draw the bar of sizes that may be n*, and n* itself, in the colour of who is ahead beyond."""
    if task["outcome"] not in ("ft overtakes", "vpt overtakes"):
        return
    colour = OUTCOMES[task["outcome"]].colour
    low, high = max(task["crossing_low"], task["n_least"]), min(task["crossing_high"], task["n_most"])
    axes.plot([low, high], [0, 0], color=colour, linewidth=2.6, solid_capstyle="butt", label="interval of n*", zorder=5)
    axes.plot(
        [task["crossing_n"]], [0], "D", color=colour, markersize=4, markeredgecolor="white", markeredgewidth=0.5,
        label="n*", zorder=6,
    )  # fmt: skip


def _axes(
    above: Axes, below: Axes, limits: dict[str, tuple[float, float]], *, labels: tuple[str, str] | None, last: bool
) -> None:
    above.set_xscale("log")
    above.set_xlim(*limits["x"])
    ticks = _ticks(*limits["x"])
    for axes, name, most in ((above, "accuracy", 4), (below, "gap", 3)):
        axes.set_ylim(*limits[name])
        axes.yaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(FixedFormatter([_short(n) for n in ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelleft=labels is not None, labelbottom=last and axes is below)
    if labels:
        above.set_ylabel(labels[0], fontsize=small())
        below.set_ylabel(labels[1], fontsize=small())


def _ticks(low: float, high: float) -> list[float]:
    """One, two and five times powers of ten, or powers alone where that would be more than four."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [p * f for p in powers for f in factors if low <= p * f <= high]
        if len(found) <= 3:
            return found
    return found


def _short(n: float) -> str:
    return f"{n / 1000:g}k" if n >= 1000 else f"{n:g}"


def _handles(frame: pd.DataFrame, tasks: Sequence[dict[Any, Any]]) -> list[Artist]:
    """Handles of the legend: of what there is."""
    handles: list[Artist] = [
        Line2D([], [], color=look.colour, ls=look.linestyle, marker=look.marker, markersize=3, label=look.label)
        for _, look in SIDES
    ]
    if (frame["vpt_high"] > frame["vpt_low"]).any():
        handles.append(Patch(color=VPT.colour, alpha=0.2, linewidth=0, label="lowest to highest draw"))
    interval = ", 95% interval" if frame["low_points"].notna().any() else ""
    handles.append(Line2D([], [], color=INK, marker="o", markersize=3, linewidth=0.8 if interval else 0,
                          label=f"gap VPT − FT{interval}"))  # fmt: skip
    handles.append(Line2D([], [], color=MUTED, linestyle=(0, (1, 1)), linewidth=0.9, label="line in log n"))
    if frame["line_low"].notna().any():
        handles.append(Patch(color=FAINT, alpha=0.7, linewidth=0, label="its 95% band"))
    if any(task["outcome"] in ("ft overtakes", "vpt overtakes") for task in tasks):
        handles.append(Line2D([], [], color=FT.colour, marker="D", markersize=4, markeredgecolor="white", linewidth=2.6,
                              label="n*, 95% set"))  # fmt: skip
    return handles
