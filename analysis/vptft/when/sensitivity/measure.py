"""Sensitivity: the gap and the winner as functions of design choices, over every specification that was run.

Multiverse analysis (Steegen et al. 2016) with the specification curve of Simonsohn, Simmons and Nelson 2020: one study
reports one specification; here all that were run are laid side by side, and a published conclusion is held to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from vptft.errors import NotApplicable
from vptft.evidence.results import Result
from vptft.evidence.statistics.components import nested_interval
from vptft.when.sensitivity.budget import budgets
from vptft.when.sensitivity.shares import Decomposition, complete_table, decompose, pooled, shares
from vptft.when.sensitivity.specifications import Specification, Trained, in_order, specifications

ALL = "all tasks"
SHARE_COLUMNS = {
    "pretraining": "str", "task": "str", "choice": "str", "n_levels": "int64", "sd_points": "float64",
    "share": "float64", "low": "float64", "high": "float64", "share_raw": "float64", "p": "float64",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """Who was said to be ahead on a task, and by whom."""

    winner: Literal["vpt", "ft"]
    source: str


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Result):
    """One row a task and specification in ``table``; what they add up to in the other tables.

    Attributes
    ----------
    choices
        Columns: specification, choice, level, reference (whether the level is that of the reference specification);
        the same specification on several tasks has one number.
    verdicts
        A row a task: pretraining, task, n_specifications, n_draws (fewest), draw_sd_points (standard deviation of one
        gap over draws, pooled over specifications; NaN with one draw), median_points, least_points, most_points,
        share_vpt, share_ft, share_uncertain (of specifications, by the interval of each), conclusion (``vpt``, ``ft``
        or empty), source, n_opposite (specifications whose gap is on the other side), n_against (whose interval is),
        n_agree (whose interval is on its side), flips, says.
    shares
        Variance shares, a row a task (or ``all tasks``) and choice; see :func:`vptft.when.sensitivity.shares.shares`.
    budgets
        See :func:`vptft.when.sensitivity.budget.budgets`.
    reason
        Why there is nothing to compare, where there is not; or why there are no shares; empty otherwise.
    """

    analysis: ClassVar[str] = "sensitivity"
    table: pd.DataFrame
    choices: pd.DataFrame
    verdicts: pd.DataFrame
    shares: pd.DataFrame
    budgets: pd.DataFrame
    reason: str

    def frame(self) -> pd.DataFrame:
        """Columns: pretraining, task, specification, reference (whether it is the reference specification), gap_points
        with its 95% interval low_points, high_points over draws and test images, winner (``vpt``, ``ft`` or
        ``uncertain``), n_draws.
        """  # noqa: D205
        return self.table


def measure(
    runs: Sequence[Trained],
    *,
    reference: Mapping[str, str] | None = None,
    conclusions: Mapping[str, Conclusion] | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Sensitivity:
    """Compare VPT and FT in every specification, and say what decides the gap and which conclusions hold.

    Parameters
    ----------
    runs
        Of both sides; each pair of settings that share a training draw is a specification.
    reference
        Level of each choice in the specification that others are seen from; where a choice is not named, its most
        frequent level.
    conclusions
        Task -> who was said to be ahead; a task without one is held to its own reference specification.
    seed
        Of the intervals of variance shares.

    Raises
    ------
    NotApplicable
        No VPT run and FT run share a task, the shared settings and a draw.

    Notes
    -----
    The share of specifications that a method wins counts settings that somebody chose to run: it is no probability.
    Specifications share FT runs and test images, so their intervals move together, and twenty that agree are not
    twenty confirmations.
    """
    found = specifications(runs)
    if not found:
        raise NotApplicable(
            "No VPT run and FT run agree in task, shared settings and training draw, so there is no specification.",
            "`vptft-analyze runs FOLDER` lists what is there; `protocol prompts` makes a study of choices.",
        )
    numbers = _numbers(found)
    base = _reference(found, reference or {})
    table = pd.DataFrame([_row(spec, numbers, base) for spec in found])
    table = table.sort_values(["pretraining", "task", "specification"], kind="stable", ignore_index=True)
    of_task = _by_task(found)
    parts = {key: decompose(*each) for key, specs in of_task.items() if (each := _varied_table(specs)) is not None}
    return Sensitivity(
        settings={**(settings or {}), "seed": seed, "reference": base},
        table=table,
        choices=_choices(numbers, base),
        verdicts=pd.DataFrame([_verdict(table, specs, conclusions or {}) for specs in of_task.values()]),
        shares=_shares(parts, seed),
        budgets=budgets([_nearest(specs, base) for specs in of_task.values()]),
        reason=_reason(found, parts),
    )


def _by_task(found: Sequence[Specification]) -> dict[tuple[str, str], list[Specification]]:
    keys = sorted({(spec.pretraining, spec.task) for spec in found})
    return {key: [spec for spec in found if (spec.pretraining, spec.task) == key] for key in keys}


def _numbers(found: Sequence[Specification]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Give every combination of levels a number, in the order of the levels."""
    names = list(found[0].levels)
    ranks = {name: in_order([spec.levels[name] for spec in found]) for name in names}
    combinations = sorted(
        {tuple(spec.levels.values()) for spec in found},
        key=lambda levels: [ranks[name].index(level) for name, level in zip(names, levels, strict=True)],
    )
    return {
        levels: {"number": i, "levels": dict(zip(names, levels, strict=True))} for i, levels in enumerate(combinations)
    }


