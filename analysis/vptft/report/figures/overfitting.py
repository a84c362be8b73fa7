"""Training and test loss per epoch, one panel a task: colour and end marker for the method, dashes for test."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from vptft.report.figures.style import FAINT, SMALL, Look, dodge, fitted, looks_of, place, root, styled, table_of
from vptft.why.overfitting import OverfittingCurves

SPLITS = {"train": "-", "test": (0, (3.5, 1.8))}
PANEL = 1.35
"""Inches a row of panels takes."""


@styled
def draw_overfitting(result: OverfittingCurves, *, ax: Axes | None = None) -> Figure:
    """Draw the curves: thin lines for seeds where there are several, thick for their mean, labels at line ends.

    All panels share the loss axis, which is logarithmic: equal steps are equal ratios.
    """
    frame = table_of(result, "task", "method", "seed", "epoch", "split", "loss")
    frame = frame[frame["split"].isin(SPLITS)]
    tasks = list(dict.fromkeys(frame["task"]))
    columns = min(len(tasks), 2 if len(tasks) <= 4 else 3)
    rows = -(-len(tasks) // columns)
    tall = PANEL if rows > 1 else 1.8
    figure, grid = place(ax, rows=rows, columns=columns, height=0.45 + (tall + 0.22) * rows)
    looks = looks_of(frame["method"])
    limits = _limits(frame["loss"])
    for i, task in enumerate(tasks):
        axes = figure.add_subplot(grid[i // columns, i % columns])
        _scales(axes, limits)
        axes.set_title(fitted(task, 118 if columns == 3 else 170, 8), loc="left")
        _curves(axes, frame[frame["task"] == task], looks, 9.5 / (72 * (tall - 0.2)))
        if i % columns == 0:
            axes.set_ylabel("loss (nats)", fontsize=SMALL)
        else:
            axes.tick_params(axis="y", labelleft=False)
        if i + columns >= len(tasks):
            axes.set_xlabel("epoch", fontsize=SMALL)
    return root(figure)


def _limits(loss: pd.Series) -> tuple[float, float]:
    """Range of the positive losses with a tenth of a decade around; a loss of zero lies on the lower edge."""
    positive = loss[loss > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.1, 1.0)
    return low / 10**0.1, high * 10**0.1


def _scales(axes: Axes, limits: tuple[float, float]) -> None:
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(*limits)
    few = limits[1] / limits[0] < 30
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y", color=FAINT, linewidth=0.5)


def _curves(axes: Axes, frame: pd.DataFrame, looks: dict[str, Look], gap: float) -> None:
    """Draw one task's lines and write their names at the right edge, apart by ``gap`` of the panel's height."""
    ends: list[tuple[float, float, str, Look]] = []
    for (method, look), split in ((item, split) for item in looks.items() for split in SPLITS):
        chosen = frame[(frame["method"] == method) & (frame["split"] == split)]
        if chosen.empty:
            continue
        runs = chosen.pivot(index="epoch", columns="seed", values="loss").sort_index()
        if runs.shape[1] > 1:
            axes.plot(runs.index, runs, color=look.colour, linestyle=SPLITS[split], linewidth=0.5, alpha=0.5)
        mean = runs.mean(axis=1)
        axes.plot(
            mean.index, mean, color=look.colour, linestyle=SPLITS[split], marker=look.marker, markevery=[-1],
            markersize=3.5, label=f"{look.label} {split}",
        )  # fmt: skip
        ends.append((float(mean.index[-1]), float(mean.iloc[-1]), split, look))
    low, high = np.log10(axes.get_ylim())
    heights = [(np.log10(max(loss, 10**low)) - low) / (high - low) for _, loss, _, _ in ends]
    for (epoch, loss, split, look), height in zip(ends, dodge(heights, gap), strict=True):
        axes.annotate(
            f"{fitted(look.label, 60)} {split}", (epoch, max(loss, 10**low)), xytext=(1.06, height),
            textcoords="axes fraction", fontsize=SMALL, color=look.colour, va="center",
            arrowprops={"arrowstyle": "-", "color": look.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
