"""The quadrants of Han et al. (2024, Figure 1), with measured distances, and the gaps behind them.

Colour and marker say who is ahead: VPT or FT where the 95% interval of the gap excludes zero, else neither.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from vptft.report.figures.style import (
    FAINT,
    FT,
    INK,
    MUTED,
    SMALL,
    UNCERTAIN,
    VPT,
    fitted,
    legend_below,
    place,
    root,
    styled,
    table_of,
    with_interval,
)
from vptft.when.quadrants import Quadrants

WINNERS = {"vpt": VPT, "ft": FT, "uncertain": UNCERTAIN}
GAP = ("task", "gap_points", "low_points", "high_points", "winner", "n_seeds")
ROW = 0.19
"""Inches a task takes."""


@styled
def draw_quadrants(result: Quadrants, *, reference: str = "", ax: Axes | None = None) -> Figure:
    """Draw distance of the data across, distance of the objective up, one marker a task with its gap beside it.

    Within a band the height has no meaning: tasks are stacked by distance so that no label covers another.

    Parameters
    ----------
    result
        Of :func:`vptft.when.quadrants.measure`.
    reference
        What distances are to, for the axis.
    ax
        Where to draw; a new figure where None.
    """
    frame = table_of(result, *GAP, "objective_is_far", "data_is_far", "distance", "measure_name")
    bands = [frame[~frame["objective_is_far"].astype(bool)], frame[frame["objective_is_far"].astype(bool)]]
    rows = [max(len(band), 1) + 1 for band in bands]  # the top one of each holds the prediction
    figure, grid = place(ax, rows=1, columns=1, height=0.9 + ROW * sum(rows))
    axes = figure.add_subplot(grid[0])
    border = boundary(frame)
    _limits(axes, frame["distance"], rows)
    _quadrants(axes, border, rows)
    for start, band in zip((0, rows[0]), bands, strict=True):
        _band(axes, band.sort_values(["distance", "task"]), start)
    to = f" to {reference}" if reference else ""
    axes.set_xlabel(fitted(f"debiased {frame['measure_name'].iloc[0]}{to}", 320, 8))
    axes.set_yticks([rows[0] / 2 - 0.5, rows[0] + rows[1] / 2 - 0.5], ["objective\nnear", "objective\nfar"])
    axes.tick_params(axis="y", length=0)
    _winner_legend(axes)
    return root(figure)


@styled
def draw_gaps(result: Quadrants, *, ax: Axes | None = None) -> Figure:
    """Draw each task's accuracy gap with its 95% interval, largest on top."""
    frame = table_of(result, *GAP).sort_values(["gap_points", "task"], ascending=[True, False])
    figure, grid = place(ax, rows=1, columns=1, height=1.0 + ROW * len(frame))
    axes = figure.add_subplot(grid[0])
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    for y, row in enumerate(frame.to_dict("records")):
        look = WINNERS[row["winner"]]
        axes.plot([row["low_points"], row["high_points"]], [y, y], color=look.colour, linewidth=1.4, zorder=2)
        _marker(axes, row["gap_points"], y, row["winner"])
        said = with_interval(row["gap_points"], row["low_points"], row["high_points"])
        axes.text(1.02, y, said, transform=axes.get_yaxis_transform(), fontsize=SMALL, va="center")
    axes.set_yticks(range(len(frame)), [fitted(task, 115) for task in frame["task"]])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(frame) - 0.3)
    low, high = min(frame["low_points"].min(), 0.0), max(frame["high_points"].max(), 0.0)
    pad = 0.06 * (high - low) or 1.0
    axes.set_xlim(low - pad, high + pad)
    axes.set_xlabel(f"accuracy gap VPT − FT, points, 95% interval over {interval_meaning(frame['n_seeds'].min())}")
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    _sides(axes)
    _winner_legend(axes)
    return root(figure)


def interval_meaning(n_seeds: int) -> str:
    """Say what the interval of a gap holds: with one seed, nothing about training again."""
    return "test images only (one seed)" if n_seeds == 1 else f"test images and {n_seeds} seeds"


