"""What methods cost, one panel a cost: against accuracy with the Pareto front, or alone where no accuracy is known."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Transform, blended_transform_factory

from vptft.errors import SettingsError
from vptft.report.figures.cost_axes import PANELS, Panel, line_styles, marker_sizes, set_scale
from vptft.report.figures.style import (
    FAINT,
    MUTED,
    SMALL,
    Look,
    dodge,
    fitted,
    looks_of,
    place,
    root,
    small,
    styled,
    table_of,
)
from vptft.tuning.methods import called
from vptft.tuning.profile import COSTS, Profile
from vptft.tuning.tradeoff import KIND, on_front
from vptft.tuning.tradeoff import points as points_of

ACROSS = 3
ROWS = -(-len(PANELS) // ACROSS)
ROW, LINE = 0.155, 0.135
"""Inches a name takes, and a line of words."""


@styled
def draw_profile(result: Profile, *, ax: Axes | None = None) -> Figure:
    """Draw one panel a cost, memory and storage in multiples of 1,000 bytes; costs that differ much on a log axis.

    With accuracies, height is accuracy, a name stands at the right at its height, and grey lines join the points that
    no other beats (their steps have no meaning between the points). Without, each name has a row. The marker grows with
    the batch; a thin line is the range: of times over repetitions, of accuracies over the runs of one task.

    Parameters
    ----------
    result
        Of :func:`vptft.tuning.profile.measure`; points are those of :func:`vptft.tuning.tradeoff.points`.
    ax
        Where to draw; a new figure where None.

    Raises
    ------
    SettingsError
        Nothing was measured, or the runs have no task in common.
    """
    table = table_of(result, *KIND, *COSTS, "accuracy", "task", "n_train", "note", "not_applicable")
    points = points_of(table)
    if points.empty:
        raise SettingsError(f"Nothing in this profile could be measured: {table['not_applicable'].iloc[0]}")
    points = points.assign(name=_names(points)).sort_values("batch_size", ascending=False, kind="stable")
    judged = bool(points["accuracy"].notna().any())
    names = _order(points)
    tall = max(1.15, ROW * (len(names) + 1))
    words, handles = _words(result, points, table), _handles(points, judged=judged)
    foot = LINE * small() / SMALL * (len(words) + -(-len(handles) // ACROSS)) + 0.1
    figure, grid = place(
        ax, rows=ROWS + 1, columns=ACROSS, height=foot + ROWS * (tall + 0.42), wspace=0.06,
        height_ratios=[tall + 0.42] * ROWS + [foot],
    )  # fmt: skip
    looks = _looks(points)
    places = {name: float(i) for i, name in enumerate(names)}
    heights = points["accuracy"] if judged else points["name"].map(places)
    limits = _padded(points) if judged else (len(names) - 0.4, -0.6)
    for i, panel in enumerate(PANELS):
        axes = figure.add_subplot(grid[i // ACROSS, i % ACROSS])
        axes.set_ylim(*limits)
        set_scale(axes, panel, points)
        _marks(axes, panel, points.assign(y=heights), looks, judged=judged)
        if judged:
            _fronts(axes, panel, points)
            _named(axes, i, points, looks, tall)
        else:
            axes.set_yticks(list(places.values()), [fitted(name, 90 - 12 * (small() - SMALL)) for name in places])
            axes.tick_params(axis="y", length=0, labelleft=i % ACROSS == 0)
            axes.grid(axis="y", color=FAINT, linewidth=0.5)
    across = figure.transSubfigure if ax is None else None  # a place has margins of its own
    _foot(figure.add_subplot(grid[ROWS, :]), handles, words, across)
    return root(figure)


def _names(points: pd.DataFrame) -> list[str]:
    """What tells points apart whatever the batch: the method as in every figure, and what else differs."""
    looks = looks_of(points["method"])
    rest = ["variant", "backbone", "image_size"]
    several = points.groupby(["method", *rest])["prompt_length"].transform("nunique") > 1
    one = {column: points[column].nunique() == 1 for column in rest[1:]}
    names = []
    for row, lengths in zip(points.to_dict("records"), several, strict=True):
        prompts = f"{row['prompt_length']} prompts" if lengths else ""
        more = ("" if one["backbone"] else row["backbone"], "" if one["image_size"] else f"{row['image_size']} px")
        names.append(", ".join(filter(None, [looks[row["method"]].label, prompts, row["variant"], *more])))
    return names


def _order(points: pd.DataFrame) -> list[str]:
    """Names, those that tune least first; by accuracy where it is known, best first."""
    by = "accuracy" if points["accuracy"].notna().any() else "parameters_tuned"
    return list(dict.fromkeys(points.sort_values(by, ascending=by != "accuracy", kind="stable")["name"]))


def _looks(points: pd.DataFrame) -> dict[str, Look]:
    looks = looks_of(points["method"])
    return {name: looks[method] for name, method in zip(points["name"], points["method"], strict=True)}


def _padded(points: pd.DataFrame) -> tuple[float, float]:
    ends = points[["accuracy", "low", "high"]].to_numpy(dtype=float)
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    pad = 0.1 * (high - low) or 0.05
    return low - pad, high + pad


def _marks(axes: Axes, panel: Panel, points: pd.DataFrame, looks: Mapping[str, Look], *, judged: bool) -> None:
    """Draw a marker a point, with its ranges; what does not depend on the batch is drawn once."""
    sizes = marker_sizes(points["batch_size"])
    shown = points if panel.by_batch else points.drop_duplicates("name")
    values = shown.assign(x=panel.of(shown))
    if panel.timed:
        values = values.assign(x_low=panel.of(shown, "_min"), x_high=panel.of(shown, "_max"))
    for row in values.to_dict("records"):
        look, x, y = looks[row["name"]], row["x"], row["y"]
        thin: dict[str, Any] = {"color": look.colour, "linewidth": 0.8, "zorder": 3}
        if panel.timed:
            axes.plot([row["x_low"], row["x_high"]], [y, y], **thin)
        if judged and row["low"] < row["high"]:
            axes.plot([x, x], [row["low"], row["high"]], **thin)
        size = sizes[row["batch_size"]] if panel.by_batch else max(sizes.values())
        axes.plot(
            [x], [y], look.marker, color=look.colour, markersize=size, markeredgecolor="white", markeredgewidth=0.4,
            zorder=4, label=_said(row),
        )  # fmt: skip


def _said(row: Mapping[Hashable, Any]) -> str:
    return f"{row['name']} batch {row['batch_size']}"


def _fronts(axes: Axes, panel: Panel, points: pd.DataFrame) -> None:
    """Join the points that no other beats: one line a batch size, since costs of different batches do not compare."""
    for batch, style in line_styles(points["batch_size"]).items():
        rows = points[points["batch_size"] == batch]
        cost = panel.of(rows)
        best = on_front(cost.tolist(), rows["accuracy"].tolist())
        ends = pd.DataFrame({"x": cost[best], "y": rows["accuracy"][best]}).sort_values("x")
        axes.plot(ends["x"], ends["y"], color=MUTED, linewidth=0.9, linestyle=style, zorder=2, label="front")
        if not panel.by_batch:
            return


def _named(axes: Axes, i: int, points: pd.DataFrame, looks: Mapping[str, Look], tall: float) -> None:
    """Faint lines at each name's accuracy; the name at the right end of a row of panels, moved apart where needed."""
    levels = points.drop_duplicates("name")
    for level in levels["accuracy"]:
        axes.axhline(level, color=FAINT, linewidth=0.5, zorder=1)
    first, last = i % ACROSS == 0, i % ACROSS == ACROSS - 1
    axes.tick_params(axis="y", labelleft=first)
    if first:
        tasks = int(points["n_tasks"].max())
        axes.set_ylabel("test accuracy" if tasks == 1 else f"test accuracy, mean of {tasks} tasks", fontsize=small())
    if not last:
        return
    low, high = axes.get_ylim()
    heights = [(level - low) / (high - low) for level in levels["accuracy"]]
    for name, start, end in zip(levels["name"], heights, dodge(heights, 9.5 / (72 * tall)), strict=True):
        axes.plot(
            [1.0, 1.06], [start, end], color=FAINT, linewidth=0.5, transform=axes.transAxes, clip_on=False, zorder=1
        )
        axes.text(
            1.08, end, fitted(name, 92), transform=axes.transAxes, fontsize=small(), va="center",
            color=looks[name].colour,
        )  # fmt: skip


