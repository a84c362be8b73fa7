"""Whole trees of runs from any producer: found, listed, summed up.

Known are our run folders; the trees of KMnP/vpt and VPT-or-FT (``X_val``, ``X_finalfinal``, the layout of train.py, any
folder with a log or metrics); PETL-ViT's ``models/METHOD/DATASET.pt`` with its log; and a log file given by itself.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vptft.checkpoints.listed import UNKNOWN, ListedRun, runs_in, runs_of_log
from vptft.checkpoints.run_tables import selections, summaries, table, vtab_means
from vptft.errors import CheckpointError

__all__ = ["ListedRun", "list_runs", "selections", "summaries", "table", "vtab_means"]

SEARCH_FOLDER = "search"
"""Where our studies keep their searches; the same as in :mod:`vptft.checkpoints.native`, which imports timm."""


def list_runs(folders: Iterable[Path]) -> tuple[ListedRun, ...]:
    """List every run at or below folders, in the order of their paths; a folder is listed once however it is reached.

    A run that cannot be read, and a folder that cannot be opened, is listed with its problem.

    Raises
    ------
    CheckpointError
        A path does not exist, or there is no run at all.
    """
    folders = list(folders)
    seen: set[tuple[int, int]] = set()
    found: list[ListedRun] = []
    for top in folders:
        if top.is_file():
            found += runs_of_log(top)
        elif top.is_dir():
            found += _below(top, seen)
        else:
            raise CheckpointError(f"There is no folder {top}.")
    if not found:
        raise CheckpointError(
            f"No run in {', '.join(map(str, folders))}.", "Make one: vptft-analyze quickstart, or train."
        )
    return tuple(sorted(found, key=lambda run: str(run.folder)))


def _below(top: Path, seen: set[tuple[int, int]]) -> Iterator[ListedRun]:
    """Yield the runs of a tree; links are followed, and no folder is entered twice."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = {entry.name: _is_folder(entry) for entry in entries}
        except OSError as error:
            problem = f"the folder could not be opened: {error.strerror or error}"
            yield ListedRun(folder=folder, producer=UNKNOWN, problems=(problem,))
            continue
        files = {name for name, is_folder in names.items() if not is_folder}
        yield from runs_in(folder, files, search=SEARCH_FOLDER in folder.relative_to(top).parts)
        waiting += [folder / name for name, is_folder in names.items() if is_folder]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
