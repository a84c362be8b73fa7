"""Loss slices side by side: a picture of two random directions among millions, not evidence."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vptft.errors import SettingsError
from vptft.report.figures.style import Look, fitted, looks_of, page_width, place, root, small, styled, table_of
from vptft.why.landscape.slices import LossSlice

COLOURS = "viridis_r"
"""Dark is high loss; it stays in order when printed grey."""
LEVELS = 14
MANY = 4
"""With more tasks than this, two share a row of the figure."""


@styled
def draw_slices(slices: Sequence[LossSlice], *, ax: Axes | None = None) -> Figure:
    """Draw filled contours of the loss, a row a task and a column a model, with one colour scale a task."""
    if not slices:
        raise SettingsError("There is no loss slice to draw.")
    looks = looks_of(item.method for item in slices)
    ordered = sorted(slices, key=lambda item: (list(looks).index(item.method), item.label))
    tasks = {
        task: [item for item in ordered if item.task == task] for task in dict.fromkeys(item.task for item in slices)
    }
    across = max(len(models) for models in tasks.values())
    blocks = 1 if len(tasks) <= MANY else 2
    rows = -(-len(tasks) // blocks)
    width = min(page_width(), blocks * (1.9 * across + 0.9))
    panel = (width / blocks - 0.9) / across
    figure, grid = place(
        ax, rows=rows, columns=blocks * across, height=(min(panel, 2.0) + 0.3) * rows + 0.2, width=width
    )  # fmt: skip
    for i, models in enumerate(tasks.values()):
        panels = [figure.add_subplot(grid[i // blocks, (i % blocks) * across + j]) for j in range(len(models))]
        _task(panels, models, looks, ticks=3 if panel > 1 else 2)
        unit = " (norms)" if blocks == 1 else ""
        panels[0].set_ylabel(f"direction 2{unit}", fontsize=small())
        if i + blocks >= len(tasks):
            for axes in panels:
                axes.set_xlabel(f"direction 1{unit}", fontsize=small())
    return root(figure)


def _task(panels: list[Axes], models: list[LossSlice], looks: dict[str, Look], *, ticks: int) -> None:
    """Draw one task's models and their common colour scale, beside the last."""
    tables = [table_of(model, "a", "b", "loss") for model in models]
    losses = np.concatenate([table["loss"].to_numpy() for table in tables])
    low, high = float(losses.min()), float(losses.max())
    levels = np.linspace(low, high if high > low else low + 1e-6 + abs(low) * 1e-6, LEVELS)
    methods = [model.method for model in models]
    for axes, model, table in zip(panels, models, tables, strict=True):
        look = looks[model.method]
        name = look.label if methods.count(model.method) == 1 else model.label
        axes.set_box_aspect(1)
        axes.set_title(fitted(name, 80), fontsize=small(), color=look.colour, weight="bold", pad=3)
        surface = table.pivot(index="b", columns="a", values="loss").sort_index().sort_index(axis=1)
        filled = axes.contourf(surface.columns, surface.index, surface, levels=levels, cmap=COLOURS)
        axes.contour(surface.columns, surface.index, surface, levels=levels, colors="white", linewidths=0.25)
        axes.plot([0], [0], "+", color="white", markersize=9, markeredgewidth=2.4)
        axes.plot([0], [0], "+", color="black", markersize=8, markeredgewidth=1.0, label="model")
        axes.xaxis.set_major_locator(MaxNLocator(ticks))
        axes.yaxis.set_major_locator(MaxNLocator(3))
    # The second line keeps the place of the method's name.
    panels[0].set_title(f"{fitted(models[0].task, 170, 8)}\n", loc="left", pad=3)
    beside = panels[-1].inset_axes((1.06, 0.0, 0.06, 1.0))
    bar = panels[-1].figure.colorbar(filled, cax=beside, format="%.3g")
    bar.set_label("loss (nats)", fontsize=small())
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
