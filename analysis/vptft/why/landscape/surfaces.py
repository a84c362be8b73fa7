"""Loss on lines and planes of one run: several directions, several batches, training and test images.

One slice is a picture. What can be said of a *run* is an average over directions and batches: how much the loss rises
a given step away, with the spread of both. Even that depends on the scale of the weights (Dinh et al. 2017): filter
normalisation removes the trivial rescalings only, so compare models of one architecture, and read curvature beside it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.evidence.statistics.paired import mean_interval
from vptft.models.tuned import TunedModel
from vptft.why.landscape.directions import RULE, Plane, Point
from vptft.why.landscape.evaluation import Losses, PlaneLosses, Sample
from vptft.why.landscape.parameters import moved, space

BATCHES = 3
"""Batches the images of a split are divided into, and directions below which a statement is a picture."""
COLUMNS = ("plane", "split", "batch", "a", "b", "loss", "accuracy")
PATH = ("plane", "epoch", "a", "b", "off_plane")
RISES = ("split", "step", "rise", "low", "high", "batch_sd", "n_directions", "n_batches", "reading")
CENTRE = 1e-9
"""Coordinates nearer to 0 than this are the model itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Places of one plane: every ``a`` by every ``b``; a line has the one ``b`` 0."""

    plane: Plane
    a: np.ndarray
    b: np.ndarray


class Row(NamedTuple):
    """Which row of which grid, on which sample: what a worker is handed, and what is saved when it is done."""

    grid: int
    sample: int
    number: int


Mapped = Callable[[Callable[[Row], Losses], Sequence[Row]], Iterable[Losses]]


@dataclass(frozen=True, kw_only=True)
class Surfaces(Result):
    """Loss and accuracy of one run on lines or planes; ``table`` as in :meth:`frame`.

    Attributes
    ----------
    label, task, method, space
        Whose landscape, and which parameters move.
    path
        Where the run came from, in the plane of its trajectory: plane, epoch, a, b, and ``off_plane``, the distance
        from the plane in units of weight. A path looks smooth where what it did off the plane is not seen.
    """

    analysis: ClassVar[str] = "landscape slices"
    label: str
    task: str
    method: str
    space: str
    table: pd.DataFrame
    path: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: plane, split, batch, a, b (coordinates; units by plane in the settings), loss (nats), accuracy."""
        return self.table

    def rises(self) -> pd.DataFrame:
        """How much the loss rises a step away from the model, averaged over random directions, both ways.

        Returns
        -------
        DataFrame
            split, step (filter norms), rise (nats), low, high (95%, Student's t over directions), batch_sd (standard
            deviation over batches of images), n_directions, n_batches, and ``reading``: ``picture`` with fewer than
            three directions or batches, else ``average of this run``, which is still one training.
        """
        random = self.table[self.table["plane"].str.startswith("random")]
        ways = [("a", "b"), ("b", "a")] if random["b"].nunique() > 1 else [("a", "b")]
        sides: list[pd.DataFrame] = []
        for free, fixed in ways:
            on_axis = random[random[fixed].abs() < CENTRE]
            sides.append(on_axis.assign(step=on_axis[free].abs().round(9), way=free))
        keys = ["split", "plane", "way", "batch"]
        mean = pd.concat(sides).groupby([*keys, "step"], sort=False)["loss"].mean().reset_index()
        centre = mean[mean["step"] == 0].set_index(keys)["loss"].rename("at_model")
        mean = mean[mean["step"] > 0].join(centre, on=keys)
        mean["rise"] = mean["loss"] - mean["at_model"]
        return pd.DataFrame(
            [_rise(rows) for _, rows in mean.groupby(["split", "step"])],
            columns=list(RISES),
        )


