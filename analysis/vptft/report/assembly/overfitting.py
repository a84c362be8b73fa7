"""From runs, and histories of other programs, to what they show of overfitting."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vptft.checkpoints.histories import read_history
from vptft.checkpoints.listed import OURS, ListedRun
from vptft.checkpoints.native import Run, find_runs
from vptft.checkpoints.trees import list_runs
from vptft.errors import CheckpointError, DataError, VptftError
from vptft.report.assembly.outcomes import paired_images
from vptft.report.assembly.saved import identity, saved_or
from vptft.report.assembly.studies import NO_CHOICES, task_group
from vptft.storage import key_of
from vptft.tuning.loop import kept_epoch
from vptft.tuning.settings import TrainSettings
from vptft.why.overfitting import calibration, explanation, regularisation
from vptft.why.overfitting.curves import KEYS, OverfittingCurves, checked, measure

TABLE = ("task", "method", "seed", "history")
"""Columns that a table of histories needs; n_train, pretraining and task_group are optional."""
REGULARISERS = frozenset({"weight_decay", "backbone_dropout", "augment", "label_smoothing", "keep"})
"""Settings that keep a network from overfitting; ``keep`` is early stopping on validation."""
DEFAULTS = {each.name: each.default for each in fields(TrainSettings)}


class Found(NamedTuple):
    """Our runs, histories of others with what is known of them, and why something is left out."""

    runs: list[Run]
    others: list[pd.DataFrame]
    left_out: list[str]


def histories_in(folders: Sequence[Path]) -> Found:
    """Find every run at or below folders: ours, and KMnP's without its searches and replaced jobs.

    Raises
    ------
    CheckpointError
        There is neither a run nor a history.
    """
    listed = list_runs(folders)
    runs = find_runs(list(folders)) if any(each.producer == OURS and each.complete for each in listed) else []
    others, left_out = [], []
    for each in listed:
        if each.producer == OURS or each.stage == "search" or each.superseded:
            continue
        try:
            others.append(_of_listed(each))
        except VptftError as error:
            left_out.append(f"{each.folder}: {error.problem}")
    if not runs and not others:
        raise CheckpointError(
            f"No run with a history in {', '.join(map(str, folders))}. {'; '.join(left_out)}".strip(),
            f"Histories of other programs: give a CSV with the columns {', '.join(TABLE)} as --table.",
        )
    return Found(runs, others, left_out)


def histories_of(table: Path) -> list[pd.DataFrame]:
    """Read the histories that a CSV names: a row a run, ``history`` a path from the CSV's folder.

    Raises
    ------
    DataError, CheckpointError
        No such table, a column missing; a history that cannot be read.
    """
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{table} could not be read as a table: {error}") from error
    if missing := [name for name in TABLE if name not in rows]:
        raise DataError(f"{table} lacks the columns {missing}; it has {list(rows)}.", f"Needed: {', '.join(TABLE)}.")
    found = []
    for row in rows.to_dict("records"):
        if not all(row.get(name, "0").isdigit() for name in ("seed", "n_train")):
            raise DataError(f"{table}: seed and n_train are whole numbers; a row has {row}.")
        own = {name: row[name] for name in ("task", "method", "pretraining", "task_group") if name in row}
        numbers = {name: int(row[name]) for name in ("seed", "n_train") if name in row}
        found.append(read_history(table.parent / row["history"]).assign(**own, **numbers))
    return found


def curves(
    runs: Sequence[Run],
    *,
    others: Sequence[pd.DataFrame] = (),
    left_out: Sequence[str] = (),
    folder: Path | None = None,
) -> OverfittingCurves:
    """Overfitting curves of runs and of histories that are no runs.

    What has no curve to be judged on is left out and named in the settings; an error only where nothing is left.
    """
    inputs = {
        "runs": [identity(run) for run in runs], "left_out": list(left_out),
        "others": key_of(*(other.to_csv(index=False) for other in others)) if others else "",
    }  # fmt: skip

    def make(settings: dict[str, Any]) -> OverfittingCurves:
        labels = labels_of(runs)
        own = (partial(_history, run, label) for run, label in zip(runs, labels, strict=True))
        usable, unusable = _usable([*own, *(other.copy for other in others)])
        return measure(usable, settings={**settings, "left_out": [*left_out, *unusable]})

    return saved_or(OverfittingCurves, folder, inputs, make)


def calibrations(
    runs: Sequence[Run],
    shown: OverfittingCurves,
    *,
    bins: int = calibration.BINS,
    seed: int = 0,
    folder: Path | None = None,
) -> calibration.Calibration:
    """Calibration of the runs' test predictions, beside the rise that their curves show.

    Runs without predictions are left out and named in the settings.
    """
    curves_key = shown.settings.get("key")
    inputs = {"runs": [identity(run) for run in runs], "curves": curves_key, "bins": bins, "seed": seed}

    def make(settings: dict[str, Any]) -> calibration.Calibration:
        labels, found, left_out = labels_of(runs), [], []
        rises = shown.runs.set_index(KEYS)["rise_nats"].to_dict()
        for run, label in zip(runs, labels, strict=True):
            try:
                predictions = run.predictions()
            except VptftError as error:
                left_out.append(f"{run.folder}: {error.problem}")
                continue
            names = _names(run, label)
            found.append(
                calibration.Predicted(
                    **names, logits=predictions.logits, labels=predictions.labels, groups=predictions.groups,
                    rise_nats=rises.get(tuple(names[key] for key in KEYS), float("nan")),
                )
            )  # fmt: skip
        return calibration.measure(found, bins=bins, seed=seed, settings={**settings, "left_out": left_out})

    return saved_or(calibration.Calibration, folder, inputs, make)


def explained(
    runs: Sequence[Run], shown: OverfittingCurves, *, vpt: str = "vpt_deep", ft: str = "ft", folder: Path | None = None
) -> explanation.Explanation:
    """Regress the gap of paired runs on how much more FT overfits than VPT.

    Parameters
    ----------
    runs, shown
        The runs, and their curves.
    vpt, ft
        Which labels are compared: those of :func:`labels_of`.
    """
    inputs = {"runs": [identity(run) for run in runs], "curves": shown.settings.get("key"), "vpt": vpt, "ft": ft}

    def make(settings: dict[str, Any]) -> explanation.Explanation:
        keys = ["task", "n_train", "seed", "pretraining", "method"]
        measured = shown.runs.set_index(keys)[list(explanation.PREDICTORS)]
        sides: dict[tuple[tuple[Any, ...], str], dict[str, Run]] = {}
        for run, label in zip(runs, labels_of(runs), strict=True):
            names = _names(run, label)
            key = tuple(names[name] for name in ("task", "n_train", "seed", "pretraining"))
            if label in (vpt, ft) and (*key, label) in measured.index and run.info.test_accuracy is not None:
                sides.setdefault((key, _network(run)), {})[label] = run
        cells = [
            _compared(key, found[vpt], found[ft], measured.loc[(*key, ft)] - measured.loc[(*key, vpt)])
            for (key, _), found in sides.items()
            if len(found) == 2
        ]
        return explanation.measure(cells, settings=settings)

    return saved_or(explanation.Explanation, folder, inputs, make)


def regularised(
    runs: Sequence[Run], shown: OverfittingCurves, *, vpt: str = "vpt_deep", ft: str = "ft", folder: Path | None = None
) -> regularisation.Regularisation:
    """Compare FT with and without each regulariser, and with VPT: labels as of :func:`labels_of`."""
    inputs = {"runs": [identity(run) for run in runs], "curves": shown.settings.get("key"), "vpt": vpt, "ft": ft}

    def make(settings: dict[str, Any]) -> regularisation.Regularisation:
        rises = shown.runs.set_index(["task", "n_train", "seed", "pretraining", "method"])["rise_nats"].to_dict()
        cells: dict[tuple[tuple[Any, ...], str], dict[str, Run]] = {}
        for run, label in zip(runs, labels_of(runs), strict=True):
            names = _names(run, label)
            key = tuple(names[name] for name in ("task", "n_train", "seed", "pretraining"))
            if (*key, label) in rises and run.info.test_accuracy is not None:
                cells.setdefault((key, _network(run)), {})[label] = run
        arms = [
            _arm(key, found[ft], found[label], changed, found.get(vpt), rises[(*key, label)] - rises[(*key, ft)])
            for (key, _), found in cells.items()
            for label in found
            if ft in found and (changed := _regularisers(found[ft], found[label]))
        ]
        return regularisation.measure(arms, settings=settings)

    return saved_or(regularisation.Regularisation, folder, inputs, make)


def labels_of(runs: Sequence[Run]) -> list[str]:
    """Name each run's method, with the settings in which runs of one task and size differ: ``ft, keep best_val``.

    Runs that differ in more than their seed are no seeds of one another. Only what is not a default is said, so that
    the plain method keeps its plain name.
    """
    seen: dict[tuple[Any, ...], dict[str, set[Any]]] = {}
    for run in runs:
        info = run.info
        values = seen.setdefault((info.method, info.task, info.n_train, info.pretraining), {})
        for name, value in _choices(run).items():
            values.setdefault(name, set()).add(value)
    varied = {(cell[0], name) for cell, values in seen.items() for name, found in values.items() if len(found) > 1}
    return [
        ", ".join([
            run.info.method,
            *(
                f"{name} {value}"
                for name, value in sorted(_choices(run).items())
                if (run.info.method, name) in varied and value != str(DEFAULTS.get(name))
            ),
        ])
        for run in runs
    ]  # fmt: skip


def _choices(run: Run) -> dict[str, str]:
    """Settings that were chosen before training, as text; a setting that a run does not tell has its default."""
    searched = {trial["weight_decay"] for trial in (run.info.search or {}).get("trials", [])}
    told = {**run.info.settings, **run.info.options, "image_size": run.info.image_size}
    if run.info.imported is None:
        told = {name: told.get(name, default) for name, default in DEFAULTS.items()}
    unchosen = NO_CHOICES | ({"weight_decay"} if len(searched) > 1 else set())
    return {name: str(value) for name, value in told.items() if name not in unchosen} | {"backbone": run.info.backbone}


def _network(run: Run) -> str:
    """What two runs must share to be compared, besides task, size and seed."""
    return f"{run.info.backbone_sha256} at {run.info.image_size} px"


def _names(run: Run, label: str) -> dict[str, Any]:
    info = run.info
    return {
        "task": info.task, "task_group": task_group(info.task), "pretraining": info.pretraining, "method": label,
        "n_train": info.n_train or 0, "seed": -1 if info.seed is None else info.seed,
    }  # fmt: skip


def _history(run: Run, label: str) -> pd.DataFrame:
    """A run's history with its names, to the epoch whose weights it kept."""
    history = run.history()
    end = kept_epoch(history) if run.info.settings.get("keep") == "best_val" else 0
    return history.assign(**_names(run, label), end_epoch=end)


