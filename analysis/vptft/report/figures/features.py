"""What tuning left of the pretrained features: similarity by layer, drift, what prompts write, forgetting."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from vptft.errors import SettingsError
from vptft.evidence.statistics.paired import mean_interval
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
    legend_columns,
    looks_of,
    place,
    printable,
    root,
    signed,
    small,
    styled,
    text_width,
)
from vptft.why.features.preservation import OTHER, REFERENCE, FeaturePreservation
from vptft.why.features.within import LEAST_TASKS

PANEL = 2.1
"""Inches of a panel of lines."""
COLUMN = 3.0
"""Inches that panels one below the other need."""
ROW = 0.19
"""Inches of a row of dots."""
KINDS = {"cls": "cls token", "patches": "patches, averaged", "prompts": "prompts, against cls"}


@styled
def draw_layers(
    results: Sequence[FeaturePreservation], *, measure: str = "cka", width: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw a measure between pretrained and tuned features on the reference set over layers, a panel a kind of token.

    Thick lines are means over a method's tasks, seeds averaged before; thin ones are its tasks.

    Parameters
    ----------
    results
        Of :func:`vptft.why.features.preservation.measure`.
    measure
        cka, procrustes, subspace_overlap or neighbour_overlap.
    width
        Inches; a column of the page where that is wide enough, else its text.
    ax
        Where to draw; a new figure where None.
    """
    frame = _frames(results, "table")
    frame = frame[(frame["role"] == REFERENCE) & (frame["measure"] == measure)]
    if frame.empty:
        raise SettingsError(f"There is no {measure} on a reference set in these results.")
    kinds = [kind for kind in KINDS if (frame["kind"] == kind).any()]
    looks = looks_of(frame["method"])
    words = {"cka": "debiased CKA", "procrustes": "Procrustes distance"}.get(measure, measure.replace("_", " "))
    figure, panels = _panels(ax, len(kinds), width, looks)
    for axes, kind in zip(panels, kinds, strict=True):
        part = frame[frame["kind"] == kind]
        if measure != "procrustes":  # what chance gives there depends on the features
            axes.axhline(float(part["chance"].mean()), color=MUTED, linewidth=0.6, linestyle=(0, (1, 2)))
        _lines(axes, part, "layer", "value", looks)
        axes.set_title(KINDS[kind], loc="left", fontsize=small(), pad=3)
        axes.set_ylabel(f"{words} with pretrained" if axes is panels[0] else "", fontsize=small())
        axes.set_xlabel("layer", fontsize=small())
        _layer_ticks(axes, part["layer"])
    _one_scale(panels)
    if not _crowded(ax, looks):
        for axes in panels:
            _label_ends(axes, looks)
    return root(figure)


@styled
def draw_drift(results: Sequence[FeaturePreservation], *, width: float | None = None, ax: Axes | None = None) -> Figure:
    """Draw how far each block's weights moved, and over how many of their directions, by method.

    Left the update's Frobenius norm over that of the weights, on a log scale; right its effective rank over the largest
    possible. Methods that move no weight are not in it; parts that a method leaves alone have no point.
    """
    frame = _frames([each for each in results if len(each.drift)], "drift")
    if frame.empty:
        raise SettingsError("None of these runs moved a weight of its backbone: there is no drift to draw.")
    frame = frame[frame["relative_norm"] > 0].assign(share=frame["effective_rank"] / frame["full_rank"])
    parts = list(dict.fromkeys(frame["part"]))
    frame = frame.assign(at=frame["part"].map(parts.index))
    looks = looks_of(frame["method"])
    figure, panels = _panels(ax, 2, width, looks)
    for axes, column, said in zip(
        panels, ("relative_norm", "share"), ("‖update‖ / ‖weights‖", "effective rank / full rank"), strict=True
    ):
        _lines(axes, frame[frame[column].notna()], "at", column, looks)
        axes.set_ylabel(said, fontsize=small())
        axes.set_xticks(range(len(parts)), [_short(part) for part in parts], rotation=90)
    panels[0].set_yscale("log")
    for which in (panels[0].yaxis.set_major_formatter, panels[0].yaxis.set_minor_formatter):
        which(FuncFormatter(_plain))
    panels[1].set_ylim(0, 1)
    if not _crowded(ax, looks):
        for axes in panels:
            _label_ends(axes, looks)
    return root(figure)