def measure(
    model: TunedModel,
    *,
    space_name: str,
    grids: Sequence[Grid],
    samples: Sequence[Sample],
    label: str,
    task: str,
    method: str,
    batches: int = BATCHES,
    batch_size: int = 128,
    path: Sequence[tuple[int, Point]] = (),
    mapped: Mapped = map,
    settings: Mapping[str, Any] | None = None,
) -> Surfaces:
    """Evaluate loss and accuracy on every grid and sample.

    Parameters
    ----------
    model
        In evaluation mode; comes back unchanged, also when interrupted.
    space_name
        Which parameters move (:func:`.parameters.spaces`).
    grids, samples
        Where, and of which images.
    label, task, method
        Who this is.
    batches
        Whole groups of images go round into so many.
    path
        Snapshots of the run, (epoch, point), to be placed in every plane that is named ``trajectory``.
    mapped
        How rows are computed: ``map``, or a stand-in that spreads them over processes and keeps what is finished. It
        gives the losses of all rows in their order.

    Raises
    ------
    SettingsError
        More batches than groups of images.
    """
    for sample in samples:
        if (n_groups := len(np.unique(sample.group_ids))) < batches:
            raise SettingsError(f"{n_groups} independent {sample.split} images cannot fill {batches} batches.")
    rows = rows_of(grids, samples)
    parameters = space(model, space_name)
    with moved(model, parameters):
        losses = list(mapped(RowLosses(model, space_name, grids, samples, batch_size=batch_size), rows))
    table = pd.concat(
        [
            _tabulated(grids[row.grid], samples[row.sample], row, found, batches)
            for row, found in zip(rows, losses, strict=True)
        ],
        ignore_index=True,
    )
    placed = [
        (grid.plane.name, epoch, *grid.plane.coordinates(point))
        for grid in grids if grid.plane.name == "trajectory"
        for epoch, point in path
    ]  # fmt: skip
    return Surfaces(
        settings={
            **(settings or {}),
            "normalisation": RULE,
            "parameters": sum(p.numel() for p in parameters.values()),
            "batches": batches,
            "n_images": {sample.split: len(sample.labels) for sample in samples},
            "units": {grid.plane.name: grid.plane.unit for grid in grids},
            "explained": {grid.plane.name: list(grid.plane.explained) for grid in grids if grid.plane.explained},
        },
        label=label, task=task, method=method, space=space_name, table=table,
        path=pd.DataFrame(placed, columns=list(PATH)),
    )  # fmt: skip


class RowLosses:
    """Losses of single rows; it moves the model, and whoever makes one holds :func:`.parameters.moved` around it."""

    def __init__(
        self,
        model: TunedModel,
        space_name: str,
        grids: Sequence[Grid],
        samples: Sequence[Sample],
        *,
        batch_size: int = 128,
    ) -> None:
        self._model, self._parameters = model, space(model, space_name)
        self._grids, self._samples, self._batch_size = grids, samples, batch_size
        self._ready: dict[tuple[int, int], PlaneLosses] = {}

    def __call__(self, row: Row) -> Losses:
        """Losses ``(len(b), n)``."""
        grid = self._grids[row.grid]
        key = (row.grid, row.sample)
        if key not in self._ready:
            self._ready = {
                key: PlaneLosses(
                    self._model, self._parameters, grid.plane, self._samples[row.sample], batch_size=self._batch_size
                )
            }
        return self._ready[key].row(float(grid.a[row.number]), grid.b)


def rows_of(grids: Sequence[Grid], samples: Sequence[Sample]) -> list[Row]:
    """Every row of every grid on every sample, in the order a result holds them."""
    return [
        Row(grid, sample, number)
        for grid in range(len(grids))
        for sample in range(len(samples))
        for number in range(len(grids[grid].a))
    ]


def around_path(plane: Plane, points: Sequence[Point], *, count: int) -> Grid:
    """Grid of ``count`` x ``count`` places that covers where points lie in the plane, with a quarter of margin."""
    placed = np.array([plane.coordinates(point)[:2] for point in [plane.origin, *points]])
    low, high = placed.min(axis=0), placed.max(axis=0)
    margin = 0.25 * np.maximum(high - low, 1e-12 + 0.25 * float((high - low).max()))
    a, b = (np.linspace(low[i] - margin[i], high[i] + margin[i], count) for i in (0, 1))
    return Grid(plane=plane, a=a, b=b)


def _tabulated(grid: Grid, sample: Sample, row: Row, found: Losses, batches: int) -> pd.DataFrame:
    """Means of each batch at every place of a row."""
    member = sample.batches(batches)
    parts = [
        pd.DataFrame({
            "plane": grid.plane.name, "split": sample.split, "batch": batch, "a": float(grid.a[row.number]),
            "b": grid.b, "loss": found.loss[:, member == batch].mean(axis=1),
            "accuracy": found.correct[:, member == batch].mean(axis=1),
        })
        for batch in range(batches)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def _rise(rows: pd.DataFrame) -> dict[str, Any]:
    by_direction = rows.groupby(["plane", "way"])["rise"].mean().to_numpy()
    by_batch = rows.groupby("batch")["rise"].mean().to_numpy()
    found = mean_interval(by_direction)
    enough = len(by_direction) >= BATCHES and len(by_batch) >= BATCHES
    return {
        "split": rows["split"].iloc[0], "step": rows["step"].iloc[0],
        "rise": found.value, "low": found.low, "high": found.high,
        "batch_sd": float(by_batch.std(ddof=1)) if len(by_batch) > 1 else float("nan"),
        "n_directions": len(by_direction), "n_batches": len(by_batch),
        "reading": "average of this run" if enough else "picture",
    }  # fmt: skip