def _usable(makers: Iterable[Callable[[], pd.DataFrame]]) -> tuple[list[pd.DataFrame], list[str]]:
    """Histories that can be judged, and why the others cannot."""
    usable: list[pd.DataFrame] = []
    left_out: list[str] = []
    first = None
    for make in makers:
        try:
            history = make()
            checked(history)
        except VptftError as error:
            first = first or error
            left_out.append(error.problem)
        else:
            usable.append(history)
    if first is not None and not usable:
        raise first
    return usable, left_out


def _compared(key: tuple[Any, ...], vpt: Run, ft: Run, apart: pd.Series) -> explanation.Compared:
    task, n_train, seed, pretraining = key
    return explanation.Compared(
        task=task, group=vpt.info.appearance or task_group(task), pretraining=pretraining, n_train=n_train, seed=seed,
        rise_nats=float(apart["rise_nats"]), loss_gap_nats=float(apart["loss_gap_nats"]),
        images=paired_images(vpt.predictions(), ft.predictions(), task), few_groups=vpt.info.few_groups,
    )  # fmt: skip


def _regularisers(plain: Run, other: Run) -> str:
    """What regularises the other run and not the plain one; empty where they differ in anything else."""
    ours, theirs = _choices(plain), _choices(other)
    changed = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    if plain.info.method != other.info.method or not changed <= REGULARISERS:
        return ""
    return ", ".join(f"{name} {theirs.get(name)}" for name in sorted(changed))


def _arm(
    key: tuple[Any, ...], plain: Run, changed: Run, arm: str, vpt: Run | None, rise_change: float
) -> regularisation.Arm:
    task, n_train, seed, pretraining = key
    return regularisation.Arm(
        arm=arm, task=task, pretraining=pretraining, n_train=n_train, seed=seed, rise_change=float(rise_change),
        gained=paired_images(changed.predictions(), plain.predictions(), task),
        gap=None if vpt is None else paired_images(vpt.predictions(), changed.predictions(), task),
        few_groups=plain.info.few_groups,
    )  # fmt: skip


def _of_listed(listed: ListedRun) -> pd.DataFrame:
    """The history of another program's run; of several jobs in its log the last, which its folder holds."""
    if listed.task is None or listed.method is None:
        raise CheckpointError("neither its log nor its folder tells task and method")
    history = read_history(listed.folder)
    history = history[history["run"] == history["run"].iloc[-1]]
    return history.assign(
        task=listed.task, method=listed.method, seed=-1 if listed.seed is None else listed.seed,
        task_group=listed.group or "", pretraining="",
    )  # fmt: skip
