"""Sweeps: every cell of a plan, each trained once, in whatever order and place; what is there is not made again.

Nothing here trains or imports torch: engines do, where the cells are trained.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Literal, Protocol

from vptft.errors import SettingsError, StorageError
from vptft.storage import read_json
from vptft.tuning.plan import Cell
from vptft.tuning.search import FAILED_FILE

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


def to_train(
    cells: Mapping[str, Cell], progress: Progress, *, only: frozenset[str] = frozenset(), retry: bool = False
) -> list[str]:
    """Return the folders of the cells that would be trained, in the plan's order.

    Raises
    ------
    SettingsError
        ``only`` names a cell that the plan does not have.
    """
    strange = sorted(only - cells.keys())
    if strange:
        raise SettingsError(f"The plan has no cell {strange[0]}.", "Its cells: --dry-run --json.")
    again = ("failed", "diverged") if retry else ()
    return [
        folder for folder in cells if progress.states[folder] in ("missing", *again) and (not only or folder in only)
    ]


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
    StorageError
        Something is to be trained, and its folder cannot be written.
    """
    if retry:
        for folder in to_train(cells, look(cells, root), only=only, retry=True):
            (root / folder / FAILED_FILE).unlink(missing_ok=True)
    progress = look(cells, root)
    on_cell(progress)
    wanted = to_train(cells, progress, only=only)
    if wanted:
        _check_writable(root)
    waiting, dependents = _order(cells, wanted)
    place = {folder: number for number, folder in enumerate(wanted)}
    # In the plan's order: what is first there is finished first, not everyone's trials before anyone's runs.
    ready = [place[folder] for folder in wanted if not waiting[folder]]

    def settle(folder: str, outcome: Outcome) -> None:
        progress.put(folder, outcome)
        for other in dependents.get(folder, ()):
            waiting[other] -= 1
            if not waiting[other]:
                heappush(ready, place[other])
        on_cell(progress)

    running = 0
    while ready or running:
        while ready and running < engine.slots:
            cell = cells[wanted[heappop(ready)]]
            reason = _blocked(cell, progress)
            if reason:
                settle(cell.folder, Outcome("blocked", reason))
                continue
            engine.submit(Job(cell=cell, root=root, device=device))
            running += 1
        if running:
            for folder, outcome in engine.wait():
                running -= 1
                settle(folder, outcome)
    return progress


def waves(cells: Mapping[str, Cell]) -> list[list[str]]:
    """Return the folders in waves: every cell comes in the first wave after all that it needs."""
    depth: dict[str, int] = {}
    found: list[list[str]] = []
    for folder, cell in cells.items():  # what others need comes first
        depth[folder] = 1 + max((depth[need] for need in cell.needs), default=-1)
        if depth[folder] == len(found):
            found.append([])
        found[depth[folder]].append(folder)
    return found


def _check_writable(root: Path) -> None:
    """Refuse a folder that cells could neither be kept in nor say why they failed."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise StorageError(
            f"{root} could not be written: {error.strerror or error}.", "Choose another place for the runs (--out)."
        ) from error


def _found(folder: Path) -> Outcome:
    if (folder / "run.json").is_file():
        return Outcome("done")
    failed = folder / FAILED_FILE
    if not failed.is_file():
        return Outcome("missing")
    try:
        told = read_json(failed)
        return Outcome("diverged" if told["diverged"] else "failed", str(told["problem"]))
    except (StorageError, KeyError, TypeError):
        return Outcome("failed", f"{failed} is damaged, so why it failed is not known; --retry trains it again")


def _order(cells: Mapping[str, Cell], wanted: list[str]) -> tuple[dict[str, int], dict[str, list[str]]]:
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
