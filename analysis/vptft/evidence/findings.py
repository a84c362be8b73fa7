"""Finding: one hypothesis, one statement, an effect with its interval, and a verdict that a stated rule gives."""

from dataclasses import dataclass
from typing import Literal

from vptft.errors import SettingsError
from vptft.evidence.hypotheses import HYPOTHESES

Verdict = Literal["supported", "refuted", "inconclusive", "not applicable"]

SEEDS_FOR_A_VERDICT = 3
"""With fewer the spread between trainings is unknown, so no interval can be trusted."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one analysis says about one hypothesis.

    Attributes
    ----------
    hypothesis
        An id of the hypotheses table.
    statement
        The sentence the numbers support, with its scope.
    verdict, reason
        The answer, and why it is that one.
    effect, low, high, unit
        Effect size and its 95% interval; None where there is none.
    p
        Two-sided p-value, where a test was made.
    n
        What was counted: tasks, runs, images; said in ``statement``.
    """

    hypothesis: str
    statement: str
    verdict: Verdict
    reason: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    p: float | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        if self.hypothesis not in HYPOTHESES:
            raise SettingsError(f"There is no hypothesis {self.hypothesis!r}; known: {', '.join(HYPOTHESES)}.")


def judge(low: float, high: float, *, predicted_sign: Literal[1, -1], n_seeds: int) -> tuple[Verdict, str]:
    """Give the verdict on an effect whose predicted sign is known, from its 95% interval.

    Fewer than three seeds give no verdict, whatever the interval: it holds the test images' share of the
    uncertainty only.
    """
    if n_seeds < SEEDS_FOR_A_VERDICT:
        count = "one seed" if n_seeds == 1 else f"{n_seeds} seeds"
        return "inconclusive", f"{count}: no verdict"
    if not low <= high:
        return "inconclusive", "the 95% interval is not defined"
    if low > 0 or high < 0:
        agrees = (low > 0) == (predicted_sign > 0)
        return ("supported" if agrees else "refuted"), "the 95% interval excludes zero"
    return "inconclusive", "the 95% interval includes zero"
