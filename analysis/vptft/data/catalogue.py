"""The table of everything that has a name, and where each comes from.

Another package adds a task by an entry point of the group ``vptft.tasks``: its name is the task's, its value a
:class:`~vptft.data.tasks.Task` or a callable without arguments that returns one. It is loaded when asked for.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from vptft.data import fgvc, vtab
from vptft.data.recognise import Registration, available
from vptft.data.registrations import registrations
from vptft.data.tasks import Task
from vptft.errors import DataError

REFERENCE = "photos"
"""The embedded reference set."""

COLLECTIONS = ("suite", "observed", "vtab", "fgvc")
"""Names that stand for several tasks."""

ENTRY_POINTS = "vptft.tasks"


class Known(NamedTuple):
    """A row of the table of tasks.

    Attributes
    ----------
    objective, classes
        None where that is not known without loading; 0 classes for images without labels.
    available
        Whether it can be loaded now.
    source
        Where it comes from, or what to run to make it available.
    """

    name: str
    group: str
    objective: str | None
    classes: int | None
    available: bool
    source: str


def names() -> list[Known]:
    """Return the table of everything that has a name; nothing is rendered, and no image is opened."""
    registered = registrations()
    entries = {task: entry for entry in registered if entry.kind == "vtab" for task in entry.tasks}
    entries |= {entry.name: entry for entry in registered}
    rows = [Known(REFERENCE, "reference", None, 0, True, "embedded; the reference set of distances")]
    rows += [
        Known(each.name, each.group, each.objective, len(each.classes), True, each.source or "embedded")
        for each in built_in().values()
    ]
    rows += [_listed(row.name, row.group, row.objective, row.classes, entries) for row in vtab.TASKS]
    rows += [_listed(row.name, "fine-grained", "classification", row.classes, entries) for row in fgvc.TASKS]
    have = {row.name for row in rows} | set(COLLECTIONS)
    rows += [
        Known(entry.name, "own", entry.objective, entry.classes, available(entry), entry.path)
        for entry in registered
        if entry.name not in have
    ]
    rows += [
        Known(point.name, "own", None, None, True, f"package {point.dist.name if point.dist else point.module}")
        for point in plug_ins()
        if point.name not in have
    ]
    return rows


def members(name: str) -> tuple[str, ...]:
    """Return the tasks a collection stands for that can be loaded; any other name stands for itself.

    Raises
    ------
    DataError
        When none of a collection's tasks is registered.
    """
    if name not in COLLECTIONS:
        return (name,)
    available = {row.name for row in names() if row.available}
    found = tuple(each for each in tasks_of(name) if each in available)
    if not found:
        hint = vtab.WHERE if name == "vtab" else fgvc.where(fgvc.TASKS[0])
        raise DataError(f"No task of {name} is registered.", f"{hint} Then run {add_line(name)}.")
    return found


def built_in() -> dict[str, Task]:
    """Return the embedded tasks by name; imported here because nothing else needs the renderer."""
    from vptft.data.suite import observed_tasks, suite_tasks

    return {each.name: each for each in (*suite_tasks(), *observed_tasks())}


def tasks_of(collection: str) -> tuple[str, ...]:
    """Return the names of all tasks of a collection."""
    if collection in ("suite", "observed"):
        return tuple(each.name for each in built_in().values() if each.group == collection)
    return tuple(row.name for row in (vtab.TASKS if collection == "vtab" else fgvc.TASKS))


def add_line(name: str) -> str:
    """Return the command that registers a task or collection."""
    if name == "vtab":
        return "`vptft-analyze tasks add vtab PATH`"
    one = f"`vptft-analyze tasks add {'NAME' if name == 'fgvc' else name} PATH`"
    return f"`vptft-analyze tasks add vtab PATH` or {one}" if vtab.known(name) else one


def plug_ins() -> tuple[EntryPoint, ...]:
    """Return the tasks that other packages add, not loaded."""
    return tuple(entry_points(group=ENTRY_POINTS))


def plugged_in(name: str) -> Task | None:
    """Load the task another package adds under that name; None where none does."""
    point = next((each for each in plug_ins() if each.name == name), None)
    if point is None:
        return None
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise DataError(f"The entry point {name} = {point.value} cannot be loaded: {error}") from error
    found = found() if callable(found) else found
    if not isinstance(found, Task):
        raise DataError(f"The entry point {name} = {point.value} gives {type(found).__name__}, not a Task.")
    return found


def _listed(name: str, group: str, objective: str, classes: int, entries: dict[str, Registration]) -> Known:
    entry = entries.get(name)
    if entry is None:
        return Known(name, group, objective, classes, False, f"run {add_line(name)}")
    shown = classes if entry.tasks else entry.classes
    return Known(name, group, objective, shown, available(entry), entry.path)
