"""What a folder is, and what it holds: looked at once, when the user registers it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from vptft.data import fgvc, vtab
from vptft.data.listed import Lists, images_of
from vptft.data.own import own_folder
from vptft.data.tasks import Objective
from vptft.errors import DataError, SettingsError

Kind = Literal["vtab", "vtab-task", "fgvc", "folder"]
"""What a registered folder is: VTAB-1k or some of it, one of its tasks, an FGVC task, or just images."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A name, the folder it stands for, and what was found there when it was registered.

    Attributes
    ----------
    name
        The name; for a VTAB-1k or FGVC task that of the tables, whatever convention was typed.
    path
        The folder, absolute.
    kind
        What the folder is.
    objective
        What is asked of the images; None for ``vtab``, whose tasks differ in it.
    tasks
        Tasks of the tables that it holds: several for ``vtab``, one for ``vtab-task`` and ``fgvc``, none otherwise.
    images, classes
        How many were found; 0 classes where there are no labels, and for ``vtab``.
    unusable
        Listed images that are not there, and files that are no images.
    layout
        What was recognised, in words.
    """

    name: str
    path: str
    kind: Kind
    objective: Objective | None
    tasks: tuple[str, ...] = ()
    images: int
    classes: int
    unusable: int
    layout: str


def recognise(root: Path) -> Kind:
    """Tell what a folder is by the lists it holds."""
    if vtab.is_task_folder(root):
        return "vtab-task"
    if vtab.task_folders(root):
        return "vtab"
    return "fgvc" if fgvc.is_task_folder(root) else "folder"


def look(name: str, root: Path, *, kind: Kind | None, objective: Objective) -> Registration:
    """Read what the folder holds; damaged lists are an error now rather than at first use.

    Raises
    ------
    DataError
        When the folder is not of that kind, holds no image, or is a benchmark task under another name than its own.
    """
    kind = kind or recognise(root)
    row = vtab.known(name)
    match kind:
        case "vtab" if row is None:
            return _vtab(name, root)
        case "vtab" | "vtab-task":
            return _vtab_task(name, root)
        case "fgvc":
            return _fgvc_task(name, root)
        case "folder":
            return _folder(name, root, row.objective if row else objective)
    raise SettingsError(f"A kind is one of {', '.join(get_args(Kind))}; got {kind!r}.")


def _vtab(name: str, root: Path) -> Registration:
    """All VTAB-1k tasks below ``root``, as one registration."""
    if name != "vtab":
        raise DataError(
            f"{root} holds several VTAB-1k tasks, and {name} is none of them.",
            f"Run `vptft-analyze tasks add vtab {root}`, or give the name of one task.",
        )
    folders = vtab.task_folders(root)
    if not folders:
        raise DataError(f"No sub-folder of {root} is a VTAB-1k task with its lists of files.", vtab.WHERE)
    each = [_vtab_task(task, folder) for task, folder in folders.items()]
    return Registration(
        name=name,
        path=str(root),
        kind="vtab",
        objective=None,
        tasks=tuple(folders),
        images=sum(one.images for one in each),
        classes=0,
        unusable=sum(one.unusable for one in each),
        layout=f"VTAB-1k, {len(folders)} of {len(vtab.TASKS)} tasks",
    )


def _vtab_task(name: str, root: Path) -> Registration:
    row = vtab.known(name)
    if row is None:
        near = vtab.known(root.name)
        raise DataError(
            f"{root} is a task of VTAB-1k, and {name} is none of its names.",
            f"Run `vptft-analyze tasks add {near.name if near else 'TASK'} {root}`; tasks are "
            f"{', '.join(each.name for each in vtab.TASKS)}.",
        )
    folder = vtab.task_folder(root, row)
    found = Registration(
        name=row.name,
        path=str(folder),
        kind="vtab-task",
        objective=row.objective,
        tasks=(row.name,),
        images=0,
        classes=row.classes,
        unusable=0,
        layout="VTAB-1k lists of files",
    )
    return _counted(found, vtab.read_lists(folder, row))


def _fgvc_task(name: str, root: Path) -> Registration:
    row = fgvc.known(name)
    if row is None:
        raise DataError(
            f"{root} holds train.json and test.json as an FGVC task does, and {name} is none of them.",
            f"Give one of their names: {', '.join(each.name for each in fgvc.TASKS)}.",
        )
    lists, classes = fgvc.read_lists(root, row)
    found = Registration(
        name=row.name,
        path=str(root),
        kind="fgvc",
        objective="classification",
        tasks=(row.name,),
        images=0,
        classes=len(classes),
        unusable=0,
        layout="FGVC lists of files",
    )
    return _counted(found, lists)


def _counted(found: Registration, lists: Lists) -> Registration:
    """Count the listed images that are there; refuse a task of which none is."""
    root = Path(found.path)
    listed = images_of(lists)
    present = sum((root / path).is_file() for path in listed)
    if not present:
        raise DataError(
            f"{found.name}: none of the {len(listed)} images that its lists name is in {root}, such as {min(listed)}.",
            "Unpack the images beside the lists.",
        )
    return replace(found, images=present, unusable=len(listed) - present)


def _folder(name: str, root: Path, objective: Objective) -> Registration:
    row = vtab.known(name) or fgvc.known(name)
    folder = own_folder(root)
    images = folder.images(name)
    return Registration(
        name=row.name if row else name,
        path=str(root),
        kind="folder",
        objective=objective,
        images=len(images),
        classes=len(folder.classes),
        unusable=len(images.skipped),
        layout=folder.layout,
    )
