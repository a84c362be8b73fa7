"""The predicted gap of a new task beside tasks on which it was measured; and how such predictions have done."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vptft.advise.measure import Advice
from vptft.advise.record import LEVELS, Record
from vptft.errors import SettingsError
from vptft.report.figures.gaps import ahead
from vptft.report.figures.style import (
    FAINT,
    FT,
    INK,
    MUTED,
    SPARE,
    VPT,
    fitted,
    legend_below,
    new_figure,
    place,
    root,
    small,
    styled,
    table_of,
    with_interval,
)

ROW = 0.19
"""Inches a task takes."""
SHOWN = ("role", "block", "task", "gap_points", "predicted_points", "low80_points", "high80_points")


@styled
def draw_advice(result: Advice, *, ax: Axes | None = None) -> Figure:
    """Draw the new task's predicted gap above the evidence that decides, each task of it foretold from the others.

    Where no evidence may decide, the first that was borrowed is drawn, and the title says so.
    """
    frame = table_of(result, *SHOWN, "decides")
    first = frame.loc[frame["role"] == "new", "block"].iloc[0]
    frame = frame[frame["block"] == first]
    old = frame[frame["role"] == "evidence"].sort_values(["gap_points", "task"], ascending=[True, False])
    rows = [*old.to_dict("records"), frame[frame["role"] == "new"].iloc[0].to_dict()]
    figure, grid = place(ax, rows=1, columns=1, height=1.25 + ROW * (len(rows) + 1))
    axes = figure.add_subplot(grid[0])
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    for y, row in enumerate(rows[:-1]):
        _line(axes, row, "80", y, MUTED, 1.4)
        axes.plot(row["predicted_points"], y, "|", color=MUTED, markersize=6, zorder=3)
        look = ahead(row["gap_points"])
        axes.plot(row["gap_points"], y, look.marker, color=look.colour, label=row["task"], zorder=4)
    top, new = len(rows), rows[-1]
    _line(axes, new, "95", top, INK, 0.9)
    _line(axes, new, "80", top, INK, 3.0)
    axes.plot(new["predicted_points"], top, "D", color=INK, markerfacecolor="white", label="predicted", zorder=4)
    said = with_interval(new["predicted_points"], new["low80_points"], new["high80_points"])
    axes.text(1.02, top, said, transform=axes.get_yaxis_transform(), fontsize=small(), va="center", weight="bold")
    for y, row in enumerate(rows[:-1]):
        shown = with_interval(row["gap_points"], np.nan, np.nan)
        axes.text(1.02, y, shown, transform=axes.get_yaxis_transform(), fontsize=small(), va="center")
    axes.axhline(len(rows) - 0.5, color=FAINT, linewidth=0.8)
    axes.set_yticks([*range(len(rows) - 1), top], [fitted(str(row["task"]), 115) for row in rows])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, top + 0.7)
    axes.set_xlabel("accuracy gap VPT − FT, points")
    borrowed = "" if bool(new["decides"]) else "; borrowed evidence decides nothing"
    said = f"{result.recommendation}{borrowed}\nevidence: {fitted(first, 250, 8.0)}"
    axes.set_title(said, loc="left", pad=14)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    _sides(axes)
    _key(axes)
    return root(figure)


@styled
def draw_record(result: Record, *, ax: Axes | None = None) -> Figure:
    """Draw how often intervals held what was measured, and regret against each rule, a colour a block of evidence."""
    table = table_of(result, "block", "pit")
    if ax is not None:
        raise SettingsError("A track record has two panels; draw it on a figure of its own.")
    looks = [(VPT.colour, VPT.marker), (FT.colour, FT.marker), *SPARE, (INK, "D"), (MUTED, "h")]
    counts = table["block"].value_counts(sort=False)
    styles = {str(block): looks[i % len(looks)] for i, block in enumerate(counts.index)}
    figure = new_figure(2.4 + 0.15 * len(styles))
    held, against = figure.subplots(1, 2, width_ratios=(1, 1.2))
    _draw_held(held, result, styles)
    _draw_regrets(against, result.regrets, styles)
    handles = [
        Line2D([], [], color=colour, marker=marker, label=f"{fitted(block, 320)}, {counts[block]} tasks")
        for block, (colour, marker) in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=1, fontsize=small())
    return figure


def _draw_held(axes: Axes, result: Record, styles: dict[str, tuple[str, str]]) -> None:
    """Share of measured gaps inside the central interval of every level, with exact intervals at some."""
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    levels = np.linspace(0, 1, 201)
    for i, (block, (colour, marker)) in enumerate(styles.items()):
        pit = result.table.loc[result.table["block"] == block, "pit"].to_numpy()
        shares = [np.mean(np.abs(2 * pit - 1) <= level) for level in levels]
        axes.plot(levels, shares, color=colour, linewidth=1.0, label=block)
        rows = result.calibration[result.calibration["block"] == block]
        shift = 0.012 * (i - (len(styles) - 1) / 2)
        for row in rows.to_dict("records"):
            x = row["level"] + shift
            axes.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=0.9)
            axes.plot(x, row["held"], marker, color=colour)
    axes.set(xlabel="level of the interval", ylabel="share of tasks inside", xlim=(0, 1.03), ylim=(0, 1.03))
    axes.set_xticks([0, *LEVELS], ["0", *(f"{level:.0%}" for level in LEVELS)])
    axes.set_yticks([0, 0.5, 1], ["0", "50%", "100%"])


def _draw_regrets(axes: Axes, regrets: pd.DataFrame, styles: dict[str, tuple[str, str]]) -> None:
    """Regret of the advice minus that of each rule, mean over tasks with its 95% interval."""
    rules = list(dict.fromkeys(regrets["rule"]))
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for i, (block, (colour, marker)) in enumerate(styles.items()):
        part = regrets[(regrets["block"] == block) & (regrets["n"] > 0)]
        for row in part.to_dict("records"):
            y = -rules.index(row["rule"]) + 0.5 * ((len(styles) - 1) / 2 - i) / len(styles)
            axes.plot([row["low_points"], row["high_points"]], [y, y], color=colour, linewidth=1.2)
            axes.plot(row["difference_points"], y, marker, color=colour)
    axes.set_yticks([-i for i in range(len(rules))], [f"against\n{rule}" for rule in rules])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0.6 - len(rules), 0.6)
    axes.set_xlabel("difference in regret, points\n← advice better")
    axes.spines["left"].set_visible(False)


def _line(axes: Axes, row: dict[str, object], level: str, y: float, colour: str, width: float) -> None:
    ends = [row[f"low{level}_points"], row[f"high{level}_points"]]
    axes.plot(ends, [y, y], color=colour, linewidth=width, solid_capstyle="butt", zorder=2)  # type: ignore[arg-type]  # numbers of a table's row


def _sides(axes: Axes) -> None:
    for side, words, look, offset in (("right", "← FT ahead", FT, -4), ("left", "VPT ahead →", VPT, 4)):
        axes.annotate(
            words, (0, 1), xycoords=("data", "axes fraction"), xytext=(offset, 2), textcoords="offset points",
            ha=side, va="bottom", fontsize=small(), color=look.colour, weight="bold",
        )  # fmt: skip


def _key(axes: Axes) -> None:
    handles = [
        Line2D([], [], color=VPT.colour, marker=VPT.marker, linestyle="none", label="measured, VPT ahead"),
        Line2D([], [], color=FT.colour, marker=FT.marker, linestyle="none", label="measured, FT ahead"),
        Line2D([], [], color=MUTED, marker="|", label="foretold from the others, 80%"),
        Line2D([], [], color=INK, marker="D", markerfacecolor="white", linewidth=3, label="new task, 80% (thin: 95%)"),
    ]
    legend_below(axes, handles, columns=2)
