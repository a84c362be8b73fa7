"""VTAB-1k: the 19 tasks, their names in every convention, and the reader of their lists of files.

The layout is that of NOAH's ``get_vtab1k.py``, which PETL-ViT and others share::

    TASK/train800.txt  val200.txt  train800val200.txt  test.txt      lines: images/train800/000000.jpg 307
    TASK/images/train800/000000.jpg ...

Images of these tasks are each their own group. Some are dependent all the same, in ways the lists do not tell: the
patches of one slide (patch_camelyon), the frames of one drive (kitti_distance) or one level (dmlab), the views of
one toy (smallnorb). Intervals over their images are then too narrow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vptft.data.listed import Entry, Lists, listed_task, overlaps, path_problem, refuse
from vptft.data.tasks import Group, Objective, Split, Task
from vptft.errors import DataError, StorageError, UnknownNameError

LISTS: dict[Split, str] = {
    "train": "train800.txt",
    "val": "val200.txt",
    "trainval": "train800val200.txt",
    "test": "test.txt",
}
"""List of each split; ``trainval`` is the training set of the final runs."""


@dataclass(frozen=True)
class VtabTask:
    """A row of VTAB-1k.

    Attributes
    ----------
    name
        Name in the paper's tables, and here.
    group, objective
        The paper's group, and what is asked of the image.
    classes, test
        Number of classes and of test images.
    folder
        Folder in NOAH's and PETL-ViT's copies.
    yaml
        Name of the configuration file in VPT-or-FT.
    tfds
        Builder in TensorFlow Datasets; one builder may serve two tasks.
    kmnp
        ``DATA.NAME`` in KMnP/vpt, less its prefix ``vtab-``.
    """

    name: str
    group: Group
    objective: Objective
    classes: int
    test: int
    folder: str
    yaml: str
    tfds: str
    kmnp: str


# fmt: off
TASKS: tuple[VtabTask, ...] = (
    VtabTask("cifar100", "natural", "classification", 100, 10000, "cifar", "cifar100",
             tfds="cifar100", kmnp="cifar(num_classes=100)"),
    VtabTask("caltech101", "natural", "classification", 102, 6084, "caltech101", "caltech101",
             tfds="caltech101", kmnp="caltech101"),
    VtabTask("dtd", "natural", "classification", 47, 1880, "dtd", "dtd",
             tfds="dtd", kmnp="dtd"),
    VtabTask("flowers102", "natural", "classification", 102, 6149, "oxford_flowers102", "oxford_flowers102",
             tfds="oxford_flowers102", kmnp="oxford_flowers102"),
    VtabTask("pets", "natural", "classification", 37, 3669, "oxford_iiit_pet", "oxford_iiit_pet",
             tfds="oxford_iiit_pet", kmnp="oxford_iiit_pet"),
    VtabTask("svhn", "natural", "classification", 10, 26032, "svhn", "svhn_cropped",
             tfds="svhn_cropped", kmnp="svhn"),
    VtabTask("sun397", "natural", "classification", 397, 21750, "sun397", "sun397",
             tfds="sun397/tfds", kmnp="sun397"),
    VtabTask("patch_camelyon", "specialized", "classification", 2, 32768, "patch_camelyon", "patch_camelyon",
             tfds="patch_camelyon", kmnp="patch_camelyon"),
    VtabTask("eurosat", "specialized", "classification", 10, 5400, "eurosat", "eurosat",
             tfds="eurosat/rgb", kmnp="eurosat"),
    VtabTask("resisc45", "specialized", "classification", 45, 6300, "resisc45", "resisc45",
             tfds="resisc45", kmnp="resisc45"),
    VtabTask("retinopathy", "specialized", "classification", 5, 42670, "diabetic_retinopathy",
             "diabetic_retinopathy_detection",
             tfds="diabetic_retinopathy_detection/btgraham-300", kmnp='diabetic_retinopathy(config="btgraham-300")'),
    VtabTask("clevr_count", "structured", "counting", 8, 15000, "clevr_count", "clevr_count",
             tfds="clevr", kmnp='clevr(task="count_all")'),
    VtabTask("clevr_distance", "structured", "distance", 6, 15000, "clevr_dist", "clevr_distance",
             tfds="clevr", kmnp='clevr(task="closest_object_distance")'),
    VtabTask("dmlab", "structured", "distance", 6, 22735, "dmlab", "dmlab",
             tfds="dmlab", kmnp="dmlab"),
    VtabTask("kitti_distance", "structured", "distance", 4, 711, "kitti", "kitti_distance",
             tfds="kitti", kmnp='kitti(task="closest_vehicle_distance")'),
    VtabTask("dsprites_location", "structured", "location", 16, 73728, "dsprites_loc", "dsprites_location",
             tfds="dsprites", kmnp='dsprites(predicted_attribute="label_x_position",num_classes=16)'),
    VtabTask("dsprites_orientation", "structured", "orientation", 16, 73728, "dsprites_ori", "dsprites_orientation",
             tfds="dsprites", kmnp='dsprites(predicted_attribute="label_orientation",num_classes=16)'),
    VtabTask("smallnorb_azimuth", "structured", "azimuth", 18, 12150, "smallnorb_azi", "smallnorb_azimuth",
             tfds="smallnorb", kmnp='smallnorb(predicted_attribute="label_azimuth")'),
    VtabTask("smallnorb_elevation", "structured", "elevation", 9, 12150, "smallnorb_ele", "smallnorb_evaluation",
             tfds="smallnorb", kmnp='smallnorb(predicted_attribute="label_elevation")'),
)
# fmt: on

WHERE = (
    "VTAB-1k cannot be shipped with this package. Copies in this layout come with NOAH "
    "(github.com/ZhangYuanhan-AI/NOAH, get_vtab1k.py) and PETL-ViT (github.com/JieShibo/PETL-ViT)."
)
"""Where the images come from."""


def find(name: str) -> VtabTask:
    """Return the task of that name in any convention; case, quotes and the prefix ``vtab-`` do not matter.

    Raises
    ------
    UnknownNameError
        Also for a TFDS builder that serves two tasks, such as ``clevr``: both are named.
    """
    wanted = _plain(name)
    found = [row for row in TASKS if wanted in (_plain(other) for other in _names(row))]
    if len(found) == 1:
        return found[0]
    hint = f"{name} is the builder of {' and '.join(row.name for row in found)}." if found else ""
    raise UnknownNameError("VTAB-1k task", name, (row.name for row in TASKS), hint=hint)


def known(name: str) -> VtabTask | None:
    """Return the task of that name in any convention, or None."""
    try:
        return find(name)
    except UnknownNameError:
        return None


def is_task_folder(path: Path) -> bool:
    """Whether a folder holds any of the lists of a VTAB-1k task."""
    return any((path / file).is_file() for file in LISTS.values())


def task_folders(root: Path) -> dict[str, Path]:
    """Return the task folders directly below ``root``, by task name, in the order of the table."""
    found: dict[str, Path] = {}
    for child in sorted(root.iterdir()):
        row = known(child.name)
        if row is not None and is_task_folder(child):
            found.setdefault(row.name, child)
    return {row.name: found[row.name] for row in TASKS if row.name in found}


def task_folder(root: Path, row: VtabTask) -> Path:
    """Return the folder of a task's lists: ``root`` itself, or the one below it that has the task's name."""
    if is_task_folder(root):
        return root
    found = task_folders(root) if root.is_dir() else {}
    if row.name not in found:
        raise DataError(
            f"There is no VTAB-1k task {row.name} in {root}: neither it nor its sub-folder {row.folder} holds "
            f"{' or '.join(LISTS.values())}.",
            WHERE,
        )
    return found[row.name]


def vtab_task(root: Path | str, name: str) -> Task:
    """Return a VTAB-1k task from its own folder, or from the folder of all tasks.

    Lists are read and checked at the first ``load``: a malformed line, a class outside the task's range, a path
    that leads out of the folder, an image listed twice, or one that is both trained on and tested on, is refused with
    its file and line number. Class names are their indices: the lists hold no others.

    Raises
    ------
    DataError
        When there is no such task at ``root``.
    """
    row = find(name)
    folder = task_folder(Path(root).expanduser(), row)
    return listed_task(
        name=row.name,
        group=row.group,
        objective=row.objective,
        classes=tuple(map(str, range(row.classes))),
        root=folder,
        read=lambda: read_lists(folder, row),
        expected=LISTS,
        source=f"VTAB-1k, {folder}",
    )


def read_lists(folder: Path, row: VtabTask) -> Lists:
    """Read all lists of a task folder that are there; see :func:`vtab_task` for what is refused."""
    lists: dict[Split, tuple[Entry, ...]] = {}
    problems: list[str] = []
    for split, file in LISTS.items():
        if (folder / file).is_file():
            lists[split] = tuple(_entries(folder / file, row.classes, problems))
    problems += overlaps(lists)
    refuse(row.name, problems, "Repair the lists, or fetch them again; no line is left out silently.")
    return lists


def _entries(file: Path, classes: int, problems: list[str]) -> Iterator[Entry]:
    """Yield a list's good lines; describe the others in ``problems``."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{file} could not be read as text: {error}") from error
    for number, line in enumerate(lines, start=1):
        where = f"{file.name} line {number}"
        match line.rsplit(None, 1):
            case []:
                continue
            case [path, label] if label.isdecimal():
                problem = path_problem(path.lstrip())
                if int(label) >= classes:
                    problem = f"class {label} is not one of 0 to {classes - 1}"
                if problem is None:
                    yield Entry(path=path.lstrip(), label=int(label), where=where)
            case _:
                problem = f"expected 'images/NAME.jpg CLASS', got {line[:80]!r}"
        if problem:
            problems.append(f"{where}: {problem}")
    if not any(lines):
        problems.append(f"{file.name}: the list is empty")


def _names(row: VtabTask) -> tuple[str, ...]:
    return row.name, row.kmnp, row.folder, row.tfds, row.yaml


def _plain(name: str) -> str:
    """Strip what conventions differ in: case, quotes, spaces, the prefix ``vtab-``."""
    bare = "".join(letter for letter in name.lower() if letter not in "\"'\\ ")
    return bare.removeprefix("vtab-")
