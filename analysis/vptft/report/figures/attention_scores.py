"""Scores of maps: VPT minus FT with intervals, deletion and insertion curves, and what fails its sanity check.

Kinds of map that fail a check are drawn hollow and named so in every figure.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vptft.errors import SettingsError
from vptft.report.figures.style import (
    FAINT,
    FT,
    INK,
    MUTED,
    SPARE,
    UNCERTAIN,
    VPT,
    Look,
    fitted,
    legend_above,
    place,
    printable,
    root,
    small,
    styled,
    table_of,
)
from vptft.why.attention.comparison import ALL, EVERY, AttentionComparison
from vptft.why.attention.sanity import CLASS_KEPT, WEIGHTS_KEPT
from vptft.why.attention.score_settings import RANDOM, SIDES

PANELS = {
    "on_object": "on the object",
    "pointing": "pointing",
    "iou_area": "IoU at its area",
    "effective_patches": "patches in use",
    "faithfulness_tokens": "faithful, tokens",
    "faithfulness_pixels": "faithful, pixels",
}
"""Scores drawn and how their panel is called; ``faithful`` is insertion minus deletion area."""
KINDS = (
    ("#0b3c7d", "o", "-"), ("#e0700a", "s", "--"), *((colour, marker, "-.") for colour, marker in SPARE),
    ("#1f2328", "*", ":"), ("#d09a75", "h", "--"),
)  # fmt: skip
"""What kinds of map are drawn with, in their order."""
LOOKS = {"vpt": VPT, "ft": FT}
LAYERS = {
    "distance_patches": "distance of what\nis read, patches", "entropy_bits": "entropy of what\nis read, bits",
    "prompt_share": "share on prompts\nof patches", "query_prompt_share": "share on prompts\nof the head's row",
}  # fmt: skip
"""What is told of a layer and how its column is called."""
PERMUTED = 135
"""Where models trained on permuted labels stand, beside the percentages of blocks."""
ROW = 0.155
"""Inches an interval takes."""
COLUMNS = ("task", "outcome", "map", "score", "difference", "low", "high", "failed", "n_seeds")


@styled
def draw_attention_scores(result: AttentionComparison, *, ax: Axes | None = None) -> Figure:
    """Draw each score's difference VPT - FT over all images: rows are kinds of map, within them tasks.

    Filled: the kind passes its sanity checks, or was not checked. Hollow: it fails. The panels' units are their own:
    shares, overlaps and areas in hundredths, patches as they are.
    """
    frame = table_of(result, *COLUMNS)
    frame = frame[(frame["outcome"] == EVERY) & (frame["map"] != RANDOM)]
    panels = [name for name in PANELS if (frame["score"] == name).any()]
    if not panels:
        raise SettingsError(f"None of the scores {', '.join(PANELS)} was measured, so there is nothing to draw.")
    kinds, tasks = list(dict.fromkeys(frame["map"])), list(dict.fromkeys(frame["task"]))
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    tall = ROW * len(kinds) * (len(tasks) + 0.6) + 0.2
    figure, grid = place(ax, rows=down, columns=across, height=down * (tall + 0.45) + 0.35)
    looks = _task_looks(tasks)
    for i, score in enumerate(panels):
        axes = figure.add_subplot(grid[i // across, i % across])
        part = frame[frame["score"] == score]
        _differences(axes, part, kinds, looks, 1 if score == "effective_patches" else 100)
        axes.set_title(PANELS[score], fontsize=small(), loc="left", pad=3)
        labels = [_kind_label(kind, part) for kind in kinds] if i % across == 0 else [""] * len(kinds)
        axes.set_yticks(range(len(kinds)), labels)
        axes.set_xlabel("VPT − FT, patches" if score == "effective_patches" else "VPT − FT, points", fontsize=small())
    _legend(figure, [*_task_handles(looks), _hollow()])
    return root(figure)


@styled
def draw_attention_curves(result: AttentionComparison, *, way: str = "tokens", ax: Axes | None = None) -> Figure:
    """Draw deletion (falling) and insertion (rising) curves of each kind of map, a row a task.

    Grey is a random order of the same model: what a map adds is its distance from it. Mean probability of the explained
    class over the sampled images and seeds.
    """
    curves = result.curves[result.curves["way"] == way] if len(result.curves) else result.curves
    if not len(curves):
        raise SettingsError(f"No curves by {way} were measured, so there is nothing to draw.")
    table_of(result, "map", "failed")
    tasks = list(dict.fromkeys(curves["task"]))
    kinds = [kind for kind in dict.fromkeys(curves["map"]) if kind != RANDOM]
    failed = dict(zip(result.table["map"], result.table["failed"], strict=True))
    figure, grid = place(ax, rows=len(tasks), columns=len(kinds), height=0.55 + 1.2 * len(tasks))
    first: Axes | None = None
    for row, task in enumerate(tasks):
        for column, kind in enumerate(kinds):
            axes = figure.add_subplot(grid[row, column], sharex=first, sharey=first)
            first = first or axes
            for side in SIDES:
                for name, colour, width in ((RANDOM, FAINT, 1.0), (kind, LOOKS[side].colour, 1.2)):
                    part = curves[(curves["task"] == task) & (curves["side"] == side) & (curves["map"] == name)]
                    for which in ("deletion", "insertion"):
                        axes.plot(
                            100 * part["share"], part[which], color=MUTED if name == RANDOM else colour,
                            linestyle=LOOKS[side].linestyle, linewidth=0.6 * width if name == RANDOM else width,
                        )  # fmt: skip
            mark = " (fails)" if failed.get(kind) else ""
            if row == 0:
                axes.set_title(fitted(f"{kind}{mark}", 72 * 5 / len(kinds)), fontsize=small(), pad=3)
            if column == 0:
                axes.set_ylabel(fitted(task, 80), fontsize=small())
            axes.tick_params(labelleft=column == 0, labelbottom=row == len(tasks) - 1)
            axes.set_ylim(0, 1)
            axes.set_xticks([0, 50, 100])
    figure.supxlabel(f"patches taken away or brought in, by {way}, %", fontsize=small())
    figure.supylabel("probability of the class", fontsize=small())
    handles: list[Artist] = [
        Line2D([], [], color=VPT.colour, linestyle="-", label=VPT.label),
        Line2D([], [], color=FT.colour, linestyle="--", label=FT.label),
        Line2D([], [], color=MUTED, linewidth=0.6, label="random order"),
    ]
    legend_above(figure, handles, root(figure).get_figwidth())
    return root(figure)


@styled
def draw_attention_layers(result: AttentionComparison, *, ax: Axes | None = None) -> Figure:
    """Draw how far and how evenly each layer's patches look and how much of it at prompts, a row a task.

    Lines are means over heads, images and seeds, bands the seeds' range.
    """
    heads = result.heads
    tasks = list(dict.fromkeys(heads["task"]))
    figure, grid = place(ax, rows=len(tasks), columns=len(LAYERS), height=0.75 + 1.15 * len(tasks))
    columns: dict[str, Axes] = {}
    for row, task in enumerate(tasks):
        for column, (name, said) in enumerate(LAYERS.items()):
            axes = figure.add_subplot(grid[row, column], sharey=columns.get(name))
            columns.setdefault(name, axes)
            for side in SIDES:
                part = heads[(heads["task"] == task) & (heads["side"] == side)].sort_values("layer")
                if "prompt" in name and not part[name].any():
                    continue  # a network without prompts
                look = LOOKS[side]
                x = part["layer"] + 1
                axes.fill_between(x, part[f"{name}_least"], part[f"{name}_most"], color=look.colour, alpha=0.2, lw=0)
                axes.plot(x, part[name], look.linestyle, color=look.colour, linewidth=1.2)
            axes.set_ylim(0, 1.04 * float(heads[f"{name}_most"].max()) or 1.0)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.tick_params(labelbottom=row == len(tasks) - 1)
            if row == 0:
                axes.set_title(said, fontsize=small(), loc="left", pad=3)
            if column == 0:
                axes.set_ylabel(fitted(task, 80), fontsize=small())
    figure.supxlabel("layer (1 is nearest to the image); bands: range over seeds", fontsize=small())
    handles: list[Artist] = [
        Line2D([], [], color=VPT.colour, linestyle="-", label=VPT.label),
        Line2D([], [], color=FT.colour, linestyle="--", label=FT.label),
    ]
    legend_above(figure, handles, root(figure).get_figwidth())
    return root(figure)


@styled
def draw_attention_sanity(result: AttentionComparison, *, ax: Axes | None = None) -> Figure:
    """Draw how alike maps stay to themselves as weights are put in random order from the top, and for another class.

    A kind fails where its line ends above the dotted mark, or its point lies above the mark on the right. The bars are
    the range over tasks and seeds; open marks left of another class are of models trained on permuted labels.
    """
    table = result.sanity
    if not len(table):
        raise SettingsError("No sanity check was made, so there is nothing to draw.")
    kinds = list(dict.fromkeys(table["map"]))
    looks = dict(zip(kinds, KINDS * (len(kinds) // len(KINDS) + 1), strict=False))
    figure, grid = place(ax, rows=1, columns=4, height=2.3, width_ratios=[3, 1.5, 3, 1.5])
    for i, side in enumerate(SIDES):
        weights, other = figure.add_subplot(grid[2 * i]), figure.add_subplot(grid[2 * i + 1])
        for place_of, kind in enumerate(kinds):
            colour, marker, line = looks[kind]
            part = table[(table["side"] == side) & (table["map"] == kind)]
            falling = part[part["changed"] == "weights"].groupby("depth")
            mean = falling["similarity"].mean()
            weights.plot(100 * mean.index, mean, color=colour, marker=marker, linestyle=line, markersize=3.5)
            of = part[part["changed"] == "class"]
            if len(of):
                other.plot([place_of] * 2, [of["least"].min(), of["most"].max()], color=colour, linewidth=1.1)
                other.plot([place_of], [of["similarity"].mean()], color=colour, marker=marker, markersize=3.5)
            noise = part[part["changed"] == "labels"]["similarity"]
            if len(noise):
                weights.plot(
                    [PERMUTED], [noise.mean()], color=colour, marker=marker, markersize=3.8, markerfacecolor="white",
                    clip_on=False,
                )  # fmt: skip
        more = {PERMUTED: "labels"} if (table["changed"] == "labels").any() else {}
        marks = {0: "0", 50: "50", 100: "100", **more}
        for axes, mark in ((weights, WEIGHTS_KEPT), (other, CLASS_KEPT)):
            axes.axhline(mark, color=INK, linewidth=0.8, linestyle=":")
            axes.axhline(0, color=FAINT, linewidth=0.6)
            axes.set_ylim(-0.6, 1.08)
            axes.tick_params(labelleft=axes is weights and i == 0)
        weights.set_xticks(list(marks), list(marks.values()))
        weights.set_xlabel("blocks at random, %" + ("; labels permuted" if more else ""), fontsize=small())
        weights.set_title(LOOKS[side].label, fontsize=8, loc="left", color=LOOKS[side].colour, weight="bold")
        other.set_xlim(-0.7, len(kinds) - 0.3)
        other.set_xticks([])
        other.set_xlabel("another class", fontsize=small())
        if i == 0:
            weights.set_ylabel("rank correlation\nwith the map itself", fontsize=small())
    failed = dict(zip(result.table["map"], result.table["failed"], strict=True))
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle=line, markersize=3.5, label=_named(kind, failed))
        for kind, (colour, marker, line) in looks.items()
    ]
    _legend(figure, handles, columns=3)
    return root(figure)


def _differences(axes: Axes, part: pd.DataFrame, kinds: Sequence[str], looks: dict[str, Look], scale: float) -> None:
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    steps = np.linspace(-0.32, 0.32, len(looks)) if len(looks) > 1 else np.zeros(1)
    ends = [0.0]
    for y, kind in enumerate(kinds):
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color=FAINT, alpha=0.3, linewidth=0, zorder=0)
        for step, (task, look) in zip(steps, looks.items(), strict=True):
            for row in part[(part["map"] == kind) & (part["task"] == task)].to_dict("records"):
                low, high, value = (scale * row[name] for name in ("low", "high", "difference"))
                axes.plot([low, high], [y + step] * 2, color=look.colour, linewidth=1.1, zorder=2)
                axes.plot(
                    [value], [y + step], look.marker, color=look.colour, markersize=3.6, zorder=3,
                    markerfacecolor="white" if row["failed"] else look.colour,
                )  # fmt: skip
                ends += [v for v in (low, high, value) if np.isfinite(v)]
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    pad = 0.06 * (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends) - pad, max(ends) + pad)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _kind_label(kind: str, part: pd.DataFrame) -> str:
    failed = part.loc[part["map"] == kind, "failed"]
    return _named(kind, {kind: failed.iloc[0] if len(failed) else ""}, between="\n")


def _named(kind: str, failed: dict[Any, Any], between: str = " ") -> str:
    return printable(kind.replace("_", " ")) + (f"{between}(fails: {failed[kind]})" if failed.get(kind) else "")


def _task_looks(tasks: Sequence[str]) -> dict[str, Look]:
    """All tasks' mean in black, each task by its place."""
    single = [task for task in tasks if task != ALL]
    kinds = (KINDS * (len(single) // len(KINDS) + 1))[: len(single)]
    looks = {
        task: Look(label=printable(task), colour=colour, marker=marker)
        for task, (colour, marker, _) in zip(single, kinds, strict=True)
    }
    return looks | ({ALL: Look(label=ALL, colour=INK, marker="D")} if ALL in tasks else {})


def _task_handles(looks: dict[str, Look]) -> list[Artist]:
    return [
        Line2D([], [], color=look.colour, marker=look.marker, label=look.label, markersize=3.6)
        for look in looks.values()
    ]


def _hollow() -> Line2D:
    return Line2D(
        [], [], color=UNCERTAIN.colour, marker="o", markerfacecolor="white", linestyle="none", markersize=3.6,
        label="hollow: fails its sanity check",
    )  # fmt: skip


def _legend(figure: Any, handles: Sequence[Artist], columns: int | None = None) -> None:
    figure.legend(handles=handles, loc="outside lower center", ncols=columns or min(4, len(handles)))
