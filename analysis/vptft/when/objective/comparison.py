"""Which measure the disparity is made of: all of them judged on tasks whose objective is known by design."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.evidence.statistics.prediction import leave_one_out
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.when.distribution.agreement import spearman
from vptft.when.objective.disparity import DISPARITY
from vptft.when.objective.measures import ABOUT, COMPARABLE, DIRECTIONS, LINEAR

RULE = (
    "The default is the measure with the highest AUC of classification against geometric objectives, mean over "
    "backbones, among those that have a value for every task and whose range does not depend on the number of classes; "
    "among equals, the highest rank correlation between backbones."
)
"""The second condition was added after the first results: without it the H-score was first by half a pair of 16, and
put one of the four unseen tasks on the near side, those with few classes being far by its range."""
Z = float(norm.ppf(0.975))


@dataclass(frozen=True, kw_only=True)
class Comparison(Result):
    """All measures against each other: ``table`` a row a measure and backbone, ``agreement`` a row a measure and pair.

    Attributes
    ----------
    table
        See :meth:`frame`.
    agreement
        measure, first, second (backbones), rho, p, n: Spearman's rank correlation over the tasks of the choice.
    """

    analysis: ClassVar[str] = "objective measures"
    table: pd.DataFrame
    agreement: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """A row a measure and backbone, over the tasks of the choice.

        Columns: measure, about, backbone, pretraining; auc, low, high (95%): how often a near task is put nearer than
        a far one; n_near, n_far, missing (tasks without a value); left_out_right, left_out_base, left_out_n: tasks
        whose side a threshold learnt on the others gave rightly, the more frequent side likewise, and of how many;
        partial, partial_low, partial_high: rank correlation with the side given the linear probe's accuracy;
        matched_auc: AUC where every pair is brought to one accuracy (NaN where that was not asked for); unseen_near,
        unseen_n: tasks that took no part in the choice, all near, on the near side of the threshold; noise: standard
        deviation over draws as a share of that over tasks; seconds (CPU time a task); comparable (whether its range is
        free of the number of classes); chosen_left_out: how often it is the choice when each task is left out in turn.
        """
        return self.table

    def ranking(self) -> pd.DataFrame:
        """A row a measure, the chosen one first: measure, auc (mean over backbones), missing, rho, eligible."""
        means = self.table.groupby("measure", sort=False).agg(auc=("auc", "mean"), missing=("missing", "sum"))
        means["rho"] = self.agreement.groupby("measure")["rho"].mean() if len(self.agreement) else np.nan
        return _ranked(means)


def compare(
    frame: pd.DataFrame,
    *,
    near: Callable[[str], bool],
    chosen_from: Sequence[str],
    matched: pd.DataFrame | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Comparison:
    """Judge every measure.

    Parameters
    ----------
    frame
        Of :meth:`vptft.when.objective.disparity.Disparity.frame`.
    near
        Whether an objective is near pretraining's, by name.
    chosen_from
        Names of the tasks that the choice is made on; the others are the unseen ones, of which the near ones count.
    matched
        Of :func:`vptft.when.objective.matching.matched`.

    Notes
    -----
    Values are means over draws: draws are not tasks. Tasks that share scenes or questions are not independent of each
    other, so every interval here is too narrow, and none is needed to see that two near tasks are few.
    """
    values = frame[frame["measure"] != DISPARITY]
    known = set(values["task"])
    if missing := sorted(set(chosen_from) - known):
        raise SettingsError(f"There is no value for {missing}; there are {sorted(known)}.")
    sides = {near(objective) for objective in values[values["task"].isin(chosen_from)]["objective"]}
    if len(sides) < 2:
        raise SettingsError("Measures are compared on tasks of both kinds: classification, and any other objective.")
    rows = []
    for key, group in values.groupby(["measure", "backbone"], sort=False):
        measure, backbone = map(str, cast("tuple[str, str]", key))
        linear = values[(values["measure"] == LINEAR) & (values["backbone"] == backbone)]
        rows.append(
            {"measure": measure, "about": ABOUT[measure], "backbone": backbone}
            | _judged(group, linear, near, list(chosen_from))
            | {"matched_auc": _matched_auc(matched, measure, backbone)}
        )
    choices = _choices(values, near, list(chosen_from))
    table = pd.DataFrame(rows)
    table["comparable"] = table["measure"].isin(COMPARABLE)
    table["chosen_left_out"] = table["measure"].map(choices.count)
    return Comparison(
        settings={**(settings or {}), "rule": RULE, "chosen_from": sorted(chosen_from)},
        table=table,
        agreement=_agreement(values[values["task"].isin(chosen_from)]),
    )


def auc(near: np.ndarray, far: np.ndarray) -> Interval:
    """How often a near value is below a far one, ties half, with Newcombe's 95% interval.

    The interval holds the AUCs t with ``|t - value| <= 1.96 sqrt(V(t))``, V the variance of Hanley and McNeil (1982)
    with both sizes at their mean in its second-order terms (Newcombe 2006, method 5): it does not shrink to a point
    where the samples are separated.
    """
    m, n = len(near), len(far)
    if not m or not n:
        return no_interval()
    value = float(np.mean(np.sign(far[None, :] - near[:, None]) + 1) / 2)

    def beyond(t: float) -> float:
        extra = ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))
        return float((value - t) ** 2 - Z**2 * t * (1 - t) * (1 + extra) / (m * n))

    inside = float(np.clip(value, 1e-9, 1 - 1e-9))  # 0 and 1 are roots too, and no ends
    low = 0.0 if value == 0 else brentq(beyond, 1e-12, inside)
    high = 1.0 if value == 1 else brentq(beyond, inside, 1 - 1e-12)
    return Interval(value=value, low=float(low), high=float(high))


def partial_correlation(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> Interval:
    """Rank correlation of x and y given a third, ``(n,)`` each, with Fisher's interval.

    ``(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))`` of ranks; the interval takes 1.06 / (n - 4) for the
    variance of its inverse hyperbolic tangent (Fieller et al. 1957, one variable held fixed). NaN where one side is
    constant or follows the third exactly; no interval with fewer than 5.
    """
    ranks = [rankdata(each) for each in (x, y, given)]
    if len(x) < 3 or min(np.ptp(each) for each in ranks) == 0:
        return no_interval()
    (_, xy, xz), (_, _, yz), _ = np.corrcoef(ranks)
    left = (1 - xz**2) * (1 - yz**2)
    if left < 1e-12:
        return no_interval()
    value = float(np.clip((xy - xz * yz) / np.sqrt(left), -1, 1))
    if len(x) < 5 or abs(value) == 1:
        return no_interval(value)
    half = Z * np.sqrt(1.06 / (len(x) - 4))
    low, high = np.tanh(np.arctanh(value) + np.array([-half, half]))
    return Interval(value=value, low=float(low), high=float(high))


def threshold(values: np.ndarray, is_far: np.ndarray) -> float:
    """Value that separates near (below) from far with the highest balanced accuracy; the middle of the widest gap."""
    ordered = np.unique(values)
    cuts = (ordered[1:] + ordered[:-1]) / 2 if len(ordered) > 1 else ordered
    scores = [np.mean(values[is_far] > cut) + np.mean(values[~is_far] <= cut) for cut in cuts]
    widths = np.diff(ordered) if len(ordered) > 1 else np.zeros(1)
    best = max(zip(scores, widths, cuts, strict=True))
    return float(best[2])


def _ranked(means: pd.DataFrame) -> pd.DataFrame:
    """Put measures in the order of the rule, given auc, rho and missing by name; equals stay in the table's order."""
    eligible = (means["missing"] == 0) & means.index.isin(COMPARABLE)
    rounded = means["auc"].round(9)  # means of equal pairs must not differ by rounding
    order = means.assign(eligible=eligible, auc=rounded)
    return order.sort_values(
        ["eligible", "auc", "rho"], ascending=False, kind="stable", na_position="last"
    ).reset_index()


