"""One training as it lies on disk, whoever made it: what a list of runs tells of it, and what is wrong with it.

Nothing here builds a model. A run that cannot be read is listed all the same, with its problem.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vptft.checkpoints.histories.frame import TEST, VAL
from vptft.checkpoints.histories.kmnp import FINAL_FOLDER, LOG, SEARCH_FOLDER, Job, method_of, read_jobs
from vptft.data import vtab
from vptft.errors import CheckpointError, VptftError

if TYPE_CHECKING:
    import pandas as pd

Stage = Literal["search", "final", "run"]

OURS, KMNP, PETL, UNKNOWN = "vptft", "kmnp", "petl-vit", "unknown"
RESULTS = "eval_results.pth"
SUFFIXES: tuple[tuple[str, Stage], ...] = ((FINAL_FOLDER, "final"), (SEARCH_FOLDER, "search"))
"""What tune_vtab.py appends to ``OUTPUT_DIR``: the five final runs, and the grid that chose their learning rate."""
NO_LR = (
    "its program found no learning rate: torch 2.6 and newer refuse the search's eval_results.pth, and that error is "
    "swallowed; train again with torch older than 2.6"
)
ON_TEST = "the accuracy is the best test accuracy of all that were measured: the epoch was chosen on the test images"
NO_ACCURACY = "converted without a test accuracy"
ROUNDING = 6e-5
"""Logs round a percentage to two decimals."""

_CELL = re.compile(r"lr(?P<lr>[-+.\w]{1,40}?)_wd(?P<wd>None|[-+.\deE]{1,40})(?:_.{0,80})?")
_CLOCK = re.compile(r"\d\d:\d\d:\d\d")
_RUN = re.compile(r"run\d{1,4}")
_PETL_LOG = re.compile(r"\s*(\d{1,6})\s+(?:tensor\()?([0-9.eE+-]{1,30})")


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One training.

    Attributes
    ----------
    folder
        Where it lies; for a capture of stdout, the file.
    producer
        ``vptft``, ``kmnp`` (KMnP/vpt and VPT-or-FT), ``petl-vit`` or ``unknown``.
    task, group
        Name and group as in the paper's tables where the task is one of VTAB-1k; otherwise the producer's, and None.
    method
        In our words; None where neither log nor file tells.
    stage
        ``search`` for a cell of a grid, ``final`` for a run with what the search chose, ``run`` for any other.
    seed
        None where none was set, or where nothing tells it.
    lr, base_lr
        Peak learning rate as used, and the same for a batch of 256, which KMnP's grids are written in.
    wd
        Weight decay as set.
    accuracy, accuracy_split
        Fraction after the last epoch, and of which images: ``test``, or ``val`` of searches.
    epochs
        Epochs trained.
    complete
        Whether all planned epochs are there; None where nothing tells.
    backbone
        As its producer names it.
    experiment
        What else groups runs that belong together: the output folder without its suffix, or sizes of our runs.
    superseded
        Whether a later job of the same log wrote to the same folder.
    problems
        What is wrong with it, or must be known before its number is used.
    """

    folder: Path
    producer: str
    task: str | None = None
    group: str | None = None
    method: str | None = None
    stage: Stage = "run"
    seed: int | None = None
    lr: float | None = None
    base_lr: float | None = None
    wd: float | None = None
    accuracy: float | None = None
    accuracy_split: str | None = None
    epochs: int | None = None
    complete: bool | None = None
    backbone: str | None = None
    experiment: str = ""
    superseded: bool = False
    problems: tuple[str, ...] = ()


