"""The gap of each task with its interval, and how every figure of gaps says who is ahead.

Colour and marker say who is ahead: VPT or FT where the 95% interval excludes zero, else neither.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vptft.report.figures.style import (
    FAINT,
    FT,
    MUTED,
    UNCERTAIN,
    VPT,
    WIDTH,
    Look,
    fitted,
    fitting,
    legend_below,
    place,
    root,
    small,
    styled,
    table_of,
    with_interval,
)
from vptft.when.quadrants.plane import Quadrants

WINNERS = {"vpt": VPT, "ft": FT, "uncertain": UNCERTAIN}
GAP = ("task", "gap_points", "low_points", "high_points", "winner", "n_seeds")
COLUMN = 3.0
"""Inches that are needed."""
ROW = 0.19
"""Inches a task takes."""


@styled
def draw_gaps(result: Quadrants, *, width: float | None = None, ax: Axes | None = None) -> Figure:
    """Draw each task's accuracy gap with its 95% interval, largest on top; a column has the intervals as lines alone.

    Parameters
    ----------
    result
        Of :func:`vptft.when.quadrants.plane.measure`.
    width
        Inches; a column of the page where that is wide enough, else its text.
    ax
        Where to draw; a new figure where None.
    """
    frame = table_of(result, *GAP).sort_values(["gap_points", "task"], ascending=[True, False])
    width = width or fitting(COLUMN)
    wide = width >= WIDTH
    figure, grid = place(ax, rows=1, columns=1, height=(1.0 if wide else 1.45) + ROW * len(frame), width=width)
    axes = figure.add_subplot(grid[0])
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    for y, row in enumerate(frame.to_dict("records")):
        look = WINNERS[row["winner"]]
        axes.plot([row["low_points"], row["high_points"]], [y, y], color=look.colour, linewidth=1.4, zorder=2)
        _marker(axes, row["gap_points"], y, row["winner"])
        said = with_interval(row["gap_points"], *([row["low_points"], row["high_points"]] if wide else [np.nan] * 2))
        axes.text(1.02, y, said, transform=axes.get_yaxis_transform(), fontsize=small(), va="center")
    axes.set_yticks(range(len(frame)), [fitted(task, 115 if wide else 72) for task in frame["task"]])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(frame) - 0.3)
    ends = frame[["gap_points", "low_points", "high_points"]].to_numpy()
    low, high = min(float(np.nanmin(ends)), 0.0), max(float(np.nanmax(ends)), 0.0)
    pad = 0.06 * (high - low) or 1.0
    axes.set_xlim(low - pad, high + pad)
    meaning = f"accuracy gap VPT − FT, points, {interval_meaning(int(frame['n_seeds'].min()))}"
    if not wide:
        meaning = meaning.replace("points, ", "points,\n").replace(" images ", " images\n")
    axes.set_xlabel(meaning)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    _sides(axes)
    _winner_legend(axes, lines=meaning.count("\n") + 1)
    return root(figure)


def interval_meaning(n_seeds: int) -> str:
    """Say what the interval of a gap holds: with one seed, nothing about training again."""
    if n_seeds == 0:
        return "as printed, without intervals"
    return f"95% interval over test images {'only (one seed)' if n_seeds == 1 else f'and {n_seeds} seeds'}"


def ahead(gap: float) -> Look:
    """Look of the method that a gap is in favour of, without regard to its interval."""
    return VPT if gap > 0 else FT if gap < 0 else UNCERTAIN


def _marker(axes: Axes, x: float, y: float, winner: str) -> None:
    look = WINNERS[winner]
    face = "white" if winner == "uncertain" else look.colour
    axes.plot([x], [y], look.marker, color=look.colour, markerfacecolor=face, label=winner, zorder=3)


def _sides(axes: Axes) -> None:
    for side, words, offset in (("right", "← FT ahead", -4), ("left", "VPT ahead →", 4)):
        look = FT if "FT" in words else VPT
        axes.annotate(
            words, (0, 1), xycoords=("data", "axes fraction"), xytext=(offset, 2), textcoords="offset points",
            ha=side, va="bottom", fontsize=small(), color=look.colour, weight="bold",
        )  # fmt: skip


def _winner_legend(axes: Axes, *, lines: int) -> None:
    said = {"vpt": "VPT ahead", "ft": "FT ahead", "uncertain": "neither: the interval includes 0, or a tie"}
    handles = [
        Line2D(
            [], [], color=look.colour, marker=look.marker, linestyle="none", label=said[winner],
            markerfacecolor="white" if winner == "uncertain" else look.colour,
        )
        for winner, look in WINNERS.items()
    ]  # fmt: skip
    legend_below(axes, handles, points=18 + 10 * lines, columns=None if lines == 1 else 1)
