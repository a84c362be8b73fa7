"""Curvature of runs side by side: ends of the spectrum, trace and sharpness by parameter space, and whole densities."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from vptft.errors import SettingsError
from vptft.report.figures.style import (
    FAINT,
    MUTED,
    Look,
    fitting,
    looks_of,
    page_width,
    place,
    printable,
    root,
    small,
    styled,
    table_of,
    text_width,
)
from vptft.why.landscape.curvature.measure import SPACES, Curvature
from vptft.why.landscape.curvature.scaling import SCALINGS, Scaling

UNITS = {"element": "steps relative to each weight", "filter": "steps relative to each filter", "none": "raw"}
QUANTITIES = {"trace": "trace", "m-sharpness": "m-sharpness\n(nats)"}
"""Below the eigenvalues, a row each."""
LINEAR = 1e-3
"""Share of the largest number below which a symmetric logarithmic axis is linear."""
BLUR = 0.12
"""Width of a node, in units of the axis' own (inverse hyperbolic sine) scale: about a twentieth of a decade."""
POINTS = 801
DENSITY = 4.125
"""Inches of a figure of densities on a page that is wide enough."""


@styled
def draw_curvature(
    results: Sequence[Curvature], *, scaling: str | None = None, matrix: str = "hessian", ax: Axes | None = None
) -> Figure:
    """Draw the largest and smallest eigenvalues, the trace and m-sharpness: a column a parameter space.

    A mark is the mean over batches, seeds and runs of one method, its bar the range of them all. The line of a column
    between the largest and the smallest eigenvalues stands for all that lie between.

    Parameters
    ----------
    results
        Runs of one task.
    scaling, matrix
        Which of the results' versions; the scaling by default that says most of those there are.
    ax
        Where to draw; a new figure where None.

    Raises
    ------
    SettingsError
        No result, several tasks, or none that holds this scaling and matrix.
    """
    scaling = scaling or main_scaling(results)
    frame = _pooled(results)
    losses = frame[frame["quantity"] == "loss"].groupby("method")["value"].mean()
    frame = frame[(frame["scaling"] == scaling) & frame["matrix"].isin([matrix, ""])]
    if not (frame["quantity"] == "eigenvalue").any():
        raise SettingsError(f"No eigenvalue of the {matrix} with scaling {scaling!r} is in these results.")
    looks, columns = looks_of(frame["method"]), _ordered(frame["space"])
    rows = [name for name in QUANTITIES if (frame["quantity"] == name).any()]
    figure, grid = place(
        ax, rows=1 + len(rows), columns=len(columns), height=2.35 + 1.0 * len(rows),
        width=min(page_width(), 1.0 + 1.5 * len(columns)), height_ratios=[1.9] + [1.0] * len(rows),
    )  # fmt: skip
    panels = []
    for column, name in enumerate(columns):
        own = frame[frame["space"] == name]
        axes = figure.add_subplot(grid[0, column])
        _eigenvalues(axes, own[own["quantity"] == "eigenvalue"], looks)
        axes.set_title(f"{printable(name)}\n{_counts(own)}", fontsize=small(), pad=3)
        panels.append(axes)
        for row, quantity in enumerate(rows, start=1):
            below = figure.add_subplot(grid[row, column])
            _marks(below, own[own["quantity"] == quantity], looks)
            if not column:
                below.set_ylabel(QUANTITIES[quantity], fontsize=small())
    panels[0].set_ylabel("eigenvalue", fontsize=small())
    whole = root(figure)
    whole.align_ylabels(list(figure.axes))
    whole.legend(handles=_handles(looks), loc="outside upper center", ncols=len(looks), borderpad=0)
    kind = "Hessian" if matrix == "hessian" else "Gauss-Newton matrix"
    said = [
        f"{kind} of the {printable(results[0].split)} loss", UNITS.get(scaling, scaling),
        "bars: range over batches, seeds, runs",
    ]  # fmt: skip
    if len(losses):  # in any scaling curvature falls with the loss, so the loss stands beside it
        said += ["loss " + ", ".join(f"{look.label} {losses[name]:.2g}" for name, look in looks.items()) + " nats"]
    whole.supxlabel(_lines(said, 72 * whole.get_figwidth() - 8), fontsize=small(), color=MUTED)
    return whole


