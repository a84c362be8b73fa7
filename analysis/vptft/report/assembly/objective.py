"""From names of tasks to their labelled features and their disparity."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from vptft.data import registry
from vptft.data.images import ImageSet
from vptft.data.own import own_folder
from vptft.data.tasks import NEAR_OBJECTIVES, Split
from vptft.errors import DataError, VptftError
from vptft.features.extraction import Features, extract
from vptft.features.extractors import Extractor
from vptft.features.pretraining import pretraining_of_extractor
from vptft.report.assembly.samples import bare, images_up_to, is_generated
from vptft.report.assembly.saved import saved_or
from vptft.storage import write_text
from vptft.when.objective import calibration, disparity, matching
from vptft.when.objective import comparison as comparing
from vptft.when.objective.task import TaskFeatures

BatchCallback = Callable[[int, int], None]


def labelled_images(name: str, *, n: int, seed: int) -> ImageSet:
    """Draw ``n`` labelled images of a task, folder or any set with classes; all where there are no more."""
    images = images_up_to(name, n, seed, split=_own_split(name))
    if images.labels is None:
        raise DataError(
            f"{name} has no labels, and an objective is what the labels ask.",
            "Give a task, or a folder with one sub-folder a class.",
        )
    return images


def _own_split(name: str) -> Split | None:
    """The split that the labels of an unregistered folder are of; None where its sub-folders are classes, or a name."""
    if registry.is_name(name) or not Path(name).expanduser().is_dir():
        return None
    return own_folder(name).default_split


def task_features(
    name: str, extractor: Extractor, *, n: int, draw: int, on_batch: BatchCallback = lambda done, total: None
) -> TaskFeatures:
    """Features of a task's images, from the cache where they are there."""
    found = extract(labelled_images(name, n=n, seed=draw), extractor, on_batch=on_batch)
    return TaskFeatures(
        task=bare(name),
        objective=objective_of(name),
        backbone=extractor.name,
        pretraining=pretraining_of_extractor(extractor.name),
        values=found.values,
        labels=_labels(found),
        groups=np.array(found.groups),
        probabilities=None if extractor.probabilities is None else extractor.probabilities(found.values),
        draw=draw,
        skipped=len(found.skipped),
    )


def objective_disparity(
    tasks: Sequence[TaskFeatures],
    *,
    slow: bool,
    seed: int,
    folder: Path | None = None,
    on_done: BatchCallback = lambda done, total: None,
) -> disparity.Disparity:
    """Every measure of every task; a core measures a task of its own with one thread of linear algebra."""
    inputs = {
        "tasks": [_identity(task) for task in tasks],
        "slow": slow,
        "seed": seed,
        "curve": [calibration.MIDPOINT, calibration.SCALE],
    }

    def make(settings: dict[str, Any]) -> disparity.Disparity:
        with threadpool_limits(1):
            return disparity.measure(
                tasks, slow=slow, seed=seed, workers=os.cpu_count() or 1, on_done=on_done, settings=settings
            )

    return saved_or(disparity.Disparity, folder, inputs, make)


def comparison(
    result: disparity.Disparity,
    tasks: Sequence[TaskFeatures],
    *,
    seed: int,
    folder: Path | None = None,
    on_done: BatchCallback = lambda done, total: None,
) -> comparing.Comparison:
    """Judge the measures on the suite's tasks, by which the default is chosen, and on the others, by which it is not.

    Raises
    ------
    DataError
        Without a task of the factorial suite of either kind.
    """
    suite = sorted({task.task for task in tasks if is_generated(task.task)})
    if not suite:
        raise DataError("Measures are judged on the factorial suite, and none of its tasks is here.", "Add suite.")
    first = [task for task in tasks if task.task in suite and task.draw == min(each.draw for each in tasks)]

    def make(settings: dict[str, Any]) -> comparing.Comparison:
        with threadpool_limits(1):
            pairs = matching.matched(first, NEAR_OBJECTIVES.__contains__, seed=seed, on_done=on_done)
        return comparing.compare(
            result.frame(), near=NEAR_OBJECTIVES.__contains__, chosen_from=suite, matched=pairs, settings=settings
        )

    inputs = {"disparity": result.settings["key"], "seed": seed, "rule": comparing.RULE}
    return saved_or(comparing.Comparison, folder, inputs, make)


def write_tables(result: disparity.Disparity, compared: comparing.Comparison | None, folder: Path) -> None:
    """Write ``disparity.csv``; where measures were compared also ``measures``, ``agreement`` and ``calibration.csv``.

    Numbers have six digits: these are for people and for the gallery; the results hold them whole.
    """
    tables = {"disparity": result.scores()}
    if compared is not None:
        tables |= {"measures": compared.frame(), "agreement": compared.agreement}
        tables["calibration"] = calibration.readouts(
            result.frame(), near=NEAR_OBJECTIVES.__contains__, tasks=compared.settings["chosen_from"]
        )
    for name, table in tables.items():
        text = table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
        write_text(folder / f"{name}.csv", text)


def objective_of(name: str) -> str:
    """Return what a task asks; ``"unknown"`` for a folder or set that is no registered task."""
    if Path(name).exists() or name.startswith(("/", ".", "~")):
        return "unknown"
    try:
        return registry.task(bare(name)).objective
    except VptftError:
        return "unknown"


def _labels(found: Features) -> np.ndarray:
    if found.labels is None:
        raise DataError(f"{found.name} has no labels.")
    return found.labels


def _identity(task: TaskFeatures) -> list[Any]:
    """What makes a task's features these."""
    return [task.task, task.backbone, task.draw, len(task.labels), float(np.abs(task.values).sum(dtype=np.float64))]
