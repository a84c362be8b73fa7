"""Loss around runs as surfaces that can be turned."""

from collections.abc import Sequence

import numpy as np

from vptft.report.figures.surfaces import COLOURS
from vptft.report.interactive.attention import colour_table
from vptft.report.sections.parts import Widget
from vptft.why.landscape.slices import LossSlice


def surface_viewer(results: Sequence[LossSlice]) -> Widget:
    """Data of surfaces: each result's grid, to four digits."""
    runs = []
    for result in sorted(results, key=lambda each: (each.task, each.method == "ft", each.label)):
        grid = result.frame().pivot(index="b", columns="a", values="loss").sort_index().sort_index(axis=1)
        runs.append({
            "label": result.label,
            "task": result.task,
            "space": "prompts and head move" if result.method.startswith("vpt") else "all weights move",
            "a": [float(a) for a in grid.columns],
            "b": [float(b) for b in grid.index],
            "loss": [[float(f"{loss:.4g}") if np.isfinite(loss) else None for loss in row] for row in grid.to_numpy()],
        })  # fmt: skip
    split = str(results[0].settings.get("split", "test"))
    return Widget(
        kind="surfaces",
        label="Loss slices to turn",
        data={"colours": colour_table(COLOURS), "split": split, "runs": runs},
    )
