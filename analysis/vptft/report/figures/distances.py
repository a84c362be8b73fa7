"""Distances to the reference as bars, as Figure 3 of Han et al. (2024), with what makes them comparable."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vptft.errors import SettingsError
from vptft.report.figures.style import FT, INK, MUTED, VPT, fitted, legend_below, place, root, small, styled, table_of
from vptft.when.distribution.distance import SetDistance
from vptft.when.quadrants.plane import Quadrants

COLUMNS = (
    "first", "second", "measure_name", "distance", "debiased", "low", "high", "noise_floor", "n_first", "n_second",
)  # fmt: skip
DOTTED: dict[str, Any] = {"color": "#b1457f", "linewidth": 1.5, "linestyle": (0, (1, 0.8))}
"""How a noise floor is drawn."""
ROW = 0.24
"""Inches a bar takes."""

PLAIN = ("#a9b7c6", "#a9b7c6")
WINNERS = {
    "vpt": ("VPT ahead", ("#6d8ab1", VPT.colour)),
    "ft": ("FT ahead", ("#f3c69d", FT.colour)),
    "uncertain": ("neither", ("#ffffff", MUTED)),
}
"""Names, faces and edges. Faces are the methods' colours made pale, so that the marks on a bar stand out."""
FAR = "/////"


