"""The paper's tables drawn: gaps by group, accuracy against training images, backbones side by side, and the claims.

No spread is printed in the paper, so no mark here has an interval of its own: intervals are over tasks.
"""

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from vptft.errors import SettingsError
from vptft.evidence.statistics.paired import mean_interval
from vptft.evidence.verdicts import REGION
from vptft.published.claims import Published
from vptft.published.reproduction import Reproduction
from vptft.published.tables import GROUPS, MAE, MOCO, SUPERVISED, SWIN, VIT, chosen
from vptft.report.figures.style import (
    FAINT,
    FT,
    INK,
    MUTED,
    UNCERTAIN,
    VPT,
    Look,
    fitted,
    legend_below,
    place,
    root,
    signed,
    small,
    styled,
    table_of,
    text_width,
    with_interval,
)

WINNERS = {"vpt": VPT, "ft": FT, "tie": UNCERTAIN}
SAID = {"vpt": "VPT ahead", "ft": "FT ahead", "tie": "equal as printed"}
GAP = ("setting", "backbone", "pretraining", "n_train", "group", "task", "method", "against", "gap_points", "winner")
ROW = 0.165
"""Inches a task takes."""
NARROW = 62.0
"""Points that a name over a small panel may take in one line."""
BACKBONES = (
    (VIT, SUPERVISED, "ViT-B/16\nsupervised"), (SWIN, SUPERVISED, "Swin-B\nsupervised"), (VIT, MAE, "ViT-B/16\nMAE"),
    (VIT, MOCO, "ViT-B/16\nMoCo v3"),
)  # fmt: skip
VERDICTS = {
    "supported": Look(label="supported", colour="#0a6640", marker="o"),
    "inconclusive": Look(label="inconclusive", colour=UNCERTAIN.colour, marker="D"),
    "refuted": Look(label="refuted", colour="#a33a00", marker="X"),
}
OUTCOMES = {
    "reproduced": VERDICTS["supported"], "inconclusive": VERDICTS["inconclusive"], "different": VERDICTS["refuted"]
}  # fmt: skip
"""As the paper draws them: FT solid, VPT broken."""


@styled
def draw_group_gaps(
    result: Published, *, setting: str = "vtab1k", backbone: str = VIT, pretraining: str = SUPERVISED,
    ax: Axes | None = None,
) -> Figure:  # fmt: skip
    """Draw VPT minus FT for each task, by group, the largest on top; above each group its counts and mean.

    Parameters
    ----------
    result
        Of :func:`vptft.published.claims.measure`.
    setting, backbone, pretraining
        Which of the printed comparisons.
    ax
        Where to draw; a new figure where None.
    """
    frame = _main(result, setting=setting, backbone=backbone, pretraining=pretraining)
    groups = [name for name in GROUPS if name in set(frame["group"])]
    counts = [int((frame["group"] == name).sum()) for name in groups]
    figure, grid = place(
        ax, rows=len(groups), columns=1, height=0.65 + ROW * sum(counts) + 0.3 * len(groups), height_ratios=counts
    )
    limits = _limits(frame["gap_points"])
    panels = [figure.add_subplot(grid[i]) for i in range(len(groups))]
    for axes, name in zip(panels, groups, strict=True):
        part = frame[frame["group"] == name].sort_values(["gap_points", "task"], ascending=[True, False])
        _bars(axes, part, limits)
        _numbers(axes, part["gap_points"])
        axes.set_title(_group_title(name, part["gap_points"]), loc="left", fontsize=small(), color=INK)
        axes.tick_params(axis="x", labelbottom=axes is panels[-1], length=3 if axes is panels[-1] else 0)
    panels[-1].set_xlabel("accuracy gap VPT − FT, points; brackets: 95% interval over tasks")
    legend_below(panels[-1], _handles(SAID))
    return root(figure)


