"""Distances to the reference as bars, as Figure 3 of Han et al. (2024), with what makes them comparable."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vptft.errors import SettingsError
from vptft.report.figures.style import INK, MUTED, SMALL, fitted, legend_below, place, root, styled, table_of
from vptft.when.distribution.frechet import FrechetDistance

COLUMNS = ("first", "second", "measure_name", "distance", "debiased", "noise_floor", "n_first", "n_second")
BAR, FLOOR = "#8fa3b8", "#b1457f"
ROW = 0.24


@styled
def draw_distances(results: Sequence[FrechetDistance], *, ax: Axes | None = None) -> Figure:
    """Draw one bar a set: the debiased distance, with ticks for the plug-in value and the noise floor.

    Raises
    ------
    SettingsError
        When there is no result, or the results are of different measures: their numbers cannot share an axis.
    """
    if not results:
        raise SettingsError("There is no distance to draw.")
    frame = pd.concat([table_of(result, *COLUMNS) for result in results], ignore_index=True)
    if frame["measure_name"].nunique() > 1:
        names = sorted(frame["measure_name"].unique())
        raise SettingsError(f"Distances of different measures cannot share an axis: {names}.")
    names, counts, common = _named(frame)
    digits = _digits(float(frame["debiased"].abs().max()))
    figure, grid = place(ax, rows=1, columns=1, height=0.75 + ROW * len(frame))
    axes = figure.add_subplot(grid[0])
    for y, row in enumerate(frame.to_dict("records")):
        axes.barh(y, row["debiased"], height=0.62, color=BAR, zorder=2)
        axes.plot([row["distance"]] * 2, [y - 0.31, y + 0.31], color=INK, linewidth=1.0, zorder=3)
        axes.plot([row["noise_floor"]] * 2, [y - 0.42, y + 0.42], color=FLOOR, linewidth=1.2, linestyle=":", zorder=3)
        said = f"{row['debiased']:.{digits}f}".replace("-", "−") + f"  (N = {counts[y]})"
        axes.text(1.01, y, said, transform=axes.get_yaxis_transform(), fontsize=SMALL, va="center")
    axes.set_yticks(range(len(frame)), [fitted(name, 120) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(frame) - 0.45, -0.55)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(fitted(" to ".join(filter(None, [frame["measure_name"].iloc[0], common])), 300, 8))
    handles = [
        Patch(color=BAR, label="debiased"),
        Line2D([], [], color=INK, marker="|", markersize=8, linestyle="none", label="plug-in, biased upward"),
        Line2D([], [], color=FLOOR, linewidth=1.2, linestyle=":", label="noise floor"),
    ]
    legend_below(axes, handles)
    return root(figure)


def _digits(largest: float) -> int:
    """Decimals that give the largest value three figures."""
    return int(np.clip(2 - np.floor(np.log10(largest)), 0, 6)) if largest > 0 else 0


def _named(frame: pd.DataFrame) -> tuple[list[str], list[str], str]:
    """Names and sizes of the bars' sets, and the set that all bars share; both sets' where none is shared."""
    for shared, other in (("first", "second"), ("second", "first")):
        if frame[shared].nunique() == 1:
            counts = [f"{n:,}" for n in frame[f"n_{other}"]]
            return frame[other].tolist(), counts, str(frame[shared].iloc[0])
    counts = [f"{a:,} and {b:,}" for a, b in zip(frame["n_first"], frame["n_second"], strict=True)]
    return (frame["first"] + " to " + frame["second"]).tolist(), counts, ""