def runs_in(folder: Path, files: set[str], *, search: bool) -> Iterator[ListedRun]:
    """Yield the runs that lie in a folder itself.

    Parameters
    ----------
    folder, files
        The folder and the names of its files.
    search
        Whether it lies in the search folder of one of our studies.
    """
    if "run.json" in files:
        yield _own(folder, search=search)
    elif (folder / "resume").is_dir():
        yield ListedRun(folder=folder, producer=OURS, complete=False, problems=("unfinished: no run.json yet",))
    if LOG in files or RESULTS in files:
        yield from _kmnp_folder(folder, files)
    elif _RUN.fullmatch(folder.name) and _CELL.fullmatch(folder.parent.name):
        yield _of_job(folder, None, _place(folder.absolute()), None, [f"it holds neither {LOG} nor {RESULTS}"])
    for name in sorted(files):
        if name.endswith(".pt") and (name.removesuffix(".pt") + ".log" in files or vtab.known(name[:-3])):
            yield from _petl(folder, name)


def runs_of_log(path: Path) -> list[ListedRun]:
    """Every job of a log or a capture of stdout, by the folders that its settings name."""
    jobs = read_jobs(path)
    return _without_repeats(
        [_of_job(path, job, _place(PurePath(job.output_dir or "")), None, []) for job in jobs], jobs
    )


def _own(folder: Path, *, search: bool) -> ListedRun:
    """One of our runs; imports torch and timm."""
    from vptft.checkpoints.native import load_run

    try:
        run = load_run(folder)
        history = run.history() if search else None
    except VptftError as error:
        return ListedRun(folder=folder, producer=OURS, complete=False, problems=(error.problem,))
    info, settings = run.info, run.info.settings
    words = (info.task, info.method, info.backbone)
    accuracy = _setting(info.test_accuracy, None)
    kinds = isinstance(settings, Mapping) and all(isinstance(word, str) for word in words)
    if not kinds or (accuracy is None and info.test_accuracy is not None):
        problem = f"{folder / 'run.json'} holds values of another kind than a run's"
        return ListedRun(folder=folder, producer=OURS, complete=False, problems=(problem,))
    epochs = settings.get("epochs")
    listed = ListedRun(
        folder=folder,
        producer=OURS,
        **_task(info.task),
        method=info.method,
        seed=info.seed if isinstance(info.seed, int) else None,
        lr=_setting(settings.get("lr"), None),
        wd=_setting(settings.get("weight_decay"), None),
        accuracy=accuracy,
        accuracy_split=None if accuracy is None else TEST,
        epochs=epochs if isinstance(epochs, int) else None,
        complete=True,
        backbone=info.backbone if info.shape is None else _imported_backbone(info.backbone_sha256),
        experiment=", ".join([f"{info.image_size} px", f"{info.n_train} training images", *_options(info.options)]),
        problems=tuple(map(str, info.notes)) if info.imported is None or accuracy is not None else (NO_ACCURACY,),
    )
    if history is None:
        return listed
    scores = history[history["split"] == VAL]["accuracy"]
    accuracy = float(scores.iloc[-1]) if len(scores) else None
    return replace(listed, stage="search", accuracy=accuracy, accuracy_split=VAL)


def _options(options: Mapping[str, Any]) -> Iterator[str]:
    """Options of a method that tell its runs apart, in words; what is off or at its plainest is left out."""
    for name, value in options.items():
        if value not in (False, 0, None, "all", "random"):
            yield f"{name} {value}"


def _imported_backbone(sha256: str | None) -> str:
    """Name of a converted run's backbone, which lies in its own folder: the weights' hash tells it from another's."""
    return "weights not known" if sha256 is None else f"weights {sha256[:12]}"


def _kmnp_folder(folder: Path, files: set[str]) -> list[ListedRun]:
    """The jobs of a folder that holds a log, metrics, or both; metrics are those of the last job."""
    problems: list[str] = []
    jobs: tuple[Job, ...] = ()
    results = None
    if LOG in files:
        try:
            jobs = read_jobs(folder / LOG)
        except CheckpointError as error:
            problems.append(error.problem)
    else:
        problems.append(f"no {LOG}: method, seed and planned epochs are unknown")
    if RESULTS in files:
        from vptft.checkpoints.histories.kmnp_results import read_eval_results

        try:
            results = read_eval_results(folder / RESULTS)
        except CheckpointError as error:
            problems.append(error.problem)
    place = _place(folder.absolute())
    if not jobs:
        return [_of_job(folder, None, place, results, problems)]
    listed = [
        _of_job(
            folder,
            job,
            place or _place(PurePath(job.output_dir or "")),
            results if job is jobs[-1] else None,
            problems if job is jobs[-1] else [],
        )
        for job in jobs
    ]
    return _without_repeats(listed, jobs)


