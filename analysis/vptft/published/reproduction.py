"""A user's own runs laid over the printed numbers, with a test of whether they reproduce them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy import stats

from vptft.checkpoints.native import Run, RunInfo
from vptft.data import fgvc, vtab
from vptft.errors import NotApplicable
from vptft.evidence.results import Result
from vptft.evidence.statistics.families import holm
from vptft.evidence.statistics.paired import around
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.evidence.verdicts import LEVEL, REGION, SEEDS_FOR_A_VERDICT
from vptft.published.claims import RUNS_A_CELL
from vptft.published.tables import MAE, MOCO, SUPERVISED, SWIN, VIT, Tables

Outcome = Literal["reproduced", "different", "inconclusive", "not applicable"]
RULE = (
    f"Reproduced: the 95% interval of own minus printed lies within ±{REGION:g} point. Different: it excludes zero, "
    "reaches beyond the region, and its p after Holm's correction is below 5%. Otherwise inconclusive, and always so "
    f"with fewer than {SEEDS_FOR_A_VERDICT} seeds."
)
METHODS = {"vpt_deep": "vpt", "ft": "ft", "mixed": "mixed", "ft_then_pt": "ft_then_pt", "lora": "lora"}
"""Names of our methods to those of the tables."""
PRETRAINED = {"supervised": SUPERVISED, "masked": MAE, "contrastive": MOCO}
"""Pretraining objectives to the printed backbone that has the same."""
SETTINGS = {
    "1000": "vtab1k", "1 per class": "one_shot", "full": "fgvc", "400": "data_scale", "800": "data_scale",
    "5000": "data_scale", "10000": "data_scale",
}  # fmt: skip
"""Sizes of the training set to the setting they are printed in."""
OWN_COLUMNS = ("task", "method", "seed", "n_train", "backbone", "pretraining", "accuracy", "reason")
CELL = ("task", "method", "n_train", "backbone", "pretraining", "reason")
COLUMNS = (
    "setting", "task", "method", "n_train", "backbone", "pretraining", "own_backbone", "n_seeds", "own", "printed",
    "difference_points", "low_points", "high_points", "p", "p_adjusted", "outcome", "reason",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Reproduction(Result):
    """One row for each task, method and size that the runs have.

    Attributes
    ----------
    table
        ``own`` (mean over seeds) and ``printed`` accuracy in percent, their difference with its 95% interval, the
        ``outcome`` by :data:`RULE`, and why it is that one.

    Notes
    -----
    The printed number is a mean of five trainings whose spread is not printed: the interval takes it to be that of the
    own runs, with Student's t, standard error s sqrt(1/k + 1/5) for k seeds. Where both spreads differ, or the own
    backbone is another one than the paper's (see ``own_backbone``), a difference is no failed reproduction.
    """

    analysis: ClassVar[str] = "reproduction"
    table: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.table


def own_accuracies(runs: Sequence[Run]) -> pd.DataFrame:
    """Give one row a run, under the names of the printed tables.

    Returns
    -------
    DataFrame
        :data:`OWN_COLUMNS`: ``accuracy`` in percent; ``reason`` says why a run has no printed counterpart, else empty.
    """
    rows = []
    for run in runs:
        try:
            name, reason = _counterpart(run.info), ""
        except NotApplicable as error:
            name, reason = (run.info.task, run.info.method, str(run.info.n_train), run.info.pretraining), error.problem
        task, method, n_train, pretraining = name
        accuracy = float("nan") if run.info.test_accuracy is None else 100 * run.info.test_accuracy
        seed = -1 if run.info.seed is None else run.info.seed
        rows.append((task, method, seed, n_train, run.info.backbone, pretraining, accuracy, reason))
    return pd.DataFrame(rows, columns=list(OWN_COLUMNS))


def measure(own: pd.DataFrame, tables: Tables, *, settings: Mapping[str, Any] | None = None) -> Reproduction:
    """Compare the mean accuracy of own runs with the printed one, cell by cell.

    Parameters
    ----------
    own
        Of :func:`own_accuracies`, or made by hand with its columns.
    tables
        The printed numbers.
    """
    rows = [_compared(part, tables.accuracies) for _, part in own.groupby(list(CELL))]
    table = pd.DataFrame(rows)
    table["p_adjusted"] = holm(table["p"].to_numpy())
    judged = [_outcome(row) for row in table.to_dict("records")]
    table["outcome"], table["reason"] = zip(*judged, strict=True)
    return Reproduction(settings={"rule": RULE, "seed": 0, **(settings or {})}, table=table[list(COLUMNS)])


def _counterpart(info: RunInfo) -> tuple[str, str, str, str]:
    """Task, method, size and pretraining of a run as the tables name them.

    Raises
    ------
    NotApplicable
        When nothing like it is printed, with the reason.
    """
    if info.method not in METHODS:
        raise NotApplicable(f"the paper prints no {info.method}")
    if info.pretraining not in PRETRAINED:
        raise NotApplicable(f"the paper has no backbone with {info.pretraining} pretraining")
    if (fine := fgvc.known(info.task)) is not None:
        return fine.name, METHODS[info.method], "full", PRETRAINED[info.pretraining]
    if (row := vtab.known(info.task)) is None:
        raise NotApplicable("a task that is not in the paper's tables")
    one_each = info.n_train == row.classes
    return (
        row.name,
        METHODS[info.method],
        "1 per class" if one_each else str(info.n_train),
        PRETRAINED[info.pretraining],
    )


def _compared(runs: pd.DataFrame, cells: pd.DataFrame) -> dict[str, Any]:
    """Compare the runs of one cell."""
    key, values = runs.iloc[0], runs["accuracy"].dropna().to_numpy()
    setting = "lora" if key["method"] == "lora" else SETTINGS.get(key["n_train"], "")
    printed_backbone = SWIN if "swin" in key["backbone"] else VIT
    found = cells[
        (cells["setting"] == setting) & (cells["task"] == key["task"]) & (cells["method"] == key["method"])
        & (cells["n_train"] == key["n_train"]) & (cells["backbone"] == printed_backbone)
        & (cells["pretraining"] == key["pretraining"])
    ]  # fmt: skip
    printed = float(found["accuracy"].iloc[0]) if len(found) == 1 else float("nan")
    reason = key["reason"] or ("" if len(found) == 1 else "no number is printed for this cell")
    reason = reason or ("" if len(values) else "no run of it has a test accuracy")
    effect, p = _difference(values, printed)
    return {
        "setting": setting, "task": key["task"], "method": key["method"], "n_train": key["n_train"],
        "backbone": printed_backbone, "pretraining": key["pretraining"], "own_backbone": key["backbone"],
        "n_seeds": len(values), "own": float(values.mean()) if len(values) else float("nan"), "printed": printed,
        "difference_points": effect.value, "low_points": effect.low, "high_points": effect.high, "p": p,
        "reason": reason,
    }  # fmt: skip


def _difference(values: np.ndarray, printed: float) -> tuple[Interval, float]:
    """Own mean minus a printed mean of five, with its interval and two-sided p."""
    value = float(values.mean()) - printed if len(values) else float("nan")
    if len(values) < 2 or np.isnan(value):
        return no_interval(value), float("nan")
    se = float(values.std(ddof=1) * np.sqrt(1 / len(values) + 1 / RUNS_A_CELL))
    p = 2 * float(stats.t.sf(abs(value) / se, len(values) - 1)) if se else float(value == 0)
    return around(value, se, len(values) - 1), p


def _outcome(row: Mapping[Any, Any]) -> tuple[Outcome, str]:
    """Judge one row by :data:`RULE`."""
    low, high = row["low_points"], row["high_points"]
    if row["reason"]:
        return "not applicable", row["reason"]
    if row["n_seeds"] < SEEDS_FOR_A_VERDICT:
        return "inconclusive", f"{row['n_seeds']} seeds: no verdict"
    if low >= -REGION and high <= REGION:
        return "reproduced", f"the 95% interval lies within ±{REGION:g} point"
    if low <= 0 <= high:
        return "inconclusive", f"the 95% interval includes zero and reaches beyond ±{REGION:g} point"
    if row["p_adjusted"] >= LEVEL:
        return "inconclusive", f"p = {row['p_adjusted']:.2g} after correction"
    return "different", "the 95% interval excludes zero"
