"""What a folder, file or data set is, and what it holds: looked at once, when the user registers it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from vptft.data import fgvc, vtab
from vptft.data.archives import expand, is_pattern, read_archive, shards_in
from vptft.data.arrays import is_array_file, read_arrays
from vptft.data.containers import archive_kind
from vptft.data.datasets import Address, address_of, open_dataset
from vptft.data.decode import not_an_image
from vptft.data.images import ImageSet
from vptft.data.listed import Lists, images_of
from vptft.data.own import own_folder
from vptft.data.tasks import Objective
from vptft.errors import DataError, SettingsError

Kind = Literal["vtab", "vtab-task", "fgvc", "folder", "archive", "arrays", "dataset"]
"""What is registered: VTAB-1k or some of it, one of its tasks, an FGVC task, or just images: in a folder, in archives,
in arrays, or in a data set of torchvision or Hugging Face."""

TAKEN = (
    "Taken are a folder of images; a zip or tar file, a folder of these, or a pattern such as train-{000..127}.tar; a "
    ".npy of images, or an .npz with images in arr_0; torchvision:CLASS@ROOT; hf:FOLDER_OR_HUB_NAME."
)
"""What images may come in."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A name, what it stands for, and what was found there when it was registered.

    Attributes
    ----------
    name
        The name; for a VTAB-1k or FGVC task that of the tables, whatever convention was typed.
    path
        The folder, file or pattern of files, absolute; or the address of a data set.
    kind
        What that is.
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
    """Tell what a folder is by the lists it holds, and a file by its content.

    Raises
    ------
    DataError
        For a file that holds no set of images.
    """
    if root.is_dir():
        if vtab.is_task_folder(root):
            return "vtab-task"
        if vtab.task_folders(root):
            return "vtab"
        if fgvc.is_task_folder(root):
            return "fgvc"
    return files_kind(root) or "folder"


def files_kind(path: Path) -> Literal["archive", "arrays"] | None:
    """Tell archives and arrays from a folder of anything else; DataError for a file that is neither."""
    if is_pattern(path):
        return "archive"
    if path.is_dir():
        return "archive" if shards_in(path) else None
    return _file_kind(path) if path.exists() else None


def is_there(path: Path) -> bool:
    """Whether a folder, a file, or every file of a pattern is there."""
    return all(file.is_file() for file in expand(path)) if is_pattern(path) else path.exists()


def available(entry: Registration) -> bool:
    """Whether what was registered is still there; a data set without a folder of its own is."""
    path = Path(entry.path) if entry.kind != "dataset" else address_of(entry.path).folder
    return path is None or is_there(path)


def read_files(kind: Kind, path: Path | str, name: str, *, n: int | None = None, seed: int = 0) -> ImageSet:
    """Read archives or arrays."""
    return (read_archive if kind == "archive" else read_arrays)(path, name, n=n, seed=seed)


def look(name: str, root: Path, *, kind: Kind | None, objective: Objective) -> Registration:
    """Read what a folder or file holds; damaged lists are an error now rather than at first use.

    Raises
    ------
    DataError
        When it is not of that kind, holds no image, or is a benchmark task under another name than its own.
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
        case "dataset":
            raise DataError(f"{root} is no data set's address.", "Write torchvision:CLASS@ROOT or hf:FOLDER.")
        case "archive" | "arrays":
            images = read_files(kind, root, name)
            return _images_alone(name, str(root), kind, images, row.objective if row else objective)
    raise SettingsError(f"A kind is one of {', '.join(get_args(Kind))}; got {kind!r}.")


def look_at_dataset(name: str, address: Address, *, objective: Objective) -> Registration:
    """Open a data set of torchvision or Hugging Face; see :func:`open_dataset` for what is refused."""
    row = vtab.known(name)
    images = open_dataset(address, name)
    return _images_alone(name, str(address), "dataset", images, row.objective if row else objective)


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


def _images_alone(name: str, path: str, kind: Kind, images: ImageSet, objective: Objective) -> Registration:
    row = vtab.known(name) or fgvc.known(name)
    words: dict[Kind, str] = {
        "archive": "an archive, or several as one set",
        "arrays": "an array of images",
        "dataset": "a data set",
    }
    return Registration(
        name=row.name if row else name,
        path=path,
        kind=kind,
        objective=objective,
        images=len(images),
        classes=len(images.classes),
        unusable=len(images.skipped),
        layout=words[kind],
    )


def _file_kind(file: Path) -> Literal["archive", "arrays"]:
    if not file.is_file():
        raise DataError(f"{file} is neither a folder nor a regular file.", TAKEN)
    try:
        if is_array_file(file):
            return "arrays"
        if archive_kind(file):
            return "archive"
        lone = not_an_image(file) is None
    except OSError as error:
        raise DataError(f"{file} cannot be opened: {error.strerror}.", TAKEN) from error
    what = "is a single image; a distance takes a set of them" if lone else "is neither an archive nor an array"
    raise DataError(f"{file} {what}.", TAKEN)