@styled
def draw_density(
    results: Sequence[Curvature], *, space: str, scaling: str = "element", matrix: str = "hessian",
    ax: Axes | None = None,
) -> Figure:  # fmt: skip
    """Draw the spectral density of one parameter space, a line a method, on a symmetric logarithmic axis.

    The height is the share of eigenvalues a unit of the *axis*, so that equal areas are equal shares. The line is the
    mean over probes, batches and runs, the band their range. Nodes are blurred; where eigenvalues are few it shows
    bumps of the blur's width, not theirs.

    Raises
    ------
    SettingsError
        No result holds a density of this space, scaling and matrix.
    """
    _pooled(results)
    tables = [item.density.assign(method=item.method, run=i) for i, item in enumerate(results)]
    nodes = pd.concat(tables, ignore_index=True)
    nodes = nodes[(nodes["space"] == space) & (nodes["scaling"] == scaling) & (nodes["matrix"] == matrix)]
    if nodes.empty:
        raise SettingsError(f"No density of {space!r} with scaling {scaling!r} of the {matrix} is in these results.")
    looks = looks_of(nodes["method"])
    linear = LINEAR * float(nodes["node"].abs().max()) or 1.0
    places = np.arcsinh(nodes["node"].to_numpy() / linear)
    at = np.linspace(places.min() - 6 * BLUR, places.max() + 6 * BLUR, POINTS)
    figure, grid = place(ax, rows=1, columns=1, height=2.3, width=min(DENSITY, fitting(3.0)))
    axes = figure.add_subplot(grid[0])
    top = 0.0
    for method, look in looks.items():
        own = nodes[nodes["method"] == method].assign(place=places[(nodes["method"] == method).to_numpy()])
        lines = np.array([_blurred(probe, at) for _, probe in own.groupby(["run", "batch", "seed", "probe"])])
        top = max(top, float(lines.max()))
        x = linear * np.sinh(at)
        axes.fill_between(x, lines.min(axis=0), lines.max(axis=0), color=look.colour, alpha=0.2, linewidth=0)
        axes.plot(x, lines.mean(axis=0), look.linestyle, color=look.colour, label=look.label)
    axes.set_yscale("log")
    # A single eigenvalue's bump is 3 / n high: it shows, and what is lower is the blur's own tail.
    axes.set_ylim(0.3 / float(nodes["parameters"].max()), 3 * top)
    axes.set_xscale("asinh", linear_width=linear)
    axes.set_xticks(_ticks(linear, *(linear * np.sinh(at[[0, -1]])), every=1))
    axes.xaxis.set_major_formatter(_number)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_major_formatter(_number)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.axvline(0, color=FAINT, linewidth=0.6, zorder=0)
    axes.set_xlabel(f"eigenvalue, {UNITS.get(scaling, scaling)}")
    axes.set_ylabel("density on this axis")
    axes.set_title(f"{printable(results[0].task)}, {printable(space)}", loc="left")
    axes.legend(handles=_handles(looks, marks=False), loc="upper right")
    return root(figure)


def main_scaling(results: Sequence[Curvature]) -> Scaling:
    """The first of ``SCALINGS`` that these results hold: those that rescaling a network cannot change come first."""
    held = {name for item in results for name in item.table.loc[item.table["quantity"] == "eigenvalue", "scaling"]}
    return next((name for name in SCALINGS if name in held), SCALINGS[0])


def draw_densities(results: Sequence[Curvature]) -> dict[str, Figure]:
    """Draw every density that these results hold, by parameter space; none where none was asked for."""
    scaling = main_scaling(results)
    held = pd.concat([item.density for item in results], ignore_index=True)
    spaces = held.loc[(held["scaling"] == scaling) & (held["matrix"] == "hessian"), "space"]
    return {name: draw_density(results, space=name, scaling=scaling) for name in dict.fromkeys(spaces)}


