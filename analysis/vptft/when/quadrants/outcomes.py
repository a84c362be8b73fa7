"""The gap of one pair of networks, image by image: on which only VPT is right, and on which only FT."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.evidence.statistics.families import holm
from vptft.evidence.statistics.items import grouped_sign_flip, mcnemar
from vptft.evidence.statistics.paired import Test
from vptft.evidence.statistics.resampling import (
    LEAST,
    Interval,
    PairedDraw,
    bca,
    hierarchical_bootstrap,
    no_interval,
)

DRAWS = 2000
"""Of each bootstrap; the bounds of 1,000 images move by about 0.1 points between seeds."""
COLUMNS = {
    "task": "str", "n_train": "int64", "seed": "int64", "n_test": "int64", "n_groups": "int64", "both": "int64",
    "only_vpt": "int64", "only_ft": "int64", "neither": "int64", "gap_points": "float64", "low_points": "float64",
    "high_points": "float64", "p": "float64", "p_holm": "float64", "method": "str",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TestedPair:
    """Two networks tested on the same images of a task.

    Attributes
    ----------
    task, n_train, seed
        Of both; None where it is not known.
    draw
        Per image: whether VPT is right, less whether FT is; and the images' dependence groups.
    both
        Images that both are right on.
    """

    __test__: ClassVar[bool] = False
    task: str
    draw: PairedDraw
    both: int
    n_train: int | None = None
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcomes(Result):
    """What two networks get right, pair by pair.

    Attributes
    ----------
    table
        See :meth:`frame`.

    Notes
    -----
    This asks about *these two networks* on images like these, and nothing else: another training draw or seed gives
    other networks, and the gap of methods is in :class:`~vptft.when.quadrants.plane.Quadrants`, where the draws count.
    With one seed it is all that can be said, and no verdict on a hypothesis.
    """

    analysis: ClassVar[str] = "outcomes"
    table: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, n_train, seed (-1: not known), n_test, n_groups, the images that both, only_vpt, only_ft and
        neither are right on, gap_points with the 95% interval low_points, high_points over images (NaN with fewer than
        50 groups), p that the two are right equally often, p_holm over all pairs, method of interval and test.
        """  # noqa: D205
        return self.table


def measure(pairs: Sequence[TestedPair], *, seed: int = 0, settings: Mapping[str, Any] | None = None) -> Outcomes:
    """Count what only one of both is right on, and test whether so many are chance.

    Parameters
    ----------
    pairs
        In the order of the table.
    seed
        Of bootstraps and, where groups are many, of sign flips.

    Notes
    -----
    Where every image stands for itself: McNemar's mid-p and a BCa interval. Where images share photographs or scenes:
    the sign-flip permutation of whole groups and a cluster bootstrap. Either interval needs 50 groups
    (:data:`~vptft.evidence.statistics.resampling.LEAST`).
    """
    if not pairs:
        raise SettingsError("There is no task with both a VPT and an FT run.")
    table = pd.DataFrame([_row(pair, seed) for pair in pairs])
    table["p_holm"] = holm(table["p"].to_numpy())
    return Outcomes(settings={**(settings or {}), "seed": seed}, table=table[list(COLUMNS)].astype(COLUMNS))


def _row(pair: TestedPair, seed: int) -> dict[str, Any]:
    differences = pair.draw.differences
    n, n_groups = len(differences), len(np.unique(pair.draw.groups))
    only_vpt, only_ft = int((differences > 0).sum()), int((differences < 0).sum())
    interval, test, method = _tested(pair.draw, n_groups, only_vpt, only_ft, seed)
    return {
        "task": pair.task, "n_train": -1 if pair.n_train is None else pair.n_train,
        "seed": -1 if pair.seed is None else pair.seed, "n_test": n, "n_groups": n_groups, "both": pair.both,
        "only_vpt": only_vpt, "only_ft": only_ft, "neither": n - pair.both - only_vpt - only_ft,
        "gap_points": interval.value, "low_points": interval.low, "high_points": interval.high, "p": test.p,
        "method": f"{test.method}; {method}",
    }  # fmt: skip


def _tested(draw: PairedDraw, n_groups: int, only_vpt: int, only_ft: int, seed: int) -> tuple[Interval, Test, str]:
    points = 100 * draw.differences
    independent = n_groups == len(points)
    test = mcnemar(only_vpt, only_ft) if independent else grouped_sign_flip(draw.differences, draw.groups, seed=seed)
    if n_groups < LEAST:
        return no_interval(float(points.mean())), test, f"no interval of {n_groups} groups"
    if independent:
        return bca(points, seed=seed, draws=DRAWS), test, "BCa bootstrap"
    grouped = PairedDraw(differences=points, groups=draw.groups)
    return hierarchical_bootstrap([[grouped]], _only, seed=seed, draws=DRAWS), test, "cluster bootstrap"


def _only(means: np.ndarray) -> np.ndarray:
    """Return the mean of the one task that there is."""
    return np.asarray(means[..., 0])
