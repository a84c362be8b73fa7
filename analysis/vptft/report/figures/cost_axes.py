"""Costs as axes: their units and scales, and how batch sizes look."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from vptft.report.figures.style import small

WIDE = 20.0
"""Ratio of the largest to the smallest cost from which an axis is logarithmic."""
FRONTS = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (4, 1.5, 1, 1.5)))
"""Line styles of fronts, by batch size."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A cost: its column or columns summed, in which unit once scaled, and whether it depends on the batch."""

    title: str
    columns: tuple[str, ...]
    unit: str
    scale: float = 1.0
    by_batch: bool = True
    log: bool = False

    @property
    def timed(self) -> bool:
        """Whether it is a time, which has a range."""
        return self.unit == "s"

    def of(self, rows: pd.DataFrame, end: str = "") -> pd.Series:
        """Values in the unit; ``end`` for the columns of a range."""
        return rows[[f"{column}{end}" for column in self.columns]].sum(axis=1) * self.scale


PANELS = (
    Panel(title="tuned parameters", columns=("parameters_tuned",), unit="", by_batch=False, log=True),
    Panel(title="stored a task", columns=("stored_bytes", "base_bytes"), unit="B", by_batch=False),
    Panel(title="forward pass, an image", columns=("forward_ms",), unit="s", scale=1e-3),
    Panel(title="training step, a batch", columns=("step_ms",), unit="s", scale=1e-3),
    Panel(title="activations of a step", columns=("activation_bytes",), unit="B"),
    Panel(title="peak memory of a step", columns=("peak_bytes",), unit="B"),
)


def set_scale(axes: Axes, panel: Panel, points: pd.DataFrame) -> None:
    """Limits, ticks and name of a cost's axis, ranges included; a log axis holds two powers of ten."""
    values = panel.of(points)
    low, high = float(values.min()), float(panel.of(points, "_max").max() if panel.timed else values.max())
    if low > 0 and (panel.log or high / low > WIDE):
        axes.set_xscale("log")
        ends = np.log10([low / 1.8, high * 1.8])
        if np.floor(ends[1]) - np.ceil(ends[0]) < 1:
            ends = np.array([np.floor(ends[0]), np.ceil(ends[1])])
        axes.set_xlim(*10.0**ends)
        axes.xaxis.set_major_locator(LogLocator(numticks=2))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, high * 1.12 or 1.0)
        axes.xaxis.set_major_locator(MaxNLocator(2))
    axes.xaxis.set_major_formatter(EngFormatter(unit=panel.unit, sep=" " if panel.unit else ""))
    axes.set_xlabel(panel.title, fontsize=small())


def marker_sizes(batches: Iterable[int]) -> dict[int, float]:
    """Marker sizes in points, growing with the batch."""
    found = sorted(set(batches))
    return dict(zip(found, np.linspace(3.6, 6.4, len(found)) if len(found) > 1 else [5.0], strict=True))


def line_styles(batches: Iterable[int]) -> dict[int, Any]:
    """Line style of each batch size's front."""
    return {batch: FRONTS[i % len(FRONTS)] for i, batch in enumerate(sorted(set(batches)))}