@styled
def draw_distances(
    results: Sequence[SetDistance], *, quadrants: Quadrants | None = None, ax: Axes | None = None
) -> Figure:
    """Draw one bar a set, in the order given: the debiased distance with its interval, plug-in value and noise floor.

    Parameters
    ----------
    results
        Of one measure.
    quadrants
        Who was ahead on the sets' tasks: it colours the bars, and those of a far objective are hatched, as in the
        paper's figure.
    ax
        Where to draw; a new figure where None.

    Raises
    ------
    SettingsError
        When there is no result, the results are of different measures, whose numbers cannot share an axis, or the
        quadrants hold several pretraining objectives, which have winners each.
    """
    frame = of_one_measure(results)
    names, counts, common = _named(frame)
    places = decimals(frame["debiased"], figures=3)
    figure, grid = place(ax, rows=1, columns=1, height=(0.75 if quadrants is None else 0.95) + ROW * len(frame))
    axes = figure.add_subplot(grid[0])
    trained = {} if quadrants is None else _by_task(quadrants)
    for y, row in enumerate(frame.to_dict("records")):
        task = names[y].rpartition(" (")[0]  # a set is named after its task, then its split
        winner, is_far = trained.get(names[y]) or trained.get(task, ("", False))
        _bar(axes, y, row, WINNERS[winner][1] if winner else PLAIN, is_far=is_far)
        said = f"{fixed(row['debiased'], places)}  ({counts[y]})"
        axes.text(1.01, y, said, transform=axes.get_yaxis_transform(), fontsize=small(), va="center")
    axes.set_yticks(range(len(frame)), [fitted(name, 120) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(frame) - 0.45, -0.55)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(fitted(" to ".join(filter(None, [frame["measure_name"].iloc[0], common])), 300, 8))
    if trained:
        _winner_legend(axes)
    _mark_legend(axes, frame)
    return root(figure)


def of_one_measure(results: Sequence[SetDistance]) -> pd.DataFrame:
    """Return one row a result with the columns of this module; refuse none, and different measures."""
    if not results:
        raise SettingsError("There is no distance to draw.")
    tables = (table_of(result, *COLUMNS) for result in results)
    frame = pd.DataFrame([{name: table[name].iat[0] for name in COLUMNS} for table in tables])
    if frame["measure_name"].nunique() > 1:
        names = sorted(frame["measure_name"].unique())
        raise SettingsError(f"Distances of different measures cannot share an axis: {names}.")
    return frame


def decimals(values: Iterable[float], *, figures: int) -> int:
    """Decimals that give the largest value that many figures; 0 where all are 0."""
    largest = max(map(abs, values))
    return int(np.clip(figures - 1 - np.floor(np.log10(largest)), 0, 6)) if largest > 0 else 0


def fixed(value: float, places: int) -> str:
    """Return the number with that many decimals; zero has no sign."""
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")


def _bar(axes: Axes, y: int, row: Mapping[Hashable, Any], colours: tuple[str, str], *, is_far: bool) -> None:
    """Draw a bar and its marks, those that are known."""
    (bar,) = axes.barh(y, row["debiased"], height=0.62, color=colours[0], edgecolor=colours[1], linewidth=0.6, zorder=2)
    if is_far:
        bar.set_hatch(FAR)
        bar.set_hatch_linewidth(0.5)
    ticks = [(row["distance"], 0.31)]
    if not np.isnan(row["low"]):
        axes.plot([row["low"], row["high"]], [y, y], color=INK, linewidth=1.3, zorder=4, solid_capstyle="butt")
        ticks += [(row["low"], 0.12), (row["high"], 0.12)]
    for x, half in ticks:
        axes.plot([x, x], [y - half, y + half], color=INK, linewidth=1.0, zorder=4)
    if not np.isnan(row["noise_floor"]):
        axes.plot([row["noise_floor"]] * 2, [y - 0.45, y + 0.45], zorder=5, **DOTTED)


def _mark_legend(axes: Axes, frame: pd.DataFrame) -> None:
    """Name the marks that are drawn, below."""
    handles: list[Patch | Line2D] = [Patch(color=PLAIN[0], label="debiased")]
    if frame["low"].notna().any():
        handles.append(Line2D([], [], color=INK, linewidth=1.3, label="95% interval"))
    handles.append(Line2D([], [], color=INK, marker="|", markersize=8, linestyle="none", label="plug-in"))
    if frame["noise_floor"].notna().any():
        handles.append(Line2D([], [], label="noise floor", **DOTTED))
    legend_below(axes, handles)


def _winner_legend(axes: Axes) -> None:
    """Name the colours, above; as an artist, since the axes' own legend names the marks."""
    handles = [Patch(facecolor=face, edgecolor=edge, label=said) for said, (face, edge) in WINNERS.values()]
    hatched = Patch(facecolor="white", edgecolor=MUTED, hatch=FAR, label="far objective")
    hatched.set_hatch_linewidth(0.5)
    legend = axes.legend(
        handles=[*handles, hatched], loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, borderpad=0.2
    )
    axes.add_artist(legend).set_clip_on(False)  # it stands outside the axes


def _by_task(quadrants: Quadrants) -> dict[str, tuple[str, bool]]:
    """Winner of each task, and whether its objective is far."""
    frame = table_of(quadrants, "task", "winner", "objective_is_far", "pretraining")
    if frame["pretraining"].nunique() > 1:
        several = sorted(frame["pretraining"].unique())
        raise SettingsError(f"Bars show who is ahead for one pretraining objective; the quadrants hold {several}.")
    return {row["task"]: (row["winner"], bool(row["objective_is_far"])) for row in frame.to_dict("records")}


def _named(frame: pd.DataFrame) -> tuple[list[str], list[str], str]:
    """Names and sizes of the bars' sets, and the set that all bars share with its size; both sets' where none is."""
    for shared, other in (("first", "second"), ("second", "first")):
        if frame[shared].nunique() == 1:
            sizes = [_count(n) for n in np.unique(frame[f"n_{shared}"].astype(float))]
            common = f"{frame[shared].iloc[0]} ({' or '.join(sizes)})"
            return frame[other].tolist(), [_count(n) for n in frame[f"n_{other}"]], common
    counts = [f"{_count(a)}, {_count(b)}" for a, b in zip(frame["n_first"], frame["n_second"], strict=True)]
    return (frame["first"] + " to " + frame["second"]).tolist(), counts, ""


def _count(n: float) -> str:
    return "N unknown" if np.isnan(n) else f"N = {n:,.0f}"
