"""Figure 3 of Han et al. (2024): distance of the data as bars, with who is ahead."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vptft.errors import SettingsError
from vptft.report.figures.gaps import ahead
from vptft.report.figures.quadrants import PLANE, measure_of
from vptft.report.figures.style import (
    FT,
    MUTED,
    VPT,
    fitted,
    fitting,
    place,
    root,
    signed,
    small,
    styled,
    table_of,
    text_width,
)
from vptft.when.quadrants.plane import Quadrants

BAR = 0.135
"""Inches a bar takes at least, its name turned."""


@styled
def draw_distance_bars(
    result: Quadrants, *, reference: str = "", width: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw Figure 3 of the paper: distance of each task as a bar, coloured by who is ahead, hatched where far.

    Pale where the gap's interval reaches into the region of practical equivalence; hatched where the objective is far.
    Within a task group bars go from near to far.
    """
    frame = table_of(result, *PLANE)
    frame = frame[np.isfinite(frame["distance"])].sort_values(["group", "distance", "task"])
    if frame.empty:
        raise SettingsError("No task has a distance, so there is no bar to draw.")
    width = width or fitting(0.6 + BAR * len(frame))
    figure, grid = place(ax, rows=1, columns=1, height=3.1, width=width)
    axes = figure.add_subplot(grid[0])
    crowded = len(frame) > 2.2 * width
    for x, row in enumerate(frame.to_dict("records")):
        look = ahead(row["gap_points"])
        axes.bar(
            x, row["distance"], width=0.72, color=look.colour, alpha=1.0 if row["clear"] else 0.35, linewidth=0.5,
            hatch="////" if row["objective_is_far"] else "", edgecolor="white",
        )  # fmt: skip
        axes.annotate(
            signed(row["gap_points"]), (x, max(row["distance"], 0)), xytext=(0, 2), textcoords="offset points",
            ha="center", fontsize=small(), rotation=90 if crowded else 0,
        )  # fmt: skip
    turned = {"rotation": 90} if crowded else {"rotation": 40, "ha": "right"}
    axes.set_xticks(range(len(frame)), [fitted(task, 78) for task in frame["task"]], **turned)
    axes.tick_params(axis="x", length=0)
    to = f"\nto {fitted(reference, 110)}" if reference else ""
    axes.set_ylabel(fitted(measure_of(result), 130, 8) + to)
    axes.axhline(0, color=MUTED, linewidth=0.6)
    axes.margins(y=0.3 if crowded else 0.12)
    handles = [
        Patch(facecolor=VPT.colour, label="VPT ahead"), Patch(facecolor=FT.colour, label="FT ahead"),
        Patch(facecolor=MUTED, alpha=0.35, label="pale: may be practically equal"),
        Patch(facecolor=MUTED, hatch="////", edgecolor="white", label="hatched: far objective"),
    ]  # fmt: skip
    across = sum(text_width(str(handle.get_label())) + 36 for handle in handles)
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=4 if across < 72 * width else 2)
    return root(figure)
