"""Rollout maps of VPT and FT over the same images, with the masses a normalised map hides; and the prompts' share."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import GridSpecBase
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from vptft.errors import SettingsError
from vptft.report.figures.style import (
    FAINT,
    FT,
    MUTED,
    VPT,
    fitted,
    fitting,
    page_width,
    place,
    root,
    small,
    styled,
    table_of,
)
from vptft.why.attention.maps import AttentionMaps

COLOURS = "inferno"
COVER = 0.55
"""Opacity of a map over its image."""
LEFT, BAR, CELL, TEXT = 0.42, 0.6, 1.1, 0.47
"""Inches: row labels, colour scale, largest cell, lines of text under a cell."""
MASSES = {"patch": "patch_mass", "prompt": "prompt_mass", "object": "on_object"}
"""Lines under a map and their columns; ``object`` where the task has object masks."""


@styled
def draw_attention(result: AttentionMaps, *, max_images: int = 8, ax: Axes | None = None) -> Figure:
    """Draw the first ``max_images`` images, in the order they were drawn, over the maps of VPT and FT.

    Both maps of all images share one colour scale: each sums to 1, and what fell on prompts, class token and
    registers instead of patches is written beneath.
    """
    table = table_of(result, "image", "label", "method", "predicted", "outcome", "patch_mass", "prompt_mass")
    if max_images < 1:
        raise SettingsError(f"At least one image must be drawn, not {max_images}.")
    names = list(dict.fromkeys(table["image"]))[:max_images]
    cell = min(CELL, (page_width() - LEFT - BAR) / len(names))
    figure, grid = place(
        ax, rows=3, columns=len(names) + 1, width=LEFT + BAR + cell * len(names), height=3 * (cell + TEXT) + 0.1,
        width_ratios=[1.0] * len(names) + [0.12],
    )  # fmt: skip
    largest = float(result.maps[: len(names)].max())
    masses = {name: column for name, column in MASSES.items() if column in table and table[column].notna().any()}
    for column, name in enumerate(names):
        rows = {row["method"]: row for row in table[table["image"] == name].to_dict("records")}
        classes = result.settings.get("classes")
        under = [class_name(classes, rows["vpt"]["label"]), *str(rows["vpt"]["outcome"]).rsplit(" ", 1)]
        cell_of(figure, grid, 0, column, "image", under, cell).imshow(result.pixels[column])
        for row, (method, look) in enumerate((("vpt", VPT), ("ft", FT)), start=1):
            axes = cell_of(
                figure, grid, row, column, look.label, [f"{rows[method][mass]:.2f}" for mass in masses.values()], cell
            )
            if column == 0:
                write_at(axes, 0.0, "right", list(masses), 60)
            shown = over(axes, result.pixels[column], result.maps[column, row - 1], largest)
    bar = figure.colorbar(shown, cax=figure.add_subplot(grid[1:, len(names)]))
    bar.set_label("share of the map, a patch", fontsize=small())
    bar.locator = MaxNLocator(4)
    bar.update_ticks()
    return root(figure)


@styled
def draw_prompt_share(result: AttentionMaps, *, ax: Axes | None = None) -> Figure:
    """Draw how much of VPT's rollout ends in each layer's prompts: mean, quartiles and range over images."""
    table_of(result, "image", "method")
    share = result.share
    width = min(4.0, fitting(3.0))
    figure, grid = place(ax, rows=1, columns=1, height=2.0, width=width)
    axes = figure.add_subplot(grid[0])
    layers = np.arange(1, share.shape[1] + 1)
    if len(share) > 1:
        axes.fill_between(layers, share.min(axis=0), share.max(axis=0), color=VPT.colour, alpha=0.12, linewidth=0)
        low, high = np.quantile(share, [0.25, 0.75], axis=0)
        axes.fill_between(layers, low, high, color=VPT.colour, alpha=0.25, linewidth=0)
    axes.plot(layers, share.mean(axis=0), color=VPT.colour, marker=VPT.marker, markersize=3.5)
    axes.set_ylim(0, max(1.08 * float(share.max()), 1e-3))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("layer (1 is nearest to the image)")
    axes.set_ylabel("share of rollout on prompts")
    spread = "mean, quartiles and range" if len(share) > 1 else "value"
    noun = "images" if len(share) > 1 else "image"
    axes.set_title(
        fitted(f"{result.task}: {spread} of {len(share)} {noun}", 72 * width - 60), fontsize=small(), loc="left"
    )
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    return root(figure)


def cell_of(
    figure: Figure | SubFigure, grid: GridSpecBase, row: int, column: int, name: str, under: list[str], inches: float
) -> Axes:
    """Axes of one image in the grid, named at the left of its row, with lines under it."""
    axes = figure.add_subplot(grid[row, column])
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if column == 0:
        axes.set_ylabel(name, color={"VPT": VPT.colour, "FT": FT.colour}.get(name, MUTED), weight="bold")
    write_at(axes, 0.5, "center", under, 72 * inches - 3)
    return axes


def write_at(axes: Axes, x: float, side: str, lines: list[str], points: float) -> None:
    """Write lines, each at most that many points wide, just below the axes."""
    axes.annotate(
        "\n".join(fitted(line, points) for line in lines), (x, 0), xycoords="axes fraction",
        xytext=(0 if side == "center" else -4, -3), textcoords="offset points", ha=side, va="top", fontsize=small(),
    )  # fmt: skip


def over(axes: Axes, image: np.ndarray, weights: np.ndarray, largest: float, *, power: float = 1.0) -> AxesImage:
    """Draw a map, each patch as one square, over the greyed image; colours follow ``(weight / largest) ** power``."""
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    grey = image.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722])
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
    norm = PowerNorm(power, vmin=0, vmax=largest)
    return axes.imshow(weights, cmap=COLOURS, norm=norm, alpha=COVER, extent=extent, interpolation="nearest")


def class_name(classes: list[str] | None, label: int) -> str:
    """Name of a class, or its number."""
    return str(classes[label]) if classes is not None and 0 <= label < len(classes) else f"class {label}"
