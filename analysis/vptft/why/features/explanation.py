"""Does preservation predict the gap, and is there an optimum in between (Y3): many runs, within task and size.

The dose is stated before any run was looked at: :data:`JUDGED`, debiased CKA of the last layer, of the token the head
reads, on the reference set, between the pretrained and the tuned network. Others stand beside it, unjudged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import NotApplicable
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.evidence.statistics.paired import mean_interval, sign_flip
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.evidence.verdicts import Claim, decide
from vptft.why.features.preservation import OWN, FeaturePreservation
from vptft.why.features.within import LEAST_METHODS, LEAST_TASKS, within

JUDGED = "cka"
PREDICTORS: Mapping[str, tuple[str, Callable[[FeaturePreservation], float]]] = {
    "cka": ("debiased CKA, last layer", lambda each: each.scalar("cka")),
    "cka_patches": ("debiased CKA, last layer's patches", lambda each: each.scalar("cka", kind="patches")),
    "cka_layers": ("debiased CKA, mean over layers", lambda each: each.over_layers("cka")),
    "cka_task": ("debiased CKA on the task's own images", lambda each: each.scalar("cka", role=OWN)),
    "procrustes": ("1 - half the squared Procrustes distance", lambda each: 1 - each.scalar("procrustes") ** 2 / 2),
    "subspace": ("overlap of the main directions", lambda each: each.scalar("subspace_overlap")),
    "neighbours": ("neighbourhood overlap", lambda each: each.scalar("neighbour_overlap")),
    "retention": ("change of k-NN accuracy above chance on other tasks", lambda each: each.change("knn")),
}
"""What preservation is measured by, and its words; larger is more preserved, 1 is all of it (0 for retention)."""
STEP = 0.1
"""Change of a predictor that slopes are given for."""
LEAST_DOSES = 2
"""Methods that moved the features which a setting needs to enter a regression: one beside a probe is no dose."""
VPT, FT, LINEAR = "vpt_deep", "ft", "linear"
CIRCULAR = (
    "Probes of frozen features have CKA 1 by construction, and their accuracy lacks whatever tuning would have added: "
    "they are controls at full preservation, not a dose that a method chose."
)
CELL = ["pretraining", "setting", "task", "n_train", "few_groups", "method"]


@dataclass(frozen=True, kw_only=True)
class PreservationEffect(Result):
    """Preservation and accuracy, one row a run, and what goes with what within task and size.

    Attributes
    ----------
    runs
        As in :meth:`frame`.
    terms
        One row a pretraining, predictor, set of methods (``all``; ``features moved``: without those whose features are
        the pretrained ones) and term (``linear``; ``quadratic``, with the linear one beside it). Columns: pretraining,
        predictor, methods, term, slope, low, high (points of accuracy for a step of 0.1, or its square; over tasks and
        methods), p (by permutation of methods), partial_r, turning (where the parabola is highest or lowest), inside
        (whether that is within the runs' range), n_tasks, n_settings, n_cells, n_methods, n_seeds (least).
    contrasts
        One row a pretraining and contrast between methods, mean over tasks: pretraining, contrast, unit, value, low,
        high, p (sign-flip), n_tasks, n_seeds, extrapolated (tasks in which VPT's preservation lies beyond that of
        the others, so that their line says nothing there: they are left out).
    """

    analysis: ClassVar[str] = "feature-preservation"
    runs: pd.DataFrame
    terms: pd.DataFrame
    contrasts: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: pretraining, setting (task, size, backbone), task, n_train, few_groups, method, seed,
        accuracy_points, gap_points (accuracy less that of FT of this setting and seed; NaN without), and one a
        predictor.
        """  # noqa: D205
        return self.runs

    def findings(self) -> tuple[Finding, ...]:
        """Y3, four claims for each pretraining objective, one family."""
        found: list[Finding] = []
        for pretraining in dict.fromkeys(self.runs["pretraining"]):
            terms = self.terms[self.terms["pretraining"] == pretraining]
            contrasts = self.contrasts[self.contrasts["pretraining"] == pretraining]
            if terms.empty:
                what = f"Preservation of features explains the gap, {pretraining} pretraining"
                found.append(_not_applicable(what, "few independent pictures stand behind every task"))
            else:
                found += _findings(str(pretraining), terms, contrasts)
        return tuple(found)


def measure(results: Sequence[FeaturePreservation], *, settings: Mapping[str, Any] | None = None) -> PreservationEffect:
    """Relate preservation to accuracy over runs of several methods.

    Parameters
    ----------
    results
        One a run; those of one task, size and backbone must have been measured on the same images.

    Raises
    ------
    NotApplicable
        No task and size has runs of two methods; one has two runs of a method with one seed.

    Notes
    -----
    Seeds are averaged first, a cell being one method in one setting. Regressions have a level for each setting, so that
    they are about the gap to FT as much as about accuracy, and take tasks and methods as the sample
    (:func:`vptft.why.features.within.within`); pretraining objectives are never pooled. A method that preserves more
    differs in more than that: what goes with preservation here need not come from it. With fewer than
    :data:`~vptft.why.features.within.LEAST_METHODS` a line over them is a comparison of these, and none is judged; a
    setting with less than :data:`LEAST_DOSES` methods that moved features is left out of regressions, since a probe of
    frozen features and one method beside it are a contrast, not a dose. Judged are the methods that moved features;
    with the others beside them the numbers are told too. An optimum is supported only where accuracy turns within the
    runs' range.
    :data:`CIRCULAR`
    """
    runs = pd.DataFrame([_row(each) for each in results])
    if runs.empty or runs.groupby("setting")["method"].nunique().max() < 2:
        raise NotApplicable(
            "No task and training size has runs of two methods, so preservation has nothing to explain.",
            "`vptft-analyze runs FOLDER` lists what is there.",
        )
    _check_variants(runs)
    runs["gap_points"] = runs["accuracy_points"] - _of_ft(runs)
    runs = runs[[*CELL, "seed", "accuracy_points", "gap_points", *PREDICTORS]]
    judged = runs[~runs["few_groups"]]
    cells = judged.groupby(CELL, sort=True).agg(
        accuracy_points=("accuracy_points", "mean"), n_seeds=("seed", "nunique"),
        **{name: (name, "mean") for name in PREDICTORS},
    ).reset_index()  # fmt: skip
    terms = [row for name, part in cells.groupby("pretraining") for row in _terms(str(name), part)]
    contrasts = [row for name, part in cells.groupby("pretraining") for row in _contrasts(str(name), part)]
    return PreservationEffect(
        settings={**dict(settings or {}), "judged": JUDGED, "step": STEP},
        runs=runs.reset_index(drop=True),
        terms=pd.DataFrame(terms, columns=_TERM_COLUMNS),
        contrasts=pd.DataFrame(contrasts, columns=_CONTRAST_COLUMNS),
    )


_TERM_COLUMNS = [
    "pretraining", "predictor", "methods", "term", "slope", "low", "high", "p", "partial_r", "turning", "inside",
    "n_tasks", "n_settings", "n_cells", "n_methods", "n_seeds",
]  # fmt: skip
_CONTRAST_COLUMNS = [
    "pretraining", "contrast", "unit", "value", "low", "high", "p", "n_tasks", "n_seeds", "extrapolated",
]  # fmt: skip
PRESERVES, BEATS_LINEAR, EXCESS, FORGETS = (
    "preservation, VPT − FT", "accuracy, VPT − linear", "accuracy, VPT − line of the others at its preservation",
    "k-NN on other tasks, VPT − FT",
)  # fmt: skip


PAIRS = {
    PRESERVES: (VPT, FT, JUDGED, 1.0),
    FORGETS: (VPT, FT, "retention", 100.0),
    BEATS_LINEAR: (VPT, LINEAR, "accuracy_points", 1.0),
}
"""First and second method, what of them is compared, and its scale."""
PROMPTED = frozenset({"vpt_deep", "vpt_shallow", "mixed", "ft_then_pt", "pt_then_ft"})

_Methods = dict[str, dict[Any, Any]]
_Value = tuple[str, float, int, bool]
"""Task, value, seeds, and whether it is extrapolated."""


def _row(each: FeaturePreservation) -> dict[str, Any]:
    return {
        "pretraining": each.pretraining, "setting": f"{each.task}, {each.n_train}, {each.backbone}", "task": each.task,
        "n_train": each.n_train, "few_groups": each.few_groups, "method": each.method, "seed": each.seed,
        "accuracy_points": 100 * each.accuracy, **{name: value(each) for name, (_, value) in PREDICTORS.items()},
    }  # fmt: skip


def _check_variants(runs: pd.DataFrame) -> None:
    """Refuse two runs that would pass for one seed of one method: their mean is neither's."""
    twice = runs[runs.duplicated(["setting", "method", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise NotApplicable(
            f"There are two runs of {row['method']} on {row['setting']} with seed {row['seed']}, which differ in a "
            "setting or two: which of them is the method's dose is not known.",
            "Give folders in which every method stands once.",
        )


def _of_ft(runs: pd.DataFrame) -> pd.Series:
    """Accuracy of FT of each run's setting and seed; NaN where there is none."""
    ft = runs[runs["method"] == FT].groupby(["setting", "seed"])["accuracy_points"].mean()
    return pd.Series([ft.get(key, np.nan) for key in zip(runs["setting"], runs["seed"], strict=True)], index=runs.index)


def _moved(dose: Any) -> Any:
    """Whether features moved: those of a probe are the pretrained ones."""
    return abs(dose - 1) > 1e-9


def _terms(pretraining: str, cells: pd.DataFrame) -> list[dict[str, Any]]:
    doses = cells[_moved(cells[JUDGED])].groupby("setting")["method"].nunique()
    cells = cells[cells["setting"].isin(doses.index[doses >= LEAST_DOSES])]
    moved = cells[_moved(cells[JUDGED])]
    return [
        {"pretraining": pretraining, "predictor": predictor, "methods": named, **row}
        for predictor in PREDICTORS
        for named, part in (("all", cells), ("features moved", moved))
        for row in _fits(part[part[predictor].notna()], predictor)
    ]


def _fits(cells: pd.DataFrame, predictor: str) -> list[dict[str, Any]]:
    """The line and the parabola of one predictor."""
    cells = cells[cells.groupby("setting")["method"].transform("size") > 1]
    x = cells[predictor].to_numpy(dtype=float)
    centre = float(x.mean()) if len(x) else 0.0
    steps = (x - centre) / STEP
    rows = []
    for term, columns in (("linear", steps[:, None]), ("quadratic", np.stack([steps**2, steps], axis=1))):
        found = within(
            cells["accuracy_points"].to_numpy(), columns, settings=cells["setting"].to_numpy(),
            tasks=cells["task"].to_numpy(), methods=cells["method"].to_numpy(),
        )  # fmt: skip
        slope = found.terms[0]
        turning = float("nan")
        if term == "quadratic" and slope.value:
            turning = centre - STEP * found.terms[1].value / (2 * slope.value)
        rows.append({
            "term": term, "slope": slope.value, "low": slope.low, "high": slope.high, "p": found.ps[0],
            "partial_r": found.partial_r, "turning": turning,
            "inside": bool(len(x) and x.min() < turning < x.max()), "n_tasks": found.n_tasks,
            "n_settings": found.n_settings, "n_cells": found.n_cells, "n_methods": found.n_methods,
            "n_seeds": int(cells["n_seeds"].min()) if len(cells) else 0,
        })  # fmt: skip
    return rows


def _contrasts(pretraining: str, cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Contrasts between methods, settings of a task averaged, tasks as the sample."""
    found: dict[str, list[_Value]] = {}
    for _, part in cells.groupby("setting"):
        by: _Methods = {row["method"]: row for row in part.to_dict("records")}
        for name, (first, second, column, scale) in PAIRS.items():
            if first in by and second in by:
                seeds = min(by[first]["n_seeds"], by[second]["n_seeds"])
                value = scale * float(by[first][column] - by[second][column])
                if np.isfinite(value):
                    found.setdefault(name, []).append((by[first]["task"], value, int(seeds), False))
        if (excess := _excess(by)) is not None:
            found.setdefault(EXCESS, []).append(excess)
    units = {PRESERVES: "CKA"}
    return [
        {"pretraining": pretraining, "contrast": name, "unit": units.get(name, "points"), **_over_tasks(values)}
        for name, values in found.items()
    ]


def _excess(by: _Methods) -> _Value | None:
    """VPT's accuracy above the line through the methods without prompts that moved features, at its preservation."""
    others = [
        row for method, row in by.items()
        if method not in PROMPTED and np.isfinite(row[JUDGED]) and _moved(row[JUDGED])
    ]  # fmt: skip
    x = np.array([row[JUDGED] for row in others])
    if VPT not in by or not np.isfinite(by[VPT][JUDGED]) or len(x) < 2 or np.ptp(x) <= 1e-6:
        return None
    vpt = by[VPT]
    line = np.polyfit(x, [row["accuracy_points"] for row in others], 1)
    value = float(vpt["accuracy_points"] - np.polyval(line, vpt[JUDGED]))
    seeds = int(min(row["n_seeds"] for row in (*others, vpt)))
    return vpt["task"], value, seeds, bool(vpt[JUDGED] < x.min() or vpt[JUDGED] > x.max())


def _over_tasks(values: Sequence[_Value]) -> dict[str, Any]:
    frame = pd.DataFrame(values, columns=["task", "value", "n_seeds", "beyond"])
    beyond = frame.groupby("task")["beyond"].any()
    inside = frame[~frame["task"].map(beyond).astype(bool)]
    of_task = inside.groupby("task")["value"].mean().to_numpy(dtype=float)
    mean = mean_interval(of_task) if len(of_task) else no_interval()
    return {
        "value": mean.value, "low": mean.low, "high": mean.high,
        "p": sign_flip(of_task).p if len(of_task) > 1 and np.isfinite(of_task).all() else float("nan"),
        "n_tasks": len(of_task), "n_seeds": int(frame["n_seeds"].min()), "extrapolated": int(beyond.sum()),
    }  # fmt: skip


def _findings(pretraining: str, terms: pd.DataFrame, contrasts: pd.DataFrame) -> list[Finding]:
    of_judged = terms[terms["predictor"] == JUDGED]
    by_term = {(row["methods"], row["term"]): row for row in of_judged.to_dict("records")}
    by = {row["contrast"]: row for row in contrasts.to_dict("records")}
    line, curve, beside = (
        by_term[key] for key in (("features moved", "linear"), ("features moved", "quadratic"), ("all", "linear"))
    )
    scope = f"{pretraining} pretraining"
    claims: list[Claim] = []
    refused: list[Finding] = []

    def contrast(name: str, said: str, needs: str, region: float | None) -> None:
        if name not in by:
            refused.append(_not_applicable(f"{said}, {scope}", f"no task has runs of {needs}"))
            return
        row = by[name]
        if not row["n_tasks"]:
            why = f"on all {row['extrapolated']} tasks VPT's preservation lies beyond that of the others"
            refused.append(_not_applicable(f"{said}, {scope}", why))
            return
        beyond = f"; on {row['extrapolated']} more VPT lies beyond the others' line" if row["extrapolated"] else ""
        claims.append(Claim(
            hypothesis="Y3", statement=f"{said}: mean of {row['n_tasks']} tasks, {scope}{beyond}",
            effect=_interval(row), predicted=1, unit=str(row["unit"]), region=region, p=_known(row["p"]),
            n=int(row["n_tasks"]), n_seeds=int(row["n_seeds"]),
        ))  # fmt: skip

    def term(row: Mapping[Any, Any], said: str, predicted: Any, unit: str) -> None:
        if not np.isfinite(row["low"]) or np.isnan(row["p"]):
            refused.append(_not_applicable(f"{said}, {scope}", _few(row)))
            return
        claims.append(Claim(
            hypothesis="Y3", effect=_interval(row, "slope"), predicted=predicted, unit=unit, region=None,
            p=_known(row["p"]), n=int(row["n_tasks"]), n_seeds=int(row["n_seeds"]),
            statement=f"{said}, over {row['n_methods']} methods on {row['n_tasks']} tasks, {scope}",
        ))  # fmt: skip

    contrast(PRESERVES, "VPT preserves more of the pretrained features than FT (CKA, last layer)", "VPT and FT", None)
    frozen = ""
    if np.isfinite(beside["low"]):
        frozen = f"; {beside['slope']:+.1f} with frozen features too, which have CKA 1 by construction"
    term(
        line, f"Among methods that move features, preservation goes with accuracy within a task{frozen}", 1,
        "points for 0.1 of CKA",
    )  # fmt: skip
    contrast(EXCESS, "Not trivially: VPT is above what its preservation predicts from methods without prompts",
             "VPT and two methods without prompts that moved features differently", 1.0)  # fmt: skip
    where, side = "", "" if curve["inside"] else "not "
    if np.isfinite(curve["turning"]) and np.isfinite(curve["low"]):
        where = f"; the turning point {curve['turning']:.2f} is {side}within the runs' range"
    judged = len(claims)
    term(
        curve, f"An optimum in between: among methods that move features, accuracy bends down{where}", -1,
        "points for (0.1 of CKA)²",
    )  # fmt: skip
    found = list(decide(claims))
    if len(claims) > judged and found[-1].verdict == "supported" and not curve["inside"]:
        found[-1] = replace(
            found[-1], verdict="inconclusive", reason="it bends, but turns beyond the runs: no optimum is among them"
        )
    return [*found, *refused]


def _few(row: Mapping[Any, Any]) -> str:
    if row["n_methods"] >= LEAST_METHODS and row["n_tasks"] >= LEAST_TASKS:
        return f"fewer than {LEAST_METHODS} methods that moved features stand on every task, or they moved them alike"
    return (
        f"too few methods moved features ({row['n_methods']}, on {row['n_tasks']} tasks): with fewer than "
        f"{LEAST_METHODS} a line is a comparison of these methods, and {LEAST_TASKS} tasks are needed"
    )


def _interval(row: Mapping[Any, Any], name: str = "value") -> Interval:
    return Interval(value=float(row[name]), low=float(row["low"]), high=float(row["high"]))


def _known(p: float) -> float | None:
    return None if np.isnan(p) else float(p)


def _not_applicable(statement: str, reason: str) -> Finding:
    return Finding(hypothesis="Y3", statement=statement, verdict="not applicable", reason=reason)
