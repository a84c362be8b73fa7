"""Loss around runs: planes as contours with one scale, and what is the same along many directions as profiles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from vptft.errors import SettingsError
from vptft.report.figures.style import (
    FAINT,
    MUTED,
    Look,
    dodge,
    fitted,
    looks_of,
    page_width,
    place,
    root,
    small,
    styled,
    table_of,
)  # fmt: skip
from vptft.why.landscape.surfaces import CENTRE, Surfaces

COLOURS = "viridis_r"
"""Dark is high loss; it stays in order when printed grey."""
SPLITS: dict[Any, Any] = {"train": "-", "test": (0, (3.5, 1.8))}
"""Line styles."""
LEVELS = 12
TOP = 0.95
"""Levels end at this quantile of the losses: one steep corner would make all else one colour."""
MOST = 4
"""Runs side by side."""
PICTURE = "A picture of two directions\namong millions, not evidence."
"""Under every figure of slices, as narrow as the narrowest."""


@styled
def draw_surfaces(results: Sequence[Surfaces], *, split: str = "test", ax: Axes | None = None) -> Figure:
    """Draw the loss on every plane of up to four runs of one task: a row a plane, a column a run, one scale for all.

    The cross is the run; the white line is where training came from, in the plane of its trajectory.

    Raises
    ------
    SettingsError
        No result, more than four, several tasks, or none that has a plane of this split.
    """
    tables = [table_of(item, "plane", "split", "a", "b", "loss") for item in results]
    if not 0 < len(results) <= MOST or len({item.task for item in results}) > 1:
        raise SettingsError(f"Contours are drawn of one to {MOST} runs of one task; these are {len(results)}.")
    means = [
        own.groupby(["plane", "a", "b"], sort=False)["loss"].mean().reset_index()
        for own in (table[table["split"] == split] for table in tables)
    ]
    planes = [
        name for name in dict.fromkeys(name for table in means for name in table["plane"])
        if any(table.loc[table["plane"] == name, "b"].nunique() > 1 for table in means)
    ]  # fmt: skip
    if not planes:
        raise SettingsError(f"There is no plane with {split} loss to draw; profiles show lines.")
    looks = looks_of(item.method for item in results)
    losses = np.concatenate([table["loss"].to_numpy() for table in means])
    low, high = float(losses.min()), float(np.quantile(losses, TOP))
    levels = np.linspace(low, high if high > low else low + 1e-6 + abs(low) * 1e-6, LEVELS)
    side = min(1.4, (page_width() - 1.1) / len(results) - 0.4)
    figure, grid = place(
        ax, rows=len(planes), columns=len(results), height=(side + 0.3) * len(planes) + 0.65,
        width=(side + 0.4) * len(results) + 1.1,
    )  # fmt: skip
    filled: QuadContourSet | None = None
    panels: list[Axes] = []
    named: set[str] = set()
    for row, name in enumerate(planes):
        first = True
        for column, (item, table) in enumerate(zip(results, means, strict=True)):
            own = table[table["plane"] == name]
            if own["b"].nunique() < 2:
                continue
            axes = figure.add_subplot(grid[row, column])
            panels.append(axes)
            filled = _contours(axes, own, levels)
            _path(axes, item.path[item.path["plane"] == name])
            if item.label not in named:
                look = looks[item.method]
                axes.set_title(
                    fitted(_name(item, results, look), 72 * side), fontsize=small(), color=look.colour, pad=3
                )
                named.add(item.label)
            if first:
                axes.set_ylabel(name, fontsize=small())
            first = False
    assert filled is not None
    bar = root(figure).colorbar(filled, ax=panels, format="%.3g", aspect=30, pad=0.02)
    bar.set_label(f"{results[0].task}: {split} loss (nats)", fontsize=small())
    bar.set_ticks(list(levels[::3]))
    units = dict.fromkeys(f"{unit} ({plane})" for item in results for plane, unit in _units(item, planes).items())
    if ax is None:  # else the figure's foot is its owner's
        figure.supxlabel(f"Steps: {', '.join(units)}.\n{PICTURE}", fontsize=small(), color=MUTED)
    return laid_out(figure)


@styled
def draw_profiles(results: Sequence[Surfaces], *, ax: Axes | None = None) -> Figure:
    """Draw how the loss changes along random directions: the mean over directions, with their range as a band.

    A row a task, a column a split; both directions of a plane count, each along its axis.
    """
    if not results:
        raise SettingsError("There is no result to draw.")
    tables = [_profile(item).assign(task=item.task) for item in results]
    splits = [split for split in SPLITS if any((table["split"] == split).any() for table in tables)]
    tasks = list(dict.fromkeys(item.task for item in results))
    figure, grid = place(ax, rows=len(tasks), columns=len(splits), height=1.75 * len(tasks) + 0.3)
    looks = looks_of(item.method for item in results)
    labelled: list[tuple[Axes, list[tuple[float, float, Look]]]] = []
    for row, task in enumerate(tasks):
        first: Axes | None = None
        for column, split in enumerate(splits):
            axes = figure.add_subplot(grid[row, column], sharey=first)
            first = first or axes
            axes.set_title(fitted(f"{task}, {split}", 170, 8), loc="left")
            axes.grid(axis="y", color=FAINT, linewidth=0.5)
            ends = []
            for item, table in zip(results, tables, strict=True):
                own = table[(table["split"] == split) & (table["task"] == task)]
                if len(own):
                    ends.append(_banded(axes, own, looks[item.method]))
            labelled.append((axes, ends))
            if column == 0:
                axes.set_ylabel("loss (nats)", fontsize=small())
            if row == len(tasks) - 1:
                axes.set_xlabel("step along a random direction (filter norms)", fontsize=small())
    for axes, ends in labelled:  # once no panel can change the scale they share
        _end_labels(axes, ends)
    return laid_out(figure)


def laid_out(figure: Figure | SubFigure) -> Figure:
    """Return the whole figure, its layout found: with square panels or long names it takes several passes."""
    for _ in range(4):
        root(figure).draw_without_rendering()
    return root(figure)


def _contours(axes: Axes, own: pd.DataFrame, levels: np.ndarray) -> QuadContourSet:
    surface = own.pivot(index="b", columns="a", values="loss").sort_index().sort_index(axis=1)
    filled = axes.contourf(surface.columns, surface.index, surface, levels=levels, cmap=COLOURS, extend="max")
    axes.contour(surface.columns, surface.index, surface, levels=levels, colors="white", linewidths=0.25)
    axes.plot([0], [0], "+", color="white", markersize=9, markeredgewidth=2.4)
    axes.plot([0], [0], "+", color="black", markersize=8, markeredgewidth=1.0)
    axes.set_box_aspect(1)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    return filled


def _path(axes: Axes, path: pd.DataFrame) -> None:
    """Draw the snapshots in order, the epoch beside the first."""
    if path.empty:
        return
    axes.plot(path["a"], path["b"], color="black", linewidth=2.2)
    axes.plot(path["a"], path["b"], color="white", linewidth=1.0, marker="o", markersize=2.5, label="training")
    first = path.iloc[0]
    inwards = "right" if first["a"] > np.mean(axes.get_xlim()) else "left"
    axes.annotate(
        f"epoch {first['epoch']:g}", (first["a"], first["b"]), xytext=(0, 4), textcoords="offset points", ha=inwards,
        fontsize=small(), color="white", path_effects=[withStroke(linewidth=1.6, foreground="black")],
    )  # fmt: skip


def _profile(item: Surfaces) -> pd.DataFrame:
    """Loss along each random direction by itself, a column each: split, step, then loss by direction."""
    table = table_of(item, "plane", "split", "a", "b", "loss")
    random = table[table["plane"].str.startswith("random")]
    ways = [("a", "b"), ("b", "a")] if random["b"].nunique() > 1 else [("a", "b")]
    sides = []
    for free, fixed in ways:
        on_axis = random[random[fixed].abs() < CENTRE]
        sides.append(on_axis.assign(step=on_axis[free].round(9), way=free))
    return pd.concat(sides).groupby(["split", "plane", "way", "step"], sort=False)["loss"].mean().reset_index()


def _banded(axes: Axes, own: pd.DataFrame, look: Look) -> tuple[float, float, Look]:
    """Draw mean and range over directions; gives where the line ends."""
    by_step = own.groupby("step")["loss"]
    mean = by_step.mean()
    axes.fill_between(mean.index, by_step.min(), by_step.max(), color=look.colour, alpha=0.18, linewidth=0)
    axes.plot(
        mean.index, mean, color=look.colour, linestyle=look.linestyle, marker=look.marker, markersize=3, markevery=2
    )  # fmt: skip
    return float(mean.index[-1]), float(mean.iloc[-1]), look


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, Look]]) -> None:
    """Write each method's name once, at the right of its first line, apart from the others."""
    low, high = axes.get_ylim()
    once = list({look.label: (x, y, look) for x, y, look in reversed(ends)}.values())
    heights = dodge([(y - low) / (high - low) for _, y, _ in once], 0.11)
    for (x, y, look), height in zip(once, heights, strict=True):
        axes.annotate(
            fitted(look.label, 60), (x, y), xytext=(1.03, float(height)), textcoords="axes fraction", fontsize=small(),
            color=look.colour, va="center",
        )  # fmt: skip


def _name(item: Surfaces, results: Sequence[Surfaces], look: Look) -> str:
    alone = [other.method for other in results].count(item.method) == 1
    return f"{look.label if alone else item.label} ({item.space})"


def _units(item: Surfaces, planes: Sequence[str]) -> dict[str, str]:
    """Units of the planes drawn; random planes together."""
    found = {plane: unit for plane, unit in item.settings.get("units", {}).items() if plane in planes}
    return {("random" if plane.startswith("random") else plane): unit for plane, unit in found.items()}
