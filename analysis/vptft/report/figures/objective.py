"""Disparity of tasks' objectives as sorted dots, and all measures of it against each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vptft.errors import SettingsError
from vptft.report.figures.style import (
    FAINT,
    INK,
    MUTED,
    fitted,
    place,
    printable,
    root,
    styled,
    table_of,
)
from vptft.when.objective.comparison import Comparison
from vptft.when.objective.disparity import DISPARITY, Disparity

OBJECTIVES: Mapping[str, tuple[str, str]] = {
    "classification": (INK, "o"),
    "counting": ("#e0700a", "s"),
    "location": ("#12706a", "D"),
    "orientation": ("#d673aa", "^"),
    "distance": ("#5b95ee", "v"),
    "azimuth": ("#7436bd", "<"),
    "elevation": ("#454d00", ">"),
}
"""Colour and marker of each objective; anything else is grey."""
OTHER = (MUTED, "X")
BACKBONES = (("#0b3c7d", "o"), ("#e0700a", "s"), ("#2fa59e", "^"), ("#801c54", "v"))
"""Colour and marker of each backbone, in turn, where measures are compared."""
ROW = 0.165
"""Inches a row takes."""
NAME = 118.0
"""Points a name may take."""
COLUMNS = ("task", "objective", "backbone", "pretraining", "draw", "measure", "value", "note")


@styled
def draw_disparity(result: Disparity, *, ax: Axes | None = None) -> Figure:
    """Draw a dot a task, the farthest on top, a panel a backbone; a line from the lowest to the highest of its draws.

    Tasks are in the order of their mean disparity in every panel. An open dot has a note: its order could not be
    measured, or few pictures stand behind it.

    Raises
    ------
    SettingsError
        When the result has no row.
    """
    table_of(result, *COLUMNS)
    scores = result.scores()
    order = scores.groupby("task", sort=False)[DISPARITY].mean().sort_values(kind="stable")
    backbones = list(dict.fromkeys(scores["backbone"]))
    figure, grid = place(ax, rows=1, columns=len(backbones), height=0.95 + ROW * len(order))
    axes = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0] if ax is None else [
        figure.add_subplot(grid[i]) for i in range(len(backbones))
    ]  # fmt: skip
    for panel, backbone in zip(axes, backbones, strict=True):
        rows = scores[scores["backbone"] == backbone]
        _dots(panel, rows, {task: y for y, task in enumerate(order.index)})
        panel.set_title(fitted(f"{backbone}, {rows['pretraining'].iloc[0]}", 340 / len(backbones), 8))
        panel.set_xlabel("disparity")
    axes[0].set_yticks(range(len(order)), [fitted(task, NAME) for task in order.index])
    for panel in axes[1:]:
        panel.tick_params(axis="y", labelleft=False)
    _objective_legend(root(figure), scores, columns=min(len(set(scores["objective"])) + 1, 6))
    return root(figure)


@styled
def draw_comparison(comparison: Comparison, *, ax: Axes | None = None) -> Figure:
    """Draw every measure's AUC, AUC at equal accuracy, correlation given accuracy, and agreement of backbones.

    The measures stand in the order of the rule of choice, the chosen one on top. A grey one cannot be chosen: it has no
    value for some task, or its range depends on the number of classes.
    """
    frame = table_of(comparison, "measure", "about", "backbone", "auc", "low", "high", "matched_auc", "partial",
                     "partial_low", "partial_high", "missing")  # fmt: skip
    ranking = comparison.ranking()
    places = {name: y for y, name in enumerate(ranking["measure"][::-1])}
    figure, grid = place(ax, rows=1, columns=4, height=0.95 + ROW * 1.25 * len(places))
    axes = [figure.add_subplot(grid[i]) for i in range(4)]
    _panel(axes[0], frame, places, ("auc", "low", "high"), "AUC", (0, 1), 0.5)
    _panel(axes[1], frame, places, ("matched_auc",), "AUC at equal\naccuracy", (0, 1), 0.5)
    _panel(
        axes[2], frame, places, ("partial", "partial_low", "partial_high"), "correlation\ngiven accuracy", (-1, 1), 0
    )
    _agreement_panel(axes[3], comparison.agreement, places)
    names = frame.drop_duplicates("measure").set_index("measure")
    eligible = ranking.set_index("measure")["eligible"]
    axes[0].set_yticks(range(len(places)), [fitted(printable(names["about"][name]), NAME) for name in places])
    for name, label in zip(places, axes[0].get_yticklabels(), strict=True):
        label.set_color(INK if eligible[name] else MUTED)
        label.set_fontweight("bold" if name == ranking["measure"].iloc[0] else "normal")
    for panel in axes[1:]:
        panel.set_yticks(range(len(places)), [""] * len(places))
    _backbone_legend(root(figure), list(dict.fromkeys(frame["backbone"])))
    return root(figure)


def _dots(axes: Axes, rows: pd.DataFrame, places: Mapping[str, int]) -> None:
    axes.hlines(range(len(places)), 0, 1, color=FAINT, linewidth=0.5, zorder=1)
    axes.axvline(0.5, color=MUTED, linewidth=0.6, linestyle=(0, (3, 2)), zorder=1)
    for row in rows.to_dict("records"):
        colour, marker = OBJECTIVES.get(row["objective"], OTHER)
        y = places[row["task"]]
        axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.3, zorder=2, solid_capstyle="butt")
        axes.plot(
            row[DISPARITY], y, marker, color=colour, markerfacecolor="white" if row["note"] else colour,
            markersize=5, markeredgewidth=1.0, zorder=3, label=row["task"], clip_on=False,
        )  # fmt: skip
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.set_xticks([0, 0.5, 1], ["0\nnear", "0.5\n ", "1\nfar"])
    _inwards(axes)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _panel(
    axes: Axes, frame: pd.DataFrame, places: Mapping[str, int], columns: Sequence[str], title: str,
    limits: tuple[float, float], reference: float,
) -> None:  # fmt: skip
    """Draw one number of every measure, a marker a backbone, with its interval where there is one."""
    _ground(axes, places, title, limits, reference)
    backbones = list(dict.fromkeys(frame["backbone"]))
    for row in frame.to_dict("records"):
        look = _look(backbones, row["backbone"])
        y = places[row["measure"]] + 0.34 * ((len(backbones) - 1) / 2 - backbones.index(row["backbone"])) / max(
            len(backbones) - 1, 1
        )
        if np.isnan(row[columns[0]]):
            continue
        if len(columns) == 3 and not np.isnan(row[columns[1]]):
            axes.plot([row[columns[1]], row[columns[2]]], [y, y], color=look["color"], linewidth=0.8, zorder=2)
        axes.plot(row[columns[0]], y, label=f"{row['measure']} {row['backbone']}", clip_on=False, **look)


def _agreement_panel(axes: Axes, agreement: pd.DataFrame, places: Mapping[str, int]) -> None:
    _ground(axes, places, "ρ between\nbackbones", (-1, 1), 0)
    for row in agreement.dropna(subset=["rho"]).to_dict("records"):
        axes.plot(
            row["rho"], places[row["measure"]], "o", color=INK, markersize=4, zorder=3, clip_on=False,
            label=row["measure"],
        )  # fmt: skip


def _ground(axes: Axes, places: Mapping[str, int], title: str, limits: tuple[float, float], reference: float) -> None:
    axes.hlines(range(len(places)), *limits, color=FAINT, linewidth=0.5, zorder=1)
    axes.axvline(reference, color=MUTED, linewidth=0.6, linestyle=(0, (3, 2)), zorder=1)
    margin = 0.04 * (limits[1] - limits[0])
    axes.set_xlim(limits[0] - margin, limits[1] + margin)
    axes.set_ylim(-0.6, len(places) - 0.4)
    ticks = (limits[0], sum(limits) / 2, limits[1])
    axes.set_xticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    _inwards(axes)
    axes.set_title(title)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _inwards(axes: Axes) -> None:
    """Keep the outer tick labels off the next panel's."""
    first, *_, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")


def _look(backbones: Sequence[str], backbone: str) -> dict[str, Any]:
    colour, marker = BACKBONES[backbones.index(backbone) % len(BACKBONES)]
    return {"color": colour, "marker": marker, "markersize": 4, "linestyle": "none", "zorder": 3}


def _objective_legend(figure: Figure, scores: pd.DataFrame, *, columns: int) -> None:
    present = sorted(set(scores["objective"]), key=lambda name: ([*OBJECTIVES, name].index(name), name))
    handles = []
    for name in present:
        colour, marker = OBJECTIVES.get(name, OTHER)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=5, label=name))
    if (scores["note"] != "").any():
        handles.append(
            Line2D([], [], color=MUTED, marker="o", markerfacecolor="white", linestyle="none", label="see note")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.2, handletextpad=0.2)


def _backbone_legend(figure: Figure, backbones: Sequence[str]) -> None:
    if len(backbones) > len(BACKBONES):
        raise SettingsError(f"Measures can be compared on {len(BACKBONES)} backbones at once, not {len(backbones)}.")
    handles = [Line2D([], [], label=fitted(name, 150), **_look(backbones, name)) for name in backbones]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handletextpad=0.2)
