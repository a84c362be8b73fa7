"""Histories of training, whoever logged them: one reader a producer, one tidy frame for all.

Nothing here imports timm, and pandas only when a frame is made.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from vptft.checkpoints.histories.kmnp import looks_like_log, read_jobs
from vptft.errors import CheckpointError

if TYPE_CHECKING:
    import pandas as pd

KNOWN = (
    "Known are: our history.csv, logs.txt of KMnP/vpt and VPT-or-FT, CSV and JSON lines (W&B, lightning, timm), "
    "trainer_state.json, TensorBoard's event files; and folders that hold one of them."
)
USUAL_NAMES = ("history.csv", "logs.txt", "trainer_state.json", "metrics.csv", "summary.csv", "history.json")
"""Files by which a folder's history is found, the first that is there; what they hold is told by their content."""
USUAL_ENDS = (".csv", ".jsonl", ".txt", ".log", ".out")


def read_history(path: Path, *, run: str | None = None) -> "pd.DataFrame":
    """Read the history of a run, from its folder or file: columns as :data:`vptft.checkpoints.histories.frame.COLUMNS`.

    Parameters
    ----------
    path
        A file is recognised by its content; in a folder, the file is found by its usual names.
    run
        Name of the run in the frame; the path by default. Several jobs in one log have their line behind it.

    Raises
    ------
    CheckpointError
        There is no history, several, or one of no kind that is known.
    MissingExtraError
        Event files without the package ``tensorboard``.
    """
    if not path.exists():
        raise CheckpointError(f"There is no {path}.")
    files = _files_of(path) if path.is_dir() else [path]
    return _read(files, run or str(path))


def _read(files: list[Path], run: str) -> "pd.DataFrame":
    from vptft.checkpoints.histories.tables import looks_like_table, read_table
    from vptft.checkpoints.histories.tensorboard import looks_like_events, read_events

    path = files[0]
    if not path.is_file():
        raise CheckpointError(f"{path} is neither a file nor a folder.")
    if looks_like_events(path):
        return read_events(files, run=run)
    if looks_like_log(path):
        import pandas as pd

        jobs = read_jobs(path)
        names = [run] if len(jobs) == 1 else [f"{run}:{job.line}" for job in jobs]
        return pd.concat([job.frame(name) for job, name in zip(jobs, names, strict=True)], ignore_index=True)
    if looks_like_table(path):
        return read_table(path, run=run)
    raise CheckpointError(f"{path} is no history of a kind that is known.", KNOWN)


def _files_of(folder: Path) -> list[Path]:
    """The file of a folder that holds its history; event files may be several."""
    try:
        names = sorted(child.name for child in folder.iterdir() if child.is_file())
    except OSError as error:
        raise CheckpointError(f"{folder} could not be opened: {error.strerror or error}.") from error
    for name in USUAL_NAMES:
        if name in names:
            return [folder / name]
    events = [folder / name for name in names if "tfevents" in name]
    if events:
        return events
    others = [name for name in names if name.endswith(USUAL_ENDS)]
    if len(others) > 1:
        raise CheckpointError(f"{folder} holds {', '.join(others[:8])}: which is the history?", "Give the file.")
    if not others:
        raise CheckpointError(f"{folder} holds no history.", KNOWN)
    return [folder / others[0]]
