"""Maps of VPT beside FT for images drawn from every outcome: both right, one alone, both wrong."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from vptft.errors import SettingsError
from vptft.report.figures.attention import BAR, CELL, LEFT, cell_of, class_name, over, write_at
from vptft.report.figures.style import (
    FT,
    MUTED,
    VPT,
    fitted,
    page_width,
    place,
    root,
    save_figure,
    small,
    styled,
    table_of,
)
from vptft.storage import atomic_path, slug
from vptft.why.attention.methods import METHODS
from vptft.why.attention.score_settings import RANDOM, SIDES
from vptft.why.attention.scores import AttentionScores

MASSES = {"patch": "patch_mass", "prompt": "prompt_mass", "object": "on_object"}
"""Lines under a map and their columns; masses where this kind of map has them."""
HEAD, LINE = 0.3, 0.125
"""Inches: names of the outcomes, and a line of text under a cell."""
POWER = 0.5
"""Colours follow the root of a map: one that lies on a single patch would leave all others black."""


@styled
def draw_attention_grid(
    result: AttentionScores, *, kind: str, per_outcome: int | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the kept images of each outcome over their maps of one kind, VPT and FT on one colour scale.

    Over each outcome stands how many test images have it; which of them are shown was drawn by the printed seed. A kind
    of map that fails its sanity check says so in the title. ``per_outcome`` is how many of each outcome are drawn, the
    first ones; None for all.
    """
    index = _index(result, kind)
    table = table_of(result, "image", "label", "side", "map", "outcome", "on_object", "gap")
    rows = table[table["map"] == kind].merge(result.masses, on=["image", "side", "map"], how="left")
    names = list(result.images()["image"])
    kept = _first_of_each([result.outcome_of(int(i)) for i in result.drawn], per_outcome)
    drawn = result.drawn[kept]
    shown = [names[i] for i in drawn]
    if not shown:
        raise SettingsError("No image was kept to be shown.", "Measure with shown of at least 1.")
    of = {(row["image"], row["side"]): row for row in rows.to_dict("records")}
    under_maps = {**MASSES, "gap": "gap"}
    known = {name: column for name, column in under_maps.items() if rows[column].notna().any()}
    cell = min(CELL, (page_width() - LEFT - BAR) / max(len(shown), 4))
    maps = result.maps[drawn, :, index]
    pixels = result.pixels[kept]
    largest = float(np.nanmax(maps))
    text = 0.05 + LINE * max(1, len(known))
    figure, grid = place(
        ax, rows=3, columns=len(shown) + 1, width=LEFT + BAR + cell * len(shown),
        height=3 * cell + 2 * text + HEAD + 0.3, width_ratios=[1.0] * len(shown) + [0.12],
    )  # fmt: skip
    for column, name in enumerate(shown):
        first = of[name, "vpt"]
        under = [class_name(result.settings.get("classes"), first["label"])]
        top = cell_of(figure, grid, 0, column, "image", under, cell)
        top.imshow(pixels[column])
        if column == 0 or of[shown[column - 1], "vpt"]["outcome"] != first["outcome"]:
            _head(top, first["outcome"], result.outcome_counts()[first["outcome"]], len(names))
        for row, (side, look) in enumerate(zip(SIDES, (VPT, FT), strict=True), start=1):
            here = of[name, side]
            values = [f"{round(here[told], 2) + 0:.2f}".replace("-", "−") for told in known.values()]
            axes = cell_of(figure, grid, row, column, look.label, values, cell)
            if column == 0:
                write_at(axes, 0.0, "right", list(known), 60)
            weights = np.nan_to_num(maps[column, row - 1])
            image = over(axes, pixels[column], weights, largest, power=POWER)
    _scale(figure, grid, len(shown), image)
    title = figure.suptitle(f"{fitted(_title(result, kind), 385)}\n\n\n", fontsize=small(), x=0.01, ha="left")
    title.set_linespacing(1.3)  # its empty lines keep room for the outcomes
    return root(figure)


def _first_of_each(outcomes: list[str], most: int | None) -> list[int]:
    """Places of the first ``most`` of each outcome; all of them without a number."""
    return [i for i, outcome in enumerate(outcomes) if most is None or outcomes[:i].count(outcome) < most]


@styled
def save_maps(result: AttentionScores, folder: Path) -> list[Path]:
    """Write each shown image's maps: one ``.npz`` an image with all of them, one PNG a side and kind.

    The array of a map has its side and kind as name (``vpt/rollout``) and sums to 1; ``pixels`` is the image. PNGs of
    one image and kind share their colour scale.
    """
    names = list(result.images()["image"])
    written = []
    for place_of, image in enumerate(result.drawn):
        stem = slug(f"{result.outcome_of(int(image))} {names[image]}")
        maps = result.maps[image]
        arrays = {f"{s}/{k}": maps[i, j] for i, s in enumerate(SIDES) for j, k in enumerate(result.kinds)}
        target = folder / f"{stem}.npz"
        with atomic_path(target) as path:
            np.savez_compressed(path, pixels=result.pixels[place_of], **arrays)
        written.append(target)
        for j, kind in enumerate(result.kinds):
            if kind == RANDOM or np.isnan(maps[:, j]).any():
                continue
            largest = float(maps[:, j].max())
            for i, side in enumerate(SIDES):
                figure = _alone(result.pixels[place_of], maps[i, j], largest)
                written += save_figure(figure, folder / f"{stem}-{slug(kind)}-{side}", formats=("png",))
    return written


def _alone(pixels: np.ndarray, weights: np.ndarray, largest: float) -> Figure:
    figure = Figure(figsize=(1.5, 1.5 * pixels.shape[0] / pixels.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    over(axes, pixels, weights, largest, power=POWER)
    return figure


def _index(result: AttentionScores, kind: str) -> int:
    if kind not in result.kinds:
        raise SettingsError(f"There are no {kind!r} maps; there are {', '.join(result.kinds)}.")
    return result.kinds.index(kind)


def _title(result: AttentionScores, kind: str) -> str:
    failed = result.failed()
    checked = f"FAILS its sanity check: {failed[kind]}" if failed.get(kind) else "passes its sanity checks"
    state = checked if kind in failed else "sanity not checked"
    options = result.settings.get("options", {})
    seed = options.get("seed", "")
    what = f"{kind} of the {options.get('target', '')} class" if METHODS[kind].needs_class else f"{kind} (of no class)"
    return f"{result.task}, {what}; images drawn by seed {seed}; {state}"


def _head(axes: Axes, outcome: str, count: int, n: int) -> None:
    said = axes.annotate(
        f"{outcome}\n{count} of {n}", (0, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
        ha="left", va="bottom", fontsize=small(), color=MUTED, weight="bold",
    )  # fmt: skip
    said.set_in_layout(False)  # it is wider than its image, and would move the next one away


def _scale(figure: Any, grid: Any, column: int, image: AxesImage) -> None:
    bar = figure.colorbar(image, cax=figure.add_subplot(grid[1:, column]))
    bar.set_label("share of the map, a patch", fontsize=small())
    bar.locator = MaxNLocator(4)
    bar.update_ticks()
