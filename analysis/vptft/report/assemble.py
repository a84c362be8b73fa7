"""From runs and names to results: load what is saved, measure what is not, save it.

Each function makes one result from things on disk. A saved result made from the same inputs and settings is loaded,
so an interrupted report goes on where it stopped, and deleting one result remakes just that.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from vptft.checkpoints import fairness
from vptft.checkpoints.fairness import Fairness
from vptft.checkpoints.native import Run
from vptft.checkpoints.pairs import RunPair
from vptft.checkpoints.recipe import of_run
from vptft.data import registry
from vptft.data.images import ImageSet
from vptft.data.tasks import NEAR_OBJECTIVES
from vptft.data.transforms import normalise
from vptft.errors import SettingsError, VptftError
from vptft.evidence.results import Result
from vptft.evidence.statistics.resampling import PairedDraw
from vptft.features.extraction import extract
from vptft.features.extractors import Extractor
from vptft.features.statistics import Statistics
from vptft.features.streaming import summarise
from vptft.provenance import provenance
from vptft.storage import cache_folder, key_of, read_json
from vptft.tuning.plan import Plan
from vptft.when.distribution.distance import DistanceSettings, SetDistance
from vptft.when.distribution.distance import measure as measure_distance
from vptft.when.quadrants import plane
from vptft.when.quadrants.pairs import TaskPair
from vptft.why import overfitting
from vptft.why.attention import maps
from vptft.why.landscape import slices

R = TypeVar("R", bound=Result)
BatchCallback = Callable[[int, int], None]

KEPT = 20_000
"""Images of which all features are kept: 160 MB of Inception's."""


def _untold(done: int, total: int) -> None:
    """Tell nobody."""


def saved_or(kind: type[R], folder: Path | None, inputs: Mapping[str, Any], make: Callable[[dict[str, Any]], R]) -> R:
    """Load the result in ``folder`` if these inputs made it; otherwise make it and save it there.

    ``make`` takes the settings to keep with the result: the inputs and their key.
    """
    settings = {**inputs, "key": key_of(kind.analysis, inputs)}
    if folder is not None and (path := folder / "result.json").is_file():
        saved = read_json(path)
        if saved.get("analysis") == kind.analysis and saved.get("settings", {}).get("key") == settings["key"]:
            return kind.load(folder)
    result = make(settings)
    if folder is not None:
        result.save(folder)
    return result


def statistics(images: ImageSet, extractor: Extractor, *, on_batch: BatchCallback = _untold) -> Statistics:
    """Statistics of a set's features, from the cache where they are there.

    All features are kept of up to 20,000 images; a larger set is streamed, and a sample of its features kept.
    """
    if len(images) <= KEPT:
        return Statistics.of(extract(images, extractor, on_batch=on_batch))
    key = key_of(images.fingerprint(), asdict(extractor.space))
    return summarise(images, extractor, cache_folder() / "statistics" / f"{key}.npz", on_batch=on_batch)


def distance(
    first: Statistics,
    second: Statistics,
    *,
    options: DistanceSettings,
    folder: Path | None = None,
) -> SetDistance:
    """Distance between two sets, by their statistics in one feature space."""
    inputs = {"first": first.key(), "second": second.key(), "options": asdict(options)}
    return saved_or(
        SetDistance, folder, inputs, lambda made: measure_distance(first, second, options=options, settings=made)
    )


