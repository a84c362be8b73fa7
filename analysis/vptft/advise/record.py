"""How good the advice is: every task of the evidence foretold from the others, beside three rules that cost nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.advise.decision import OPEN, RULE, forced, papers_rule, recommend
from vptft.advise.explaining import record_line
from vptft.advise.predictors import choose, far_beyond
from vptft.advise.regression import LEAST, PRIOR, Prior, fit, known_of, row_of
from vptft.advise.tasks import Block, Trained
from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.evidence.statistics.paired import mean_interval, share_interval, sign_flip

LEVELS = (0.5, 0.8, 0.95)
"""Levels at which intervals are held to what was measured; 80% and 95% are printed."""
KIN = ", tasks of the same "
"""Goes on the name of a block whose tasks were foretold from unrelated tasks only: ``... scenes left out too``."""
RULES: Mapping[str, str] = {
    "always VPT": "always_vpt", "always FT": "always_ft", "the paper's rule": "paper",
}  # fmt: skip
"""What advice is held against, and the column that holds what each names."""

KINDS = {
    "block": "str", "backbone": "str", "pretraining": "str", "task": "str", "n_train": "float64", "n_seeds": "int64",
    "gap_points": "float64", "predicted_points": "float64", "low80_points": "float64", "high80_points": "float64",
    "low95_points": "float64", "high95_points": "float64", "pit": "float64", "p_vpt": "float64",
    "others_mean_points": "float64", "advised": "str", "forced": "str", "always_vpt": "str", "always_ft": "str",
    "paper": "str",
}  # fmt: skip
REGRETS = {
    "block": "str", "rule": "str", "n": "int64", "advice_points": "float64", "rule_points": "float64",
    "difference_points": "float64", "low_points": "float64", "high_points": "float64", "p": "float64", "says": "str",
}  # fmt: skip
CALIBRATION = {
    "block": "str", "level": "float64", "n": "int64", "held": "float64", "low": "float64", "high": "float64",
}  # fmt: skip
SUMMARY = {
    "block": "str", "predictors": "str", "n": "int64", "advised": "int64", "advised_right": "int64",
    "advised_low": "float64", "advised_high": "float64", "n_won": "int64", "forced_right": "int64",
    "forced_low": "float64", "forced_high": "float64", "rmse_points": "float64", "rmse_of_mean_points": "float64",
    "left_out": "str",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Record(Result):
    """What leaving each task out gave.

    Attributes
    ----------
    table
        See :meth:`frame`.
    summary
        A row a block: predictors; n tasks; advised (tasks with a recommendation) and of these advised_right, as a share
        with its exact interval advised_low, advised_high; n_won (tasks whose measured gap is not 0), forced_right of
        them, its share's interval; rmse_points of the predictions, and of naming the others' mean; left_out (tasks).
    regrets
        A row a block and rule: n (tasks on which the rule names a method), mean regret in points of the advice, of the
        rule, and their difference with Student's 95% interval over tasks and the sign-flip p; negative: the advice is
        better. ``says``: better, worse, or not told apart.
    calibration
        A row a block and level: n, share of measured gaps that the interval held, with its exact 95% interval.

    Notes
    -----
    Regret is the accuracy lost by the named method against the other, by the measured gap: 0 where the named one was
    ahead. Where the advice is "too close to call" the more probable method counts. Measured gaps have noise of their
    own, so the winner of a small gap is partly chance, for every rule alike. Tasks count as independent, which tasks of
    one study never quite are.
    """

    analysis: ClassVar[str] = "advice_record"
    table: pd.DataFrame
    summary: pd.DataFrame
    regrets: pd.DataFrame
    calibration: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """A row a task, foretold from the others of its block.

        Columns: block, backbone, pretraining, task, n_train, n_seeds, gap_points (measured), predicted_points with its
        80% and 95% intervals, pit (probability that was given to a gap below the measured one), p_vpt (that VPT is
        ahead), others_mean_points (mean gap of the other tasks), advised, forced (the more probable method), and what
        each rule names, empty where it names none.
        """
        return self.table

    def lines(self) -> dict[str, str]:
        """The record of each block in a line, by its name."""
        lines = {}
        for row in self.summary.to_dict("records"):
            regrets, calibration = (part[part["block"] == row["block"]] for part in (self.regrets, self.calibration))
            lines[row["block"]] = record_line(row, regrets.to_dict("records"), calibration.to_dict("records"))
        return lines


def measure(
    blocks: Sequence[Block],
    *,
    known: Mapping[str, float] | None = None,
    size: float = float("nan"),
    prior: Prior = PRIOR,
    settings: Mapping[str, Any] | None = None,
) -> Record:
    """Foretell every task of each block from the block's other tasks.

    Parameters
    ----------
    blocks
        Evidence; blocks of fewer than :data:`.regression.LEAST` + 1 usable tasks are left out. A block with tasks that
        are kin is judged by leaving out the task, and under further names by leaving out as well, for each sort of kin,
        its kin: those of one question in two looks, those that ask other questions of the same scenes. These are the
        harder and fairer tests; where they differ, the new task is like neither kin.
    known
        Predictors of the task that advice is asked for, so that the record is of the same predictors; None for all that
        the evidence has.
    size
        Training images at which tasks with several sizes are judged; the nearest. NaN for the most common one.
    prior
        Of the regression.
    """
    tables: list[pd.DataFrame] = []
    summary: list[dict[str, Any]] = []
    regrets: list[dict[str, Any]] = []
    calibration: list[dict[str, Any]] = []
    for block in blocks:
        chosen = choose(_all_known(block.tasks) if known is None else known, block.tasks)
        if len(chosen.tasks) < LEAST + 1:
            continue
        at = size if np.isfinite(size) else _usual_size(chosen.tasks)
        for name, others in _ways(block.name, chosen.tasks).items():
            found = [
                _left_out(task, rest, chosen.names, at, prior) for task, rest in zip(chosen.tasks, others, strict=True)
            ]
            table = pd.DataFrame(found).assign(block=name, backbone=block.backbone, pretraining=block.pretraining)
            tables.append(table[list(KINDS)].astype(KINDS))
            said = {"predictors": ", ".join(chosen.names) or "none", "left_out": ", ".join(chosen.left_out)}
            summary.append({"block": name, **said, **_summary(table)})
            regrets += [{"block": name, **_against(table, rule, column)} for rule, column in RULES.items()]
            calibration += [{"block": name, **_held(table["pit"].to_numpy(), level)} for level in LEVELS]
    if not tables:
        raise SettingsError(
            f"No evidence has the {LEAST + 1} tasks that leaving one out needs.",
            "Give folders of VPT and FT runs on more tasks with --runs.",
        )
    return Record(
        settings={**(settings or {}), "rule": RULE, "prior": str(prior), "size": str(size)},
        table=pd.concat(tables, ignore_index=True), summary=_typed(summary, SUMMARY), regrets=_typed(regrets, REGRETS),
        calibration=_typed(calibration, CALIBRATION),
    )  # fmt: skip


def nothing() -> pd.DataFrame:
    """The table of a record of no task."""
    return _typed([], KINDS)


def regret(gaps: np.ndarray, named: Sequence[str]) -> np.ndarray:
    """Points of accuracy that the named methods lose against the other ``(n,)``, by measured gaps ``(n,)``."""
    vpt = np.array([name == "VPT" for name in named], dtype=bool)
    return np.where(vpt, np.maximum(0.0, -gaps), np.maximum(0.0, gaps))


def _typed(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def _all_known(tasks: Sequence[Trained]) -> dict[str, float]:
    return {name: value for task in tasks for name, value in known_of(task, 0).items() if np.isfinite(value)}


def _usual_size(tasks: Sequence[Trained]) -> float:
    """The size that most tasks were trained at; of equals the middle one."""
    sizes, counts = np.unique([size for task in tasks for size in task.sizes], return_counts=True)
    often = sizes[counts == counts.max()]
    return float(often[len(often) // 2])


def _ways(name: str, tasks: Sequence[Trained]) -> dict[str, list[list[Trained]]]:
    """What each task is foretold from, by name of the block: the others; and for each sort of kin, the unrelated."""
    ways = {name: [[other for other in tasks if other is not task] for task in tasks]}
    for sort in dict.fromkeys(sort for task in tasks for sort in task.kin):
        unrelated = [
            [other for other in rest if sort not in task.kin or other.kin.get(sort) != task.kin[sort]]
            for task, rest in zip(tasks, ways[name], strict=True)
        ]
        if unrelated != ways[name] and min(map(len, unrelated)) >= LEAST:
            ways[f"{name}{KIN}{sort} left out too"] = unrelated
    return ways


def _left_out(
    task: Trained, others: Sequence[Trained], names: Sequence[str], size: float, prior: Prior
) -> dict[str, Any]:
    """Foretell one task from others."""
    i = task.nearest(size)
    values = row_of(task, names, i)
    found = fit(others, names, prior=prior).predict(values, noise=task.noise[i])
    (low80, high80), (low95, high95) = found.interval(0.8), found.interval(0.95)
    return {
        "task": task.task, "n_train": task.sizes[i], "n_seeds": task.n_seeds, "gap_points": task.gaps[i],
        "predicted_points": found.mean, "low80_points": low80, "high80_points": high80, "low95_points": low95,
        "high95_points": high95, "pit": found.cdf(task.gaps[i]), "p_vpt": 1 - found.true.cdf(0.0),
        "others_mean_points": float(np.mean([each.gaps[each.nearest(size)] for each in others])),
        "advised": OPEN if far_beyond(others, names, values) else recommend(found), "forced": forced(found),
        "always_vpt": "VPT", "always_ft": "FT",
        "paper": papers_rule(task.objective_is_far, task.data_is_far),
    }  # fmt: skip


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    gaps = table["gap_points"].to_numpy()
    ahead = np.where(gaps > 0, "VPT", "FT")
    won = gaps != 0
    told = won & (table["advised"] != OPEN).to_numpy()
    right, sure = won & (table["forced"] == ahead).to_numpy(), told & (table["advised"] == ahead).to_numpy()
    advised, all_ = share_interval(int(sure.sum()), int(told.sum())), share_interval(int(right.sum()), int(won.sum()))
    return {
        "n": len(table), "advised": int(told.sum()), "advised_right": int(sure.sum()), "advised_low": advised.low,
        "advised_high": advised.high, "n_won": int(won.sum()), "forced_right": int(right.sum()), "forced_low": all_.low,
        "forced_high": all_.high, "rmse_points": _rms(gaps - table["predicted_points"]),
        "rmse_of_mean_points": _rms(gaps - table["others_mean_points"]),
    }  # fmt: skip


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _against(table: pd.DataFrame, rule: str, column: str) -> dict[str, Any]:
    """Regret of the advice and of a rule on the tasks for which the rule names a method."""
    part = table[table[column] != ""]
    gaps = part["gap_points"].to_numpy()
    ours, theirs = regret(gaps, list(part["forced"])), regret(gaps, list(part[column]))
    difference = mean_interval(ours - theirs)
    says = "better" if difference.high < 0 else "worse" if difference.low > 0 else "not told apart"
    return {
        "rule": rule, "n": len(part), "advice_points": ours.mean() if len(part) else np.nan,
        "rule_points": theirs.mean() if len(part) else np.nan, "difference_points": difference.value,
        "low_points": difference.low, "high_points": difference.high, "p": sign_flip(ours - theirs).p, "says": says,
    }  # fmt: skip


def _held(pit: np.ndarray, level: float) -> dict[str, Any]:
    inside = np.abs(2 * pit - 1) <= level
    share = share_interval(int(inside.sum()), len(inside))
    return {"level": level, "n": len(inside), "held": share.value, "low": share.low, "high": share.high}
