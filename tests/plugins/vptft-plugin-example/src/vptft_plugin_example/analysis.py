"""An analysis: the gap between VPT and FT class by class, and their mean, in which every class counts once.

It knows no files, no figures and no command line: predictions in, a frozen result out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vptft.checkpoints.native import Predictions
from vptft.errors import SettingsError
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.evidence.statistics.components import Estimate, nested_interval
from vptft.evidence.statistics.resampling import Interval, PairedDraw
from vptft.evidence.verdicts import Claim, decide


@dataclass(frozen=True, kw_only=True)
class ClassGaps(Result):
    """Gaps of one task.

    Attributes
    ----------
    task
        Its name.
    n_seeds
        Pairs of trainings.
    table
        A row a class, in points: ``class``, ``n`` (test images), ``gap``, ``low``, ``high``.
    balanced, low, high, p
        Mean of the classes' gaps, its 95% interval, and the p of no difference.
    """

    analysis = "class-gaps"

    task: str
    n_seeds: int
    table: pd.DataFrame
    balanced: float
    low: float
    high: float
    p: float

    def frame(self) -> pd.DataFrame:
        """Give ``table``."""
        return self.table

    def findings(self) -> tuple[Finding, ...]:
        """Judge the balanced gap by the rule that every analysis keeps to."""
        effect = Interval(value=self.balanced, low=self.low, high=self.high)
        statement = f"{self.task}: VPT is ahead where every class counts alike"
        claim = Claim(
            hypothesis="W0", statement=statement, effect=effect, predicted=1, p=self.p, n=int(self.table["n"].sum()),
            n_seeds=self.n_seeds,
        )  # fmt: skip
        return decide([claim])


def measure(pairs: Sequence[tuple[Predictions, Predictions]], *, task: str, classes: Sequence[str]) -> ClassGaps:
    r"""Measure the gap class by class.

    .. math:: g = \frac{1}{C} \sum_c \frac{100}{n_c} \sum_{i: y_i = c} (v_i - f_i)

    with :math:`v_i, f_i` in {0, 1}: whether VPT and FT classify test image i of class c rightly.

    Parameters
    ----------
    pairs
        Predictions of VPT and of FT on the same test images, a pair a training seed.
    task, classes
        Name of the task, and its classes in label order.

    Raises
    ------
    SettingsError
        Without pairs, or where the two sides of one saw different images.

    Notes
    -----
    Intervals hold training draws and groups of test images
    (:func:`~vptft.evidence.statistics.components.nested_interval`). Classes share both, so the mean is taken as one
    weighted sum over all images, and not as a mean of independent classes, which would make it look too sure. Looking
    for the class with the largest gap finds one by chance as well: the more classes and the fewer images in each, the
    larger it is.
    """
    if not pairs:
        raise SettingsError("Class gaps need at least one pair of VPT and FT predictions; got none.")
    if any(not np.array_equal(vpt.ids, ft.ids) for vpt, ft in pairs):
        raise SettingsError(f"{task}: VPT and FT were tested on different images, so no gap can be paired.")
    labels = pairs[0][0].labels
    present = np.unique(labels)
    gaps = [_gap(pairs, labels == label) for label in present]
    shares = np.array([(labels == label).mean() for label in labels])
    mean = _gap(pairs, labels >= 0, 1 / (len(present) * shares))
    table = pd.DataFrame({
        "class": [classes[label] for label in present],
        "n": [int((labels == label).sum()) for label in present],
        "gap": [gap.value for gap in gaps],
        "low": [gap.low for gap in gaps],
        "high": [gap.high for gap in gaps],
    })  # fmt: skip
    return ClassGaps(
        settings={}, task=task, n_seeds=len(pairs), table=table, balanced=mean.value, low=mean.low, high=mean.high,
        p=mean.p,
    )  # fmt: skip


def _gap(
    pairs: Sequence[tuple[Predictions, Predictions]], kept: np.ndarray, weights: np.ndarray | float = 1.0
) -> Estimate:
    """Mean over the images that are kept of what VPT is right more often than FT, in points."""
    draws = [
        PairedDraw(
            differences=(100 * weights * (vpt.correct.astype(float) - ft.correct))[kept], groups=vpt.groups[kept]
        )
        for vpt, ft in pairs
    ]
    return nested_interval([draws], [1.0])
