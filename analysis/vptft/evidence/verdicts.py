"""How a number becomes a verdict: one rule, written before any result, printed wherever verdicts are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding, Verdict
from vptft.evidence.statistics.families import holm
from vptft.evidence.statistics.resampling import Interval

SEEDS_FOR_A_VERDICT = 3
"""With fewer the spread between trainings is unknown, so no interval can be trusted."""
REGION = 1.0
"""Points of accuracy within which two methods are practically equal."""
LEVEL = 0.05

RULE = (
    "Supported: the 95% interval lies on the predicted side of zero and reaches beyond the region of practical "
    "equivalence. Refuted: it lies on the other side of zero, or within the region. Where there is a test, its p after "
    "Holm's correction over the family must also be below 5%, except for an interval within the region. Otherwise "
    "inconclusive, and always so with fewer than three seeds."
)
"""The rule in words. Region: +-1 point for accuracies, none for shares and correlations."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A directed statement that was measured, and not judged yet.

    Attributes
    ----------
    hypothesis, statement, unit, n
        As in :class:`~vptft.evidence.findings.Finding`.
    effect
        Estimate and 95% interval, on a scale whose zero is "no effect".
    predicted
        Sign of the effect that the hypothesis predicts.
    region
        Half-width around zero that is practically nothing; None where no such region is agreed.
    p
        Two-sided p of its test; None where there is none.
    n_seeds
        Trainings behind each number; None where that many are not known.
    withheld
        Why no verdict may be given whatever the interval says, as where it leaves out a source of chance; empty where
        one may.
    """

    hypothesis: str
    statement: str
    effect: Interval
    predicted: Literal[1, -1]
    unit: str = "points"
    region: float | None = REGION
    p: float | None = None
    n: int | None = None
    n_seeds: int | None = None
    withheld: str = ""

    def __post_init__(self) -> None:
        if self.region is not None and self.region < 0:
            raise SettingsError(f"A region of practical equivalence has a width of 0 or more, not {self.region}.")


def decide(claims: Sequence[Claim]) -> tuple[Finding, ...]:
    """Judge the claims of one family: their p-values are corrected together."""
    adjusted = holm([np.nan if claim.p is None else claim.p for claim in claims])
    return tuple(_finding(claim, float(p)) for claim, p in zip(claims, adjusted, strict=True))


def judge(
    effect: Interval,
    *,
    predicted: Literal[1, -1],
    region: float | None = REGION,
    p: float | None = None,
    n_seeds: int | None = None,
    withheld: str = "",
) -> tuple[Verdict, str]:
    """Give the verdict on one effect, and why, by :data:`RULE`.

    Parameters
    ----------
    effect, predicted, region, n_seeds, withheld
        As in :class:`Claim`.
    p
        Already corrected.
    """
    if n_seeds is not None and n_seeds < SEEDS_FOR_A_VERDICT:
        return "inconclusive", f"{'one seed' if n_seeds == 1 else f'{n_seeds} seeds'}: no verdict"
    if withheld:
        return "inconclusive", withheld
    low, high = sorted((predicted * effect.low, predicted * effect.high))
    if not low <= high:
        return "inconclusive", "the 95% interval is not defined"
    if region and -region <= low and high <= region:
        return "refuted", f"the 95% interval lies within ±{region:g}: practically no effect"
    if low <= 0 <= high:
        return "inconclusive", "the 95% interval includes zero"
    if p is not None and not p < LEVEL:
        return "inconclusive", f"p = {p:.2g} after correction"
    if high < 0:
        return "refuted", "the 95% interval lies on the other side of zero"
    small = region and high > region and low < region
    return "supported", "the 95% interval excludes zero" + (f", not an effect below {region:g}" if small else "")


def _finding(claim: Claim, adjusted: float) -> Finding:
    p = None if np.isnan(adjusted) else adjusted
    verdict, reason = judge(
        claim.effect, predicted=claim.predicted, region=claim.region, p=p, n_seeds=claim.n_seeds,
        withheld=claim.withheld,
    )  # fmt: skip
    return Finding(
        hypothesis=claim.hypothesis, statement=claim.statement, verdict=verdict, reason=reason,
        effect=claim.effect.value, low=_known(claim.effect.low), high=_known(claim.effect.high), unit=claim.unit,
        p=claim.p, p_adjusted=p, n=claim.n,
    )  # fmt: skip


def _known(bound: float | None) -> float | None:
    """Give an end of an interval; None where there is no interval."""
    return None if bound is None or np.isnan(bound) else bound