def _lines(parts: Sequence[str], points: float) -> str:
    """Parts one after the other, on as few lines as hold them."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}; {part}" if lines[-1] else part
        if lines[-1] and text_width(longer) > points:
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _pooled(results: Sequence[Curvature]) -> pd.DataFrame:
    """Rows of all results with their method."""
    if not results or len({item.task for item in results}) > 1:
        raise SettingsError(f"Curvature is drawn of runs of one task; these are {len(results)} runs.")
    wanted = ("space", "matrix", "scaling", "batch", "quantity", "rank", "value")
    return pd.concat(
        [table_of(item, *wanted).assign(method=item.method, run=i) for i, item in enumerate(results)], ignore_index=True
    )


def _ordered(names: pd.Series) -> list[str]:
    found = list(dict.fromkeys(names))
    return sorted(found, key=lambda name: (SPACES.index(name) if name in SPACES else len(SPACES), found.index(name)))


def _counts(rows: pd.DataFrame) -> str:
    """How many parameters, of each method where they differ."""
    counts = sorted(set(rows["parameters"]))
    return " / ".join(_short(int(count)) for count in counts)


def _short(count: int) -> str:
    for unit, name in ((1_000_000, " M"), (1_000, " k")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return str(count)


def _eigenvalues(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Ranks from the top at the left, from the bottom at the right, a gap between them."""
    k = int(rows["rank"].max())
    x = {rank: rank if rank > 0 else 2 * k + 2 + rank for rank in set(rows["rank"])}
    axes.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    axes.axvline(k + 0.5, color=FAINT, linewidth=0.6, linestyle=":", zorder=0)
    for i, (method, look) in enumerate(looks.items()):
        own = rows[rows["method"] == method].groupby("rank")["value"]
        if not len(own):
            continue
        shift = 0.3 * (i - (len(looks) - 1) / 2) / max(1, len(looks) - 1)
        means, low, high = own.mean(), own.min(), own.max()
        at = [x[rank] + shift for rank in means.index]
        axes.vlines(at, low, high, color=look.colour, linewidth=0.9)
        axes.plot(at, means, look.marker, color=look.colour, markersize=3.2, label=look.label)
    # A mark's place says its rank; the order from the bottom is mirrored so that both ends are outermost.
    axes.set_xticks([x[rank] for rank in (1, k, -k, -1)], ["1", str(k), f"−{k}", "−1"])
    axes.set_xlim(0.3, 2 * k + 1.7)
    axes.set_xlabel("rank", fontsize=small(), labelpad=1)
    _symmetric(axes, rows["value"].to_numpy())


def _marks(axes: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    """One mark a method."""
    axes.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    for i, (method, look) in enumerate(looks.items()):
        own = rows.loc[rows["method"] == method, "value"]
        if len(own):
            axes.vlines([i], own.min(), own.max(), color=look.colour, linewidth=0.9)
            axes.plot([i], [own.mean()], look.marker, color=look.colour, label=look.label)
    axes.set_xticks([])
    axes.set_xlim(-0.6, len(looks) - 0.4)
    _symmetric(axes, rows["value"].to_numpy())


def _symmetric(axes: Axes, values: np.ndarray) -> None:
    """Symmetric logarithmic axis with room at both ends and few ticks."""
    largest = float(np.abs(values).max()) or 1.0
    linear = 10.0 ** np.ceil(np.log10(LINEAR * largest))
    axes.set_yscale("symlog", linthresh=linear, linscale=0.5)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    axes.set_ylim(2.5 * low - 0.3 * linear, 2.5 * high + 0.3 * linear)
    axes.set_yticks(_ticks(linear, 2.5 * low, 2.5 * high, every=2 if high > 100 * linear else 1))
    axes.yaxis.set_major_formatter(_number)
    axes.yaxis.set_minor_locator(NullLocator())


def _ticks(linear: float, low: float, high: float, *, every: int) -> list[float]:
    """Zero, and powers of ten each way from where the axis becomes logarithmic on."""
    first = np.ceil(np.log10(linear))
    powers = 10.0 ** np.arange(first, np.floor(np.log10(max(abs(low), abs(high), linear))) + 1, every)
    return [tick for tick in (*-powers[::-1], 0.0, *powers) if low <= tick <= high]


def _number(value: float, _: object) -> str:
    return f"{value:g}".replace("-", "−")


def _blurred(probe: pd.DataFrame, at: np.ndarray) -> np.ndarray:
    bells = np.exp(-0.5 * ((at[:, None] - probe["place"].to_numpy()) / BLUR) ** 2) / (BLUR * np.sqrt(2 * np.pi))
    return bells @ probe["weight"].to_numpy()


def _handles(looks: dict[str, Look], *, marks: bool = True) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look.colour, label=look.label, marker=look.marker if marks else "")
        for look in looks.values()
    ]
    for handle, look in zip(handles, looks.values(), strict=True):
        handle.set_linestyle("none" if marks else look.linestyle)  # type: ignore[arg-type]  # a style of its table
    return handles
