"""From runs to the loss around them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file

from vptft.checkpoints.native import Run, load_run
from vptft.data import registry
from vptft.errors import CheckpointError, SettingsError
from vptft.models.tuned import TunedModel
from vptft.report.assembly.pieces import Arrays, Pieces, Progress, in_processes, kept, on_ray
from vptft.report.assembly.samples import drawn, labels_of, model_inputs
from vptft.report.assembly.saved import identity, saved_or
from vptft.why.landscape import slices, surfaces
from vptft.why.landscape.directions import Point, random_plane, trajectory_plane, weights_of
from vptft.why.landscape.evaluation import Losses, Sample
from vptft.why.landscape.parameters import ALL, TUNED, space, spaces

Split = Literal["train", "test"]
Engine = Literal["workers", "ray"]
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class SurfaceSettings:
    """What is asked of each run.

    Attributes
    ----------
    space
        Which parameters move; None for what the method tunes.
    splits
        On which images.
    n_images, batches
        Images of each split, and batches they are divided into.
    points, extent, dimensions
        Odd number of points a side, largest coordinate in filter norms, and 1 for lines or 2 for planes.
    seeds
        Of the directions: one line or plane each. The first also draws the images.
    """

    space: str | None = None
    splits: tuple[Split, ...] = SPLITS
    n_images: int = 64
    batches: int = surfaces.BATCHES
    points: int = 11
    extent: float = 0.5
    dimensions: int = 2
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        slices.axis(self.points, self.extent)
        if not self.splits or not self.seeds or self.dimensions not in (1, 2) or self.batches < 1:
            raise SettingsError(f"A slice needs a split, a seed, one or two dimensions and a batch: {self}.")


def loss_slice(
    run: Run, *, n_images: int, points: int, extent: float, seed: int, folder: Path | None = None
) -> slices.LossSlice:
    """Two-dimensional slice of the test loss around one run."""
    inputs = {
        "run": identity(run),
        "n_images": n_images,
        "points": points,
        "extent": extent,
        "seed": seed,
        "split": "test",
    }

    def make(settings: dict[str, Any]) -> slices.LossSlice:
        images = drawn(run, n_images, seed)
        return slices.measure(
            run.model(),
            images=model_inputs(run, images.pixels(run.info.image_size)),
            labels=torch.from_numpy(labels_of(images)),
            label=run.label,
            task=run.info.task,
            method=run.info.method,
            points=points,
            extent=extent,
            seed=seed,
            settings=settings,
        )

    return saved_or(slices.LossSlice, folder, inputs, make)


def surfaces_of(
    run: Run,
    settings: SurfaceSettings,
    *,
    workers: int = 1,
    engine: Engine = "workers",
    folder: Path | None = None,
    on_row: Progress = lambda done, total: None,
) -> surfaces.Surfaces:
    """Loss on lines or planes around a run, and in the plane of its trajectory where it kept snapshots.

    Parameters
    ----------
    run
        Whose.
    settings
        What is asked.
    workers
        Processes the rows are spread over; the numbers are the same for any count that leaves a process as many
        threads, and differ by rounding otherwise.
    engine
        Where: processes of this machine, or a Ray cluster (extra ``cluster``), also for one.
    folder
        Where the result is kept. Finished rows are kept in the cache until the whole is made.
    on_row
        Called with rows done and in all.
    """
    inputs = {**_plain(settings), "run": identity(run), "snapshots": sorted(run.snapshots())}

    def make(found: dict[str, Any]) -> surfaces.Surfaces:
        parts = _parts(run, settings)
        pieces = Pieces(found["key"])

        def mapped(one: Callable[[surfaces.Row], Losses], rows: Sequence[surfaces.Row]) -> Iterable[Losses]:
            def some(missing: Sequence[surfaces.Row]) -> Iterable[tuple[surfaces.Row, Arrays]]:
                job = run.folder.resolve(), settings
                if engine == "ray" and missing:
                    return on_ray(workers, _prepare, job, missing)
                if workers > 1 and len(missing) > 1:
                    return in_processes(min(workers, len(missing)), _prepare, job, missing)
                return ((row, one(row)._asdict()) for row in missing)

            names = "-".join
            done = kept(pieces, rows, name=lambda row: names(map(str, row)), make=some, on_piece=on_row)
            return [Losses(**arrays) for arrays in done]

        result = surfaces.measure(
            parts.model, space_name=parts.space, grids=parts.grids, samples=parts.samples, path=parts.path,
            label=run.label, task=run.info.task, method=run.info.method, batches=settings.batches, mapped=mapped,
            settings=found,
        )  # fmt: skip
        if folder is not None:
            result.save(folder)
        pieces.clear()
        return result

    return saved_or(surfaces.Surfaces, folder, inputs, make)


def sample_of(run: Run, split: Split, n_images: int, seed: int) -> Sample:
    """Images of a run's training or test set, drawn by a seed, as its model takes them."""
    if split == "test":
        images = drawn(run, n_images, seed)
    else:
        if run.info.n_train is None or run.info.seed is None:
            raise CheckpointError(
                f"{run.folder} does not tell its training images: their number or its seed is not known."
            )
        own = registry.task(run.info.task).load("train", n=run.info.n_train, seed=run.info.seed)
        chosen = np.random.default_rng(seed).choice(len(own), size=min(n_images, len(own)), replace=False)
        images = own.subset(np.sort(chosen))
    return Sample(
        split=split, images=model_inputs(run, images.pixels(run.info.image_size)),
        labels=torch.from_numpy(labels_of(images)), groups=np.array(images.groups),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    model: TunedModel
    space: str
    grids: Sequence[surfaces.Grid]
    samples: Sequence[Sample]
    path: Sequence[tuple[int, Point]]


def _parts(run: Run, settings: SurfaceSettings) -> _Parts:
    """Everything a row needs; made alike in every process."""
    model = run.model()
    name = settings.space or (TUNED if TUNED in spaces(model) else ALL)
    parameters = space(model, name)
    axis = slices.axis(settings.points, settings.extent)
    across = axis if settings.dimensions == 2 else np.zeros(1)
    grids = [
        surfaces.Grid(plane=random_plane(parameters, seed=seed, dimensions=settings.dimensions), a=axis, b=across)
        for seed in settings.seeds
    ]
    path = _path(run, parameters) if settings.dimensions == 2 else []
    if path:
        points = [point for _, point in path]
        plane = trajectory_plane([*points, weights_of(parameters)])
        grids.append(surfaces.around_path(plane, points, count=settings.points))
    return _Parts(
        model=model, space=name, grids=grids, path=path,
        samples=[sample_of(run, split, settings.n_images, settings.seeds[0]) for split in settings.splits],
    )  # fmt: skip


def _path(run: Run, parameters: dict[str, torch.nn.Parameter]) -> list[tuple[int, Point]]:
    """Snapshots on the way, where they hold every parameter that moves; the last one is the run itself."""
    files = sorted(run.snapshots().items())
    if len(files) < 3:
        return []
    states = [(epoch, load_file(path)) for epoch, path in files]
    if not parameters.keys() <= states[0][1].keys():
        return []
    return [(epoch, {name: state[name] for name in parameters}) for epoch, state in states]


def _prepare(job: tuple[Path, SurfaceSettings]) -> Callable[[surfaces.Row], Arrays]:
    """Make what a worker needs, once. The model in its process is its own and need not come back."""
    folder, settings = job
    parts = _parts(load_run(folder), settings)
    one = surfaces.RowLosses(parts.model, parts.space, parts.grids, parts.samples)
    return partial(_row, one)


def _row(one: surfaces.RowLosses, row: surfaces.Row) -> Arrays:
    return one(row)._asdict()


def _plain(settings: SurfaceSettings) -> dict[str, Any]:
    """Settings as JSON holds them."""
    from dataclasses import asdict

    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
