"""What each extension lets a budget remove, on training and on fresh images, seeds paired."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vptft.report.figures.style import (
    FAINT,
    INK,
    MUTED,
    VPT,
    fitted,
    legend_below,
    place,
    root,
    signed,
    small,
    styled,
    table_of,
)
from vptft.why.landscape.escape.contrasts import removed
from vptft.why.landscape.escape.measure import EscapeTest

NAMES = {"none": "none", "neurons": "neurons", "lora": "LoRA", "prompts": "prompts"}
"""Extensions from left to right: the nothing that all are measured against first, what is tested last."""
LOOKS = {"none": (MUTED, "D"), "neurons": ("#4f5a08", "P"), "lora": ("#2fa59e", "^"), "prompts": (VPT.colour, "o")}
MOVES = {"alone": "only new parameters", "with head": "head trained too", "joint": "all trained"}
AGAINST = {"other dimensions": "prompts − LoRA, neurons", "no dimensions": "prompts − none"}
SETS = {"train": "training images", "fresh": "fresh images"}
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1, 1, 1)))
"""Tasks, in turn; more of them share one."""
NEEDED = (
    "pretraining", "task", "start", "seed", "extension", "variant", "loss_train", "loss_train_before", "loss_fresh",
    "loss_fresh_before",
)  # fmt: skip


@styled
def draw_escape(result: EscapeTest, *, ax: Axes | None = None) -> Figure:
    """Draw a row a start and variant: loss removed on training images (left) and on fresh ones (right).

    A thin line is a task and seed, the same in both panels; a mark is the mean of an extension. Both panels of a row
    have one scale. Beside the fresh images: prompts less the controls, with the 95% interval.
    """
    frame = table_of(result, *NEEDED)
    rows = frame[["start", "variant"]].drop_duplicates().to_dict("records")
    figure, grid = place(ax, rows=len(rows), columns=2, height=1.5 * len(rows) + 0.6)
    dashes = {task: DASHES[i % len(DASHES)] for i, task in enumerate(frame["task"].unique())}
    for i, row in enumerate(rows):
        part = frame[(frame["start"] == row["start"]) & (frame["variant"] == row["variant"])]
        left = figure.add_subplot(grid[i, 0])
        right = figure.add_subplot(grid[i, 1], sharey=left)
        for axes, on in ((left, "train"), (right, "fresh")):
            _panel(axes, part, on, dashes)
        left.set_ylabel("loss removed (nats)", fontsize=small())
        left.set_title(f"{row['start']} point,\n{MOVES[row['variant']]}", loc="left", fontsize=small(), pad=4)
        right.tick_params(axis="y", labelleft=False)
        right.set_title(_said(result.contrasts, row["start"], row["variant"]), loc="right", fontsize=small(), pad=4)
        if i == len(rows) - 1:
            left.set_xlabel(SETS["train"], fontsize=small())
            right.set_xlabel(SETS["fresh"], fontsize=small())
            if len(dashes) > 1:
                legend_below(left, _tasks(dashes), points=27, columns=2)
    return root(figure)


def _panel(axes: Axes, part: pd.DataFrame, on: str, dashes: Mapping[str, Any]) -> None:
    names = [name for name in NAMES if name in set(part["extension"])]
    values = part.assign(value=removed(part, "loss", on)).pivot(
        index=["pretraining", "task", "seed"], columns="extension", values="value"
    )[names]
    for line in values.reset_index().to_dict("records"):
        look: dict[str, Any] = {"color": MUTED, "linewidth": 0.6, "linestyle": dashes[line["task"]], "alpha": 0.8}
        axes.plot(range(len(names)), [line[name] for name in names], **look, label=f"{line['task']} {line['seed']}")
    for x, name in enumerate(names):
        colour, marker = LOOKS[name]
        axes.plot([x], [values[name].mean()], marker, color=colour, markersize=5.5, label=name, zorder=3)
    axes.axhline(0, color=INK, linewidth=0.5, zorder=1)
    axes.set_xticks(range(len(names)), [NAMES[name] for name in names])
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def _said(contrasts: pd.DataFrame, start: str, variant: str) -> str:
    """Contrasts of the loss on fresh images, a line each; over pretrainings only where there is one."""
    part = contrasts[
        (contrasts["start"] == start) & (contrasts["variant"] == variant)
        & (contrasts["on"] == "fresh") & (contrasts["quantity"] == "loss")
    ]  # fmt: skip
    if part["pretraining"].nunique() != 1:
        return ""
    return "\n".join(
        f"{AGAINST[each['against']]}: {_interval(each['effect'], each['low'], each['high'])}"
        for each in part.to_dict("records")
    )


def _interval(value: float, low: float, high: float) -> str:
    around = "" if np.isnan([low, high]).any() else f" [{signed(low, 3)}, {signed(high, 3)}]"
    return signed(value, 3) + around


def _tasks(dashes: Mapping[str, Any]) -> list[Line2D]:
    return [
        Line2D([], [], color=MUTED, linewidth=0.9, linestyle=dash, label=fitted(task, 90))
        for task, dash in dashes.items()
    ]