def _reference(found: Sequence[Specification], named: Mapping[str, str]) -> dict[str, str]:
    """Return the named level of each choice where it was run, otherwise its most frequent one."""
    base = {}
    for name in found[0].levels:
        levels = [spec.levels[name] for spec in found]
        base[name] = named[name] if named.get(name) in levels else max(in_order(levels), key=levels.count)
    return base


def _nearest(specs: Sequence[Specification], base: Mapping[str, str]) -> Specification:
    """Return the reference specification, or the one that differs from it in fewest choices."""
    return min(specs, key=lambda spec: sum(spec.levels[name] != level for name, level in base.items()))


def _row(spec: Specification, numbers: Mapping[tuple[str, ...], Any], base: Mapping[str, str]) -> dict[str, Any]:
    gap = nested_interval([spec.images()], [1.0])
    return {
        "pretraining": spec.pretraining, "task": spec.task,
        "specification": numbers[tuple(spec.levels.values())]["number"], "reference": dict(spec.levels) == dict(base),
        "gap_points": gap.value, "low_points": gap.low, "high_points": gap.high,
        "winner": "vpt" if gap.low > 0 else "ft" if gap.high < 0 else "uncertain", "n_draws": len(spec.draws),
    }  # fmt: skip


def _choices(numbers: Mapping[tuple[str, ...], Any], base: Mapping[str, str]) -> pd.DataFrame:
    rows = [
        (each["number"], name, level, base[name] == level) for each in numbers.values()
        for name, level in each["levels"].items()
    ]  # fmt: skip
    columns = {"specification": "int64", "choice": "str", "level": "str", "reference": "bool"}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _verdict(
    table: pd.DataFrame, specs: Sequence[Specification], conclusions: Mapping[str, Conclusion]
) -> dict[str, Any]:
    pretraining, task = specs[0].pretraining, specs[0].task
    rows = table[(table["pretraining"] == pretraining) & (table["task"] == task)]
    winner, source = _conclusion(rows, conclusions.get(task))
    sign = {"vpt": 1, "ft": -1, "": 0}[winner]
    other = {"vpt": "ft", "ft": "vpt", "": "nobody"}[winner]
    against, agree = int((rows["winner"] == other).sum()), int((rows["winner"] == winner).sum())
    shares_won = {f"share_{who}": float((rows["winner"] == who).mean()) for who in ("vpt", "ft", "uncertain")}
    return {
        "pretraining": pretraining, "task": task, "n_specifications": len(rows), "n_draws": int(rows["n_draws"].min()),
        "draw_sd_points": _spread(specs), "median_points": float(rows["gap_points"].median()),
        "least_points": float(rows["gap_points"].min()), "most_points": float(rows["gap_points"].max()),
        **shares_won, "conclusion": winner, "source": source,
        "n_opposite": int((rows["gap_points"] * sign < 0).sum()), "n_against": against, "n_agree": agree,
        "flips": against > 0, "says": _says(winner, source, rows["winner"]),
    }  # fmt: skip


