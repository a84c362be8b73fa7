"""Training and held-out loss, or accuracy, per epoch, one panel a task (Han et al. 2024, Figures 5, 6 and 9-13).

Colour and end marker say which method, solid is training, dashed is held-out; bands go from the lowest to the highest
seed, and an open triangle stands where the held-out loss turns.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from vptft.report.figures.datasize import PAGE
from vptft.report.figures.style import (
    CROWDED,
    FAINT,
    MUTED,
    WIDTH,
    Look,
    dodge,
    fitted,
    fitting,
    legend_above,
    looks_of,
    place,
    root,
    small,
    styled,
    table_of,
)
from vptft.why.overfitting.curves import OverfittingCurves

Scale = Literal["log", "linear"]
Quantity = Literal["loss", "accuracy"]
TRAIN: Literal["-"] = "-"
TEST = (0, (3.5, 1.8))
PANEL = 1.25
"""Inches a row of panels takes."""
NARROW = 1.55
"""Inches of a panel in a column, which four rows of them may take."""
ARM = ", "
"""Parts a method's name from the settings in which a variant of it differs."""
LINES = 3
"""Lines that the name of a variant takes at most."""
ONSET = 4.5
"""Points of the triangle at the onset."""


@styled
def draw_overfitting(
    result: OverfittingCurves,
    *,
    quantity: Quantity = "loss",
    scale: Scale = "log",
    width: float | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the mean curves over seeds with bands, and the methods' names.

    Names stand at the ends of held-out curves, or where they are many in the legend.

    All panels share the vertical axis. On the logarithmic one equal steps are equal ratios, and what training reaches
    near zero can be seen; on the linear one, how much the held-out loss rises.

    Parameters
    ----------
    result
        Of :func:`vptft.why.overfitting.curves.measure`.
    quantity
        ``loss``, or ``accuracy``, which is drawn on a linear scale.
    scale
        Of losses.
    width
        Inches; a column of the page where that is wide enough, else its text.
    ax
        Where to draw; a new figure where None.
    """
    frame = table_of(result, "task", "method", "n_train", "seed", "epoch", "split", "loss", "judged")
    frame = frame[frame["judged"] | (frame["split"] == "train")]
    if quantity == "accuracy":
        frame, scale = frame.assign(value=100 * frame["accuracy"]).dropna(subset="value"), "linear"
    else:
        frame = frame.assign(value=frame["loss"])
    panels = _panels(frame)
    sized = frame["n_train"].nunique() > 1
    width = width or fitting(NARROW * -(-len(panels) // 4))
    columns = min(len(panels), 1 if width < 3 else 2 if len(panels) <= 4 or width < WIDTH else int(width / NARROW))
    rows = -(-len(panels) // columns)
    tall = min(PANEL, (PAGE - 0.75) / rows - 0.2) if rows > 1 else 1.7
    crowded = ax is None and any(len(methods) > CROWDED for _, _, methods in panels)
    figure, grid = place(
        ax, rows=rows, columns=columns, height=(1.15 if crowded else 0.75) + (tall + 0.2) * rows, width=width
    )  # fmt: skip
    limits = _limits(frame["value"], scale)
    plain = looks_of(method for method in frame["method"] if ARM not in method)
    for i, (task, n_train, methods) in enumerate(panels):
        axes = figure.add_subplot(grid[i // columns, i % columns])
        _scales(axes, limits, scale)
        name = f"{task}, n {n_train}" if sized else str(task)
        if any(ARM in method for method in methods):
            name = f"{methods[0].upper()} with more, {name}"
        axes.set_title(fitted(name, 72 * (width / columns - 0.6), 8), loc="left")
        own = (frame["task"] == task) & (frame["n_train"] == n_train) & frame["method"].isin(methods)
        turned = result.cells[(result.cells["task"] == task) & (result.cells["n_train"] == n_train)]
        onsets = turned.set_index("method")["onset_epoch"]
        # One look for a method in every panel; variants have theirs among themselves.
        looks = {name: plain[name] for name in plain if name in methods} if plain.keys() >= set(methods) else None
        gap = None if crowded and looks else 8.5 / (72 * (tall - 0.25))
        _curves(axes, frame[own], onsets, looks or looks_of(methods), gap)
        if i % columns == 0:
            axes.set_ylabel("loss, nats" if quantity == "loss" else "accuracy, %", fontsize=small())
        else:
            axes.tick_params(axis="y", labelleft=False)
        if i + columns >= len(panels):
            axes.set_xlabel("epoch", fontsize=small())
    if isinstance(figure, Figure):
        legend_above(figure, _handles(frame, plain if crowded else {}), width)
    else:
        _legend_in(figure, frame)
    return root(figure)


def _panels(frame: pd.DataFrame) -> list[tuple[str, int, list[str]]]:
    """Task, training images and methods of each panel; a method's variants have one of their own, beside it."""
    panels: list[tuple[str, int, list[str]]] = []
    for task, n_train in frame[["task", "n_train"]].drop_duplicates().itertuples(index=False, name=None):
        part = frame[(frame["task"] == task) & (frame["n_train"] == n_train)]
        methods = list(part["method"].unique())
        plain = [method for method in methods if ARM not in method]
        panels.append((task, n_train, plain or methods))
        for method in plain:
            arms = [each for each in methods if each.startswith(f"{method}{ARM}")]
            panels += [(task, n_train, [method, *arms])] if arms else []
    return panels


def _limits(loss: pd.Series, scale: Scale) -> tuple[float, float]:
    """Range of the losses with room around; on a log axis of the positive ones, a loss of zero on the lower edge."""
    if scale == "linear":
        return 0.0, 1.05 * float(loss.max()) or 1.0
    positive = loss[loss > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.1, 1.0)
    return low / 10**0.1, high * 10**0.1


def _scales(axes: Axes, limits: tuple[float, float], scale: Scale) -> None:
    if scale == "log":
        axes.set_yscale("log", nonpositive="clip")
        few = limits[1] / limits[0] < 30
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylim(*limits)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y", color=FAINT, linewidth=0.5)


def _curves(axes: Axes, frame: pd.DataFrame, onsets: pd.Series, looks: dict[str, Look], gap: float | None) -> None:
    """Draw one task's curves, and the methods' names beside them, apart by ``gap`` of the panel's height if at all."""
    ends: list[tuple[float, float, Look]] = []
    for method, look in looks.items():
        for held_out in (False, True):
            chosen = frame[(frame["method"] == method) & (frame["judged"] == held_out)]
            if chosen.empty:
                continue
            runs = chosen.pivot(index="epoch", columns="seed", values="value").sort_index()
            mean = runs.mean(axis=1)
            if runs.shape[1] > 1:
                axes.fill_between(runs.index, runs.min(axis=1), runs.max(axis=1), color=look.colour, alpha=0.2, lw=0)
            axes.plot(
                mean.index, mean, color=look.colour, linestyle=TEST if held_out else TRAIN, marker=look.marker,
                markevery=[-1], markersize=3.2, linewidth=1.1,
                label=f"{look.label} {chosen['split'].iloc[0]}",
            )  # fmt: skip
            if held_out:
                ends.append((float(mean.index[-1]), float(mean.iloc[-1]), look))
                _onset(axes, mean, float(onsets[method]), look)
    if gap is not None:
        _names(axes, ends, gap)


def _onset(axes: Axes, mean: pd.Series, epoch: float, look: Look) -> None:
    """Mark where the held-out loss turns; nowhere where it falls to the end."""
    if epoch >= mean.index[-1]:
        return
    height = float(np.interp(epoch, mean.index.to_numpy(dtype=float), mean.to_numpy(dtype=float)))
    axes.plot(
        [epoch], [height], marker="v", markersize=ONSET, markerfacecolor="white", markeredgecolor=look.colour,
        markeredgewidth=0.9, linestyle="none", label=f"{look.label} onset", zorder=4,
    )  # fmt: skip


def _names(axes: Axes, ends: Sequence[tuple[float, float, Look]], gap: float) -> None:
    """Write names at the right edge, in the order of the curves' ends."""
    said = [_lines(look.label) for _, _, look in ends]
    gap *= max([text.count("\n") for text in said], default=0) + 1
    points = [axes.transLimits.transform(axes.transScale.transform((epoch, max(loss, 1e-12))))
              for epoch, loss, _ in ends]  # fmt: skip
    heights = [float(np.clip(point[1], 0, 1)) for point in points]
    for (epoch, loss, look), text, height in zip(ends, said, dodge(heights, gap), strict=True):
        axes.annotate(
            text, (epoch, loss), xytext=(1.07, height), textcoords="axes fraction", fontsize=small(),
            color=look.colour, va="center", linespacing=0.95,
            arrowprops={"arrowstyle": "-", "color": look.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 3,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def _lines(label: str) -> str:
    """A method's name; of a variant, what is added to it, in lines of which the last is left out where it is long."""
    if ARM not in label:
        return fitted(label, 62)
    added = label.partition(ARM)[2].replace("_", " ")
    lines = textwrap.wrap(added, 20)
    kept = lines[:LINES] if len(lines) <= LINES else [*lines[: LINES - 1], "and more"]
    return "\n".join(fitted(line, 80) for line in kept)


def _handles(frame: pd.DataFrame, looks: Mapping[str, Look]) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], color=MUTED, linestyle=TRAIN, label="training"),
        Line2D(
            [], [], color=MUTED, linestyle=TEST, label=" or ".join(sorted(frame[frame["judged"]]["split"].unique()))
        ),
    ]
    if frame.groupby(["task", "method", "n_train"])["seed"].nunique().max() > 1:
        handles.append(Patch(color=MUTED, alpha=0.25, linewidth=0, label="range of seeds"))
    handles.append(
        Line2D([], [], color=MUTED, linestyle="none", marker="v", markersize=ONSET, markerfacecolor="white",
               label="onset")
    )  # fmt: skip
    handles += [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=3.2, linewidth=1.1, label=look.label)
        for look in looks.values()
    ]
    return handles


def _legend_in(figure: SubFigure, frame: pd.DataFrame) -> None:
    """Put the legend below the first panel of a figure inside another."""
    figure.axes[-1].legend(handles=_handles(frame, {}), loc="lower left", fontsize=small())
