"""Finding: one hypothesis, one statement, an effect with its interval, and its verdict."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Literal

import pandas as pd

from vptft.errors import SettingsError
from vptft.evidence.hypotheses import HYPOTHESES

Verdict = Literal["supported", "refuted", "inconclusive", "not applicable"]


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
        The answer, and why it is that one: see :mod:`vptft.evidence.verdicts`.
    effect, low, high, unit
        Effect size and its 95% interval; None where there is none.
    p, p_adjusted
        Two-sided p-value, where a test was made; and after Holm's correction over the family it was judged in.
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
    p_adjusted: float | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        if self.hypothesis not in HYPOTHESES:
            raise SettingsError(f"There is no hypothesis {self.hypothesis!r}; known: {', '.join(HYPOTHESES)}.")


NUMBERS = ("effect", "low", "high", "p", "p_adjusted", "n")


def to_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Give findings as a table, a row each, that a result can keep: what is None is NaN."""
    names = [field.name for field in fields(Finding)]
    table = pd.DataFrame([asdict(finding) for finding in findings], columns=names)
    return table.astype({name: "float64" if name in NUMBERS else "str" for name in names})


def from_table(table: pd.DataFrame) -> tuple[Finding, ...]:
    """Give the findings of a table that :func:`to_table` made."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return tuple(
        Finding(
            **{str(name): value for name, value in row.items()} | {"n": None if row["n"] is None else int(row["n"])}
        )
        for row in rows
    )
