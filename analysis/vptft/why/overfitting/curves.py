"""Overfitting curves: loss and accuracy per epoch, and how far the held-out loss rises since its onset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.evidence.verdicts import SEEDS_FOR_A_VERDICT
from vptft.tuning.methods import called
from vptft.why.overfitting.onset import RULE, over_seeds, turns, verdict
from vptft.why.overfitting.printed import agreement

CELL = ["task", "task_group", "pretraining", "method", "n_train"]
KEYS = [*CELL, "seed"]
NEEDED = ["task", "method", "seed", "epoch", "split", "loss", "accuracy"]
OPTIONAL: Mapping[str, str | int] = {"task_group": "", "pretraining": "", "n_train": 0, "end_epoch": 0}
"""What a history need not tell, and what stands for it."""
OUTCOMES = ("overfits", "does not", "cannot tell")


@dataclass(frozen=True, kw_only=True)
class OverfittingCurves(Result):
    """Curves of runs, what each shows, and what the seeds of a task and method show together.

    Attributes
    ----------
    curves
        As in :meth:`frame`.
    runs
        One row a run. Columns: task, task_group, pretraining, method, n_train (0: not known), seed, judged_on (``test``
        or ``val``), onset_from (whose curve the onset was chosen on), onset_epoch, end_epoch, rise_nats (since the
        onset), rise_from_minimum_nats (since the curve's own minimum: never negative, so biased upward),
        loss_gap_nats (held-out less training loss at the end), accuracy_gap_points (training less held-out accuracy),
        accuracy_change_points (since the onset), test_accuracy_last, test_accuracy_best (fractions, held-out).
    cells
        One row a task, method and size: n_seeds, onset_epoch (median), and of rise_nats, loss_gap_nats,
        accuracy_gap_points and accuracy_change_points the mean, with ``rise_low``, ``rise_high`` and so on (95%
        interval over seeds; NaN below three) and ``rise_least``, ``rise_most``; accuracy (``falls``, ``rises``,
        ``cannot tell``, ``not known``) and verdict, by :data:`vptft.why.overfitting.onset.RULE`.
    printed
        Beside the paper's printed counts, where tasks are VTAB's: see :func:`.printed.agreement`.
    """

    analysis: ClassVar[str] = "overfitting"
    curves: pd.DataFrame
    runs: pd.DataFrame
    cells: pd.DataFrame
    printed: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: those of a run, epoch, split, loss (nats), accuracy (fraction), judged (whether held-out)."""
        return self.curves

    def findings(self) -> tuple[Finding, ...]:
        """Y1, without a verdict: on how many tasks each method overfits, for each pretraining objective.

        What explains the gap is another analysis.
        """
        return tuple(
            _counted(str(pretraining), cells) for pretraining, cells in self.cells.groupby("pretraining", sort=True)
        )


def _counted(pretraining: str, cells: pd.DataFrame) -> Finding:
    said = []
    for method, part in cells.groupby("method", sort=True):
        counts = ", ".join(f"{name} {(part['verdict'] == name).sum()}" for name in OUTCOMES)
        said.append(f"{called(str(method))}: {counts}, accuracy falls {(part['accuracy'] == 'falls').sum()}")
    few = int(cells["n_seeds"].max()) < SEEDS_FOR_A_VERDICT
    return Finding(
        hypothesis="Y1",
        statement=f"Held-out loss rises after its onset, counted over tasks and sizes ({'; '.join(said)})"
        + (f"; {pretraining} pretraining" if pretraining else ""),
        verdict="inconclusive",
        reason="fewer than three seeds: no verdict"
        if few
        else "curves only: whether overfitting explains the gap is for the regression over tasks",
        n=len(cells),
    )


def measure(histories: Sequence[pd.DataFrame], *, settings: Mapping[str, Any] | None = None) -> OverfittingCurves:
    """Find onset, rise and generalisation gap of runs, and judge each task and method over its seeds.

    Parameters
    ----------
    histories
        One a run, with columns task, method, seed, epoch, split, loss, accuracy; and, where known, task_group,
        pretraining, n_train, end_epoch (the epoch whose weights the run ends with, where that is not the last). Splits
        are those of :mod:`vptft.checkpoints.histories.frame`. A run is judged on ``test``, without it on ``val``.

    Raises
    ------
    SettingsError
        No history, one without a training or a held-out curve, or two of the same run. A ``val_in_train`` curve, of
        images that were trained on, is none: it always looks as if nothing overfitted.

    Notes
    -----
    Han et al. (2024, section 5.1, Figures 5, 6 and 9-13) judge such curves by eye. A rise need not cost accuracy:
    confidence alone raises the loss (:mod:`.calibration`). The interval is over training draws, with the test images
    fixed: another test set would move all seeds together. The training loss is taken while weights move, so that early
    epochs look worse than they end. Seeds with other epochs than each other are compared on those that all have.
    """
    if not histories:
        raise SettingsError("There is no history to draw curves from.")
    curves = pd.concat([checked(history) for history in histories], ignore_index=True)
    twice = curves.duplicated([*KEYS, "epoch", "split"])
    if twice.any():
        row = curves[twice].iloc[0]
        raise SettingsError(
            f"Two histories are of {row['method']} on {row['task']}, n {row['n_train']}, seed {row['seed']}.",
            "Give folders that hold one of them.",
        )
    runs = [row for _, cell in curves.groupby(CELL, sort=True) for row in _runs(cell)]
    table = pd.DataFrame(runs)
    cells = pd.DataFrame([_cell(cell) for _, cell in table.groupby(CELL, sort=True)])
    return OverfittingCurves(
        settings={**(settings or {}), "rule": RULE},
        curves=curves.drop(columns="end_epoch"),
        runs=table,
        cells=cells,
        printed=agreement(cells),
    )


def checked(history: pd.DataFrame) -> pd.DataFrame:
    """Give one run's rows in the columns of the result, with the curve it is judged on marked.

    Raises
    ------
    SettingsError
        As :func:`measure`, for one history.
    """
    missing = [column for column in NEEDED if column not in history]
    if missing:
        raise SettingsError(f"A history lacks the columns {missing}; it has {list(history.columns)}.")
    frame = history.assign(**{name: OPTIONAL[name] for name in OPTIONAL if name not in history})
    frame = frame.fillna(dict(OPTIONAL)).astype({"accuracy": "float64"})
    frame = frame[np.isfinite(frame["loss"].astype(float))]
    splits = set(frame["split"])
    judged = next((split for split in ("test", "val") if split in splits), None)
    if judged is None or "train" not in splits:
        why = "; its val_in_train images were trained on, so they judge nothing" if "val_in_train" in splits else ""
        raise SettingsError(
            f"A run's history has splits {sorted(set(history['split']))} with a loss; train and test are needed{why}.",
            "A curve of validation images serves as well, if they were not trained on.",
        )
    first = frame.iloc[0]
    who = f"{first['method']} on {first['task']}, seed {first['seed']},"
    told = history[history["split"] == judged]
    lost = told[
        ~np.isfinite(told["loss"].astype(float)) & (np.isinf(told["loss"].astype(float)) | told["accuracy"].notna())
    ]
    if len(lost):
        raise SettingsError(
            f"{who} has diverged: its {judged} loss is no number from epoch {int(lost['epoch'].min())} on, so nothing "
            "can be said of its rise."
        )
    begins = int(max(frame.loc[frame["split"] == split, "epoch"].min() for split in ("train", judged)))
    if 0 < (end := int(frame["end_epoch"].max())) < begins:
        raise SettingsError(f"{who} keeps the weights of epoch {end}, and its curves begin at {begins}.")
    frame = frame.assign(judged=frame["split"] == judged)
    return frame[[*KEYS, "epoch", "split", "loss", "accuracy", "judged", "end_epoch"]]


def _runs(cell: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the runs of one task, method and size."""
    seeds = sorted(cell["seed"].unique())
    judged = {name: _matrix(cell[cell["judged"]], name, seeds) for name in ("loss", "accuracy")}
    on = cell[cell["judged"]].groupby("seed")["split"].first()
    loss, epochs = judged["loss"].to_numpy(), judged["loss"].columns.to_numpy()
    choosing, source = _choosing(cell, judged["loss"], seeds)
    told = cell.groupby("seed")["end_epoch"].max().loc[seeds].to_numpy()
    ends = np.array([np.flatnonzero(epochs <= (end or epochs[-1]))[-1] for end in told])
    found = turns(loss, judged["accuracy"].to_numpy(), choosing, ends)
    rows = []
    for i, (seed, turn, end) in enumerate(zip(seeds, found, ends, strict=True)):
        of_seed = cell[cell["seed"] == seed]
        train = of_seed[(of_seed["split"] == "train") & (of_seed["epoch"] <= epochs[end])].sort_values("epoch").iloc[-1]
        accuracy = judged["accuracy"].to_numpy()[i]
        rows.append(
            {name: cell[name].iloc[0] for name in CELL}
            | {
                "seed": int(seed), "judged_on": on[seed], "onset_from": source, "onset_epoch": int(epochs[turn.onset]),
                "end_epoch": int(epochs[end]), "rise_nats": turn.rise,
                "rise_from_minimum_nats": float(loss[i, end] - loss[i, : end + 1].min()),
                "loss_gap_nats": float(loss[i, end] - train["loss"]),
                "accuracy_gap_points": float(100 * (train["accuracy"] - accuracy[end])),
                "accuracy_change_points": 100 * turn.accuracy_change,
                "test_accuracy_last": float(accuracy[end]), "test_accuracy_best": float(accuracy.max()),
            }
        )  # fmt: skip
    return rows


def _choosing(cell: pd.DataFrame, judged: pd.DataFrame, seeds: Sequence[Any]) -> tuple[np.ndarray, str]:
    """Curves that onsets are chosen on, and whose they are: validation where it is not what is judged."""
    whose = "other seeds' " if len(seeds) > 1 else "its own "
    apart = cell[(cell["split"] == "val") & ~cell["judged"]]
    if set(apart["seed"]) == set(seeds):
        curves = _matrix(apart, "loss", seeds)
        if set(judged.columns) <= set(curves.columns):
            return curves[judged.columns].to_numpy(), f"{whose}validation"
    return judged.to_numpy(), f"{whose}held-out curve"


def _matrix(rows: pd.DataFrame, name: str, seeds: Sequence[Any]) -> pd.DataFrame:
    """Values of seeds by epochs, of the epochs that all seeds have."""
    common = rows.groupby("epoch")["seed"].nunique()
    kept = rows[rows["epoch"].isin(common[common == len(seeds)].index)]
    if kept.empty:
        raise SettingsError(f"The seeds of {rows['method'].iloc[0]} on {rows['task'].iloc[0]} share no epoch.")
    return kept.pivot(index="seed", columns="epoch", values=name).sort_index(axis=1).loc[list(seeds)]


def _cell(runs: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {name: runs[name].iloc[0] for name in CELL}
    row |= {"n_seeds": len(runs), "onset_epoch": float(runs["onset_epoch"].median())}
    found = {}
    for name in ("rise_nats", "loss_gap_nats", "accuracy_gap_points", "accuracy_change_points"):
        found[name] = each = over_seeds(runs[name].to_numpy())
        stem = name.rpartition("_")[0]
        row |= {name: each.value, f"{stem}_low": each.low, f"{stem}_high": each.high}
    rise, change = found["rise_nats"], found["accuracy_change_points"]
    row |= {"rise_least": float(runs["rise_nats"].min()), "rise_most": float(runs["rise_nats"].max())}
    falls = "falls" if change.high < 0 else "rises" if change.low > 0 else "cannot tell"
    row |= {"accuracy": "not known" if np.isnan(change.value) else falls, "verdict": verdict(rise)}
    return row
