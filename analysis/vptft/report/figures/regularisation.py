"""Finetuning with what keeps it from overfitting: its loss, its accuracy, and the gap that remains."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vptft.report.figures.style import FAINT, FT, INK, MUTED, fitted, place, root, small, styled, table_of
from vptft.why.overfitting.regularisation import Regularisation

PANELS = {
    "rise_change": "rise of FT's\ntest loss (nats)",
    "accuracy_change": "FT's accuracy\n(points)",
    "gap": "gap that\nremains (points)",
}
"""What each panel shows; the first two with the change less without it."""
NEEDED = ("pretraining", "arm", "task", "n_train", *PANELS)
NAMES = {"keep best_val": "early stopping"}
ROW, NAME = 0.34, 150
"""Inches a regulariser takes, and points that a line of its name may."""


@styled
def draw_regularisation(result: Regularisation, *, ax: Axes | None = None) -> Figure:
    """Draw a row a regulariser: a diamond with its 95% interval over tasks, or over draws of the one task there is.

    Where there are several tasks or sizes, each is a dot.
    """
    each = table_of(result, *NEEDED)
    overall = result.overall
    several = overall["pretraining"].nunique() > 1
    labels = [_name(row, several) for row in overall.to_dict("records")]
    figure, grid = place(ax, rows=1, columns=len(PANELS), height=0.95 + ROW * len(overall))
    first: Axes | None = None
    for i, (name, said) in enumerate(PANELS.items()):
        axes = figure.add_subplot(grid[0, i], sharey=first)
        first = first or axes
        axes.axvline(0, color=MUTED, linewidth=0.7)
        for y, row in enumerate(overall.to_dict("records")):
            own = each[(each["arm"] == row["arm"]) & (each["pretraining"] == row["pretraining"])]
            if len(own) > 1:
                axes.plot(own[name], np.full(len(own), y), "o", color=MUTED, markersize=2.6, alpha=0.8, label="task")
            axes.plot([row[f"{name}_low"], row[f"{name}_high"]], [y, y], color=INK, linewidth=1.1)
            axes.plot([row[name]], [y], "D", color=FT.colour if name != "gap" else INK, markersize=4.5, zorder=3)
        axes.set_xlabel(said, fontsize=small())
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0, labelleft=i == 0)
    assert first is not None
    first.set_yticks(range(len(labels)), labels, fontsize=small())
    first.set_ylim(len(labels) - 0.5, -0.5)
    return root(figure)


def _name(row: Mapping[Any, Any], several: bool) -> str:
    """What was changed, two changes a line."""
    parts = [NAMES.get(part, part.replace("_", " ")) for part in str(row["arm"]).split(", ")]
    parts += [str(row["pretraining"])] if several else []
    return ",\n".join(fitted(", ".join(parts[i : i + 2]), NAME) for i in range(0, len(parts), 2))