@styled
def draw_data_size(result: Published, *, ax: Axes | None = None) -> Figure:
    """Draw accuracy against the number of training images, one panel a task; FT solid, VPT broken.

    Sizes that the paper does not print are missing. Every point is a mean of five trainings on one draw of images.
    """
    frame = chosen(table_of(result, *GAP), setting="data_scale", method="vpt", against="ft")
    tasks = list(dict.fromkeys(frame["task"]))
    columns, rows = 5, -(-(len(tasks) + 1) // 5)
    figure, grid = place(ax, rows=rows, columns=columns, height=0.35 + 1.12 * rows)
    for i, task in enumerate(tasks):
        axes = figure.add_subplot(grid[i // columns, i % columns])
        part = frame[frame["task"] == task].sort_values("images")
        _curves(axes, part)
        name = task if text_width(task) <= NARROW else task.replace("_", "_\n", 1)
        group = part["group"].iloc[0].capitalize()
        axes.set_title(f"{name}\n{group}", loc="left", fontsize=small(), linespacing=1.1)
        axes.tick_params(axis="x", labelbottom=i + columns >= len(tasks))
        if i % columns == 0:
            axes.set_ylabel("accuracy (%)", fontsize=small())
    key = figure.add_subplot(grid[rows - 1, columns - 1])
    key.set_axis_off()
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=3, ls=look.linestyle, label=look.label)
        for look in (VPT, FT)
    ]
    key.legend(
        handles=handles, loc="center left", handlelength=2.6, title="training images\nacross", title_fontsize=small()
    )
    return root(figure)


@styled
def draw_pretraining(result: Published, *, ax: Axes | None = None) -> Figure:
    """Draw VPT minus FT for each task on the four printed backbones, side by side on one scale, tasks in one order."""
    frames = [_main(result, setting="vtab1k", backbone=b, pretraining=p) for b, p, _ in BACKBONES]
    order = frames[0].sort_values(
        ["group", "gap_points"], key=lambda column: column.map(GROUPS.index) if column.name == "group" else -column
    )["task"]
    figure, grid = place(ax, rows=1, columns=len(frames), height=1.2 + ROW * len(order))
    limits = _limits(pd.concat(frames)["gap_points"])
    for i, (frame, (_, _, title)) in enumerate(zip(frames, BACKBONES, strict=True)):
        axes = figure.add_subplot(grid[i])
        part = frame.set_index("task").loc[order[::-1]].reset_index()
        _bars(axes, part, limits)
        _borders(axes, part["group"])
        gaps = part["gap_points"]
        axes.set_title(f"{title}\n{_counts(gaps)}", fontsize=small(), linespacing=1.25)
        axes.tick_params(axis="y", labelleft=i == 0)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 3, 5, 10]))
    figure.legend(
        handles=_handles(SAID), loc="outside lower center", ncols=3, title_fontsize=small(),
        title="accuracy gap VPT − FT, points, one scale; lines part Natural, Specialized, Structured",
    )  # fmt: skip
    return root(figure)


@styled
def draw_claims(result: Published, *, ax: Axes | None = None) -> Figure:
    """Draw the effect of every claim that is in points, with its interval over tasks, p after correction, verdict."""
    claims = result.claims[(result.claims["unit"] == "points") & result.claims["effect"].notna()]
    families = [name for name in ("paper", "added") if name in set(claims["family"])]
    counts = [int((claims["family"] == name).sum()) for name in families]
    figure, grid = place(
        ax, rows=len(families), columns=1, height=0.75 + 0.3 * len(families) + ROW * sum(counts), height_ratios=counts
    )
    low, high = min(claims["low"].min(), 0.0), max(claims["high"].max(), 0.0)
    pad = 0.04 * (high - low)
    sizes = result.settings["tests in each family"]
    titles = {"paper": "claims of the paper", "added": "asked besides"}
    panels = [figure.add_subplot(grid[i]) for i in range(len(families))]
    for axes, name in zip(panels, families, strict=True):
        _intervals(axes, claims[claims["family"] == name][::-1])
        axes.set_xlim(low - pad, high + pad)
        said = f"{titles[name]} ({sizes[name]} tests in the family)"
        axes.set_title(said, loc="left", fontsize=small())
        axes.tick_params(axis="x", labelbottom=axes is panels[-1], length=3 if axes is panels[-1] else 0)
    panels[0].text(
        1.02, 1.0, "n, p after Holm", transform=panels[0].transAxes, fontsize=small(), va="bottom", color=MUTED
    )
    panels[-1].set_xlabel("effect in points of accuracy, 95% interval over tasks; shaded: ±1 point")
    legend_below(panels[-1], [_handle(look, name, hollow=name == "inconclusive") for name, look in VERDICTS.items()])
    return root(figure)


@styled
def draw_reproduction(result: Reproduction, *, ax: Axes | None = None) -> Figure:
    """Draw own minus printed accuracy of every cell that has both, with its interval where there is one."""
    frame = table_of(result, "task", "method", "n_train", "difference_points", "low_points", "high_points", "outcome")
    frame = frame[frame["difference_points"].notna()][::-1]
    if frame.empty:
        raise SettingsError("None of these runs has a printed counterpart, so there is nothing to draw.")
    figure, grid = place(ax, rows=1, columns=1, height=0.85 + ROW * len(frame))
    axes = figure.add_subplot(grid[0])
    _region(axes)
    for y, row in enumerate(frame.to_dict("records")):
        look = OUTCOMES[row["outcome"]]
        axes.plot([row["low_points"], row["high_points"]], [y, y], color=look.colour, linewidth=1.3, zorder=2)
        _mark(axes, row["difference_points"], y, look, hollow=row["outcome"] == "inconclusive")
    names = [f"{row['method']} on {row['task']}, n = {row['n_train']}" for row in frame.to_dict("records")]
    _rows(axes, [fitted(name, 150) for name in names])
    axes.set_xlabel("own − printed accuracy, points, 95% interval; shaded: ±1 point")
    seen = [name for name in OUTCOMES if name in set(frame["outcome"])]
    legend_below(axes, [_handle(OUTCOMES[name], name, hollow=name == "inconclusive") for name in seen])
    return root(figure)


