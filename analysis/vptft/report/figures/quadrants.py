"""The quadrants of Han et al. (2024, Figure 1), with measured distances.

Colour says who is ahead, and what is open may be practically equal.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation, Transform

from vptft.errors import SettingsError
from vptft.evidence.verdicts import REGION
from vptft.report.figures.gaps import GAP, ROW, ahead
from vptft.report.figures.style import (
    FAINT,
    FT,
    INK,
    MUTED,
    SMALL,
    VPT,
    WIDTH,
    dodge,
    fitted,
    fitting,
    legend_below,
    place,
    root,
    signed,
    small,
    styled,
    table_of,
    with_interval,
)
from vptft.when.quadrants.plane import Quadrants

PLANE = (*GAP, "clear", "group", "objective_is_far", "data_is_far", "distance", "measure_name", "disparity")
SHAPES = ("o", "s", "^", "D", "v", "P", "X")
"""Of the task groups, in the order of their names."""
GAP_BETWEEN = 1.5
"""Points between marks that would hide each other."""
COLUMN = 3.25
"""Inches of a narrow column: labels there have no intervals."""


@styled
def draw_quadrants(
    result: Quadrants, *, reference: str = "", width: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw distance of the data across and disparity of the objective up, one mark a task, its gap beside it.

    Colour says who is ahead and size by how much; a mark is open where the gap's interval reaches into the region of
    practical equivalence. Where the disparity of every task was measured it is the height, and marks that would hide
    each other stand side by side; elsewhere tasks are stacked in two bands, near and far objective by the paper's hand,
    and within a band the height has no meaning.

    Parameters
    ----------
    result
        Of :func:`vptft.when.quadrants.plane.measure`.
    reference
        What distances are to, for the axis.
    width
        Inches; a column of the page where that is wide enough, else its text.
    ax
        Where to draw; a new figure where None.

    Raises
    ------
    SettingsError
        When no task has a distance.
    """
    frame = table_of(result, *PLANE)
    frame = frame[np.isfinite(frame["distance"])]
    if frame.empty:
        raise SettingsError("No task has a distance, so there is no plane to draw.")
    width = width or fitting(COLUMN)
    region, fit = float(result.settings.get("region", REGION)), fitted_boundary(result)
    border = boundary(frame) if fit is None else fit[0] if np.isfinite(fit[0]) else None
    if np.isfinite(frame["disparity"]).all():
        height = max(2.9, 1.3 + ROW * len(frame)) * small() / SMALL
        figure, grid = place(ax, rows=1, columns=1, height=height, width=width)
        axes = figure.add_subplot(grid[0])
        _draw_measured(axes, frame, border, detailed=width >= WIDTH)
    else:
        rows = [max(int(side.sum()), 1) + 1 for side in _sides_of(frame)]  # the top one of each holds the prediction
        figure, grid = place(ax, rows=1, columns=1, height=1.0 + ROW * sum(rows), width=width)
        axes = figure.add_subplot(grid[0])
        _draw_bands(axes, frame, border, rows, detailed=width >= WIDTH)
    to = f" to {reference}" if reference else ""
    axes.set_xlabel(fitted(f"{measure_of(result)}{to}", 58 * width, 8))
    _mark_legend(axes, frame, region, _draw_interval(axes, fit))
    return root(figure)


