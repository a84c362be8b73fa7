"""The gap against how much more FT overfits than VPT, a point a task, with the regression over tasks (Y1).

What remains where the line crosses equal overfitting is what overfitting does not explain.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

from vptft.report.figures.style import (
    FAINT,
    FT,
    INK,
    MUTED,
    SPARE,
    VPT,
    Look,
    fitted,
    fitting,
    legend_above,
    place,
    printable,
    root,
    signed,
    small,
    styled,
    table_of,
    text_width,
)
from vptft.why.overfitting.explanation import JUDGED, Explanation

HEIGHT = 2.9
"""Inches of a panel."""
PLACES = (
    (5, 3, "left"), (5, -9, "left"), (-5, 3, "right"), (-5, -9, "right"), (0, 7, "center"), (0, -13, "center"),
    (12, 12, "left"), (-12, 12, "right"),
)  # fmt: skip
"""Offsets of a name from its point, points, the first that is free being taken."""
HALO = [withStroke(linewidth=1.8, foreground="white")]
"""Around names, so that lines below them can be crossed."""


@styled
def draw_overfitting_gap(
    result: Explanation, *, predictor: str = JUDGED, width: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw each task's gap over the difference in overfitting; bars are the seeds' ranges.

    Parameters
    ----------
    result
        Of :func:`vptft.why.overfitting.explanation.measure`.
    predictor
        A measure of overfitting: ``rise_nats`` or ``loss_gap_nats``.
    width
        Inches; a column of the page where that is wide enough, else its text.
    ax
        Where to draw; a new figure where None.
    """
    stem = predictor.removesuffix("_nats")
    frame = table_of(result, "task", "group", "pretraining", "n_train", "gap_points", "gap_least", "gap_most",
                     predictor, f"{stem}_least", f"{stem}_most")  # fmt: skip
    names = sorted(frame["pretraining"].unique())
    width = width or fitting(2.2 + 0.1 * frame["task"].nunique())
    figure, grid = place(ax, rows=len(names), columns=1, height=0.35 + HEIGHT * len(names), width=width)
    groups = sorted(frame["group"].unique())
    looks = {
        group: Look(label=printable(group), colour=colour, marker=marker)
        for group, (colour, marker) in zip(groups, SPARE * len(groups), strict=False)
    }
    for i, name in enumerate(names):
        axes = figure.add_subplot(grid[i, 0])
        part = frame[frame["pretraining"] == name].rename(
            columns={predictor: "x", f"{stem}_least": "x_least", f"{stem}_most": "x_most"}
        )
        chosen = (result.terms["pretraining"] == name) & (result.terms["predictor"] == predictor)
        of_line = (result.line["pretraining"] == name) & (result.line["predictor"] == predictor)
        _line(axes, result.line[of_line])
        _points(axes, part, looks)
        _axes(axes, stem, f"{name} pretraining" if len(names) > 1 and name else "")
        _said(axes, result.terms[chosen].iloc[0])
        _label(axes, part, looks, sized=frame["n_train"].nunique() > 1)
    if len(groups) > 1 and isinstance(figure, Figure):
        handles = [Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", label=look.label)
                   for look in looks.values()]  # fmt: skip
        legend_above(figure, handles, width)
    return root(figure)


def _line(axes: Axes, line: pd.DataFrame) -> None:
    axes.axhline(0, color=MUTED, linewidth=0.6, zorder=1)
    axes.axvline(0, color=MUTED, linewidth=0.6, zorder=1)
    if line.empty:
        return
    axes.fill_between(line["difference"], line["low_points"], line["high_points"], color=FAINT, alpha=0.7, lw=0,
                      zorder=0, label="95% band")  # fmt: skip
    axes.plot(line["difference"], line["gap_points"], color=INK, linewidth=1.1, zorder=2, label="regression")


def _points(axes: Axes, part: pd.DataFrame, looks: dict[str, Look]) -> None:
    for row in part.to_dict("records"):
        look = looks[row["group"]]
        axes.plot([row["x_least"], row["x_most"]], [row["gap_points"]] * 2, color=look.colour, linewidth=0.6, zorder=3)
        axes.plot([row["x"]] * 2, [row["gap_least"], row["gap_most"]], color=look.colour, linewidth=0.6, zorder=3)
        axes.plot([row["x"]], [row["gap_points"]], look.marker, color=look.colour, markersize=4, zorder=4,
                  markerfacecolor="white" if row["few_groups"] else look.colour, label=row["task"])  # fmt: skip


def _axes(axes: Axes, stem: str, title: str) -> None:
    said = {"rise": "rise of the test loss, FT − VPT", "loss_gap": "test − training loss, FT − VPT"}[stem]
    label = (f"{said}, nats", "(right: FT overfits more)")
    room = 72 * (root(axes.figure).get_size_inches()[0] - 0.6)
    axes.set_xlabel(("   " if text_width("   ".join(label)) < room else "\n").join(label), fontsize=small())
    axes.set_ylabel("accuracy gap VPT − FT, points", fontsize=small())
    axes.set_title(title, loc="left", pad=10)
    axes.margins(x=0.12, y=0.1)
    for y, words, look in ((1, "VPT ahead", VPT), (0, "FT ahead", FT)):
        axes.annotate(
            words, (1, y), xycoords="axes fraction", xytext=(-2, -2 if y else 2), textcoords="offset points",
            ha="right", va="top" if y else "bottom", fontsize=small(), color=look.colour, weight="bold",
        )  # fmt: skip


def _said(axes: Axes, row: pd.Series) -> None:
    """Write what the regression says above the panel; nothing of it where tasks are too few."""
    if not np.isfinite(row["slope"]):
        words = [f"{int(row['n_tasks'])} tasks: too few for a regression"]
    else:
        low, high = (signed(row[f"remaining_{end}"]) for end in ("low", "high"))
        words = [
            f"remaining at 0: {signed(row['remaining'])} [{low}, {high}] points",
            f"explained: {row['r2']:.0%} [{row['r2_low']:.0%}, {row['r2_high']:.0%}] of the variance",
        ]
    width = 72 * root(axes.figure).get_size_inches()[0] * 0.85
    whole = "; ".join(words)
    axes.annotate(
        whole if text_width(whole) < width else "\n".join(words), (0, 1), xycoords="axes fraction", xytext=(0, 2),
        textcoords="offset points", fontsize=small(), va="bottom",
    )  # fmt: skip


def _label(axes: Axes, part: pd.DataFrame, looks: dict[str, Look], *, sized: bool) -> None:
    """Write each task's name beside its point, at the first of eight places that covers no other name or point."""
    figure = root(axes.figure)
    figure.draw_without_rendering()
    placed: list[Annotation] = []
    points = axes.transData.transform(part[["x", "gap_points"]].to_numpy(dtype=float))
    for row in part.sort_values("gap_points").to_dict("records"):
        name = f"{row['task']}, {row['n_train']}" if sized else str(row["task"])
        note = None
        for x, y, side in PLACES:
            if note is not None:
                note.remove()
            note = axes.annotate(fitted(printable(name), 110), (row["x"], row["gap_points"]), xytext=(x, y),
                                 textcoords="offset points", ha=side, fontsize=small(),
                                 color=looks[row["group"]].colour, annotation_clip=False,
                                 path_effects=HALO, zorder=6)  # fmt: skip
            box = note.get_window_extent().expanded(1.0, 0.9)
            free = not any(box.overlaps(other.get_window_extent()) for other in placed)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if free and inside and not any(box.contains(*point) for point in points):
                break
        if note is not None:
            placed.append(note)