@styled
def draw_written(
    results: Sequence[FeaturePreservation], *, width: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw what prompts write, by layer: its size beside the tokens', and its share on class directions."""
    frame = _frames([each for each in results if len(each.written)], "written")
    if frame.empty:
        raise SettingsError("None of these runs has prompts: there is nothing that they write.")
    looks = {
        "cls": Look(label="cls", colour="#0b3c7d", marker="o"),
        "patches": Look(label="patches", colour="#e0700a", marker="s", linestyle="--"),
    }
    frame = frame.assign(method=frame["kind"])
    figure, panels = _panels(ax, 2, width, looks)
    _lines(panels[0], frame, "layer", "relative_norm", looks)
    _lines(panels[1], frame, "layer", "on_classes", looks)
    for kind, part in frame.groupby("kind"):
        chance = part.groupby("layer")["on_classes_by_chance"].mean()
        panels[1].plot(chance.index, chance, color=looks[str(kind)].colour, linewidth=0.8, linestyle=(0, (1, 1)),
                       label=f"{kind} by chance")  # fmt: skip
    panels[1].annotate("dotted: labels permuted", (0, 1), xycoords="axes fraction", xytext=(2, 2),
                       textcoords="offset points", fontsize=small(), color=MUTED)  # fmt: skip
    for axes, said in zip(panels, ("‖written‖ / ‖tokens‖", "share on class directions"), strict=True):
        axes.set_ylabel(said, fontsize=small())
        axes.set_xlabel("layer", fontsize=small())
        axes.set_ylim(bottom=0)
        _layer_ticks(axes, frame["layer"])
        _label_ends(axes, looks)
    return root(figure)


@styled
def draw_forgetting(
    results: Sequence[FeaturePreservation], *, probe: str = "knn", width: float | None = None, ax: Axes | None = None
) -> Figure:
    """Draw what each method does to the accuracy of a probe on tasks it was not trained on, a panel a task.

    Rings are tuned tasks, seeds averaged; the mark is their mean with Student's interval over them, where there are
    three or more.
    """
    frame = _frames(results, "table")
    frame = frame[(frame["role"] == OTHER) & (frame["measure"] == probe) & (frame["kind"] == frame["read"])]
    if frame.empty:
        raise SettingsError(f"No other task was probed by {probe} in these results: there is no forgetting to draw.")
    frame = frame.assign(change=100 * (frame["value"] - frame["before"]))
    looks = looks_of(frame["method"])
    names = list(dict.fromkeys(frame["images"]))
    width = width or fitting(COLUMN)
    across = min(len(names), 3 if width >= WIDTH else 1)
    rows = -(-len(names) // across)
    figure, grid = place(
        ax, rows=rows, columns=across, height=0.55 + rows * (0.35 + ROW * len(looks)), width=width
    )  # fmt: skip
    panels = [figure.add_subplot(grid[i // across, i % across]) for i in range(len(names))]
    for i, (axes, name) in enumerate(zip(panels, names, strict=True)):
        axes.axvline(0, color=MUTED, linewidth=0.6)
        for row, (method, look) in enumerate(looks.items()):
            values = frame[(frame["images"] == name) & (frame["method"] == method)].groupby("task")["change"].mean()
            _dots(axes, values.to_numpy(dtype=float), row, look)
        axes.set_yticks(range(len(looks)), [look.label for look in looks.values()] if i % across == 0 else [])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(looks) - 0.4, -0.6)
        axes.set_title(fitted(name, 72 * (width / across - 0.6)), loc="left", fontsize=small(), pad=3)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    low, high = (f([axes.get_xlim()[end] for axes in panels]) for end, f in ((0, min), (1, max)))
    for axes in panels:
        axes.set_xlim(low, high)
    words = {"knn": "k-NN", "linear": "linear probe"}.get(probe, probe)
    figure.supxlabel(f"{words} above chance, after − before, points (left: forgotten)", fontsize=small())
    legend_above(figure, [
        Line2D([], [], color=MUTED, marker="o", markerfacecolor="none", markersize=3, linewidth=0, label="tuned task"),
        Line2D([], [], color=MUTED, marker="D", markersize=4, linewidth=1, label="mean, 95% interval over tasks"),
    ], width)  # fmt: skip
    return root(figure)


def _frames(results: Sequence[FeaturePreservation], field: str) -> pd.DataFrame:
    tables = [
        getattr(each, field).assign(task=each.task, method=each.method, seed=each.seed, read=each.read)
        for each in results
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _crowded(ax: Axes | None, looks: dict[str, Look]) -> bool:
    """Whether there are more names than stand at the ends of lines; inside another figure there is no other place."""
    return ax is None and len(looks) > CROWDED


def _panels(ax: Axes | None, count: int, width: float | None, looks: dict[str, Look]) -> tuple[Figure, list[Axes]]:
    """Panels beside each other on a page, one below the other in a column; many names are in a legend above."""
    width = width or fitting(COLUMN)
    across = count if width >= WIDTH else 1
    rows = -(-count // across)
    handles: list[Artist] = [
        Line2D([], [], color=look.colour, ls=look.linestyle, marker=look.marker, markersize=3, label=look.label)
        for look in looks.values()
    ]
    told = -(-len(handles) // legend_columns(handles, width)) if _crowded(ax, looks) else 0
    height = rows * PANEL + 0.15 + told * 1.5 * small() / 72
    figure, grid = place(ax, rows=rows, columns=across, height=height, width=width)
    if told:
        legend_above(figure, handles, width)
    return figure, [figure.add_subplot(grid[i // across, i % across]) for i in range(count)]  # type: ignore[return-value]  # a SubFigure adds panels as well


def _lines(axes: Axes, frame: pd.DataFrame, x: str, y: str, looks: dict[str, Look]) -> None:
    """A thin line a task and a thick one for their mean, for each method."""
    for method, part in frame.groupby("method", sort=False):
        look = looks[str(method)]
        tasks = part.groupby(["task", x])[y].mean().unstack("task")
        if tasks.shape[1] > 1:
            axes.plot(tasks.index, tasks.to_numpy(), color=look.colour, linewidth=0.5, alpha=0.35, label="task")
        axes.plot(
            tasks.index, tasks.mean(axis=1), color=look.colour, linestyle=look.linestyle, marker=look.marker,
            markersize=3, label=str(method), zorder=3,
        )  # fmt: skip
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    axes.set_axisbelow(True)


def _layer_ticks(axes: Axes, layers: pd.Series) -> None:
    """Mark the layers that were measured, every so manieth where they are many; the last one always."""
    there = sorted(set(layers))
    step = int(np.ceil(len(there) / 7))
    axes.set_xticks(there[::-step][::-1])


def _one_scale(panels: Sequence[Axes]) -> None:
    low, high = (f([axes.get_ylim()[end] for axes in panels]) for end, f in ((0, min), (1, max)))
    for axes in panels:
        axes.set_ylim(low, high)


def _label_ends(axes: Axes, looks: dict[str, Look]) -> None:
    """Write each method's name to the right of its line's end, apart from each other."""
    lines = [line for line in axes.lines if line.get_label() in looks]
    if not lines:
        return
    low, high = axes.get_xlim()
    inches = root(axes.figure).get_size_inches()[0] * 72 * 0.4
    room = max(text_width(looks[str(line.get_label())].label) for line in lines) + 6
    axes.set_xlim(low, high + (high - low) * room / inches)
    ends = [(float(np.asarray(line.get_xdata())[-1]), float(np.asarray(line.get_ydata())[-1])) for line in lines]
    to_axes = axes.transScale + axes.transLimits
    heights = [float(to_axes.transform(end)[1]) for end in ends]
    for line, end, at in zip(lines, ends, dodge(heights, (small() + 1.5) / (72 * PANEL * 0.75)), strict=True):
        look = looks[str(line.get_label())]
        x = float(to_axes.transform(end)[0])
        axes.annotate(look.label, (x, at), xycoords="axes fraction", xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=small(), color=look.colour)  # fmt: skip


def _dots(axes: Axes, values: np.ndarray, row: int, look: Look) -> None:
    if not len(values):
        return
    axes.plot(values, np.full(len(values), row), "o", markerfacecolor="none", color=look.colour, markersize=3,
              markeredgewidth=0.6, label="task")  # fmt: skip
    mean = mean_interval(values)
    if len(values) >= LEAST_TASKS:
        axes.plot([mean.low, mean.high], [row, row], color=look.colour, linewidth=1.1, label="interval")
    axes.plot([mean.value], [row], "D", color=look.colour, markersize=4, label=look.label, gid=signed(mean.value))


def _plain(value: float, position: int) -> str:
    """A number on a log scale; only those that begin with 1, 2 or 5, as others would crowd it."""
    return f"{value:g}" if f"{value:e}"[0] in "125" else ""


def _short(part: str) -> str:
    return printable(part.removeprefix("block "))
