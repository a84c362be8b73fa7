"""Every set against every other: distances as a symmetric heat map."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator

from vptft.errors import SettingsError
from vptft.report.figures.distances import decimals, fixed, of_one_measure
from vptft.report.figures.style import (
    INK,
    MUTED,
    fitted,
    legend_below,
    page_width,
    place,
    root,
    small,
    styled,
    text_width,
)
from vptft.when.distribution.distance import SetDistance

COLOURS = "viridis_r"
"""Dark is far; it stays in order when printed grey."""
NAME = 95.0
"""Points a name may take."""
BAR = 54.0
"""Points right of the cells: the colour scale with its numbers."""
CELL = (9.0, 32.0)
"""Points a cell takes at least, so that names stay apart, and at most."""
CORNER = ((0.93, 0.93), (0.67, 0.93), (0.93, 0.67))
"""The mark in a cell, in parts of it."""


@styled
def draw_matrix(results: Sequence[SetDistance], *, ax: Axes | None = None) -> Figure:
    """Draw debiased distances between sets; a marked corner says that the 95% interval includes 0.

    Numbers are left out where a cell is too small for them. A pair that was not measured is empty, as is the diagonal:
    a set's distance to itself is not drawn. From about 26 sets on the figure is wider than a page's text.

    Raises
    ------
    SettingsError
        When there is no result of two different sets, results are of different measures, or a pair is there twice.
    """
    frame = of_one_measure(results)
    frame = frame[frame["first"] != frame["second"]]
    if frame.empty:
        raise SettingsError("A matrix needs distances between different sets; there are of sets to themselves only.")
    names = list(dict.fromkeys(frame[["first", "second"]].to_numpy().ravel()))
    values = _symmetric(frame, names)
    shown = [fitted(name, NAME) for name in names]
    longest = max(text_width(name) for name in shown)
    room = page_width() if ax is None else ax.get_window_extent().width / root(ax.figure).dpi
    cell = float(np.clip((72 * room - longest - BAR - 12) / len(names), *CELL))
    size = cell * len(names)
    width = max((size + longest + BAR + 12) / 72, 3.0)
    figure, grid = place(ax, rows=1, columns=1, height=(size + longest + 30) / 72, width=width)
    axes = figure.add_subplot(grid[0])
    mesh = _cells(axes, values, shown)
    _numbers(axes, mesh, values, cell)
    _marks(axes, mesh, frame, names)
    _scale(axes, mesh, f"debiased {frame['measure_name'].iloc[0]}", size)
    return root(figure)


def _symmetric(frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Debiased distances ``(n, n)``; NaN where there is none."""
    values = np.full((len(names), len(names)), np.nan)
    for row in frame.to_dict("records"):
        i, j = names.index(row["first"]), names.index(row["second"])
        if not np.isnan(values[i, j]):
            raise SettingsError(f"{row['first']} and {row['second']} have two distances; a matrix has place for one.")
        values[i, j] = values[j, i] = row["debiased"]
    return values


def _cells(axes: Axes, values: np.ndarray, shown: list[str]) -> QuadMesh:
    """Colour the cells and name rows and columns, the first on top."""
    low, high = min(0.0, float(np.nanmin(values))), float(np.nanmax(values))
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=COLOURS, vmin=low, vmax=high if high > low else low + 1.0,
        edgecolors="white", linewidth=0.5,
    )  # fmt: skip
    axes.set_aspect("equal")
    axes.invert_yaxis()
    middles = np.arange(len(shown)) + 0.5
    axes.set_yticks(middles, shown)
    axes.set_xticks(middles, shown, rotation=90)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return mesh


def _numbers(axes: Axes, mesh: QuadMesh, values: np.ndarray, cell: float) -> None:
    """Write the values with as many decimals as fit into a cell; none at all where whole numbers do not."""
    known = values[~np.isnan(values)]
    for places in range(decimals(known, figures=3), -1, -1):
        said = [fixed(value, places) for value in known]
        if max(*map(text_width, said), 1.25 * small()) <= cell - 2:
            break
    else:
        return
    for (i, j), value, text in zip(np.argwhere(~np.isnan(values)), known, said, strict=True):
        colour = _contrasting(mesh, value)
        axes.text(j + 0.5, i + 0.53, text, ha="center", va="center", fontsize=small(), color=colour)


def _marks(axes: Axes, mesh: QuadMesh, frame: pd.DataFrame, names: list[str]) -> None:
    """Mark the pairs whose interval includes 0, and, hollow, those that have none."""
    unsure = frame[(frame["low"] <= 0) & (frame["high"] >= 0)]
    unknown = frame[frame["low"].isna()]
    handles = []
    for chosen, filled, said in ((unsure, True, "95% interval includes 0"), (unknown, False, "no interval")):
        for row in chosen.to_dict("records"):
            colour = _contrasting(mesh, row["debiased"])
            i, j = names.index(row["first"]), names.index(row["second"])
            for x, y in ((i, j), (j, i)):
                corners = [(x + a, y + 1 - b) for a, b in CORNER]
                axes.add_patch(
                    Polygon(corners, facecolor=colour if filled else "none", edgecolor=colour, linewidth=0.5)
                )
        if len(chosen):
            handles.append(
                Line2D(
                    [], [], marker=[(1, 1), (-1, 1), (1, -1), (1, 1)], linestyle="none", markersize=6, label=said,
                    markerfacecolor=INK if filled else "none", markeredgecolor=INK, markeredgewidth=0.5,
                )
            )  # fmt: skip
    if handles:
        legend_below(axes, handles, points=6)


def _scale(axes: Axes, mesh: QuadMesh, name: str, size: float) -> None:
    beside = axes.inset_axes((1 + 8 / size, 0.0, 8 / size, 1.0))
    bar = axes.figure.colorbar(mesh, cax=beside)
    bar.set_label(fitted(name, max(size, 60)), fontsize=small())
    bar.locator = MaxNLocator(5 if size > 80 else 2)
    bar.update_ticks()
    bar.outline.set_edgecolor(MUTED)


def _contrasting(mesh: QuadMesh, value: float) -> str:
    """Black or white, whichever stands out from the value's colour."""
    red, green, blue, _ = mesh.to_rgba(np.array([value]))[0]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return "white" if luminance < 0.18 else INK
