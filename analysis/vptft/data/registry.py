"""Every task and set of images by name: the embedded suite, VTAB-1k, FGVC, the user's own, and plug-ins."""

import re
from pathlib import Path
from typing import cast, get_args

from vptft.data import fgvc, vtab
from vptft.data.archives import is_pattern
from vptft.data.catalogue import (
    COLLECTIONS,
    REFERENCE,
    Known,
    add_line,
    built_in,
    members,
    names,
    plug_ins,
    plugged_in,
    tasks_of,
)
from vptft.data.datasets import address_of, is_address, open_dataset
from vptft.data.folders import read_folder
from vptft.data.images import ImageSet
from vptft.data.listed import check_split
from vptft.data.own import own_folder, own_task
from vptft.data.recognise import Kind, Registration, available, files_kind, is_there, look, look_at_dataset, read_files
from vptft.data.registrations import add, forget, registrations, table_name
from vptft.data.tasks import PERMUTED, Objective, Split, Task, permuted
from vptft.errors import DataError, SettingsError, UnknownNameError

__all__ = ["Known", "Registration", "forget", "images", "members", "names", "register", "registrations", "task"]

NAME = re.compile(r"[^\W_][^\s:\\]{0,99}")
"""What a name of the user's own may be: it starts with a letter or digit, without blanks, colons, backslashes."""


def task(name: str) -> Task:
    """Return a downstream task by any of its names; ``NAME+permuted`` is the one with its training labels permuted.

    Raises
    ------
    DataError
        For a VTAB-1k or FGVC task whose images are not registered, with what to run; for a name that is no single
        task; for a registered folder that is gone or has no labels.
    UnknownNameError
        For any other name; lists the known and the nearest.
    """
    if name.endswith(PERMUTED):
        return permuted(task(name.removesuffix(PERMUTED)))
    entry = _registration_of(name)
    if entry is not None:
        return _task_of(entry, table_name(name))
    if name in COLLECTIONS:
        raise DataError(f"{name} stands for several tasks, not one.", f"One of them: {', '.join(tasks_of(name))}.")
    if name == REFERENCE:
        raise DataError(f"{REFERENCE} is the reference set of distances, not a task.", "It has no labels.")
    row = vtab.known(name) or fgvc.known(name)
    if row is not None:
        raise _unregistered(row)
    found = built_in().get(name) or plugged_in(name)
    if found is None:
        there = Path(name).expanduser().is_dir()
        own = f"{name} is a folder: `vptft-analyze tasks add NAME {name}` makes it a task." if there else ""
        raise UnknownNameError("task", name, _names(), hint=" ".join(filter(None, [_builder_hint(name), own])))
    return found


def images(name: str, *, split: Split | None = None, n: int | None = None, seed: int = 0) -> ImageSet:
    """Return the images that a distance is measured from or to.

    Parameters
    ----------
    name
        ``photos``; a task's name; a registered name; the path of a folder (``./dtd`` where a task has its name), of
        an archive, a folder of archives or a pattern of them (``train-{000..127}.tar``), or of an array (``.npy``,
        ADM's ``.npz``); or a data set (``torchvision:CIFAR10@ROOT``, ``hf:FOLDER_OR_HUB_NAME``). A split may follow
        after a colon: ``photo/category:test``, ``torchvision:CIFAR10:test@ROOT``.
    split
        Default: ``trainval`` of a task, and of a registered folder that holds train/ and test/; what a data set
        itself takes; otherwise all images. Archives and arrays have none.
    n, seed
        Draw that many, balanced over classes, by seed.

    Raises
    ------
    DataError, UnknownNameError
        As :func:`task`; also for a folder or file that is missing or holds no image.
    SettingsError
        For a split that no task has, or two of them.
    """
    if is_address(name):
        return open_dataset(address_of(name), split=split, n=n, seed=seed)
    name, split = _name_and_split(name, split)
    if split is not None:
        check_split(split)
    if name.startswith(("/", ".", "~")):
        return _images_at(name, split, n, seed)
    if name == REFERENCE:
        return _reference(split, n, seed)
    entry = _registration_of(name)
    if entry is not None and not entry.tasks:
        return _registered_images(entry, split, n, seed)
    if entry is not None or _is_known(name):
        return task(name).load(split or "trainval", n=n, seed=seed)
    if Path(name).exists() or is_pattern(name):
        return _images_at(name, split, n, seed)
    hint = " ".join(filter(None, [_builder_hint(name), "The path of a folder or file of images will do as well."]))
    raise UnknownNameError("task, registered name or folder", name, _names(), hint=hint)


def register(
    name: str, path: Path | str, *, kind: Kind | None = None, objective: Objective = "classification"
) -> Registration:
    """Remember ``name`` for what is at ``path``, after looking at what it holds; see :class:`Registration`.

    The same name for the same place refreshes what is known of it.

    Parameters
    ----------
    name
        ``vtab`` for a folder of VTAB-1k tasks; the name of a VTAB-1k or FGVC task; or a name of the user's own.
    path
        The folder: VTAB-1k, one of its tasks, an FGVC task, or images in any arrangement; or any other place of images
        that :func:`images` takes.
    kind
        What it is; recognised by what it holds when None.
    objective
        What is asked of the images of the user's own.

    Raises
    ------
    SettingsError
        For a name that is not allowed or built in, an unknown kind or objective.
    DataError
        For what is missing, empty, or not of that kind; for a name that stands for another place already.
    """
    _check_name(name)
    if objective not in get_args(Objective):
        raise SettingsError(f"An objective is one of {', '.join(get_args(Objective))}; got {objective!r}.")
    if is_address(str(path)):
        found = look_at_dataset(name, address_of(str(path)), objective=objective)
        root: Path | str = path
    else:
        root = _existing(name, path)
        found = look(name, root, kind=kind, objective=objective)
    if found.name in COLLECTIONS and found.kind != "vtab":
        raise DataError(f"{root} does not hold VTAB-1k tasks, which the name vtab is for.", vtab.WHERE)
    add(found)
    return found