def boundary(frame: pd.DataFrame) -> float | None:
    """Distance that parts near from far data; None where none does or where one side has no task."""
    far = frame["data_is_far"].astype(bool)
    if far.all() or not far.any():
        return None
    below, above = frame.loc[~far, "distance"].max(), frame.loc[far, "distance"].min()
    return float(below + above) / 2 if below < above else None


def _limits(axes: Axes, distances: pd.Series, rows: list[int]) -> None:
    low, high = float(distances.min()), float(distances.max())
    pad = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(-0.5, sum(rows) - 0.5)


def _quadrants(axes: Axes, border: float | None, rows: list[int]) -> None:
    """Bands, the line between near and far data, and the paper's prediction in each quadrant's top row."""
    axes.axhline(rows[0] - 0.5, color=MUTED, linewidth=0.6)
    tops = (rows[0] - 1, sum(rows) - 1)
    words: dict[str, Any] = {"fontsize": SMALL, "style": "italic", "va": "center", "color": MUTED}
    across = axes.get_yaxis_transform()
    if border is None:
        axes.text(0.01, tops[0], "paper: FT ahead where data are far", ha="left", transform=across, **words)
        axes.text(0.01, tops[1], "paper: VPT ahead", ha="left", transform=across, **words)
        return
    right = axes.get_xlim()[1]
    axes.axvline(border, color=MUTED, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.fill_between([border, right], -0.5, rows[0] - 0.5, color=FT.colour, alpha=0.10, linewidth=0)
    for x, side, data, near_objective in ((0.01, "left", "near", VPT), (0.99, "right", "far", FT)):
        axes.text(x, tops[0], f"paper: {near_objective.label} ahead", ha=side, transform=across, **words)
        axes.text(x, tops[1], "paper: VPT ahead", ha=side, transform=across, **words)
        axes.text(x, 1.01, f"data {data}", ha=side, va="bottom", fontsize=SMALL, transform=axes.transAxes)


def _band(axes: Axes, band: pd.DataFrame, start: int) -> None:
    low, high = axes.get_xlim()
    if band.empty:
        axes.text(
            0.5, start, "no task here", ha="center", va="center", fontsize=SMALL, color=MUTED,
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    for y, row in enumerate(band.to_dict("records"), start=start):
        _marker(axes, row["distance"], y, row["winner"])
        said = with_interval(row["gap_points"], row["low_points"], row["high_points"])
        goes_right = row["distance"] - low <= (high - low) / 2
        axes.annotate(
            f"{fitted(row['task'], 72)}  {said}",
            (row["distance"], y),
            xytext=(6 if goes_right else -9, 0),  # at 6 a text that ends at its mark touched it
            textcoords="offset points",
            ha="left" if goes_right else "right",
            va="center",
            fontsize=SMALL,
            color=INK,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _marker(axes: Axes, x: float, y: float, winner: str) -> None:
    look = WINNERS[winner]
    face = "white" if winner == "uncertain" else look.colour
    axes.plot([x], [y], look.marker, color=look.colour, markerfacecolor=face, label=winner, zorder=3)


def _sides(axes: Axes) -> None:
    for side, words, offset in (("right", "← FT ahead", -4), ("left", "VPT ahead →", 4)):
        look = FT if "FT" in words else VPT
        axes.annotate(
            words, (0, 1), xycoords=("data", "axes fraction"), xytext=(offset, 2), textcoords="offset points",
            ha=side, va="bottom", fontsize=SMALL, color=look.colour, weight="bold",
        )  # fmt: skip


def _winner_legend(axes: Axes) -> None:
    said = {"vpt": "VPT ahead", "ft": "FT ahead", "uncertain": "neither: the interval includes 0"}
    handles = [
        Line2D(
            [], [], color=look.colour, marker=look.marker, linestyle="none", label=said[winner],
            markerfacecolor="white" if winner == "uncertain" else look.colour,
        )
        for winner, look in WINNERS.items()
    ]  # fmt: skip
    legend_below(axes, handles)
