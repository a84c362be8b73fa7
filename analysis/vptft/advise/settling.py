"""What further measurement would settle a call that is too close: what each would leave of the uncertainty.

The variance of the predicted gap has three parts: of the coefficients, which more tasks make smaller; of the task
itself, which only measuring this task can; and of measuring, which more trainings make smaller. Before a measurement
its outcome is not known, but how much it narrows is: with v the variance before and v' the one expected after, the
new centre is distributed around the old one with variance v - v' (preposterior analysis; Raiffa and Schlaifer 1961).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vptft.advise.decision import OPEN, SURE, recommend
from vptft.advise.prediction import Prediction
from vptft.advise.regression import Fit
from vptft.evidence.verdicts import REGION

SEEDS = (1, 3, 5)
"""Pairs of trainings of this task whose worth is computed."""
KINDS = {
    "measurement": "str", "parameters": "float64", "residual": "float64", "sd_points": "float64",
    "half80_points": "float64", "settled": "float64",
}  # fmt: skip


def worth(
    fitted: Fit,
    values: Sequence[float],
    *,
    of_draws: float = float("nan"),
    of_images: float = 0.0,
    without: tuple[str, Prediction] | None = None,
) -> pd.DataFrame:
    """Compare what further measurements would leave.

    Parameters
    ----------
    fitted, values
        The evidence, and the new task's predictors.
    of_draws, of_images
        Variance in points squared of a gap measured with one pair of trainings, from the training draw, which further
        seeds average out, and from the test images, which they share; NaN where no evidence tells the first.
    without
        Name and prediction without a predictor that was costly to measure, to show what it was worth.

    Returns
    -------
    DataFrame
        A row a measurement, the first being none: parameters and residual (variances left of the gap itself, points
        squared), sd_points (root of their sum), half80_points (half the width of its 80% interval), and settled: the
        probability that the rule would then name a method; as it is, whether it does.

    Notes
    -----
    Variances are averaged over the posterior of tau and omega, as if they stayed as they are; more tasks would also
    tell those better. A normal approximation, for choosing what to do next.
    """
    now = fitted.predict(values)
    parameters, residual, _ = parts(now)
    before = parameters + residual
    as_it_is = _row("as it is", now.mean, parameters, residual, before)
    rows = [as_it_is | {"settled": float(recommend(now) != OPEN)}]
    for times in (2, 4):
        more, _, _ = parts(fitted.predict(values, tasks=times))
        rows.append(_row(f"{(times - 1) * fitted.n_tasks} more tasks like these", now.mean, more, residual, before))
    for seeds in SEEDS if np.isfinite(of_draws) else ():
        noise = of_draws / seeds + of_images
        left = noise / (before + noise)
        said = f"train both on this task, {seeds} seed{'s' if seeds > 1 else ''}"
        rows.append(_row(said, now.mean, parameters * left, residual * left, before))
    if without is not None:
        name, other = without
        fewer, rest, _ = parts(other)
        rows.append(_row(f"without {name}", other.mean, fewer, rest, fewer + rest))
    return pd.DataFrame(rows, columns=list(KINDS)).astype(KINDS)


def parts(prediction: Prediction) -> tuple[float, float, float]:
    """Variance of the coefficients, of the task, and of measuring, points squared: posterior means.

    Taken within the central 98% of the posterior: the heavy tail of tau would rule a plain mean.
    """
    order = np.argsort(prediction.residual, kind="stable")
    passed = np.cumsum(prediction.weights[order]) - prediction.weights[order] / 2
    inside = (passed > 0.01) & (passed < 0.99)
    chosen = order[inside] if inside.any() else order
    weights = prediction.weights[chosen]
    of = (prediction.parameters, prediction.residual, prediction.noise)
    first, second, third = (float(np.average(part[chosen], weights=weights)) for part in of)
    return first, second, third


def settled(mean: float, before: float, after: float) -> float:
    """Probability that the rule names a method once a variance ``before`` has become ``after``."""
    needed = max(REGION, float(stats.norm.ppf(SURE) * np.sqrt(after)))
    moves = np.sqrt(max(before - after, 0.0))
    if moves == 0:
        return float(abs(mean) >= needed)
    return float(stats.norm.sf(needed, mean, moves) + stats.norm.cdf(-needed, mean, moves))


def _row(said: str, mean: float, parameters: float, residual: float, before: float) -> dict[str, Any]:
    after = parameters + residual
    return {
        "measurement": said, "parameters": parameters, "residual": residual, "sd_points": float(np.sqrt(after)),
        "half80_points": float(stats.norm.ppf(0.9) * np.sqrt(after)), "settled": settled(mean, before, after),
    }  # fmt: skip