def _sides_of(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    far = frame["objective_is_far"].astype(bool)
    return ~far, far


def _draw_measured(axes: Axes, frame: pd.DataFrame, border: float | None, *, detailed: bool) -> None:
    """Scatter with the names in two columns beside it, a thin line from each to its mark."""
    low, high = float(frame["distance"].min()), float(frame["distance"].max())
    pad = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(-0.06, 1.06)
    axes.text(0, 1.02, "disparity of the objective ↑", transform=axes.transAxes, fontsize=small(), va="bottom")
    axes.axhline(0.5, color=MUTED, linewidth=0.6, linestyle=(0, (4, 3)))
    if border is not None:
        axes.axvline(border, color=MUTED, linewidth=0.6, linestyle=(0, (4, 3)))
        axes.fill_between([border, high + pad], -0.06, 0.5, color=FT.colour, alpha=0.10, linewidth=0, zorder=0)
    axes.tick_params(axis="y", labelcolor=INK)
    for tick in axes.get_yticklabels():  # leaders pass below the numbers
        tick.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        tick.set_zorder(4)
    frame = frame.assign(aside=_aside(axes, frame))
    for row in frame.to_dict("records"):
        _mark(axes, row["distance"], row["disparity"], row, _shapes(frame), aside=row["aside"])
    middle = float(frame["distance"].median())
    for on_left in (True, False):
        side = frame[(frame["distance"] <= middle) == on_left].sort_values(["disparity", "task"])
        _label_column(axes, side, on_left=on_left, detailed=detailed)


def _label_column(axes: Axes, side: pd.DataFrame, *, on_left: bool, detailed: bool) -> None:
    """Names of one side's tasks, spread so that none covers another, in the order of their marks."""
    low, high = axes.get_ylim()
    outside = ScaledTranslation((-24 if on_left else 5) / 72, 0, root(axes.figure).dpi_scale_trans)
    beside = axes.transAxes + outside  # past the tick labels
    heights = dodge(((side["disparity"] - low) / (high - low)).tolist(), 1 / max(7.5, len(side)))
    for height, row in zip(heights, side.to_dict("records"), strict=True):
        value = with_interval(row["gap_points"], row["low_points"], row["high_points"])
        name = fitted(row["task"], 74 if detailed else 56)
        said = f"{name}\n{value if detailed else signed(row['gap_points'])}"
        axes.annotate(
            said, (row["distance"], row["disparity"]), xycoords=_moved(axes, row["aside"]),
            xytext=(0 if on_left else 1, height), textcoords=beside, zorder=1,
            ha="right" if on_left else "left", va="center", fontsize=small(), linespacing=0.95, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
        )  # fmt: skip


def _draw_bands(axes: Axes, frame: pd.DataFrame, border: float | None, rows: list[int], *, detailed: bool) -> None:
    _limits(axes, frame["distance"], rows)
    _quadrants(axes, border, rows)
    for start, side in zip((0, rows[0]), _sides_of(frame), strict=True):
        _band(axes, frame[side].sort_values(["distance", "task"]), start, _shapes(frame), detailed=detailed)
    axes.set_yticks([rows[0] / 2 - 0.5, rows[0] + rows[1] / 2 - 0.5], ["objective\nnear", "objective\nfar"])
    axes.tick_params(axis="y", length=0)


def measure_of(result: Quadrants) -> str:
    """Name of the distance; what a table gives is not known to be debiased."""
    name = str(result.frame()["measure_name"].iloc[0])
    return name if "source" in result.settings else f"debiased {name}"


def boundary(frame: pd.DataFrame) -> float | None:
    """Distance that parts near from far data; None where none does or where one side has no task."""
    far = frame["data_is_far"].astype(bool)
    if far.all() or not far.any():
        return None
    below, above = frame.loc[~far, "distance"].max(), frame.loc[far, "distance"].min()
    return float(below + above) / 2 if below < above else None


def fitted_boundary(result: Quadrants) -> tuple[float, float, float] | None:
    """The boundary and its 95% interval where it was fitted and is one number; None elsewhere."""
    rows = result.predictions[result.predictions["boundary"] == "fitted"]
    if result.settings.get("boundary") != "fitted" or len(rows) != 1 or rows["value"].isna().any():
        return None
    value, low, high = rows[["value", "value_low", "value_high"]].iloc[0]
    return float(value), float(low), float(high)


def _draw_interval(axes: Axes, fit: tuple[float, float, float] | None) -> list[Any]:
    """Shade the interval of a fitted boundary as far as the axes reach; gives its entry in the legend."""
    if fit is None:
        return []
    left, right = axes.get_xlim()
    _, low, high = fit
    band = axes.axvspan(
        max(low, left), min(high, right), facecolor="none", edgecolor=FAINT, hatch="////", linewidth=0, zorder=0.5,
        label=f"fitted boundary, 95% [{low:.3g}, {high:.3g}]",
    )  # fmt: skip
    axes.set_xlim(left, right)
    return [band]


def _limits(axes: Axes, distances: pd.Series, rows: list[int]) -> None:
    low, high = float(distances.min()), float(distances.max())
    pad = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(-0.5, sum(rows) - 0.5)


def _quadrants(axes: Axes, border: float | None, rows: list[int]) -> None:
    """Bands, the line between near and far data, and the paper's prediction in each quadrant's top row."""
    axes.axhline(rows[0] - 0.5, color=MUTED, linewidth=0.6)
    tops = (rows[0] - 1, sum(rows) - 1)
    words: dict[str, Any] = {"fontsize": small(), "style": "italic", "va": "center", "color": MUTED}
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
        axes.text(x, 1.01, f"data {data}", ha=side, va="bottom", fontsize=small(), transform=axes.transAxes)


def _band(axes: Axes, band: pd.DataFrame, start: int, shapes: Mapping[str, str], *, detailed: bool) -> None:
    low, high = axes.get_xlim()
    if band.empty:
        axes.text(
            0.5, start, "no task here", ha="center", va="center", fontsize=small(), color=MUTED,
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    for y, row in enumerate(band.to_dict("records"), start=start):
        size = _mark(axes, row["distance"], y, row, shapes)
        value = with_interval(row["gap_points"], row["low_points"], row["high_points"])
        goes_right = row["distance"] - low <= (high - low) / 2
        away = 3 + size / 2
        axes.annotate(
            f"{fitted(row['task'], 72 if detailed else 50)}  {value if detailed else signed(row['gap_points'])}",
            (row["distance"], y),
            xytext=(away if goes_right else -away - 3, 0),
            textcoords="offset points",
            ha="left" if goes_right else "right",
            va="center",
            fontsize=small(),
            color=INK,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _shapes(frame: pd.DataFrame) -> dict[str, str]:
    groups = sorted(frame["group"].unique())
    return {group: SHAPES[i % len(SHAPES)] for i, group in enumerate(groups)}


def _size(gap: float) -> float:
    """Diameter in points whose area grows with the gap: 4 at none, 11 at 25 points and beyond."""
    return float(np.sqrt(16 + 105 * min(abs(gap), 25) / 25))


def _aside(axes: Axes, frame: pd.DataFrame) -> list[float]:
    """Points by which marks step to the side so that none hides another: tasks of the same images lie at one distance.

    The largest gap keeps its place; each of the others takes the nearest free one towards the middle.
    """
    box = axes.get_position()
    inches = root(axes.figure).get_size_inches()
    at = axes.transLimits.transform(frame[["distance", "disparity"]].to_numpy())
    at = at * (box.width * inches[0] * 72, box.height * inches[1] * 72)
    sizes = np.array([_size(gap) for gap in frame["gap_points"]])
    moved = np.zeros(len(frame))
    placed: list[int] = []
    for i in np.argsort(-frame["gap_points"].abs().to_numpy(), kind="stable"):
        inwards = 1.0 if at[i, 0] <= box.width * inches[0] * 36 else -1.0
        reach = (sizes[placed] + sizes[i]) / 2 + GAP_BETWEEN
        while placed and (np.hypot(*(at[placed] - at[i] - (moved[i], 0)).T) < reach).any():
            moved[i] += inwards
        at[i, 0] += moved[i]
        placed.append(int(i))
    return moved.tolist()


def _moved(axes: Axes, points: float) -> Transform:
    """Return the data's place, moved to the right by so many points."""
    return axes.transData + ScaledTranslation(points / 72, 0, root(axes.figure).dpi_scale_trans)


def _mark(
    axes: Axes, x: float, y: float, row: Mapping[Any, Any], shapes: Mapping[str, str], *, aside: float = 0.0
) -> float:
    look, size = ahead(row["gap_points"]), _size(row["gap_points"])
    axes.plot(
        [x], [y], shapes[row["group"]], color=look.colour, markersize=size, label=look.label, zorder=3,
        markerfacecolor=look.colour if row["clear"] else "white", markeredgewidth=1.1, transform=_moved(axes, aside),
    )  # fmt: skip
    return size


def _mark_legend(axes: Axes, frame: pd.DataFrame, region: float, more: list[Any]) -> None:
    def handle(label: str, colour: str = MUTED, shape: str = "o", face: str | None = None, size: float = 5.0) -> Line2D:
        return Line2D(
            [], [], linestyle="none", marker=shape, color=colour, markerfacecolor=face or colour, markersize=size,
            label=label,
        )  # fmt: skip

    shapes = _shapes(frame)
    groups = [handle(group, shape=shape) for group, shape in shapes.items()] if len(shapes) > 1 else []
    sides = [handle("VPT ahead", VPT.colour), handle("FT ahead", FT.colour)]
    means = [handle(f"open: may lie within ±{region:g}", face="white"), handle("25 points", size=_size(25))]
    handles = [*sides, *means, *groups, *more]
    wide = root(axes.figure).get_figwidth() >= WIDTH
    legend_below(axes, handles, columns=2 if not wide else len(handles) if len(handles) < 5 else 3)