class _Place(NamedTuple):
    """What a folder's path tells: ``ROOT_val/<DATA.NAME>/<FEATURE>/lr.._wd../runN``."""

    root: str
    stage: Stage
    dataset: str
    feature: str
    lr: float | None
    wd: float | None


def _place(path: PurePath) -> _Place | None:
    parts = [part for part in path.parts if not _CLOCK.fullmatch(part)]
    cells = [i for i, part in enumerate(parts) if i >= 3 and _CELL.fullmatch(part)]
    if not cells:
        return None
    i = cells[-1]
    match = _CELL.fullmatch(parts[i])
    assert match is not None
    root = str(PurePath(*parts[: i - 2]))
    suffix, stage = next((pair for pair in SUFFIXES if root.endswith(pair[0])), ("", "run"))
    lr, wd = _number(match["lr"]), _number(match["wd"])
    return _Place(root.removesuffix(suffix), stage, parts[i - 2], parts[i - 1], lr, wd)


def _of_job(
    folder: Path, job: Job | None, place: _Place | None, results: "pd.DataFrame | None", problems: list[str]
) -> ListedRun:
    """A training by KMnP/vpt or VPT-or-FT, from its log, its metrics and its path, as far as they are there."""
    problems = [*problems]
    setting = job.setting if job is not None else (lambda *_: None)
    name = setting("DATA.NAME") or (place and place.dataset) or _dataset(results)
    stage: Stage = place.stage if place else "run"
    if job is not None and job.final:
        stage = "final"
    lr = _setting(setting("SOLVER.BASE_LR"), place and place.lr)
    wd = _setting(setting("SOLVER.WEIGHT_DECAY"), place and place.wd)
    batch = setting("DATA.BATCH_SIZE")
    split = VAL if stage == "search" or (stage == "run" and not _has_test(job, results)) else TEST
    problems += _wrong(job, place, lr)
    accuracy, epochs = _accuracy(job, results, split, problems)
    if accuracy is None:
        problems.append(f"no accuracy on the {split} images")
    seed = setting("SEED")
    return ListedRun(
        folder=folder,
        producer=KMNP,
        **_task(str(name) if name else None),
        method=None if job is None else method_of(job.config),
        stage=stage,
        seed=seed if isinstance(seed, int) else None,
        lr=lr,
        base_lr=None if lr is None or not isinstance(batch, int) or batch < 1 else lr / batch * 256,
        wd=wd,
        accuracy=accuracy,
        accuracy_split=None if accuracy is None else split,
        epochs=job.epochs_done if job is not None else epochs,
        complete=None if job is None and results is not None else job is not None and job.complete,
        backbone=str(setting("DATA.FEATURE") or (place and place.feature) or "") or None,
        experiment=place.root if place else str(folder),
        problems=tuple(dict.fromkeys(problems)),
    )


def _wrong(job: Job | None, place: _Place | None, lr: float | None) -> Iterator[str]:
    if place and place.lr is None:
        yield NO_LR
    if job is None:
        return
    yield from job.problems
    if not job.config and not job.problems:
        yield "the log holds no settings: method and seed are unknown"
    if place and None not in (place.lr, lr) and not math.isclose(place.lr or 0, lr or 0, rel_tol=1e-6):
        yield f"the folder says lr {place.lr:g}, the log {lr:g}"
    if job.nan:
        yield f"the loss became NaN or infinite (line {job.line_of('nan')} of its log)"
    if not job.complete:
        planned = "an unknown number" if job.epochs_planned is None else job.epochs_planned
        yield f"stopped after {job.epochs_done} of {planned} epochs"