def _choices(values: pd.DataFrame, near: Callable[[str], bool], chosen_from: list[str]) -> list[str]:
    """Give the measure that the rule chooses when each task is left out; none where no far or near task is left."""
    sides = values.drop_duplicates("task").set_index("task")["objective"].map(near)
    found = []
    for left in chosen_from:
        kept = [task for task in chosen_from if task != left]
        if sides[kept].nunique() < 2:
            continue
        rows = values[values["task"].isin(kept)]
        means = rows.groupby(["measure", "backbone", "task"], sort=False)["value"].mean().unstack("task")[kept]
        names = [str(name) for name in means.index.get_level_values("measure")]
        judged = {
            "measure": names,
            "auc": [_auc_of(name, means.iloc[i], sides[kept]) for i, name in enumerate(names)],
            "missing": means.isna().sum(axis=1).to_list(),
        }
        of_measure = pd.DataFrame(judged).groupby("measure", sort=False).agg({"auc": "mean", "missing": "sum"})
        of_measure["rho"] = _agreement(rows).groupby("measure")["rho"].mean()
        found.append(str(_ranked(of_measure)["measure"].iloc[0]))
    return found


def _auc_of(measure: str, row: pd.Series, is_near: pd.Series) -> float:
    known = (row if DIRECTIONS[measure] == "far" else -row).dropna()
    side = is_near[known.index].to_numpy(dtype=bool)
    return auc(known.to_numpy()[side], known.to_numpy()[~side]).value


