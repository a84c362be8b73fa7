"""When the test loss turns, how far it rises since, and the rule that calls it overfitting."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vptft.evidence.statistics.paired import mean_interval
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.evidence.verdicts import SEEDS_FOR_A_VERDICT

Verdict = Literal["overfits", "does not", "cannot tell"]

REGION_NATS = 0.05
"""A rise that is practically none: the geometric mean of the probability of the true class falls by 5%."""
WINDOW = 0.1
"""Part of the epochs that a level of the loss is averaged over: 2 of 20."""

RULE = (
    "A method overfits on a task if the 95% interval, over at least three seeds, of the rise of its held-out loss lies "
    f"above 0 and reaches beyond {REGION_NATS:g} nats; it does not if the interval lies below {REGION_NATS:g} nats; "
    "otherwise one cannot tell. The rise of a seed is the mean loss of the last tenth of its epochs less that of as "
    "many epochs up to the onset, and the onset is where the mean loss of the other seeds is least: on their "
    "validation images where all have them, else on the same test images. A minimum taken from the curve itself lies "
    "too low, and every curve would rise from it."
)
"""The rule in words; its error rates are simulated in ``tests/why/overfitting/test_onset.py``."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Where one seed's loss turns, and how much has changed since.

    Attributes
    ----------
    onset
        Index of the onset among the epochs.
    rise
        Change of the loss from the onset to the end, nats.
    accuracy_change
        The same of the accuracy, fraction; NaN where it was not logged.
    """

    onset: int
    rise: float
    accuracy_change: float


def turns(loss: np.ndarray, accuracy: np.ndarray, choosing: np.ndarray, ends: np.ndarray) -> list[Turn]:
    """Onset and rise of each seed, the onset chosen on the others.

    Parameters
    ----------
    loss, accuracy
        Held-out curves of the seeds of one task and method, ``(seeds, epochs)``.
    choosing
        Curves that onsets are chosen on, ``(seeds, epochs)``: validation losses, or ``loss`` itself.
    ends
        Index of the epoch whose weights each seed ends with, ``(seeds,)``.

    Notes
    -----
    Training noise of a seed has no part in the choice of its onset, so a curve that only fluctuates rises by 0 on
    average, whatever its noise. A wrong onset makes the rise smaller, never larger on average. A single seed has no
    others: its onset is chosen on its own curve, and if that is the loss itself, its rise is biased upward.

    On simulated curves of three or five seeds that fall to a plateau and fluctuate, :data:`RULE` raises 0-4% false
    alarms; the same interval of the last less the least loss 11-72%. What test images do to all seeds alike is in no
    interval: half as large as a seed's own noise it makes 3-7% with onsets on validation, 8-16% with onsets on the
    same test images. (From epoch to epoch the suite's runs show no such noise.)
    """
    width = max(1, round(WINDOW * loss.shape[1]))
    levels, accuracies, chosen_on = (smoothed(curves, width) for curves in (loss, accuracy, choosing))
    found = []
    for seed, end in enumerate(ends):
        others = np.delete(chosen_on, seed, axis=0) if len(chosen_on) > 1 else chosen_on
        onset = int(np.argmin(others[:, : end + 1].mean(axis=0)))
        found.append(
            Turn(
                onset=onset,
                rise=float(levels[seed, end] - levels[seed, onset]),
                accuracy_change=float(accuracies[seed, end] - accuracies[seed, onset]),
            )
        )
    return found


def smoothed(curves: np.ndarray, width: int) -> np.ndarray:
    """Mean of the last ``width`` epochs up to each, ``(seeds, epochs)``; of fewer at the start."""
    sums = np.cumsum(curves, axis=1)
    sums[:, width:] = sums[:, width:] - sums[:, :-width]
    return np.asarray(sums / np.minimum(np.arange(1, curves.shape[1] + 1), width))


def over_seeds(values: np.ndarray) -> Interval:
    """Mean over seeds with Student's t interval; none with fewer than three seeds, or where a value is not known."""
    values = np.asarray(values, dtype=float)
    if len(values) < SEEDS_FOR_A_VERDICT or not np.isfinite(values).all():
        return no_interval(float(values.mean()) if len(values) else float("nan"))
    return mean_interval(values)


def verdict(rise: Interval) -> Verdict:
    """Judge the rise of a task and method by :data:`RULE`."""
    if rise.high < REGION_NATS:
        return "does not"
    return "overfits" if rise.low > 0 else "cannot tell"