def _accuracy(
    job: Job | None, results: "pd.DataFrame | None", split: str, problems: list[str]
) -> tuple[float | None, int | None]:
    """Top-1 accuracy after the last epoch, and that epoch; the log's where it and the metrics disagree."""
    exact = _last_of_results(results, split)
    logged = _last_of_log(job, split)
    if exact is None or logged is None:
        return logged or exact or (None, None)
    if exact[1] != logged[1] or abs((exact[0] or 0) - (logged[0] or 0)) > ROUNDING:
        problems.append(
            f"{RESULTS} has {exact[0]:.4f} in epoch {exact[1]}, the log {logged[0]:.4f} in epoch {logged[1]}: "
            "they are not of the same training"
        )
        return logged
    return exact


def _last_of_results(results: "pd.DataFrame | None", split: str) -> tuple[float | None, int | None] | None:
    if results is None:
        return None
    rows = results[(results["split"] == split) & (results["metric"] == "top1")]
    rows = rows[rows["epoch"] == results["epoch"].max()]
    return (float(rows["value"].iloc[-1]), int(rows["epoch"].iloc[-1])) if len(rows) else None


def _last_of_log(job: Job | None, split: str) -> tuple[float | None, int | None] | None:
    for epoch in reversed(job.epochs if job else ()):
        found = epoch.evaluations.get(split)
        if found is not None and not math.isnan(found.top1):
            return found.top1, epoch.epoch
    return None


def _has_test(job: Job | None, results: "pd.DataFrame | None") -> bool:
    in_log = job is not None and any(TEST in epoch.evaluations for epoch in job.epochs)
    return in_log or (results is not None and bool((results["split"] == TEST).any()))


def _dataset(results: "pd.DataFrame | None") -> str | None:
    return None if results is None else str(results["dataset"].iloc[0])


def _without_repeats(listed: list[ListedRun], jobs: tuple[Job, ...]) -> list[ListedRun]:
    """Mark the jobs that a later one of the same log replaces, because it wrote to the same folder."""
    last = {job.output_dir: i for i, job in enumerate(jobs)}
    out = []
    for i, (run, job) in enumerate(zip(listed, jobs, strict=True)):
        if job.output_dir is not None and last[job.output_dir] > i:
            problem = f"a later job of the same log (line {jobs[last[job.output_dir]].line}) replaces it"
            run = replace(run, superseded=True, problems=(*run.problems, problem))
        out.append(run)
    return out


def _petl(folder: Path, name: str) -> Iterator[ListedRun]:
    """``models/METHOD/DATASET.pt`` with ``DATASET.log``, which holds the best epoch (from 0) and its test accuracy."""
    task = _task(name.removesuffix(".pt"))
    log = folder / f"{name.removesuffix('.pt')}.log"
    listed = ListedRun(
        folder=folder / name, producer=PETL, **task, method=folder.name.lower(), experiment=str(folder.parent)
    )
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            match = _PETL_LOG.match(file.read(200))
    except OSError as error:
        yield replace(listed, problems=(f"{log.name} could not be read: {error.strerror or error}",))
        return
    value = _number(match[2]) if match else None
    if match is None or value is None or not 0 <= value <= 100:
        if task["group"] is not None:
            yield replace(listed, problems=(f"{log.name} does not hold an epoch and an accuracy",))
        return
    yield replace(
        listed,
        accuracy=value if value <= 1 else value / 100,
        accuracy_split=TEST,
        epochs=int(match[1]) + 1,
        problems=(ON_TEST,),
    )


def _task(name: str | None) -> dict[str, Any]:
    row = vtab.known(name) if name else None
    return {"task": name, "group": None} if row is None else {"task": row.name, "group": row.group}


def _setting(found: Any, otherwise: float | None) -> float | None:
    number = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if number else otherwise


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