def _registration_of(name: str) -> Registration | None:
    """Return the registration that holds a name: its own, or the folder of VTAB-1k it lies in."""
    entries = registrations()
    wanted = (name, table_name(name))
    own = next((entry for entry in entries if entry.name in wanted and entry.kind != "vtab"), None)
    return own or next((entry for entry in entries if wanted[1] in entry.tasks), None)


def _existing(name: str, path: Path | str) -> Path:
    root = Path(path).expanduser().resolve()
    if not is_there(root):
        raise DataError(
            f"There is no folder {path} to register as {name}, and no file.", "Give the path of one that exists."
        )
    return root


def _still_there(entry: Registration) -> Registration:
    if not available(entry):
        raise DataError(
            f"{entry.name} was registered for {entry.path}, which is not there any more.",
            f"Bring it back, or run `vptft-analyze tasks forget {entry.name}` and add it again.",
        )
    return entry


def _registered_images(entry: Registration, split: Split | None, n: int | None, seed: int) -> ImageSet:
    path = _still_there(entry).path
    if entry.kind == "dataset":
        return open_dataset(address_of(path), entry.name, split=split, n=n, seed=seed)
    if entry.kind != "folder":
        return _split_free(entry.kind, path, entry.name, split, n, seed)
    folder = own_folder(path)
    return folder.images(entry.name, split or folder.default_split, n, seed)


def _task_of(entry: Registration, name: str) -> Task:
    folder = Path(_still_there(entry).path)
    match entry.kind:
        case "vtab" | "vtab-task":
            return vtab.vtab_task(folder, name)
        case "fgvc":
            return fgvc.fgvc_task(folder, name)
        case "folder":
            row = vtab.known(name)
            group = row.group if row else "fine-grained" if fgvc.known(name) else "own"
            return own_task(folder, name, objective=entry.objective or "classification", group=group)
    raise DataError(
        f"{name} cannot be trained on: {entry.path} is {entry.layout}, without splits. It serves distances.",
        "Unpack its images into one sub-folder a class, with or without train/ and test/ above, and add that folder.",
    )


def _unregistered(row: vtab.VtabTask | fgvc.FgvcTask) -> DataError:
    benchmark, where = ("VTAB-1k", vtab.WHERE) if isinstance(row, vtab.VtabTask) else ("FGVC", fgvc.where(row))
    nearby = f" For the folder of that name here, write ./{row.name}." if Path(row.name).is_dir() else ""
    return DataError(
        f"{row.name} is a task of {benchmark}, and its images are not registered on this machine.",
        f"{where} Then run {add_line(row.name)}.{nearby}",
    )


def _builder_hint(name: str) -> str:
    """Say which tasks an ambiguous TFDS builder stands for."""
    rows = [row.name for row in vtab.TASKS if row.tfds == name.lower().removeprefix("vtab-")]
    return f"{name} stands for {' and '.join(rows)}." if len(rows) > 1 else ""


def _images_at(path: str, split: Split | None, n: int | None, seed: int) -> ImageSet:
    """Read a folder, archive or array that is not registered."""
    kind = files_kind(Path(path).expanduser())
    if kind is not None:
        return _split_free(kind, path, path, split, n, seed)
    return read_folder(path, n=n, seed=seed) if split is None else own_folder(path).images(path, split, n, seed)


def _split_free(kind: Kind, path: str, name: str, split: Split | None, n: int | None, seed: int) -> ImageSet:
    if split is not None:
        raise DataError(f"{name} has no splits: archives and arrays are one set each.", "Leave the split out.")
    return read_files(kind, path, name, n=n, seed=seed)


def _reference(split: Split | None, n: int | None, seed: int) -> ImageSet:
    from vptft.data.suite import reference_set

    if split is not None:
        raise DataError(f"{REFERENCE} is a reference set without splits.", f"Ask for {REFERENCE} alone.")
    return reference_set(seed=seed) if n is None else reference_set(n, seed=seed)


def _names() -> list[str]:
    return [row.name for row in names()]


def is_name(name: str) -> bool:
    """Whether a name, its split aside, stands for something whatever lies in the working folder."""
    if name.startswith(("/", ".", "~")):
        return False
    bare, _ = _name_and_split(name, None)
    return bare == REFERENCE or _is_known(bare) or _registration_of(bare) is not None


def _is_known(name: str) -> bool:
    """Whether a name stands for a task, registered or not, or for several."""
    if vtab.known(name) or fgvc.known(name) or name in COLLECTIONS:
        return True
    return name in built_in() or any(point.name == name for point in plug_ins())


def _name_and_split(name: str, split: Split | None) -> tuple[str, Split | None]:
    """Take a split off the end of a name."""
    bare, colon, last = name.rpartition(":")
    if not colon or last not in get_args(Split) or Path(name).exists():
        return name, split
    if split is not None and split != last:
        raise SettingsError(f"{name} names the split {last}, and {split} is asked for as well.")
    return bare, cast(Split, last)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot be a name: it must start with a letter or digit, without blanks, colons or backslashes.",
            "Choose a short name, such as imagenet.",
        )
    taken = {REFERENCE, *COLLECTIONS} - {"vtab"}
    if name in taken or name in built_in() or any(point.name == name for point in plug_ins()):
        raise SettingsError(f"{name} is built in and cannot be given to a folder.", "Choose another name.")
