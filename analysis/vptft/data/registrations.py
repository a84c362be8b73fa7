"""What the user registered: names for folders on this machine, kept in ``tasks.json`` of the configuration folder."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vptft.data import fgvc, vtab
from vptft.data.listed import images_of
from vptft.data.own import own_folder
from vptft.data.tasks import Objective
from vptft.errors import DataError, SettingsError, StorageError, UnknownNameError
from vptft.storage import config_folder, lock, read_json, write_json

Kind = Literal["vtab", "vtab-task", "fgvc", "folder"]
"""What a registered folder is: all of VTAB-1k or some of it, one of its tasks, an FGVC task, or images."""

SCHEMA = 1
NAME = re.compile(r"[^\W_][^\s:\\]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A name, the folder it stands for, and what was found there when it was registered.

    Attributes
    ----------
    name
        The name; for a VTAB-1k or FGVC task the one of the tables, whatever convention was typed.
    path
        The folder, absolute.
    kind
        What the folder is.
    objective
        What is asked of the images; that of the table for VTAB-1k and FGVC.
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
    objective: Objective
    tasks: tuple[str, ...] = ()
    images: int
    classes: int
    unusable: int = 0
    layout: str


def register(
    name: str, path: Path | str, *, kind: Kind | None = None, objective: Objective = "classification"
) -> Registration:
    """Remember ``name`` for the folder at ``path``, after looking at what it holds.

    Registering the same name for the same folder again refreshes what is known of it.

    Parameters
    ----------
    name
        ``vtab`` for a folder of VTAB-1k tasks, the name of a VTAB-1k or FGVC task, or a name of the user's own.
    kind
        What the folder is; recognised by its content when None.
    objective
        What is asked of the images of a folder of the user's own.

    Raises
    ------
    SettingsError
        For a name that is not allowed, or an unknown kind or objective.
    DataError
        For a folder that is missing, empty or not of that kind; for a name that stands for another folder.
    """
    _check_name(name)
    if objective not in get_args(Objective):
        raise SettingsError(f"An objective is one of {', '.join(get_args(Objective))}; got {objective!r}.")
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise DataError(f"There is no folder {path} to register as {name}.", "Give the path of an existing folder.")
    new = _look(name, root, kind or recognise(root), objective)
    with lock(_file()):
        entries = {entry.name: entry for entry in registrations()}
        old = entries.get(new.name)
        if old is not None and old.path != new.path:
            raise DataError(
                f"{new.name} is registered already, for {old.path}.",
                f"Run `vptft-analyze tasks forget {new.name}` first, or choose another name.",
            )
        _write({**entries, new.name: new}.values())
    return new


def registrations() -> tuple[Registration, ...]:
    """Return everything that is registered, by name."""
    if not _file().exists():
        return ()
    content = read_json(_file())
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']!r}, this version reads {SCHEMA}")
        entries = [_from_json(name, fields) for name, fields in content["tasks"].items()]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{_file()} is not a list of registered tasks: {error}",
            "Repair it, or move it away and run `vptft-analyze tasks add NAME PATH` again.",
        ) from error
    return tuple(sorted(entries, key=lambda entry: entry.name))


def forget(name: str) -> Registration:
    """Drop a registration and return it; the folder is not touched."""
    with lock(_file()):
        entries = {entry.name: entry for entry in registrations()}
        row = vtab.known(name) or fgvc.known(name)
        gone = entries.pop(name, None) or (entries.pop(row.name, None) if row else None)
        if gone is None:
            raise UnknownNameError("registered task", name, entries)
        _write(entries.values())
    return gone


def recognise(root: Path) -> Kind:
    """Tell what a folder is by the lists it holds."""
    if vtab.is_task_folder(root):
        return "vtab-task"
    if vtab.task_folders(root):
        return "vtab"
    return "fgvc" if fgvc.is_task_folder(root) else "folder"


def _look(name: str, root: Path, kind: Kind, objective: Objective) -> Registration:
    """Read what a folder of that kind holds; every damaged list is an error now rather than at first use."""
    match kind:
        case "vtab":
            return _look_at_vtab(name, root)
        case "vtab-task":
            row = _row(name, root, vtab)
            return _look_at_vtab_task(row.name if vtab.known(name) else name, root, row)
        case "fgvc":
            return _look_at_fgvc(name, root, _row(name, root, fgvc))
        case "folder":
            return _look_at_folder(name, root, objective)
    raise SettingsError(f"A kind is one of {', '.join(get_args(Kind))}; got {kind!r}.")
