"""Accuracy over preservation within task and size, and what each measure of preservation says (Y3)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vptft.report.figures.style import (
    FAINT,
    INK,
    MUTED,
    WIDTH,
    Look,
    fitting,
    legend_above,
    looks_of,
    place,
    root,
    small,
    styled,
    table_of,
    with_interval,
)
from vptft.why.features.explanation import JUDGED, PREDICTORS, STEP, PreservationEffect

HEIGHT = 2.6
COLUMN = 3.0
"""Inches that panels one below the other need."""
POINTS = 41
NAMES = {
    "cka": "CKA", "cka_patches": "CKA, patches", "cka_layers": "CKA, all layers", "cka_task": "CKA, own task",
    "procrustes": "Procrustes", "retention": "other tasks",
}  # fmt: skip
"""Short names of predictors, where the key is none."""


@styled
def draw_preservation(
    result: PreservationEffect, *, predictor: str = JUDGED, width: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw accuracy against preservation, each setting's mean taken away, beside the slopes of every measure.

    Left, a mark a method and setting, seeds averaged, its bar their range; thin lines join the methods of a setting.
    The line and the parabola are the regressions within settings, through the mean of the points. Right, slopes
    with their intervals over tasks and methods, where there are five of these: filled without the methods whose
    features did not move, open with them.

    Parameters
    ----------
    result
        Of :func:`vptft.why.features.explanation.measure`, of one pretraining objective or more, a row of panels each.
    predictor
        Which measure of preservation the left panel is over.
    width
        Inches; a column of the page where that is wide enough, else its text.
    ax
        Where to draw; a new figure where None.
    """
    frame = table_of(result, "pretraining", "setting", "method", "seed", "accuracy_points", predictor)
    names = list(dict.fromkeys(frame["pretraining"]))
    width = width or fitting(COLUMN)
    beside = width >= WIDTH
    rows = len(names) * (1 if beside else 2)
    figure, grid = place(ax, rows=rows, columns=2 if beside else 1, height=0.4 + HEIGHT * rows, width=width)
    looks = looks_of(frame["method"])
    for i, name in enumerate(names):
        left = figure.add_subplot(grid[i, 0] if beside else grid[2 * i, 0])
        right = figure.add_subplot(grid[i, 1] if beside else grid[2 * i + 1, 0])
        terms = result.terms[result.terms["pretraining"] == name]
        _doses(left, frame[frame["pretraining"] == name], terms, predictor, looks)
        _slopes(right, terms)
        if len(names) > 1:
            left.set_title(f"{name} pretraining", loc="left", fontsize=small())
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=4, linewidth=0, label=look.label)
        for look in looks.values()
    ]
    legend_above(figure, handles, width)
    return root(figure)


def _doses(axes: Axes, frame: pd.DataFrame, terms: pd.DataFrame, predictor: str, looks: dict[str, Look]) -> None:
    frame = frame.dropna(subset=[predictor])
    cells = frame.groupby(["setting", "method"], sort=True).agg(
        x=(predictor, "mean"), y=("accuracy_points", "mean"), least=("accuracy_points", "min"),
        most=("accuracy_points", "max"), dose=(JUDGED, "mean"), x_least=(predictor, "min"), x_most=(predictor, "max"),
    ).reset_index()  # fmt: skip
    level = cells.groupby("setting")["y"].transform("mean")
    cells[["y", "least", "most"]] = cells[["y", "least", "most"]].sub(level, axis=0)
    axes.axhline(0, color=MUTED, linewidth=0.6, zorder=1)
    for _, part in cells.groupby("setting"):
        part = part.sort_values("x")
        axes.plot(part["x"], part["y"], color=FAINT, linewidth=0.7, zorder=1, label="setting")
    for row in cells.to_dict("records"):
        look = looks[row["method"]]
        axes.plot([row["x"]] * 2, [row["least"], row["most"]], color=look.colour, linewidth=0.6, zorder=3)
        axes.plot([row["x_least"], row["x_most"]], [row["y"]] * 2, color=look.colour, linewidth=0.6, zorder=3)
        axes.plot([row["x"]], [row["y"]], look.marker, color=look.colour, markersize=4, zorder=4, label=row["method"])
    moved = cells[(cells["dose"] - 1).abs() > 1e-9]  # what the verdicts are about
    if len(moved):
        _regressions(axes, moved, terms[(terms["predictor"] == predictor) & (terms["methods"] == "features moved")])
    axes.set_xlabel(f"{PREDICTORS[predictor][0]}   (right: preserved)", fontsize=small())
    axes.set_ylabel("accuracy less the setting's mean, points", fontsize=small())


def _regressions(axes: Axes, cells: pd.DataFrame, terms: pd.DataFrame) -> None:
    """The line and the parabola over these points, each with its setting levels averaged out over them."""
    x = cells["x"].to_numpy(dtype=float)
    at = np.linspace(x.min(), x.max(), POINTS)
    for row in terms.to_dict("records"):
        if not np.isfinite(row["slope"]):
            continue
        shown = _curve(row, np.append(at, x))
        name, style = ("line", "-") if row["term"] == "linear" else ("parabola", (0, (3, 2)))
        values = shown[:POINTS] - shown[POINTS:].mean() + float(cells["y"].mean())
        axes.plot(at, values, color=INK, linewidth=1.0, linestyle=style, zorder=2, label=name)
    line = terms[terms["term"] == "linear"]
    if len(line):
        found = line.iloc[0]
        axes.set_title(
            f"line {with_interval(found['slope'], found['low'], found['high'])} for 0.1, {found['n_tasks']} tasks",
            loc="right", fontsize=small(), pad=3,
        )  # fmt: skip


def _curve(row: Mapping[Any, Any], x: np.ndarray) -> np.ndarray:
    """The fitted term over preservation, up to a constant."""
    if row["term"] == "linear":
        return np.asarray(row["slope"] * x / STEP)
    return np.asarray(row["slope"] * np.square((x - row["turning"]) / STEP))


def _slopes(axes: Axes, terms: pd.DataFrame) -> None:
    linear = terms[terms["term"] == "linear"]
    axes.axvline(0, color=MUTED, linewidth=0.6)
    for i, predictor in enumerate(PREDICTORS):
        for methods, offset in (("all", -0.14), ("features moved", 0.14)):
            found = linear[(linear["predictor"] == predictor) & (linear["methods"] == methods)]
            if found.empty or not np.isfinite(found["slope"].iloc[0]):
                continue
            row = found.iloc[0]
            colour = INK if predictor == JUDGED else MUTED
            axes.plot([row["low"], row["high"]], [i + offset] * 2, color=colour, linewidth=0.9)
            axes.plot([row["slope"]], [i + offset], "o", color=colour, markersize=3.6, label=f"{predictor}, {methods}",
                      markerfacecolor="white" if methods == "all" else colour)  # fmt: skip
    axes.set_yticks(range(len(PREDICTORS)), [NAMES.get(name, name) for name in PREDICTORS])
    axes.get_yticklabels()[list(PREDICTORS).index(JUDGED)].set_fontweight("bold")
    axes.set_ylim(len(PREDICTORS) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("points of accuracy for 0.1 more", fontsize=small())
    axes.set_title("filled: features moved; open: all", loc="right", fontsize=small(), pad=3)
