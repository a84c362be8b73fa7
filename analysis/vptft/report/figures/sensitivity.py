"""Specification curves (Simonsohn, Simmons and Nelson 2020), and what the gap's variance comes from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vptft.errors import SettingsError
from vptft.report.figures.gaps import WINNERS
from vptft.report.figures.style import (
    FAINT,
    INK,
    MUTED,
    fitted,
    fitting,
    legend_above,
    place,
    root,
    small,
    styled,
    table_of,
    text_width,
)
from vptft.when.sensitivity.measure import ALL, Sensitivity
from vptft.when.sensitivity.specifications import in_order

COLUMNS = ("pretraining", "task", "specification", "reference", "gap_points", "low_points", "high_points", "winner")
STRIP, LEVEL, SHARE = 0.75, 0.14, 0.24
"""Inches of a task's curve, of a level among the dots, and of a row of shares."""
PAGE, LOWEST = 9.0, 0.4
"""Inches a page is high; curves of several tasks are made lower to fit it, but not lower than this."""
TASKS_A_PAGE = 8
SPECIFICATION = 0.05
"""Inches across that its mark takes at least."""
NAME = 0.30
"""Part of the width that names of levels may take."""


@styled
def draw_specifications(
    result: Sensitivity, *, part: int = 0, width: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw each task's gaps in every specification, in one order for all tasks, above the choices they are made of.

    The order is that of the mean gap over tasks; the reference specification has a line through all panels.

    Parameters
    ----------
    result
        Of :func:`vptft.when.sensitivity.measure.measure`.
    part
        Which eight tasks, from 0; see :func:`parts_of`.
    width
        Inches; a column of the page where that is wide enough, else its text.
    ax
        Where to draw; a new figure where None.

    Raises
    ------
    SettingsError
        No choice varies, so that there is one specification.
    """
    frame = table_of(result, *COLUMNS)
    if result.choices.empty:
        raise SettingsError(f"There is one specification, and no curve of it: {result.reason}.")
    order = list(frame.groupby("specification")["gap_points"].mean().sort_values(kind="stable").index)
    x = {number: i for i, number in enumerate(order)}
    tasks = _tasks(frame)[part * TASKS_A_PAGE : (part + 1) * TASKS_A_PAGE]
    rows = _rows(result.choices)
    width = width or fitting((SPECIFICATION * len(order) + 0.5) / (1 - NAME))
    dots = LEVEL * len(rows)
    strip = max(LOWEST, min(STRIP, (PAGE - dots - 0.65) / len(tasks) - 0.19))
    figure, grid = place(
        ax, rows=len(tasks) + 1, columns=1, height=len(tasks) * (strip + 0.19) + dots + 0.65, width=width,
        height_ratios=[strip] * len(tasks) + [dots],
    )  # fmt: skip
    top: Axes | None = None
    several = frame["pretraining"].nunique() > 1
    for i, (pretraining, task) in enumerate(tasks):
        axes = figure.add_subplot(grid[i], sharex=top)
        top = top or axes
        own = frame[(frame["pretraining"] == pretraining) & (frame["task"] == task)]
        _curve(axes, own.assign(x=own["specification"].map(x)))
        name = f"{task}, {pretraining}" if several else task
        axes.set_title(_counted(name, own, 72 * width * (1 - NAME) - 30), fontsize=small(), loc="left", pad=2)
        axes.set_ylabel("gap, points" if strip > 0.6 else "points", fontsize=small())
        axes.tick_params(labelbottom=False)
    root(figure).align_ylabels(list(figure.axes))
    axes = figure.add_subplot(grid[len(tasks)], sharex=top)
    _dots(axes, result.choices, rows, x, 72 * width * NAME)
    axes.set_xlim(-0.7, len(order) - 0.3)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(order)} specifications, by their mean gap", fontsize=small())
    _legend(figure, frame, width)
    return root(figure)


def parts_of(result: Sensitivity) -> int:
    """Return how many figures of up to eight tasks there are."""
    return -(-len(_tasks(result.frame())) // TASKS_A_PAGE)


def _tasks(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(frame["pretraining"], frame["task"], strict=True)))


def _counted(name: str, part: pd.DataFrame, points: float) -> str:
    """The task, and how many specifications each side wins; the name is shortened, never the counts."""
    n = {winner: int((part["winner"] == winner).sum()) for winner in WINNERS}
    counts = f": VPT {n['vpt']}, FT {n['ft']}, uncertain {n['uncertain']}"
    return fitted(name, points - text_width(counts)) + counts


def _curve(axes: Axes, part: pd.DataFrame) -> None:
    axes.axhline(0, color=MUTED, linewidth=0.6, zorder=1)
    size = float(np.clip(180 / len(part), 1.5, 3.5))
    for winner, look in WINNERS.items():
        rows = part[part["winner"] == winner]
        axes.vlines(
            rows["x"], rows["low_points"], rows["high_points"], color=look.colour, linewidth=size / 3.5, zorder=2
        )
        axes.plot(
            rows["x"], rows["gap_points"], look.marker, color=look.colour, markersize=size, label=winner, zorder=3,
            markerfacecolor="white" if winner == "uncertain" else look.colour, markeredgewidth=0.7,
        )  # fmt: skip
    _mark_reference(axes, part.loc[part["reference"], "x"])
    wide = part["n_draws"] < 3  # two draws tell next to nothing
    ends = part.loc[~wide, ["low_points", "high_points"]].to_numpy(dtype=float).ravel()
    ends = np.concatenate([[0.0], part["gap_points"].to_numpy(dtype=float), ends])
    kept = ends[np.isfinite(ends)]
    pad = 0.08 * np.ptp(kept) or 1.0
    axes.set_ylim(kept.min() - pad, kept.max() + pad)
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))


def _mark_reference(axes: Axes, positions: pd.Series) -> None:
    for position in positions:
        axes.axvline(position, color=FAINT, linewidth=4, zorder=0, label="reference")


def _rows(choices: pd.DataFrame) -> list[tuple[str, str]]:
    """Choices and their levels from top to bottom, as the table has them: by size, or by name."""
    names = list(dict.fromkeys(choices["choice"]))
    return [(name, level) for name in names for level in in_order(list(choices["level"][choices["choice"] == name]))]


def _dots(axes: Axes, choices: pd.DataFrame, rows: Sequence[tuple[str, str]], x: dict[int, int], points: float) -> None:
    """A dot where a specification has a level; choices are banded, and named at their first level."""
    height = {row: i for i, row in enumerate(rows)}
    axes.set_ylim(len(rows) - 0.5, -0.5)
    names = list(dict.fromkeys(name for name, _ in rows))
    for name in names[::2]:
        own = [height[row] for row in rows if row[0] == name]
        axes.axhspan(min(own) - 0.5, max(own) + 0.5, color=FAINT, alpha=0.35, linewidth=0, zorder=-1)
    size = float(np.clip(260 / len(x), 1.2, 3.2))
    y = [height[choice, level] for choice, level in zip(choices["choice"], choices["level"], strict=True)]
    axes.plot(choices["specification"].map(x), y, "o", color=INK, markersize=size, label="chosen", markeredgewidth=0)
    reference = choices[choices["reference"]].groupby("specification").size() == len(names)
    _mark_reference(axes, pd.Series([x[int(number)] for number in reference[reference].index]))
    first = {name: next(row for row in rows if row[0] == name) for name in names}
    labels = [f"{name}: {level}" if first[name] == (name, level) else level for name, level in rows]
    axes.set_yticks(range(len(rows)), [fitted(label, points) for label in labels])
    axes.tick_params(axis="y", length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _legend(figure: Any, frame: pd.DataFrame, width: float) -> None:
    said = {"vpt": "VPT ahead", "ft": "FT ahead", "uncertain": "uncertain (95% interval)"}
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=3.5, linewidth=0.8, label=said[winner],
               markerfacecolor="white" if winner == "uncertain" else look.colour)
        for winner, look in WINNERS.items() if (frame["winner"] == winner).any()
    ]  # fmt: skip
    if frame["reference"].any():
        handles.append(Line2D([], [], color=FAINT, linewidth=4, label="reference specification"))
    legend_above(figure, handles, width)


@styled
def draw_shares(result: Sensitivity, *, width: float | None = None, ax: Axes | None = None) -> Figure:
    """Draw the share of the gap's variance that each choice makes, with its 95% interval; tasks as marks.

    Where there are several tasks, the bar is their sum and each ring a task.
    """
    frame = result.shares
    if frame.empty:
        raise SettingsError(f"There are no variance shares to draw: {result.reason or 'one draw only'}.")
    width = width or fitting(3.0)
    blocks = _blocks(frame)
    counts = [block["choice"].nunique() for _, block in blocks]
    figure, grid = place(
        ax, rows=len(blocks), columns=1, height=sum(SHARE * n + 0.25 for n in counts) + 0.35, width=width,
        height_ratios=[SHARE * n for n in counts],
    )  # fmt: skip
    top: Axes | None = None
    for i, (title, block) in enumerate(blocks):
        axes = figure.add_subplot(grid[i], sharex=top)
        top = top or axes
        _bars(axes, block, 72 * width * 0.36)
        axes.set_title(fitted(title, 72 * width * 0.58), fontsize=small(), loc="left", pad=2)
        axes.tick_params(labelbottom=i == len(blocks) - 1)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of the gap's variance, 95% interval", fontsize=small())
    return root(figure)


def _blocks(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """One block a pretraining objective where all its tasks were summed, else one a task."""
    blocks = []
    for pretraining, part in frame.groupby("pretraining", sort=True):
        tasks = list(dict.fromkeys(part["task"]))
        if ALL in tasks:
            blocks.append((f"{len(tasks) - 1} tasks (rings: each), {pretraining}", part))
        else:
            blocks += [(f"{task}, {pretraining}", part[part["task"] == task]) for task in tasks]
    return blocks


def _bars(axes: Axes, block: pd.DataFrame, points: float) -> None:
    total = block[block["task"] == ALL] if (block["task"] == ALL).any() else block
    names = list(total["choice"])
    for y, row in enumerate(total.to_dict("records")):
        if np.isnan(row["share"]):
            axes.text(0.01, y, "never varies alone", fontsize=small(), color=MUTED, va="center")
            continue
        axes.barh(y, row["share"], height=0.6, color=MUTED, alpha=0.45, linewidth=0)
        axes.plot([row["low"], row["high"]], [y, y], color=INK, linewidth=1.0)
        single = block[(block["task"] != ALL) & (block["choice"] == row["choice"])]["share"]
        if len(single) > 1:
            axes.plot(single, np.full(len(single), y), "o", color=INK, markersize=3, markerfacecolor="white",
                      markeredgewidth=0.7, label="task", clip_on=False, zorder=4)  # fmt: skip
    axes.set_yticks(range(len(names)), [fitted(name, points) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
