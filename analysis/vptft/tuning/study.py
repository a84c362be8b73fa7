"""The standard studies: which tasks, sizes and seeds, with an equal search for every method."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vptft.checkpoints.native import SEARCH_FOLDER, Run
from vptft.data.tasks import Task
from vptft.storage import read_json, slug, write_json
from vptft.tuning.loop import EpochCallback, train
from vptft.tuning.methods import METHODS, Method
from vptft.tuning.settings import TrainSettings

SEARCH_SEED = 100
"""Seed of the search's training draw, so that no final run sees the images its learning rate was chosen on."""


@dataclass(frozen=True, kw_only=True)
class StudySize:
    """A study of standard size.

    Attributes
    ----------
    name
        ``quick``, ``suite`` or ``suite-98``.
    tasks
        Names of its tasks.
    settings
        Settings of every run, but seed and learning rate.
    seeds
        Training seeds; each has a training draw of its own.
    searched
        Whether the learning rate is searched on validation, three values for every method; the default otherwise.
    """

    name: str
    tasks: tuple[str, ...]
    settings: TrainSettings
    seeds: tuple[int, ...]
    searched: bool
    methods: tuple[str, ...] = ("ft", "vpt_deep")


QUADRANT_TASKS = ("photo/category", "photo/count", "plain/category", "plain/count")
CORE_TASKS = tuple(
    f"{appearance}/{objective}"
    for appearance in ("photo", "plain")
    for objective in ("category", "count", "location", "orientation", "distance")
)
QUICK = StudySize(
    name="quick",
    tasks=QUADRANT_TASKS,
    settings=TrainSettings(epochs=6, n_train=160, n_val=20, n_test=300, n_curve=80),
    seeds=(0,),
    searched=False,
)
SUITE = StudySize(
    name="suite",
    tasks=CORE_TASKS,
    settings=TrainSettings(epochs=20, n_train=300, n_val=100, n_test=1000),
    seeds=(0, 1, 2),
    searched=True,
)
SUITE_98 = replace(SUITE, name="suite-98", tasks=QUADRANT_TASKS, settings=replace(SUITE.settings, image_size=98))
SIZES = {size.name: size for size in (QUICK, SUITE, SUITE_98)}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training of a study."""

    task: Task
    method: Method
    settings: TrainSettings
    folder: Path


def run_study(
    size: StudySize,
    tasks: Sequence[Task],
    *,
    backbone: str,
    folder: Path,
    device: str = "cpu",
    on_run: Callable[[str], EpochCallback] = lambda label: lambda done, total: None,
) -> list[Run]:
    """Train whatever of the study is not there yet, and give all its final runs.

    Parameters
    ----------
    size, tasks
        The study and its tasks, loaded.
    backbone, device
        As in :func:`vptft.tuning.loop.train`.
    folder
        Where its runs live: ``<task>/<method>/seed<k>``, and ``search/`` for the learning rates.
    on_run
        Called with a label at each run's start; gives the run's epoch callback.
    """

    def go(cell: Cell, label: str) -> Run:
        return train(
            cell.task,
            cell.method,
            backbone=backbone,
            settings=cell.settings,
            folder=cell.folder,
            device=device,
            on_epoch=on_run(label),
        )

    runs = []
    for task in tasks:
        for method in (METHODS[name] for name in size.methods):
            lr = _searched_lr(size, task, method, folder, go) if size.searched else method.default_lr
            for seed in size.seeds:
                settings = replace(size.settings, seed=seed, lr=lr)
                target = folder / slug(task.name) / method.name / f"seed{seed}"
                cell = Cell(task=task, method=method, settings=settings, folder=target)
                runs.append(go(cell, f"{method.name} on {task.name}, seed {seed}"))
    return runs


def trainings_of(size: StudySize, n_tasks: int) -> int:
    """How many trainings the study takes, search included."""
    searches = len(METHODS["ft"].learning_rates) if size.searched else 0
    return n_tasks * len(size.methods) * (len(size.seeds) + searches)


def chosen_lr(scores: dict[str, float]) -> float:
    """Learning rate of the best validation accuracy; of equals, the smaller."""
    best = max(scores.values())
    return min(float(lr) for lr, score in scores.items() if score == best)


def search_file(folder: Path, task: str, method: str) -> Path:
    """Where a search's outcome is kept: validation accuracy of the last epoch by learning rate."""
    return folder / SEARCH_FOLDER / f"{slug(task)}-{method}.json"


def edges_of_search(folder: Path, runs: Sequence[Run]) -> list[str]:
    """Runs whose learning rate lies on the edge of what was searched: the optimum may lie beyond."""
    out = []
    for task, method in sorted({(run.info.task, run.info.method) for run in runs}):
        path = search_file(folder, task, method)
        if path.is_file() and (lr := chosen_lr(read_json(path))) in (rates := METHODS[method].learning_rates)[::2]:
            out.append(f"{method} on {task}: chose {lr:g}, an end of {', '.join(f'{r:g}' for r in rates)}")
    return out


def _searched_lr(size: StudySize, task: Task, method: Method, folder: Path, go: Callable[[Cell, str], Run]) -> float:
    path = search_file(folder, task.name, method.name)
    if not path.is_file():
        scores = {}
        for lr in method.learning_rates:
            settings = replace(size.settings, seed=SEARCH_SEED, lr=lr)
            target = path.with_suffix("") / f"lr{lr:g}"
            cell = Cell(task=task, method=method, settings=settings, folder=target)
            history = go(cell, f"search {lr:g}: {method.name} on {task.name}").history()
            scores[f"{lr:g}"] = float(history[history["split"] == "val"]["accuracy"].iloc[-1])
        write_json(path, scores)
    # The weights of a search serve nothing once its scores are written, and FT's are large.
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    return chosen_lr(read_json(path))