def _spread(specs: Sequence[Specification]) -> float:
    """Standard deviation of the gap over draws within specifications, pooled."""
    gaps = [np.array([spec.gap(draw) for draw in spec.draws]) for spec in specs]
    df = sum(len(each) - 1 for each in gaps)
    return float(np.sqrt(sum(np.square(each - each.mean()).sum() for each in gaps) / df)) if df else float("nan")


def _conclusion(rows: pd.DataFrame, said: Conclusion | None) -> tuple[str, str]:
    """Who is held to be ahead: as was said, otherwise as the reference specification has it."""
    if said is not None:
        return said.winner, said.source
    base = rows[rows["reference"]]
    if base.empty:
        return "", "the reference specification was not run"
    winner = str(base["winner"].iloc[0])
    source = "the reference specification"
    return ("", f"{source} is uncertain") if winner == "uncertain" else (winner, source)


def _says(winner: str, source: str, wins: pd.Series) -> str:
    n, names = len(wins), {"vpt": "VPT", "ft": "FT"}
    count = f"{n} specification{'' if n == 1 else 's'}"
    ahead = {who: int((wins == who).sum()) for who in names}
    if not winner:
        return f"{source}; VPT ahead in {ahead['vpt']}, FT in {ahead['ft']} of {count}"
    agree, against = ahead.pop(winner), sum(ahead.values())
    claim = f"{names[winner]} ahead ({source})"
    if against:
        return f"{claim} flips in {against} of {count}, holds in {agree}"
    if agree == n:
        return f"{claim} holds in {'all ' if n > 1 else ''}{count}"
    return f"{claim} holds in {agree} of {count}; the others are uncertain"


def _varied_table(specs: Sequence[Specification]) -> tuple[np.ndarray, pd.DataFrame] | None:
    """Complete table of a task where at least one choice varies and something is left beside main effects."""
    found = complete_table(specs) if len(specs) > 1 else None
    return None if found is None or found[1].empty else found


def _shares(parts: Mapping[tuple[str, str], Decomposition], seed: int) -> pd.DataFrame:
    """Shares of each task, and of all tasks of a pretraining objective where the same choices vary in each."""
    known = {key: each for key, each in parts.items() if each.df[-1] > 0}
    tables = [shares(each, seed=seed).assign(pretraining=key[0], task=key[1]) for key, each in known.items()]
    for pretraining in sorted({key[0] for key in known}):
        same = [each for key, each in known.items() if key[0] == pretraining]
        if len(same) > 1 and len({each.names for each in same}) == 1:
            tables.append(shares(pooled(same), seed=seed).assign(pretraining=pretraining, task=ALL))
    if not tables:
        return pd.DataFrame([], columns=list(SHARE_COLUMNS)).astype(SHARE_COLUMNS)
    return pd.concat(tables, ignore_index=True)[list(SHARE_COLUMNS)].astype(SHARE_COLUMNS)


def _reason(found: Sequence[Specification], parts: Mapping[tuple[str, str], Decomposition]) -> str:
    if not found[0].levels:
        return "not applicable: the runs of each task differ in no choice but the training draw and seed"
    if not parts:
        return "no variance shares: no task has two training draws that all its specifications share"
    if len(found[0].levels) == 1:
        (name,) = found[0].levels
        return f"the runs vary in one choice only: {name}"
    return ""
