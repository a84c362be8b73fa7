"""Advice on one task: predicted gap with its intervals, recommendation, reasons, costs, and what would settle it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.advise import record, settling
from vptft.advise.budget import Budget
from vptft.advise.decision import OPEN, RULE, papers_rule, recommend
from vptft.advise.explaining import reasons, sentence, warnings
from vptft.advise.predictors import Choice, choose, far_beyond
from vptft.advise.record import Record
from vptft.advise.regression import LEAST, PRIOR, Fit, Prior, fit
from vptft.advise.tasks import Block, NewTask
from vptft.errors import SettingsError
from vptft.evidence.results import Result

MOST = 100.0
"""Points that a gap of accuracies can have; a line through evidence knows nothing of that."""
METHODS = {"VPT": "vpt_deep", "FT": "ft"}
"""Methods of the two sides, as costs name them."""
PREDICTIONS = {
    "block": "str", "backbone": "str", "pretraining": "str", "decides": "bool", "mismatch": "str", "n_tasks": "int64",
    "predictors": "str", "predicted_points": "float64", "low80_points": "float64", "high80_points": "float64",
    "low95_points": "float64", "high95_points": "float64", "p_vpt": "float64", "advised": "str",
    "variance_parameters": "float64", "variance_residual": "float64", "variance_noise": "float64",
}  # fmt: skip
REASONS = {
    "block": "str", "predictor": "str", "about": "str", "value": "float64", "least": "float64", "most": "float64",
    "mean": "float64", "slope_points": "float64", "points": "float64", "sd_points": "float64", "used": "bool",
    "note": "str",
}  # fmt: skip
COSTS = {
    "method": "str", "batch_size": "int64", "parameters_tuned": "float64", "stored_bytes": "float64",
    "step_ms": "float64", "forward_ms": "float64", "peak_bytes": "float64", "over_budget": "str",
}  # fmt: skip
LOOK_FURTHER = (
    "a few epochs of both methods, here and on the evidence's tasks, may tell more: what they are worth is known once "
    "they are trained (--look-ahead 3)"
)
ROW = (
    "block", "role", "decides", "task", "n_train", "gap_points", "predicted_points", "low80_points", "high80_points",
    "low95_points", "high95_points", "p_vpt", "advised",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Advice(Result):
    """What is advised for one task, and all it rests on.

    Attributes
    ----------
    task, backbone, pretraining, n_train
        What it is about.
    recommendation, reason
        ``VPT``, ``FT`` or ``too close to call`` by :data:`.decision.RULE`; the same in a sentence.
    choice
        What to do within the budget.
    paper
        What the paper's rule names; empty where a side is not known.
    predictions
        A row a block of evidence: whether it decides and why another must not, the predicted gap as it would be
        measured with its 80% and 95% intervals, p_vpt (that VPT is ahead), and the variance parts in points squared.
    evidence
        Tasks of these blocks, each foretold from the others: columns of :meth:`.record.Record.frame`.
    reasons
        A row a block and predictor: the task's value, range and mean over the evidence, slope in points a standard
        deviation, the points it adds to the mean gap with their standard deviation; and why another is not used.
    costs
        A row a method: weights tuned, bytes stored a task, milliseconds a step and an image, peak bytes, limits
        exceeded.
    settling
        See :func:`.settling.worth`.
    record
        The deciding evidence's track record, in a line.
    notes
        What a reader must know.
    """

    analysis: ClassVar[str] = "advice"
    task: str
    backbone: str
    pretraining: str
    n_train: int
    recommendation: str
    reason: str
    choice: str
    paper: str
    predictions: pd.DataFrame
    evidence: pd.DataFrame
    reasons: pd.DataFrame
    costs: pd.DataFrame
    settling: pd.DataFrame
    record: str
    notes: list[str]

    def frame(self) -> pd.DataFrame:
        """The evidence's tasks, each foretold from the others of its block, and the new one by each block.

        Columns: block, role (``evidence`` or ``new``), decides (whether this block does), task, n_train, gap_points (as
        measured; NaN for the new task), predicted_points with its 80% and 95% intervals, p_vpt, advised.
        """
        deciding = self.predictions.loc[self.predictions["decides"], "block"]
        old = self.evidence.assign(role="evidence", decides=self.evidence["block"].isin(deciding))
        new = self.predictions.assign(role="new", task=self.task, n_train=float(self.n_train), gap_points=np.nan)
        return pd.concat([part[list(ROW)] for part in (old, new) if len(part)], ignore_index=True)


def measure(
    new: NewTask,
    blocks: Sequence[Block],
    *,
    costs: pd.DataFrame | None = None,
    budget: Budget | None = None,
    prior: Prior = PRIOR,
    settings: Mapping[str, Any] | None = None,
) -> Advice:
    """Advise on a task.

    Parameters
    ----------
    new
        The task.
    blocks
        Evidence. The first that may decide (:attr:`.tasks.Block.mismatch` is empty) and has tasks enough does. Where
        none may, all are shown as borrowed, and the recommendation is "too close to call".
    costs
        Of ``vpt_deep``, ``ft`` and others: rows of :meth:`vptft.tuning.profile.Profile.frame`.
    budget
        Limits that a method must keep.
    prior
        Of the regression.

    Raises
    ------
    SettingsError
        No block has :data:`.regression.LEAST` tasks.

    Notes
    -----
    The intervals are of the gap as it would be measured with the evidence's number of trainings; the probability is of
    the gap itself. Both take the new task to be like the evidence's, given its predictors: a task of another kind is
    not warned of by a number. Nothing is drawn at random.
    """
    limits = budget or Budget(limits={})
    usable = [(block, choice) for block in blocks if len((choice := choose(new.values, block.tasks)).tasks) >= LEAST]
    if not usable:
        raise SettingsError(
            f"There is no evidence of {LEAST} tasks to advise from.",
            "Give folders of VPT and FT runs on other tasks with --runs.",
        )
    fitting = [each for each in usable if not each[0].mismatch]
    shown = fitting or usable
    fits = [fit(choice.tasks, choice.names, prior=prior) for _, choice in shown]
    told = [
        _prediction(block, choice, found, new, decides=bool(fitting) and i == 0)
        for i, ((block, choice), found) in enumerate(zip(shown, fits, strict=True))
    ]
    block, choice = shown[0]
    judged = _judged([each for each, _ in shown], new, prior)
    lines = {} if judged is None else judged.lines()
    said = [line for name, line in lines.items() if name == block.name or name.startswith(f"{block.name}{record.KIN}")]
    priced = limits.apply(pd.DataFrame([] if costs is None else costs, columns=list(COSTS)[:-1]))
    recommendation = told[0]["advised"] if fitting else OPEN
    further = [LOOK_FURTHER] if recommendation == OPEN and "look_ahead" not in choice.names else []
    return Advice(
        settings={**(settings or {}), "rule": RULE, "prior": str(prior), "budget": dict(limits.limits)},
        task=new.task, backbone=new.backbone, pretraining=new.pretraining, n_train=new.n_train,
        recommendation=recommendation, reason=sentence(told[0], new), choice=chosen(recommendation, told[0], priced),
        paper=papers_rule(new.objective_is_far, new.data_is_far), predictions=_typed(told, PREDICTIONS),
        evidence=record.nothing() if judged is None else _of(judged, [each.name for each, _ in shown]),
        reasons=_typed(
            [row for (each, its), found in zip(shown, fits, strict=True) for row in reasons(each, its, found, new)],
            REASONS,
        ),
        costs=priced[list(COSTS)].astype(COSTS), settling=_settling(block, choice, fits[0], new, prior),
        record=" ".join(said) or f"{block.name}: too few tasks to leave one out, so there is no track record.",
        notes=[*new.notes, *warnings(block, choice, new), *further],
    )  # fmt: skip


def chosen(recommendation: str, told: Mapping[str, Any], costs: pd.DataFrame) -> str:
    """Say what to do within the budget, and what it is to cost in accuracy where the budget overrules."""
    over = {side: "".join(costs.loc[costs["method"] == name, "over_budget"]) for side, name in METHODS.items()}
    fit_in = [side for side in METHODS if not over[side]]
    exceeded = "; ".join(f"{METHODS[side]} exceeds {limits}" for side, limits in over.items() if limits)
    if not fit_in:
        return f"neither: {exceeded}"
    gap = told["predicted_points"]
    if len(fit_in) == 1:
        lead = gap if fit_in[0] == "VPT" else -gap
        return f"{fit_in[0]}, the one within the budget ({exceeded}): {lead:+.1f} points are expected against the other"
    if recommendation != OPEN:
        return recommendation
    stored = {side: costs.loc[costs["method"] == name, "stored_bytes"].sum() for side, name in METHODS.items()}
    if not all(stored.values()):
        return "either: accuracy does not decide"
    least = min(stored, key=lambda side: stored[side])
    return f"either: accuracy does not decide; {least} stores less a task"


def _prediction(block: Block, choice: Choice, fitted: Fit, new: NewTask, *, decides: bool) -> dict[str, Any]:
    values = [new.values[name] for name in choice.names]
    found, beyond = fitted.predict(values), far_beyond(choice.tasks, choice.names, values)
    (low80, high80), (low95, high95) = (np.clip(found.interval(level), -MOST, MOST) for level in (0.8, 0.95))
    parameters, residual, noise = settling.parts(found)
    return {
        "block": block.name, "backbone": block.backbone, "pretraining": block.pretraining, "decides": decides,
        "mismatch": block.mismatch, "n_tasks": len(choice.tasks), "predictors": ", ".join(choice.names) or "none",
        "predicted_points": float(np.clip(found.mean, -MOST, MOST)), "low80_points": low80, "high80_points": high80,
        "low95_points": low95, "high95_points": high95, "p_vpt": 1 - found.true.cdf(0.0),
        "advised": OPEN if beyond else recommend(found), "beyond": ", ".join(beyond),
        "variance_parameters": parameters, "variance_residual": residual, "variance_noise": noise,
    }  # fmt: skip


def _judged(blocks: Sequence[Block], new: NewTask, prior: Prior) -> Record | None:
    """Track record of this evidence with these predictors at about this size; None with too few tasks."""
    try:
        return record.measure(blocks, known=new.values, size=new.n_train, prior=prior)
    except SettingsError:
        return None


def _of(judged: Record, blocks: Sequence[str]) -> pd.DataFrame:
    """Rows of these blocks, in which each task was foretold from all others."""
    return judged.frame()[judged.frame()["block"].isin(blocks)].reset_index(drop=True)


def _settling(block: Block, choice: Choice, fitted: Fit, new: NewTask, prior: Prior) -> pd.DataFrame:
    names = [name for name in choice.names if name != "look_ahead"]
    without = None
    if len(names) < len(choice.names):
        known = {name: value for name, value in new.values.items() if name != "look_ahead"}
        fewer = choose(known, block.tasks)
        without = "the look-ahead", fit(fewer.tasks, fewer.names, prior=prior).predict([known[n] for n in fewer.names])
    values = [new.values[name] for name in choice.names]
    return settling.worth(fitted, values, of_draws=block.of_draws, of_images=block.of_images, without=without)


def _typed(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
