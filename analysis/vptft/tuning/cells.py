"""Training one cell of a sweep: what its search says, what it starts from, and what becomes of an error."""

import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from vptft.checkpoints.native import Run, load_run
from vptft.data import registry
from vptft.data.tasks import Task
from vptft.errors import CheckpointError, StorageError, TrainingError, VptftError
from vptft.storage import write_json
from vptft.tuning.inputs import images_of
from vptft.tuning.loop import EpochCallback, Purpose, train
from vptft.tuning.methods import find_method
from vptft.tuning.plan import Cell
from vptft.tuning.rebuild import settings_of, with_weights
from vptft.tuning.search import FAILED_FILE, at_an_end, chosen, next_rate, read_trial, summary
from vptft.tuning.settings import TrainSettings
from vptft.tuning.sweep import Job, Outcome, Progress, look


def train_cell(
    job: Job,
    *,
    load_task: Callable[[str], Task] | None = None,
    on_epoch: EpochCallback = lambda done, total: None,
) -> Outcome:
    """Train one cell; whatever goes wrong with it is the outcome, and stays in its folder.

    An interruption is none: it goes through, and the cell goes on where it stopped.
    """
    cell, target = job.cell, job.root / job.cell.folder
    settings = cell.settings
    try:
        settings, purpose = resolved(cell, job.root)
        task = (load_task or _task)(cell.task)
        base = load_run(job.root / cell.base) if cell.base else None
        if base is not None:
            base = with_weights(base, task=task, device=job.device)
        train(
            task, find_method(cell.method), backbone=cell.backbone, settings=settings,
            folder=target, base=base, purpose=purpose, device=job.device, on_epoch=on_epoch,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - the next cell must be trained whatever this one stumbled over
        # Without a rate nothing was trained: an extra trial whose earlier ones all diverged has none to go on from.
        diverged = isinstance(error, TrainingError) and cell.kind == "trial" and settings.lr is not None
        problem = error.problem if isinstance(error, VptftError) else f"{type(error).__name__}: {error}"
        told: dict[str, Any] = {
            "problem": problem,
            "diverged": diverged,
            "lr": settings.lr,
            "wd": settings.weight_decay,
        }
        if not isinstance(error, VptftError):
            told["traceback"] = traceback.format_exc()
        with suppress(StorageError):  # what cannot be written there is told all the same
            write_json(target / FAILED_FILE, told)
        return Outcome("diverged" if diverged else "failed", problem)
    return Outcome("done")


def resolved(cell: Cell, root: Path) -> tuple[TrainSettings, Purpose]:
    """Return a cell's settings with what its search says, and what it is trained for.

    Raises
    ------
    StorageError, TrainingError
        A trial is missing; all of them diverged.
    """
    trials = [read_trial(root / folder) for folder in cell.trials]
    if cell.kind == "trial":
        settings = cell.settings
        if trials:
            lr, wd = next_rate(trials)
            settings = replace(settings, lr=lr, weight_decay=wd)
        return settings, Purpose(test=False, keep_weights=False)
    if not trials:
        return cell.settings, Purpose(test=cell.kind == "final")
    best = chosen(trials)
    settings = replace(cell.settings, lr=best.lr, weight_decay=best.wd)
    end = at_an_end(trials)
    notes = () if end is None else (f"{end}: the optimum may lie beyond",)
    return settings, Purpose(test=cell.kind == "final", search=summary(trials), notes=notes)


def final_runs(cells: Mapping[str, Cell], root: Path) -> list[Run]:
    """Open every run of a plan, in its order.

    Raises
    ------
    TrainingError
        Some are not there; each is named with the reason.
    """
    progress = look(cells, root)
    finals = [folder for folder, cell in cells.items() if cell.kind == "final"]
    missing = [folder for folder in finals if progress.states[folder] != "done"]
    if missing:
        causes = progress.problems or dict.fromkeys(missing, "has not been trained")
        raise TrainingError(
            f"{len(missing)} of {len(finals)} runs are missing:\n"
            + "\n".join(f"  {folder}: {problem}" for folder, problem in causes.items())
        )
    return [load_run(root / folder) for folder in finals]


def check_images(cells: Mapping[str, Cell], progress: Progress, root: Path) -> None:
    """Refuse runs of a task of the user's own whose name stands for other training images by now.

    A cell's folder is addressed by its task's name, so without this they would pass for runs of the new images. One
    run of each task is looked at, by its training images alone: the test images of a benchmark take minutes to read.

    Raises
    ------
    CheckpointError
        A task was registered anew since, or its images changed.
    """
    registered = {name for entry in registry.registrations() for name in (entry.name, *entry.tasks)}
    done = {
        cell.task: cell for folder, cell in cells.items() if cell.kind == "final" and progress.states[folder] == "done"
    }
    for cell in done.values():
        if cell.task not in registered:
            continue
        run = load_run(root / cell.folder)
        settings = settings_of(run)
        kept = run.info.images.get(settings.train_split)
        if kept and images_of(registry.task(cell.task), settings.train_split, settings).fingerprint() != kept:
            raise CheckpointError(
                f"{run.folder} was trained on other images than {cell.task} stands for now.",
                "Give another folder for these runs (--out), or remove the old ones.",
            )


@lru_cache(maxsize=64)
def _task(name: str) -> Task:
    return registry.task(name)
