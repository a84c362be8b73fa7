"""Calibration of final predictions: how much of a test loss is confidence alone, measured and not guessed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import optimize, special

from vptft.errors import SettingsError
from vptft.evidence.results import Result

BINS = 15
"""Of equal mass: those of equal width leave most bins of a confident network nearly empty."""
TEMPERATURES = (0.02, 50.0)
"""Bounds of the search for a temperature."""
FLOOR_DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Final test predictions of one run: ``logits`` (n, n_classes), ``labels`` (n,), dependence ``groups`` (n,).

    ``rise_nats`` is the rise of its test loss since the onset, where it is known.
    """

    task: str
    method: str
    seed: int
    logits: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    task_group: str = ""
    pretraining: str = ""
    n_train: int = 0
    rise_nats: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Calibration(Result):
    """One row a run in ``table``."""

    analysis: ClassVar[str] = "calibration"
    table: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, task_group, pretraining, method, n_train, seed, n (test images), accuracy (fraction), nll,
        nll_scaled, confidence_nats (their difference: what confidence alone costs), temperature, ece (fraction; biased
        upward), ece_floor (what calibrated predictions with these confidences would show), l2_debiased (fraction),
        rise_nats, rise_left_nats (the rise less confidence_nats: above zero, it is more than confidence).
        """  # noqa: D205
        return self.table


def measure(
    runs: Sequence[Predicted], *, bins: int = BINS, seed: int = 0, settings: Mapping[str, Any] | None = None
) -> Calibration:
    """Measure how well each run's test probabilities fit what happens.

    Parameters
    ----------
    runs
        Final predictions.
    bins
        Of equal mass, for the calibration errors; half as many as images where that is less.
    seed
        Of the split into halves and of the floor.

    Notes
    -----
    ``confidence_nats`` is what one number, the temperature, takes off the loss without changing any prediction; it is
    fitted on one half of the test images and judged on the other, both ways, so it can be slightly negative. A rise of
    the test loss no larger than it is confidence alone. It says nothing of a network's order of classes.
    """
    if not runs:
        raise SettingsError("There are no predictions to measure.")
    return Calibration(
        settings={**(settings or {}), "bins": bins, "seed": seed},
        table=pd.DataFrame([_row(run, bins, seed) for run in runs]),
    )


def nll(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean negative log likelihood of the true classes, nats, of logits ``(n, n_classes)`` over a temperature."""
    scaled = special.log_softmax(np.asarray(logits, dtype=float) / temperature, axis=1)
    return float(-scaled[np.arange(len(labels)), labels].mean())


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Temperature with the least negative log likelihood (Guo et al. 2017), within :data:`TEMPERATURES`.

    The loss is convex in the inverse temperature, so there is one minimum; where every image is right it lies at the
    lower bound.
    """
    low, high = np.log(TEMPERATURES)
    found = optimize.minimize_scalar(
        lambda log: nll(logits, labels, float(np.exp(log))), bounds=(low, high), method="bounded",
        options={"xatol": 1e-4},
    )  # fmt: skip
    return float(np.exp(found.x))


def scaled_nll(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int) -> float:
    """Negative log likelihood at a temperature fitted on other images: two halves, whole groups, both ways.

    NaN where a half has no error: its temperature is the lowest that may be, and would cost the other half's errors
    dear, whatever their confidence.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise SettingsError("All test images are one group: a temperature cannot be fitted on one half of them.")
    in_first = (np.random.default_rng(seed).permutation(len(names)) < len(names) // 2)[member]
    total = 0.0
    wrong = np.argmax(logits, axis=1) != labels
    if not (wrong[in_first].any() and wrong[~in_first].any()):
        return float("nan")
    for half in (in_first, ~in_first):
        fitted = temperature(logits[~half], labels[~half])
        total += nll(logits[half], labels[half], fitted) * int(half.sum())
    return total / len(labels)


def calibration_errors(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> tuple[float, float]:
    """ECE and the debiased L2 calibration error in bins of equal mass, as fractions.

    Parameters
    ----------
    confidence, correct
        Probability of the predicted class, and whether it was right, ``(n,)``.

    Notes
    -----
    ECE is the mean distance of accuracy and confidence over bins (Naeini et al. 2015). Noise of the bins' accuracies
    makes it larger: calibrated predictions of 1,000 images show about 3%. The L2 error subtracts that noise from each
    squared difference (Kumar et al. 2019, *Verified Uncertainty Calibration*): its square is unbiased, and 0 where
    negative. Either sees only what differs between bins.
    """
    n = len(confidence)
    if n < 2 * bins:
        raise SettingsError(f"{bins} bins need at least {2 * bins} images; there are {n}.", "Take fewer bins.")
    order = np.argsort(confidence, kind="stable")
    sizes, (right, said) = _binned(np.stack([correct[order], confidence[order]]).astype(float), bins)
    squared = np.sum(sizes / n * ((right - said) ** 2 - right * (1 - right) / (sizes - 1)))
    return float(np.sum(sizes / n * np.abs(right - said))), float(np.sqrt(max(0.0, squared)))


def ece_floor(confidence: np.ndarray, *, bins: int = BINS, seed: int, draws: int = FLOOR_DRAWS) -> float:
    """Mean ECE of predictions with these confidences ``(n,)`` if each were right exactly so often."""
    said = np.sort(confidence)
    made = np.random.default_rng(seed).random((draws, len(said))) < said
    sizes, apart = _binned(made - said, bins)
    return float(np.mean(np.abs(apart) @ sizes) / len(said))


def _binned(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of bins of equal mass ``(bins,)``, and the means in them of rows ``(m, n)`` in the order of confidence."""
    starts = np.array([part[0] for part in np.array_split(np.arange(values.shape[1]), bins)])
    sizes = np.diff(np.append(starts, values.shape[1]))
    return sizes, np.add.reduceat(values, starts, axis=1) / sizes


def _row(run: Predicted, bins: int, seed: int) -> dict[str, Any]:
    logits, labels = np.asarray(run.logits, dtype=float), np.asarray(run.labels)
    bins = max(1, min(bins, len(labels) // 2))
    confidence = special.softmax(logits, axis=1).max(axis=1)
    correct = logits.argmax(axis=1) == labels
    ece, l2 = calibration_errors(confidence, correct, bins=bins)
    plain = nll(logits, labels)
    scaled = scaled_nll(logits, labels, run.groups, seed=seed)
    return {
        "task": run.task, "task_group": run.task_group, "pretraining": run.pretraining, "method": run.method,
        "n_train": run.n_train, "seed": run.seed, "n": len(labels), "accuracy": float(correct.mean()), "nll": plain,
        "nll_scaled": scaled, "confidence_nats": plain - scaled, "temperature": temperature(logits, labels),
        "ece": ece, "ece_floor": ece_floor(confidence, bins=bins, seed=seed), "l2_debiased": l2,
        "rise_nats": run.rise_nats, "rise_left_nats": run.rise_nats - (plain - scaled),
    }  # fmt: skip
