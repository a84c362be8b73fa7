"""Whether tasks hold as many images as is asked for: told by name, and before anything is trained.

Nothing here imports torch: a plan is looked over where it is read.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from vptft.data import registry
from vptft.data.images import ImageSet
from vptft.data.tasks import Split, Task
from vptft.errors import DataError, UnknownNameError
from vptft.tuning.plan import Cell
from vptft.tuning.settings import TrainSettings

SETTINGS: Mapping[Split, str] = {
    "train": "n_train (of the plan, or --n-train)",
    "val": "n_val (of the plan, or --n-val)",
    "test": "n_test (of the plan, or --n-test)",
    "trainval": "n_train, with the n_val of a plan that refits on both (of the plan, or --n-train)",
}
"""What asks for a split's images, and where a user changes it."""


def check_known(tasks: Iterable[str]) -> None:
    """Refuse names that no task has; one whose images are not here may be trained elsewhere.

    Raises
    ------
    UnknownNameError
        For the first of them.
    """
    for name in dict.fromkeys(tasks):
        try:
            registry.task(name)
        except UnknownNameError:
            raise
        except DataError:
            continue


def asked_for(split: Split, settings: TrainSettings) -> int | None:
    """Return how many images of a split the settings ask for; None for as many as the task has."""
    return {"val": settings.n_val, "test": settings.n_test}.get(split, settings.n_train)


def draw(task: Task, split: Split, settings: TrainSettings) -> ImageSet:
    """Return the images of a split, as many as the settings ask for.

    Raises
    ------
    DataError
        The task holds fewer, with the setting that asks for them; it has no such split.
    """
    asked = asked_for(split, settings)
    try:
        found: ImageSet = task.load(split, n=asked, seed=settings.seed)
    except DataError as error:
        if asked is None:
            raise
        held = len(task.load(split, seed=settings.seed))
        if held >= asked:
            raise
        raise DataError(
            f"{SETTINGS[split]} asks for {asked} {split} images of {task.name}, which holds {held}.",
            f"Ask for {held} or fewer.",
        ) from error
    return found


def out_of_reach(
    cells: Mapping[str, Cell], wanted: Collection[str], load_task: Callable[[str], Task] = registry.task
) -> tuple[set[str], list[str]]:
    """Return the cells of tasks that hold too few images or are not here, and what they hold.

    Parameters
    ----------
    cells
        Of the plan.
    wanted
        Folders of those that would be trained.
    load_task
        How a task's name becomes a task.

    Returns
    -------
    folders
        Of the cells that cannot be trained, and of those that only they need: a search whose final runs lack test
        images would be in vain.
    reasons
        One for each task and setting.

    Raises
    ------
    DataError, UnknownNameError
        Nothing of what is wanted can be trained; there is no such task.
    """
    short, reasons = _short([cells[folder] for folder in wanted], load_task)
    if not short:
        return set(), []
    left = cells.keys() - _in_reach(cells, short)
    if left.issuperset(wanted):
        lines = "".join(f"\n  {reason}" for reason in reasons)
        raise DataError(f"None of the {len(wanted)} missing cells can be trained:{lines}")
    return left, reasons


def _short(cells: Iterable[Cell], load_task: Callable[[str], Task]) -> tuple[set[str], list[str]]:
    """Return the folders of the cells that lack images, and all that is lacking; a task is asked once a number."""
    tasks: dict[str, Task] = {}
    absent: dict[str, str] = {}
    told: dict[tuple[str, Split, int | None], str] = {}
    short: set[str] = set()
    for cell in cells:
        if cell.task not in tasks and cell.task not in absent:
            try:
                tasks[cell.task] = load_task(cell.task)
            except DataError as error:
                absent.setdefault(cell.task, f"{error.problem} {error.hint}".strip())
        if cell.task in absent:
            short.add(cell.folder)
            continue
        for split in _splits(cell):
            key = (cell.task, split, asked_for(split, cell.settings))
            if key not in told:
                told[key] = _lacks(tasks[cell.task], split, cell.settings)
            if told[key]:
                short.add(cell.folder)
    return short, [*absent.values(), *(reason for reason in told.values() if reason)]


def _splits(cell: Cell) -> Iterator[Split]:
    yield cell.settings.train_split
    if cell.settings.train_split == "train":
        yield "val"
    if cell.kind == "final":
        yield "test"


def _lacks(task: Task, split: Split, settings: TrainSettings) -> str:
    """Why a split cannot be drawn; a task's own number can, and to count it may open every file."""
    if asked_for(split, settings) is None:
        return ""
    try:
        draw(task, split, settings)
    except DataError as error:
        return error.problem
    return ""


def _in_reach(cells: Mapping[str, Cell], short: Collection[str]) -> set[str]:
    """Return the runs that need nothing of what is ``short``, and what they need."""
    spoiled = set(short)
    kept: set[str] = set()
    for folder, cell in cells.items():  # what others need comes first
        if not spoiled.isdisjoint(cell.needs):
            spoiled.add(folder)
    for folder, cell in reversed(list(cells.items())):
        if folder not in spoiled and (cell.kind == "final" or folder in kept):
            kept |= {folder, *cell.needs}
    return kept