def distances(
    pairs: Sequence[tuple[Statistics, Statistics, Path | None]],
    *,
    options: DistanceSettings,
    on_done: BatchCallback = _untold,
) -> list[SetDistance]:
    """Distances between many sets, each with the folder it is saved in; several are measured at a time.

    Every core measures a pair of its own with one thread of linear algebra: threads inside one decomposition of this
    size wait for each other more than they help.
    """
    with threadpool_limits(1), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        started = [
            pool.submit(distance, first, second, options=options, folder=folder) for first, second, folder in pairs
        ]
        try:
            for done, future in enumerate(as_completed(started), start=1):
                future.result()
                on_done(done, len(pairs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in started]


def fairness_of(pairs: Sequence[RunPair], *, folder: Path | None = None) -> Fairness:
    """What differs between the two sides of each pair besides the method."""
    inputs = {"runs": [[_identity(pair.vpt), _identity(pair.ft)] for pair in pairs]}

    def make(settings: dict[str, Any]) -> Fairness:
        return fairness.measure([(of_run(pair.vpt), of_run(pair.ft)) for pair in pairs], settings=settings)

    return saved_or(Fairness, folder, inputs, make)


def quadrant_plane(
    pairs: Sequence[RunPair],
    distances: Mapping[str, SetDistance],
    *,
    seed: int,
    disparities: Mapping[str, float] | None = None,
    boundary: plane.Kind | None = None,
    folder: Path | None = None,
) -> plane.Quadrants:
    """Quadrants of run pairs, given each task's distance and, where it was measured, its disparity."""
    known = dict(disparities or {})
    inputs = {
        "runs": [[_identity(pair.vpt), _identity(pair.ft)] for pair in pairs],
        "distances": {task: result.settings.get("key") for task, result in sorted(distances.items())},
        "disparities": known,
        "boundary": boundary,
        "seed": seed,
    }

    def make(settings: dict[str, Any]) -> plane.Quadrants:
        tasks = sorted({pair.vpt.info.task for pair in pairs})
        chosen = [
            _task_pair(
                [pair for pair in pairs if pair.vpt.info.task == task], distances[task], known.get(task, float("nan"))
            )
            for task in tasks
        ]
        return plane.measure(chosen, boundary=boundary, seed=seed, settings=settings)

    return saved_or(plane.Quadrants, folder, inputs, make)


def curves(runs: Sequence[Run], *, folder: Path | None = None) -> overfitting.OverfittingCurves:
    """Loss curves of runs."""

    def make(settings: dict[str, Any]) -> overfitting.OverfittingCurves:
        histories = [
            run.history().assign(task=run.info.task, method=run.info.method, seed=run.info.seed) for run in runs
        ]
        return overfitting.measure([pd.DataFrame(history) for history in histories], settings=settings)

    return saved_or(overfitting.OverfittingCurves, folder, {"runs": [_identity(run) for run in runs]}, make)


def attention_maps(pair: RunPair, *, n_images: int, seed: int, folder: Path | None = None) -> maps.AttentionMaps:
    """Rollout of both models on test images drawn by ``seed``, never picked."""
    inputs = {
        "vpt": _identity(pair.vpt),
        "ft": _identity(pair.ft),
        "n_images": n_images,
        "seed": seed,
        "drawn": f"{n_images} test images without replacement, seed {seed}",
    }

    def make(settings: dict[str, Any]) -> maps.AttentionMaps:
        images = _drawn(pair.vpt, n_images, seed)
        size = pair.vpt.info.image_size
        pixels = images.pixels(size)
        return maps.measure(
            pair.vpt.model(),
            pair.ft.model(),
            images=_inputs(pair.vpt, pixels),
            pixels=pixels,
            labels=_labels(images),
            ids=images.ids,
            task=pair.vpt.info.task,
            masks=_masks(images, size),
            settings={**settings, "classes": pair.vpt.info.classes},
        )

    return saved_or(maps.AttentionMaps, folder, inputs, make)


def loss_slice(
    run: Run, *, n_images: int, points: int, extent: float, seed: int, folder: Path | None = None
) -> slices.LossSlice:
    """Two-dimensional slice of the test loss around one run."""
    inputs = {
        "run": _identity(run),
        "n_images": n_images,
        "points": points,
        "extent": extent,
        "seed": seed,
        "split": "test",
    }

    def make(settings: dict[str, Any]) -> slices.LossSlice:
        images = _drawn(run, n_images, seed)
        return slices.measure(
            run.model(),
            images=_inputs(run, images.pixels(run.info.image_size)),
            labels=torch.from_numpy(_labels(images)),
            label=run.label,
            task=run.info.task,
            method=run.info.method,
            points=points,
            extent=extent,
            seed=seed,
            settings=settings,
        )

    return saved_or(slices.LossSlice, folder, inputs, make)


def _identity(run: Run) -> str:
    """What makes a run this run: its tuned tensors and its settings."""
    return f"{run.info.model_sha256} {run.info.settings.get('key')}"


def _task_pair(pairs: Sequence[RunPair], result: SetDistance, disparity: float) -> TaskPair:
    info = pairs[0].vpt.info
    if info.objective is None:
        raise SettingsError(
            f"The objective of {info.task} is not known, so it has no place among the quadrants.",
            "Convert its checkpoints with --task and the name of a task that `tasks list` knows.",
        )
    outcomes = [(pair.vpt.predictions(), pair.ft.predictions()) for pair in pairs]
    for ours, theirs in outcomes:
        if not np.array_equal(ours.ids, theirs.ids):
            raise SettingsError(f"{info.task}: the VPT and FT runs were tested on different images.")
    return TaskPair(
        task=info.task,
        objective=info.objective,
        objective_is_far=info.objective not in NEAR_OBJECTIVES,
        pretraining=info.pretraining,
        data_is_far=None if info.appearance is None else info.appearance != "photo",
        distance=result.debiased,
        measure_name=result.measure_name,
        group=info.appearance or _group_of(info.task),
        disparity=disparity,
        draws=tuple(
            PairedDraw(differences=ours.correct.astype(float) - theirs.correct, groups=ours.groups)
            for ours, theirs in outcomes
        ),
        accuracy_vpt=float(np.mean([ours.accuracy for ours, _ in outcomes])),
        accuracy_ft=float(np.mean([theirs.accuracy for _, theirs in outcomes])),
        few_groups=info.few_groups,
    )


def _group_of(task: str) -> str:
    """Group of a task that is registered here; a run may be of one that is not."""
    try:
        return registry.task(task).group
    except VptftError:
        return ""


def _drawn(run: Run, count: int, seed: int) -> ImageSet:
    """Test images of a run's task, drawn without replacement and kept in test order."""
    test = registry.task(run.info.task).load("test", n=run.info.settings["n_test"], seed=run.info.seed)
    chosen = np.random.default_rng(seed).choice(len(test), size=min(count, len(test)), replace=False)
    return test.subset(np.sort(chosen))


def _inputs(run: Run, pixels: torch.Tensor) -> torch.Tensor:
    return normalise(pixels, tuple(run.info.mean), tuple(run.info.std))


def _labels(images: ImageSet) -> np.ndarray:
    if images.labels is None:
        raise SettingsError(f"{images.name} has no labels.")
    return np.asarray(images.labels, dtype=np.int64)


def _masks(images: ImageSet, size: int) -> np.ndarray | None:
    """Masks at the model's input size, ``(n, size, size)`` bool, cut as the images are."""
    if images.masks is None:
        return None
    out = []
    for i in range(len(images)):
        mask = torch.from_numpy(images.masks(i).astype(np.float32))[None, None]
        out.append(torch.nn.functional.interpolate(mask, size=(size, size), mode="area")[0, 0].numpy() >= 0.5)
    return np.stack(out)


def study_summary(
    plan: Plan, runs: Sequence[Run], pairs: Sequence[RunPair], folder: Path, *, reference: str
) -> dict[str, Any]:
    """What a page says about a study besides its results: settings, runs, confounds, provenance."""
    info = runs[0].info
    settings = plan.settings
    shown = ("task", "method", "seed", "test_accuracy", "parameters_tuned", "parameters_total")
    return {
        "size": plan.name,
        "backbone": info.backbone,
        "backbone_sha256": info.backbone_sha256,
        "pretraining": info.pretraining,
        "reference": reference,
        "n_train": info.n_train,
        "n_test": settings.n_test,
        "epochs": settings.epochs,
        "image_size": settings.image_size,
        "batch_size": settings.batch_size,
        "prompt_length": settings.prompt_length,
        "seeds": list(plan.seeds),
        "searched": plan.search is not None,
        "learning_rates": {
            f"{run.info.method} on {run.info.task}": run.info.settings["lr"]
            for run in runs
            if run.info.seed == plan.seeds[0]
        },
        "notes": [
            f"{run.info.method} on {run.info.task}, seed {run.info.seed}: {n}" for run in runs for n in run.info.notes
        ],
        "confounds": fairness_of(pairs).differences(),
        "runs": [
            {**{name: getattr(run.info, name) for name in shown}, "folder": str(run.folder.relative_to(folder))}
            for run in runs
        ],
        "provenance": provenance(),
    }
