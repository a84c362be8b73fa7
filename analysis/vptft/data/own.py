"""A folder of the user's own as a task: its classes and splits read from sub-folders, or splits made by a stated rule.

=================================  ===========================================================================
the folder holds                   its splits
=================================  ===========================================================================
train/, val/ and test/             those
train/ and test/                   val is 20 % of train, every class alike
train/ and val/ (as ImageNet)      val/ is the test set; val is 20 % of train, every class alike
one sub-folder a class             64 % train, 16 % val, 20 % test, every class alike
images, or sub-folders and images  none: images without labels, for distances
=================================  ===========================================================================

Images are set aside by group, in the order of their hashed names: the same on every machine, and an image added
later leaves most others where they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from vptft.data.folders import Scan, class_labels, no_images, scan, take
from vptft.data.images import ImageSet, Skipped
from vptft.data.listed import check_split, draw_seed
from vptft.data.splits import TEST_SHARE, VAL_SHARE, set_aside
from vptft.data.tasks import Group, Objective, Split, Task
from vptft.errors import DataError

SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of sub-folders that are splits, in any case."""


@dataclass(frozen=True, kw_only=True)
class OwnFolder:
    """A folder as it was found.

    Attributes
    ----------
    found
        Its images by name.
    labels, classes
        Class of each image and their names; None and empty where sub-folders do not say.
    parts
        Indices of each split's images; empty where the folder is neither split nor in classes.
    layout
        What was recognised, in words.
    default_split
        What its name alone stands for: ``trainval`` where the user keeps splits apart, None (all images) otherwise.
    """

    found: Scan
    labels: np.ndarray | None
    classes: tuple[str, ...]
    parts: Mapping[Split, np.ndarray]
    layout: str
    default_split: Split | None = None

    def images(self, name: str, split: Split | None = None, n: int | None = None, seed: int = 0) -> ImageSet:
        """Return the images of ``split`` (None: all), or ``n`` of them, balanced over classes.

        Files that are no images are skipped and listed; with ``n``, only as many files are opened as it takes.
        """
        everything = np.arange(len(self.found.paths))
        return take(
            self.found,
            everything if split is None else self._part(name, split),
            name if split is None else f"{name} ({split})",
            labels=self.labels,
            classes=self.classes,
            n=n,
            seed=seed if split is None else draw_seed(split, seed),
        )

    def _part(self, name: str, split: Split) -> np.ndarray:
        check_split(split)
        if split not in self.parts:
            raise DataError(
                f"{name} has no splits: {self.found.root} is {self.layout}.",
                "Leave the split out, or sort the images into train/ and test/ or into one folder a class.",
            )
        if not len(self.parts[split]):
            raise DataError(f"{name}: no image is left for {split}; its classes are too small to set one aside.")
        return self.parts[split]


def own_folder(path: Path | str) -> OwnFolder:
    """Look at a folder: its images by name, classes and splits. No file is opened."""
    found = scan(path)
    if not found.paths:
        raise no_images(found.root, found.skipped)
    if {"train"} < set(_split_folders(found.root).values()):
        return _split_already(found)
    labels, classes = class_labels(found.paths)
    if labels is None:
        return OwnFolder(found=found, labels=None, classes=(), parts={}, layout="a folder of images without classes")
    test = set_aside(found.groups, labels, TEST_SHARE)
    parts = _with_val_from_train(found, labels, np.flatnonzero(~test), np.flatnonzero(test))
    layout = "one sub-folder a class; split 64/16/20 by rule"
    return OwnFolder(found=found, labels=labels, classes=classes, parts=parts, layout=layout)


def own_task(path: Path | str, name: str, *, objective: Objective = "classification", group: Group = "own") -> Task:
    """Return a folder's task.

    Raises
    ------
    DataError
        When the folder has no labels, a single class, or tests on classes it does not train on.
    """
    folder = own_folder(path)
    if folder.labels is None:
        raise DataError(
            f"{name} cannot be trained on: {path} is {folder.layout}, so labels are missing. It serves distances.",
            "Sort the images into one sub-folder a class, with or without train/ and test/ above.",
        )
    if len(folder.classes) < 2:
        raise DataError(
            f"{name} has the single class {folder.classes[0]!r}, the one sub-folder of {path}.",
            f"A task needs two classes. If the classes lie further down, give {Path(path) / folder.classes[0]}.",
        )
    _check_trained(folder, folder.labels, name)

    @cache
    def whole(split: Split) -> ImageSet:
        return folder.images(name, split)

    def load(split: Split, n: int | None = None, seed: int = 0) -> ImageSet:
        return whole(split) if n is None else folder.images(name, split, n, seed)

    source = f"{path}, {folder.layout}"
    return Task(name=name, group=group, objective=objective, classes=folder.classes, load=load, source=source)


def _split_folders(root: Path) -> dict[str, Split]:
    return {
        child.name: SPLIT_FOLDERS[child.name.lower()]
        for child in sorted(root.iterdir())
        if child.name.lower() in SPLIT_FOLDERS and child.is_dir()
    }


def _split_already(found: Scan) -> OwnFolder:
    """Read train/, val/ and test/; a folder beside them is no split, and its images are listed as skipped."""
    splits = _split_folders(found.root)
    inside = [i for i, path in enumerate(found.paths) if path.split("/")[0] in splits and "/" in path]
    outside = [
        Skipped(path=path, reason=f"it lies outside {', '.join(splits)}")
        for path in sorted(set(found.paths) - {found.paths[i] for i in inside})
    ]
    kept = replace(
        found,
        paths=tuple(found.paths[i] for i in inside),
        groups=tuple(found.groups[i] for i in inside),
        skipped=(*found.skipped, *outside),
    )
    if not inside:
        raise no_images(found.root, kept.skipped)
    labels, classes = class_labels(kept.paths, level=1)
    where = np.array([splits[path.split("/")[0]] for path in kept.paths])
    parts: dict[Split, np.ndarray] = {
        split: np.flatnonzero(where == split) for split in ("train", "val", "test") if split in splits.values()
    }
    layout = f"sub-folders {', '.join(splits)}"
    if "test" not in parts:
        parts = _with_val_from_train(kept, labels, parts["train"], parts["val"])
        layout += "; val is the test set, 20 % of train serve as val"
    elif "val" not in parts:
        parts = _with_val_from_train(kept, labels, parts["train"], parts["test"])
        layout += "; 20 % of train serve as val"
    else:
        parts["trainval"] = np.sort(np.concatenate([parts["train"], parts["val"]]))
    layout += "" if labels is not None else ", without classes"
    return OwnFolder(found=kept, labels=labels, classes=classes, parts=parts, layout=layout, default_split="trainval")


def _with_val_from_train(
    found: Scan, labels: np.ndarray | None, trainval: np.ndarray, test: np.ndarray
) -> dict[Split, np.ndarray]:
    val = set_aside([found.groups[i] for i in trainval], None if labels is None else labels[trainval], VAL_SHARE)
    return {"train": trainval[~val], "val": trainval[val], "trainval": trainval, "test": test}


def _check_trained(folder: OwnFolder, labels: np.ndarray, name: str) -> None:
    """Refuse a task that tests on classes it never trains on."""
    trained = set(labels[folder.parts["trainval"]])
    untrained = [label for label in range(len(folder.classes)) if label not in trained]
    if untrained:
        raise DataError(
            f"{name}: no training image shows {', '.join(folder.classes[label] for label in untrained[:10])}, "
            f"which {folder.found.root} tests on.",
            "Name class folders alike in every split, and give each class a training image.",
        )
