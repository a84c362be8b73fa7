"""What the quadrants say about the hypotheses: contrasts of the gap between their sides, within one pretraining."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from vptft.evidence.findings import Finding
from vptft.evidence.statistics.components import nested_interval
from vptft.evidence.statistics.interaction import (
    TASKS_A_TERM,
    TERMS,
    interaction,
    interaction_weights,
    terms_for,
)
from vptft.evidence.statistics.paired import mean_interval, relabelling, sign_flip, welch_interval
from vptft.evidence.statistics.resampling import Interval
from vptft.evidence.verdicts import Claim, decide
from vptft.when.quadrants.pairs import TaskPair

PREDICTED: dict[str, Literal[1, -1]] = {"W1": -1, "W2": 1}
"""Sign of each contrast under its hypothesis: the gap falls with distance and rises with disparity."""
SIDES = {"W1": "data far from the reference", "W2": "a far objective"}


def findings_of(
    pairs: Sequence[TaskPair], data_is_far: Sequence[bool | None], *, chosen_by_gaps: bool = False
) -> tuple[Finding, ...]:
    """Judge W0, then W1, W2 and W5 together, on tasks of one pretraining objective.

    Where every task has a designed factor level and per-image outcomes, contrasts are about these tasks, by variance
    components. Elsewhere tasks are a sample: Welch's interval, and the p of exchanging tasks between the sides; for
    the mean gap Student's interval, and sign flips. Tasks
    whose side of the data's boundary is not known (None) say nothing of W1; a boundary that was ``chosen_by_gaps`` has
    sides that differ by that choice, and W1 is not judged.
    """
    placed = [(pair, far) for pair, far in zip(pairs, data_is_far, strict=True) if far is not None]
    data, objective = np.array([far for _, far in placed], dtype=bool), np.array([p.objective_is_far for p in pairs])
    of_data: Claim | Finding | None = _claim("W1", [pair for pair, _ in placed], data)
    if chosen_by_gaps and isinstance(of_data, Claim):
        why = "the boundary was fitted to the gaps it would be judged by"
        of_data = Finding(
            hypothesis="W1", statement=of_data.statement, verdict="not applicable", reason=why, n=of_data.n
        )
    crossed = _crossed(pairs, objective, data if len(placed) == len(pairs) else None)
    found = [each for each in (of_data, _claim("W2", pairs, objective), crossed) if each is not None]
    return (
        *decide([_overall(pairs)]),
        *decide([each for each in found if isinstance(each, Claim)]),
        *(each for each in found if isinstance(each, Finding)),
    )


def _designed(pairs: Sequence[TaskPair]) -> bool:
    return all(pair.data_is_far is not None and pair.draws for pair in pairs)


def _tasks(count: int) -> str:
    return f"{count} task" if count == 1 else f"{count} tasks"


def _seeds(pairs: Sequence[TaskPair]) -> int | None:
    """Fewest trainings of a task; None where a table never said."""
    known = [len(pair.draws) or pair.n_seeds for pair in pairs]
    return min((n for n in known if n is not None), default=None)


def _overall(pairs: Sequence[TaskPair]) -> Claim:
    """Mean gap over all tasks, whatever their quadrant."""
    n = len(pairs)
    effect: Interval
    p: float | None
    if _designed(pairs) or (n == 1 and pairs[0].draws):
        effect = nested_interval([pair.draws for pair in pairs], np.full(n, 100 / n))
        p = effect.p
    else:
        gaps = np.array([pair.gap_points for pair in pairs])
        effect, p = mean_interval(gaps), sign_flip(gaps).p if n > 1 else None
    return Claim(
        hypothesis="W0",
        statement=f"Mean gap (VPT - FT) over {_tasks(n)}; {pairs[0].pretraining} pretraining",
        effect=effect, predicted=1, p=p, n=n, n_seeds=_seeds(pairs),
    )  # fmt: skip


def _claim(hypothesis: Literal["W1", "W2"], pairs: Sequence[TaskPair], far: np.ndarray) -> Claim | None:
    """Mean gap on the far side minus the near side; None where one side has no task."""
    if far.all() or not far.any():  # as with no task at all
        return None
    effect: Interval
    if _designed(pairs):
        effect = nested_interval([pair.draws for pair in pairs], 100 * np.where(far, 1 / far.sum(), -1 / (~far).sum()))
        p = effect.p
    else:
        gaps = np.array([pair.gap_points for pair in pairs])
        effect, p = welch_interval(gaps[far], gaps[~far]), relabelling(gaps[far], gaps[~far]).p
    return Claim(
        hypothesis=hypothesis,
        statement=f"Mean gap (VPT - FT) on {_tasks(far.sum())} with {SIDES[hypothesis]}, minus on {(~far).sum()} near "
        f"{'one' if (~far).sum() == 1 else 'ones'}; {pairs[0].pretraining} pretraining",
        effect=effect,
        predicted=PREDICTED[hypothesis],
        p=p,
        n=len(pairs),
        n_seeds=_seeds(pairs),
    )


def _crossed(pairs: Sequence[TaskPair], objective: np.ndarray, data: np.ndarray | None) -> Claim | Finding:
    """W5: the designed interaction, the regression's where tasks are observed and many, or why there is neither."""
    n = len(pairs)
    effect: Interval
    predicted: Literal[1, -1]
    if data is not None and _designed(pairs):
        what = "Change of the gap (VPT - FT) from near to far data under a near objective, minus under a far one"
        if len(set(zip(objective.tolist(), data.tolist(), strict=True))) < 4:
            return _not_applicable(what, "a quadrant has no task", pairs)
        effect = nested_interval([pair.draws for pair in pairs], 100 * interaction_weights(objective, data))
        predicted, p = -1, effect.p
    else:
        what = "Gap (VPT - FT) against distance x disparity, per standard deviation of each"
        known = [pair for pair in pairs if np.isfinite([pair.distance, pair.disparity]).all()]
        if TERMS[-1] not in terms_for(len(known)):
            needed = f"{TASKS_A_TERM * len(TERMS)} tasks with distance and disparity bear an interaction"
            return _not_applicable(what, f"{needed}; here are {len(known)}", pairs)
        for axis in ("distance", "disparity"):
            if np.ptp([getattr(pair, axis) for pair in known]) == 0:
                return _not_applicable(what, f"all tasks have the same {axis}", pairs)
        n = len(known)
        effect, p = _product_term(known)
        predicted = 1
    return Claim(
        hypothesis="W5",
        statement=f"{what}; {pairs[0].pretraining} pretraining",
        effect=effect,
        predicted=predicted,
        p=p,
        n=n,
        n_seeds=_seeds(pairs),
    )


def _not_applicable(what: str, reason: str, pairs: Sequence[TaskPair]) -> Finding:
    statement = f"{what}; {pairs[0].pretraining} pretraining"
    return Finding(hypothesis="W5", statement=statement, verdict="not applicable", reason=reason, n=len(pairs))


def _product_term(pairs: Sequence[TaskPair]) -> tuple[Interval, float]:
    names = ("task", "gap_points", "distance", "disparity")
    table = pd.DataFrame([{name: getattr(pair, name) for name in names} for pair in pairs]).assign(n_train=1)
    (row,) = interaction(table).query("term == @TERMS[-1]").to_dict("records")
    return Interval(value=row["estimate"], low=row["low"], high=row["high"]), row["p"]