def _judged(
    group: pd.DataFrame, linear: pd.DataFrame, near: Callable[[str], bool], chosen_from: list[str]
) -> dict[str, Any]:
    sign = 1.0 if DIRECTIONS[group["measure"].iloc[0]] == "far" else -1.0
    draws = group.assign(value=sign * group["value"], near=group["objective"].map(near))
    tasks = draws.groupby("task").agg(value=("value", "mean"), near=("near", "first"))
    tasks["linear"] = linear.groupby("task")["value"].mean()
    chosen, unseen = tasks.loc[chosen_from], tasks.drop(index=chosen_from)
    usable = chosen.dropna(subset=["value"])
    values, is_far = usable["value"].to_numpy(), ~usable["near"].to_numpy(dtype=bool)
    separated = auc(values[~is_far], values[is_far])
    given = partial_correlation(values, is_far.astype(float), usable["linear"].to_numpy())
    of_draws = draws[draws["task"].isin(chosen_from)].groupby("task")["value"].std()
    fresh = unseen[unseen["near"]].dropna(subset=["value"])
    cut = threshold(values, is_far) if is_far.any() and not is_far.all() else np.nan
    return {
        "pretraining": group["pretraining"].iloc[0], "auc": separated.value, "low": separated.low,
        "high": separated.high, "n_near": int((~is_far).sum()), "n_far": int(is_far.sum()),
        "missing": len(chosen) - len(usable), **_left_out(values, is_far), "partial": given.value,
        "partial_low": given.low, "partial_high": given.high,
        "unseen_near": int((fresh["value"] <= cut).sum()), "unseen_n": len(fresh),
        "noise": float(np.sqrt(np.mean(of_draws**2)) / values.std(ddof=1)) if len(values) > 1 else np.nan,
        "seconds": float(group["seconds"].mean()),
    }  # fmt: skip


def _left_out(values: np.ndarray, is_far: np.ndarray) -> dict[str, int]:
    """How many left-out tasks a threshold learnt on the others puts on their side, and the base rate likewise."""
    if min(is_far.sum(), (~is_far).sum()) < 2:
        return {"left_out_right": 0, "left_out_base": 0, "left_out_n": 0}
    signs = np.where(is_far, 1, -1)

    def rule(others: np.ndarray, task: int) -> int:
        return 1 if values[task] > threshold(values[others], is_far[others]) else -1

    found = leave_one_out(signs, rule)
    right = {"left_out_right": found.predicted, "left_out_base": found.base}
    return {name: int(np.sum(predicted == signs)) for name, predicted in right.items()} | {"left_out_n": found.n}


def _agreement(values: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for measure, group in values.groupby("measure", sort=False):
        wide = group.pivot_table(index="task", columns="backbone", values="value", sort=False)
        for first, second in combinations(wide.columns, 2):
            both = wide[[first, second]].dropna()
            found = spearman(both[first].to_numpy(), both[second].to_numpy())
            rows.append((measure, first, second, found.rho, found.p, len(both)))
    kinds = {"measure": "str", "first": "str", "second": "str", "rho": "float64", "p": "float64", "n": "int64"}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def _matched_auc(matched: pd.DataFrame | None, measure: str, backbone: str) -> float:
    if matched is None:
        return float("nan")
    rows = matched[(matched["measure"] == measure) & (matched["backbone"] == backbone)]
    return float(rows["nearer"].mean())
