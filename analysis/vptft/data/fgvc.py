"""The five fine-grained tasks (FGVC) with the splits of KMnP/vpt.

Each data set keeps its own folder as its owners ship it; beside its images lie ``train.json``, ``val.json`` and
``test.json`` of KMnP/vpt's archive of splits, each ``{"path of an image": class id, ...}``. Paths are relative to
the folder in the table. This follows KMnP/vpt's description and reader of that archive; the archive itself was not
at hand to try.

Class ids are numbered here in sorted order over all three files. KMnP/vpt numbers each file by itself, which
agrees wherever every file holds every class.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vptft.data.listed import Entry, Lists, listed_task, overlaps, path_problem, refuse
from vptft.data.tasks import Split, Task
from vptft.errors import DataError, StorageError, UnknownNameError

LISTS: dict[Split, str] = {"train": "train.json", "val": "val.json", "test": "test.json"}
"""List of each split; ``trainval`` is train and val together."""


@dataclass(frozen=True)
class FgvcTask:
    """A row of FGVC.

    Attributes
    ----------
    name
        Name in the paper's tables, and here.
    classes, test
        Number of classes and of test images.
    kmnp
        ``DATA.NAME`` in KMnP/vpt.
    folder
        Folder the data set unpacks to.
    images
        Folder that listed paths are relative to; empty for the data set's own.
    url
        Where its owners publish it.
    """

    name: str
    classes: int
    test: int
    kmnp: str
    folder: str
    images: str
    url: str


# fmt: off
TASKS: tuple[FgvcTask, ...] = (
    FgvcTask("cub_200_2011", 200, 5794, "CUB", "CUB_200_2011", "images", "https://data.caltech.edu/records/65de6-vp158"),
    FgvcTask("nabirds", 555, 24633, "nabirds", "nabirds", "images", "https://dl.allaboutbirds.org/nabirds"),
    FgvcTask("oxford_flowers", 102, 6149, "OxfordFlowers", "OxfordFlower", "", "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"),
    FgvcTask("stanford_dogs", 120, 8580, "StanfordDogs", "Stanford-dogs", "Images", "http://vision.stanford.edu/aditya86/ImageNetDogs/"),
    FgvcTask("stanford_cars", 196, 8041, "StanfordCars", "Stanford-cars", "", "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"),
)
# fmt: on


def where(row: FgvcTask) -> str:
    """Say where a task's images and splits come from."""
    return (
        f"{row.name} cannot be shipped with this package: get it from {row.url} and its "
        f"{', '.join(LISTS.values())} from the FGVC splits linked in github.com/KMnP/vpt."
    )


def find(name: str) -> FgvcTask:
    """Return the task of that name: the paper's, KMnP/vpt's or the data set's folder, in any case."""
    for row in TASKS:
        if _plain(name) in (_plain(row.name), _plain(row.kmnp), _plain(row.folder)):
            return row
    raise UnknownNameError("FGVC task", name, (row.name for row in TASKS))


def known(name: str) -> FgvcTask | None:
    """Return the task of that name in any convention, or None."""
    try:
        return find(name)
    except UnknownNameError:
        return None


def is_task_folder(path: Path) -> bool:
    """Whether a folder holds the train and test lists of an FGVC task."""
    return all((path / LISTS[split]).is_file() for split in ("train", "test"))


def fgvc_task(root: Path | str, name: str) -> Task:
    """Return an FGVC task from its folder; its lists are read and checked at once, since they name the classes.

    Raises
    ------
    DataError
        When lists are missing or damaged, with every problem: a path that leads out of the folder, a class id that
        is neither a whole number nor a name, more classes than the task has, a test image that is trained on.
    """
    row, folder = find(name), Path(root).expanduser()
    lists, classes = read_lists(folder, row)
    return listed_task(
        name=row.name,
        group="fine-grained",
        objective="classification",
        classes=classes,
        root=folder,
        read=lambda: lists,
        expected={**LISTS, "trainval": "train.json and val.json"},
        source=f"FGVC, {folder}",
    )


def read_lists(folder: Path, row: FgvcTask) -> tuple[Lists, tuple[str, ...]]:
    """Return the lists with ``trainval`` added, and the class names; see :func:`fgvc_task` for what is refused."""
    if not is_task_folder(folder):
        raise DataError(f"{folder} does not hold train.json and test.json of {row.name}.", where(row))
    raw = {split: _pairs(folder / file) for split, file in LISTS.items() if (folder / file).is_file()}
    ids = {_class_key(label): None for pairs in raw.values() for _, label in pairs}
    problems = [
        f"{LISTS[split]}: class {label!r} of {path!r} is neither a whole number nor a name"
        for split, pairs in raw.items()
        for path, label in pairs
        if _class_key(label) is None
    ]
    order = sorted(key for key in ids if key is not None)
    index = {key: number for number, key in enumerate(order)}
    if len(order) > row.classes:
        problems.append(f"they name {len(order)} classes; {row.name} has {row.classes}")
    lists: dict[Split, tuple[Entry, ...]] = {
        split: tuple(_entries(pairs, LISTS[split], row.images, index, problems)) for split, pairs in raw.items()
    }
    problems += overlaps(lists)
    refuse(row.name, problems, "Repair the lists, or fetch the splits again; nothing is left out silently.")
    return {**lists, "trainval": lists["train"] + lists.get("val", ())}, tuple(str(key[1]) for key in order)


def _pairs(file: Path) -> list[tuple[str, Any]]:
    """Read ``{path: class}`` as pairs, so that a path given twice is seen."""
    try:
        pairs = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=list)
    except (OSError, ValueError) as error:
        raise StorageError(f"{file} could not be read as JSON: {error}") from error
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs) or not pairs:
        raise DataError(f'{file} does not hold {{"path of an image": class, ...}}.')
    return pairs


def _class_key(label: Any) -> tuple[int, int | str] | None:
    """Sort whole numbers by value, before names; anything else is no class."""
    if isinstance(label, int) and not isinstance(label, bool):
        return 0, label
    return (1, label) if isinstance(label, str) else None


def _entries(
    pairs: list[tuple[str, Any]], file: str, images: str, index: dict[Any, int], problems: list[str]
) -> Iterator[Entry]:
    """Yield a list's good entries; describe the others in ``problems``."""
    for number, (path, label) in enumerate(pairs, start=1):
        where_listed = f"{file} entry {number}"
        problem = path_problem(path)
        if problem:
            problems.append(f"{where_listed}: {problem}")
        elif _class_key(label) in index:
            yield Entry(path=f"{images}/{path}".lstrip("/"), label=index[_class_key(label)], where=where_listed)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
