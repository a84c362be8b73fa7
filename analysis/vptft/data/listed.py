"""Tasks whose splits are lists of files: checked entries with their origin, and the Task that reads them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np

from vptft.data.folders import file_images
from vptft.data.images import ImageSet
from vptft.data.splits import check_draw, draw_order
from vptft.data.tasks import Group, Objective, Split, Task
from vptft.errors import DataError, SettingsError

SHOWN = 20
"""Problems an error lists before it counts the rest."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One listed image: its path relative to the task's folder, its class, and where it is listed."""

    path: str
    label: int
    where: str


Lists = Mapping[Split, tuple[Entry, ...]]
"""What each split of a task holds; a split whose list is missing has no key."""


def path_problem(path: str) -> str | None:
    """Return why a listed path cannot be used, None where it can.

    Only paths that stay within the task's folder as written are used. Links inside that folder are its owner's and
    are followed.
    """
    if not path or "\0" in path:
        return "the path is empty or holds a null character"
    if path.startswith("/") or path[1:2] == ":" or "\\" in path:
        return f"{path!r} is not a relative path with forward slashes"
    if ".." in path.split("/"):
        return f"{path!r} leads out of the folder"
    return None


def refuse(name: str, problems: Sequence[str], hint: str) -> None:
    """Raise the DataError that lists ``problems``; do nothing where there is none."""
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
        rest = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(f"{name}: its lists cannot be used:{lines}{rest}", hint)


def overlaps(lists: Lists) -> list[str]:
    """Describe every image that is listed twice in a split, or in two splits that must be disjoint."""
    problems = []
    for split, entries in lists.items():
        problems += _repeats(entries)
        if split in ("val", "test"):
            others: tuple[Split, ...] = ("train",) if split == "val" else ("train", "val", "trainval")
            known = {entry.path: entry.where for other in others for entry in lists.get(other, ())}
            problems += [
                f"{entry.where}: {entry.path} is also in {known[entry.path]}; a {split} image must not be trained on"
                for entry in entries
                if entry.path in known
            ]
    return problems


def listed_task(
    *,
    name: str,
    group: Group,
    objective: Objective,
    classes: tuple[str, ...],
    root: Path,
    read: Callable[[], Lists],
    expected: Mapping[Split, str],
    source: str,
) -> Task:
    """Return the Task over listed files.

    ``load(split, n=None, seed=0)`` reads the lists once; ``n`` draws a subset that is as balanced over classes as
    the split allows, by ``seed`` for ``train`` and ``trainval``, the same one always for ``val`` and ``test``. An
    image that is listed and not there is an UnreadableImageError when read.

    Parameters
    ----------
    root
        What the listed paths are relative to.
    read
        Reads and checks all lists; called at the first ``load``.
    expected
        Name of each split's list, for the error when it is missing.
    """
    lists = cache(read)

    def load(split: Split, n: int | None = None, seed: int = 0) -> ImageSet:
        check_split(split)
        if split not in lists():
            raise DataError(f"{name}: there is no {expected[split]} in {root}.", f"The {split} split needs it.")
        return _drawn(f"{name} ({split})", root, lists()[split], classes, n, draw_seed(split, seed))

    return Task(name=name, group=group, objective=objective, classes=classes, load=load, source=source)


def check_split(split: str) -> None:
    """Refuse a split that no task has."""
    if split not in get_args(Split):
        raise SettingsError(f"A split is one of {', '.join(get_args(Split))}; got {split!r}.")


def draw_seed(split: Split, seed: int) -> int:
    """Return the seed of a draw: training draws differ, what they are judged on does not."""
    return seed if split in ("train", "trainval") else 0


def images_of(lists: Lists) -> set[str]:
    """Return the paths of all images that any list names."""
    return {entry.path for entries in lists.values() for entry in entries}


def _drawn(
    name: str, root: Path, entries: Sequence[Entry], classes: tuple[str, ...], n: int | None, seed: int
) -> ImageSet:
    check_draw(n, len(entries), name)
    labels = np.array([entry.label for entry in entries], dtype=np.int64)
    chosen = np.arange(len(entries)) if n is None else np.sort(draw_order(labels, len(entries), seed)[:n])
    paths = [entries[int(i)].path for i in chosen]
    return file_images(name, root, paths, labels=labels[chosen], classes=classes)


def _repeats(entries: Iterable[Entry]) -> list[str]:
    first: dict[str, str] = {}
    problems = []
    for entry in entries:
        if entry.path in first:
            problems.append(f"{entry.where}: {entry.path} is listed already in {first[entry.path]}")
        first.setdefault(entry.path, entry.where)
    return problems
