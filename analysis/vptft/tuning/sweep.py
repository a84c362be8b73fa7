"""Sweeps: every cell of a plan, each trained once, in whatever order and place; what is there is not made again."""

import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from vptft.checkpoints.native import Run, load_run
from vptft.data import registry
from vptft.data.tasks import Task
from vptft.errors import SettingsError, TrainingError, VptftError
from vptft.storage import read_json, write_json
from vptft.tuning.loop import EpochCallback, Purpose, train
from vptft.tuning.methods import find_method
from vptft.tuning.plan import Cell
from vptft.tuning.search import FAILED_FILE, at_an_end, chosen, next_rate, read_trial, summary
from vptft.tuning.settings import TrainSettings

State = Literal["done", "failed", "diverged", "blocked", "missing"]
"""``diverged`` is a trial whose loss was no longer a number: an answer. ``blocked`` needs a cell that failed."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to train a cell, and nothing else."""

    cell: Cell
    root: Path
    device: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """How a cell ended, and why where it did not end well."""

    state: State
    problem: str = ""


@dataclass
class Progress:
    """Where a sweep stands.

    Attributes
    ----------
    states
        Of every cell, by folder.
    problems
        Of those that failed or are blocked, by folder.
    """

    states: dict[str, State] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def count(self, *states: State) -> int:
        """How many cells are in one of these states."""
        return sum(state in states for state in self.states.values())

    def put(self, folder: str, outcome: Outcome) -> None:
        """Note how a cell ended."""
        self.states[folder] = outcome.state
        if outcome.problem:
            self.problems[folder] = outcome.problem


class Engine(Protocol):
    """Where cells are trained."""

    slots: int
    """How many at a time."""

    def submit(self, job: Job) -> None:
        """Start a cell."""

    def wait(self) -> Iterable[tuple[str, Outcome]]:
        """Give the cells that ended, at least one, by folder; called only while some are running."""


def look(cells: Mapping[str, Cell], root: Path) -> Progress:
    """Return what of a plan is there, by its files alone."""
    progress = Progress()
    for folder in cells:
        progress.put(folder, _found(root / folder))
    return progress


def run_sweep(
    cells: Mapping[str, Cell],
    root: Path,
    *,
    engine: Engine,
    device: str = "cpu",
    retry: bool = False,
    only: frozenset[str] = frozenset(),
    on_cell: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Train what is missing; a cell that fails is noted in its folder and does not stop the others.

    Parameters
    ----------
    cells
        From :meth:`vptft.tuning.plan.Plan.cells`.
    root
        The sweep's folder.
    engine
        Where cells are trained.
    device
        A torch device.
    retry
        Train cells again that failed or diverged before.
    only
        Folders of the cells to train, and no other; empty for all.
    on_cell
        Called with the progress at the start and whenever a cell ends.

    Raises
    ------
    SettingsError
        ``only`` names a cell that the plan does not have.
    """
    strange = sorted(only - cells.keys())
    if strange:
        raise SettingsError(f"The plan has no cell {strange[0]}.", "Its cells: --dry-run.")
    if retry:
        for folder in only or cells:
            (root / folder / FAILED_FILE).unlink(missing_ok=True)
    progress = look(cells, root)
    on_cell(progress)
    wanted = [f for f in cells if progress.states[f] == "missing" and (not only or f in only)]
    waiting, dependents = _order(cells, wanted, progress)
    ready = deque(folder for folder in wanted if not waiting[folder])
    running = 0
    while ready or running:
        while ready and running < engine.slots:
            cell = cells[ready.popleft()]
            reason = _blocked(cell, progress)
            if reason:
                _settle(cell.folder, Outcome("blocked", reason), progress, waiting, dependents, ready)
                on_cell(progress)
                continue
            engine.submit(Job(cell=cell, root=root, device=device))
            running += 1
        if running:
            for folder, outcome in engine.wait():
                running -= 1
                _settle(folder, outcome, progress, waiting, dependents, ready)
                on_cell(progress)
    return progress


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
        base = load_run(job.root / cell.base) if cell.base else None
        train(
            (load_task or _task)(cell.task), find_method(cell.method), backbone=cell.backbone, settings=settings,
            folder=target, base=base, purpose=purpose, device=job.device, on_epoch=on_epoch,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - the next cell must be trained whatever this one stumbled over
        diverged = isinstance(error, TrainingError) and cell.kind == "trial"
        problem = error.problem if isinstance(error, VptftError) else f"{type(error).__name__}: {error}"
        told: dict[str, Any] = {
            "problem": problem,
            "diverged": diverged,
            "lr": settings.lr,
            "wd": settings.weight_decay,
        }
        if not isinstance(error, VptftError):
            told["traceback"] = traceback.format_exc()
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


def _found(folder: Path) -> Outcome:
    if (folder / "run.json").is_file():
        return Outcome("done")
    failed = folder / FAILED_FILE
    if not failed.is_file():
        return Outcome("missing")
    told = read_json(failed)
    return Outcome("diverged" if told["diverged"] else "failed", str(told["problem"]))


def _order(
    cells: Mapping[str, Cell], wanted: list[str], progress: Progress
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """How many unfinished cells each waits for, and who waits for whom."""
    asked = set(wanted)
    waiting: dict[str, int] = {}
    dependents: dict[str, list[str]] = defaultdict(list)
    for folder in wanted:
        needs = [need for need in cells[folder].needs if need in asked]
        waiting[folder] = len(needs)
        for need in needs:
            dependents[need].append(folder)
    return waiting, dependents


def _blocked(cell: Cell, progress: Progress) -> str:
    """Why a cell cannot be trained: what it needs is not there."""
    for need in cell.needs:
        if progress.states[need] not in ("done", "diverged"):
            return f"needs {need}, which {_WHY[progress.states[need]]}"
    return ""


_WHY: dict[State, str] = {"failed": "failed", "blocked": "could not be trained", "missing": "has not been trained"}


def _settle(
    folder: str,
    outcome: Outcome,
    progress: Progress,
    waiting: dict[str, int],
    dependents: Mapping[str, list[str]],
    ready: "deque[str]",
) -> None:
    progress.put(folder, outcome)
    for other in dependents.get(folder, ()):
        waiting[other] -= 1
        if not waiting[other]:
            ready.append(other)


@lru_cache(maxsize=64)
def _task(name: str) -> Task:
    return registry.task(name)