def _handles(points: pd.DataFrame, *, judged: bool) -> list[Line2D]:
    """One a batch size: its marker, and the line of its front where there is one."""
    styles, what = line_styles(points["batch_size"]), "Pareto front, batch" if judged else "batch"
    return [
        Line2D(
            [], [], color=MUTED, linewidth=0.9, linestyle=styles[batch] if judged else "none", marker="o",
            markersize=size, markeredgewidth=0, label=f"{what} {batch}",
        )
        for batch, size in marker_sizes(points["batch_size"]).items()
    ]  # fmt: skip


def _foot(axes: Axes, handles: list[Line2D], words: list[str], across: Transform | None) -> None:
    """Legend and words in a row of their own, in the middle ``across``, where neither can narrow a panel."""
    axes.set_axis_off()
    middle = blended_transform_factory(across or axes.transAxes, axes.transAxes)
    legend = axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.0), bbox_transform=middle, borderaxespad=0,
        ncols=min(len(handles), ACROSS), borderpad=0, labelspacing=0.3, handlelength=3,
    )  # fmt: skip
    said = axes.text(
        0.5, 0.0, "\n".join(words), transform=middle, ha="center", va="bottom", fontsize=small(), color=MUTED
    )
    for artist in (legend, said):
        artist.set_in_layout(False)


def _words(result: Profile, points: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Where it was measured, what its numbers hide, and what is not drawn."""
    had = result.settings
    threads = f", {_count(pd.Series([had['threads']]), 'thread')}" if had["device"] == "cpu" else ""
    sizes = "/".join(str(size) for size in sorted(points["image_size"].unique()))
    lengths = sorted(points["prompt_length"].unique())
    prompts = f", {lengths[-1]} prompts a layer" if len([n for n in lengths if n]) == 1 else ""
    backbones = ", ".join(points["backbone"].unique())
    said = [
        f"{backbones}, {sizes} px{prompts}; {had['device']}{threads}, {had['time']}, "
        f"median and range of {had['repeats']} repetitions"
    ]
    if points["accuracy"].notna().any():
        spread = " and range" if points["low"].notna().any() else ""
        said.append(f"accuracy: mean{spread} of {_count(points['n_runs'], 'run')} a point")
    shown = table["method"].isin(points["method"]) | (table["not_applicable"] != "")
    said += replace(result, table=table[shown]).notes()
    if left := sorted(set(table[table["not_applicable"] == ""]["method"]) - set(points["method"])):
        said.append(f"not drawn, no accuracy known: {', '.join(map(called, left))}")
    return [fitted(line, 385) for line in said]


def _count(numbers: pd.Series, what: str) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low if low == high else f'{low} to {high}'} {what}{'s' if high > 1 else ''}"