def _main(result: Published, **where: str) -> pd.DataFrame:
    frame = table_of(result, *GAP)
    return chosen(frame[~frame["repeats"]], method="vpt", against="ft", **where)


def _bars(axes: Axes, part: pd.DataFrame, limits: tuple[float, float]) -> None:
    """Draw a line from zero to each gap, ended by its winner's mark; the last row stands on top."""
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
    for y, row in enumerate(part.to_dict("records")):
        look = WINNERS[row["winner"]]
        axes.plot([0, row["gap_points"]], [y, y], color=look.colour, linewidth=2.0, solid_capstyle="butt", zorder=2)
        _mark(axes, row["gap_points"], y, look, hollow=row["winner"] == "tie")
    axes.set_xlim(*limits)
    _rows(axes, [fitted(task, 96) for task in part["task"]])


def _numbers(axes: Axes, gaps: Iterable[float]) -> None:
    for y, gap in enumerate(gaps):
        axes.text(
            1.02 + 0.07, y, signed(gap), transform=axes.get_yaxis_transform(), fontsize=small(), va="center", ha="right"
        )


def _borders(axes: Axes, groups: pd.Series) -> None:
    """Draw a line where a new group begins."""
    names = list(groups)
    for y in range(1, len(names)):
        if names[y] != names[y - 1]:
            axes.axhline(y - 0.5, color=MUTED, linewidth=0.6)


def _curves(axes: Axes, part: pd.DataFrame) -> None:
    for column, look in (("accuracy_against", FT), ("accuracy", VPT)):
        axes.plot(
            part["images"], part[column], color=look.colour, linestyle=look.linestyle, marker=look.marker,
            markersize=2.6, linewidth=1.1, label=look.label,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(330, 12_500)
    axes.xaxis.set_major_locator(FixedLocator([400, 2000, 10_000]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
    axes.margins(y=0.12)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)


def _intervals(axes: Axes, claims: pd.DataFrame) -> None:
    _region(axes)
    for y, row in enumerate(claims.to_dict("records")):
        look = VERDICTS[row["verdict"]]
        axes.plot([row["low"], row["high"]], [y, y], color=look.colour, linewidth=1.3, zorder=2)
        _mark(axes, row["effect"], y, look, hollow=row["verdict"] == "inconclusive")
        axes.text(
            1.02, y, f"{row['n']:.0f}, {_p(row['p_adjusted'])}", transform=axes.get_yaxis_transform(), fontsize=small(),
            va="center",
        )  # fmt: skip
    _rows(axes, [fitted(name, 135) for name in claims["label"]])


def _region(axes: Axes) -> None:
    """Shade what is practically equal, and draw zero."""
    axes.axvspan(-REGION, REGION, color=FAINT, alpha=0.5, linewidth=0, zorder=0)
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)


def _mark(axes: Axes, x: float, y: float, look: Look, *, hollow: bool) -> None:
    face = "white" if hollow else look.colour
    axes.plot([x], [y], look.marker, color=look.colour, markersize=4, markerfacecolor=face, label=look.label, zorder=3)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows, the last on top, with no axis but the one across."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def _limits(gaps: pd.Series) -> tuple[float, float]:
    low, high = min(float(gaps.min()), 0.0), max(float(gaps.max()), 0.0)
    pad = 0.05 * (high - low) or 1.0
    return low - pad, high + pad


def _group_title(name: str, gaps: pd.Series) -> str:
    mean = mean_interval(gaps.to_numpy())
    return f"{name.capitalize()}: {_counts(gaps)}; mean {with_interval(mean.value, mean.low, mean.high)}"


def _counts(gaps: pd.Series) -> str:
    """Count wins, ties where there are any, and losses."""
    won, tied, lost = int((gaps > 0).sum()), int((gaps == 0).sum()), int((gaps < 0).sum())
    return ", ".join([f"{won} won", *([f"{tied} tied"] if tied else []), f"{lost} lost"])


def _handles(labels: dict[str, str]) -> list[Line2D]:
    return [_handle(WINNERS[name], label, hollow=name == "tie") for name, label in labels.items()]


def _handle(look: Look, label: str, *, hollow: bool = False) -> Line2D:
    return Line2D(
        [], [], color=look.colour, marker=look.marker, linestyle="none", label=label, markersize=4,
        markerfacecolor="white" if hollow else look.colour,
    )  # fmt: skip


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
