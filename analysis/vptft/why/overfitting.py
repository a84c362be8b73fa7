"""Overfitting curves: training and test loss per epoch, and how far the test loss rises after its minimum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result

KEYS = ["task", "method", "seed"]


@dataclass(frozen=True, kw_only=True)
class OverfittingCurves(Result):
    """Loss curves of runs and what they show at the end; ``curves`` as in :meth:`frame`, ``runs`` one row a run."""

    analysis: ClassVar[str] = "overfitting"
    curves: pd.DataFrame
    runs: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, method, seed, epoch, split, loss (nats), accuracy (fraction)."""
        return self.curves

    def findings(self) -> tuple[Finding, ...]:
        """Y1, without a verdict: how often each method's test loss rises; the test itself needs seeds and tasks."""
        rises = self.runs.groupby("method")["rise_nats"]
        said = "; ".join(f"{method}: {(rise > 0).sum()} of {len(rise)} runs" for method, rise in rises)
        return (
            Finding(
                hypothesis="Y1",
                statement=f"Test loss ends above its minimum ({said})",
                verdict="inconclusive",
                reason="curves only: whether overfitting explains the gap is not tested by them",
                n=len(self.runs),
            ),
        )


def measure(histories: Sequence[pd.DataFrame], *, settings: Mapping[str, Any] | None = None) -> OverfittingCurves:
    """Summarise histories.

    Parameters
    ----------
    histories
        Each with columns task, method, seed, epoch, split, loss, accuracy. Curves of a run whose "val" is part of
        its training data must not be passed as test.

    Returns
    -------
    OverfittingCurves
        ``runs`` holds onset_epoch (where the test loss is smallest), rise_nats (last minus smallest test loss),
        loss_gap_nats (last test minus last training loss), test_accuracy_last, test_accuracy_best.

    Notes
    -----
    A rise of the loss need not cost accuracy: confidence alone raises it. The training loss is measured while
    weights move, so in the first epochs it lies above the loss at the epoch's end.
    """
    if not histories:
        raise SettingsError("There is no history to draw curves from.")
    needed = [*KEYS, "epoch", "split", "loss", "accuracy"]
    for history in histories:
        missing = [column for column in needed if column not in history]
        if missing:
            raise SettingsError(f"A history lacks the columns {missing}; it has {list(history.columns)}.")
    curves = pd.concat([history[needed] for history in histories], ignore_index=True)
    rows = [{**dict(zip(KEYS, key, strict=True)), **_summary(run)} for key, run in curves.groupby(KEYS, sort=True)]
    return OverfittingCurves(settings=dict(settings or {}), curves=curves, runs=pd.DataFrame(rows))


def _summary(run: pd.DataFrame) -> dict[str, float]:
    test = run[run["split"] == "test"].sort_values("epoch")
    train = run[run["split"] == "train"].sort_values("epoch")
    if test.empty or train.empty:
        raise SettingsError(f"A run's history has splits {sorted(set(run['split']))}; train and test are needed.")
    loss = test["loss"].to_numpy()
    return {
        "onset_epoch": float(test["epoch"].to_numpy()[np.argmin(loss)]),
        "rise_nats": float(loss[-1] - loss.min()),
        "loss_gap_nats": float(loss[-1] - train["loss"].to_numpy()[-1]),
        "test_accuracy_last": float(test["accuracy"].to_numpy()[-1]),
        "test_accuracy_best": float(test["accuracy"].max()),
    }
