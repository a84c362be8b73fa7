"""Loss along lines between solutions, and how high their barriers are."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vptft.errors import SettingsError
from vptft.report.figures.style import (
    FAINT,
    INK,
    MUTED,
    fitted,
    legend_below,
    looks_of,
    place,
    root,
    small,
    styled,
    table_of,
)  # fmt: skip
from vptft.report.figures.surfaces import SPLITS, laid_out
from vptft.why.landscape.lines import Lines

START = "pretrained to "
"""Lines of these kinds have no barrier to speak of: their first end is no solution."""
PATHS = {"line": ("o", INK), "matched": ("s", "#801c54"), "curve": ("^", "#2fa59e")}
COLUMNS = 3


@styled
def draw_lines(result: Lines, *, ax: Axes | None = None) -> Figure:
    """Draw loss along every line: a panel a task and kind of line, dashes for test, bands for 95% over images.

    Colour is the second end's method; where a curve was trained, it is the thin dotted line.
    """
    frame = table_of(result, "task", "kind", "line", "path", "split", "t", "loss", "low", "high")
    groups = list(frame.groupby(["task", "kind"], sort=False))
    columns = min(COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    figure, grid = place(ax, rows=rows, columns=columns, height=1.75 * rows + 0.45)
    looks = looks_of(name.split(" ")[0] for name in result.barriers["second"])
    second = dict(zip(result.barriers["line"], result.barriers["second"], strict=True))
    for i, ((task, kind), own) in enumerate(groups):
        axes = figure.add_subplot(grid[i // columns, i % columns])
        axes.set_title(f"{fitted(str(task), 130, 8)}\n{fitted(str(kind), 130)}", loc="left", fontsize=small())
        for (line, path, split), some in own.groupby(["line", "path", "split"], sort=False):
            look = looks[second[line].split(" ")[0]]
            if path == "line":
                axes.fill_between(some["t"], some["low"], some["high"], color=look.colour, alpha=0.13, linewidth=0)
            axes.plot(
                some["t"], some["loss"], color=look.colour, linestyle=SPLITS[split] if path == "line" else ":",
                linewidth=1.1 if path == "line" else 0.8, marker=look.marker, markersize=3, markevery=[-1],
            )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=min(0.0, float(own["loss"].min())))
        axes.set_xticks([0, 0.5, 1])
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.set_xlabel("place on the line", fontsize=small())
        if i % columns == 0:
            axes.set_ylabel("loss (nats)", fontsize=small())
    handles = [Line2D([], [], color=MUTED, linestyle=style, label=split) for split, style in SPLITS.items()]
    handles += [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=3, label=f"to {look.label}")
        for look in looks.values()
    ]
    root(figure).legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=small())
    return laid_out(figure)


@styled
def draw_barriers(result: Lines, *, ax: Axes | None = None) -> Figure:
    """Draw every barrier with its interval over groups of images; a diamond is the mean over pairs, over seeds.

    Filled is training loss, open is test loss. Lines from the pretrained network have no barrier and are left out.

    Raises
    ------
    SettingsError
        There are lines from the pretrained network only.
    """
    table = result.barriers[between_solutions(result.barriers)]
    if table.empty:
        raise SettingsError("There is no line between two solutions, so there is no barrier to draw.")
    pooled = result.pooled[between_solutions(result.pooled) & (result.pooled["n_lines"] > 1)]
    labels: list[str] = []
    figure, grid = place(ax, rows=1, columns=1, height=0.17 * _rows(table, pooled) + 0.85)
    axes = figure.add_subplot(grid[0])
    for (task, kind), own in table.groupby(["task", "kind"], sort=False):
        for _, some in own.groupby("line", sort=False):
            first = some.iloc[0]
            labels.append(f"{task}: {first['first']} to {first['second']}")
            _marks(axes, some, len(labels) - 1, size=4.0)
        mean = pooled[(pooled["task"] == task) & (pooled["kind"] == kind)]
        if len(mean):
            labels.append(f"{task}: {kind}, mean of {mean['n_lines'].iloc[0]}")
            _marks(axes, mean, len(labels) - 1, size=5.5, marker="D")
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_yticks(range(len(labels)), [fitted(label, 165) for label in labels], fontsize=small())
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_xlabel("barrier above the ends (nats); 95% interval", fontsize=small())
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4, label=path)
        for path, (marker, colour) in PATHS.items()
        if (table["path"] == path).any() and table["path"].nunique() > 1
    ] + [
        Line2D([], [], color=INK, marker="o", linestyle="", markersize=4, markerfacecolor=face, label=f"{split} loss")
        for split, face in (("train", INK), ("test", "white")) if (table["split"] == split).any()
    ]  # fmt: skip
    legend_below(axes, handles)
    return laid_out(figure)


def between_solutions(table: pd.DataFrame) -> pd.Series:
    """Whether each row's line goes from one solution to another."""
    return ~table["kind"].str.startswith(START)


def _rows(table: pd.DataFrame, pooled: pd.DataFrame) -> int:
    return int(table.groupby(["task", "line"]).ngroups + pooled.groupby(["task", "kind"]).ngroups)


def _marks(axes: Axes, some: pd.DataFrame, row: int, *, size: float, marker: str | None = None) -> None:
    """Draw a row's barriers, one under the other."""
    for i, each in enumerate(some.to_dict("records")):
        own, colour = PATHS[each["path"]]
        y = row + 0.6 * ((i + 0.5) / len(some) - 0.5)
        axes.plot([each["low"], each["high"]], [y, y], color=colour, linewidth=0.9)
        axes.plot(
            [each["barrier"]], [y], marker=marker or own, markersize=size, color=colour, markeredgewidth=0.9,
            markerfacecolor=colour if each["split"] == "train" else "white",
        )  # fmt: skip
