"""What the paper's own tables show of its claims: effects, intervals, verdicts under one written rule."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, get_args

import pandas as pd

from vptft.evidence.findings import Finding, Verdict
from vptft.evidence.results import Result
from vptft.evidence.statistics.families import holm
from vptft.evidence.verdicts import LEVEL, RULE, Claim, decide
from vptft.published.comparisons import Measured, all_gaps, summaries
from vptft.published.questions import QUESTIONS, UNANSWERABLE, Family, Question
from vptft.published.tables import Tables

RUNS_A_CELL = 5
"""The paper's accuracies are means of so many trainings; their spread is not printed."""
DENIED: dict[Verdict, Verdict] = {"supported": "refuted", "refuted": "supported"}
COPIED = ("hypothesis", "statement", "verdict", "reason", "unit", "effect", "low", "high", "p", "p_adjusted", "n")
ASKED = ("key", "label", "family", "hypothesis", "claim", "tables", "predicted", "denied", "unit")
COUNTED = ("n", "won", "tied", "lost", "p", "p_ranks", "p_signs", "smallest_p", "detectable", "wins_needed", "method")
COLUMNS = (
    *ASKED, "statement", "effect", "low", "high", *COUNTED[:-1], "p_adjusted", "p_ranks_adjusted", "p_signs_adjusted",
    "verdict", "reason", "method",
)  # fmt: skip
SOURCE = "Han et al., ICLR 2024, arXiv 2401.12902: Tables 1 to 20, accuracies rounded to 0.1 points"


@dataclass(frozen=True, kw_only=True)
class Published(Result):
    """The printed gaps, what each group of them amounts to, and the claims that were judged by them.

    Attributes
    ----------
    gaps
        Every task under every pair of methods and every condition: columns of :func:`~vptft.published.tables.gaps`.
    summaries
        Counts, means and three uncorrected tests of every comparison and group:
        :func:`~vptft.published.comparisons.summaries`.
    claims
        One row a claim, with ``family`` (paper, added, none), the finding's columns, the same claim by ``p_ranks`` and
        ``p_signs`` with their own corrections, ``smallest_p`` (that so many tasks can give at all), ``detectable``
        (the mean effect that they find in four of five studies, given their spread) and ``wins_needed`` (of the untied
        tasks, for a sign test below 5%).

    Notes
    -----
    The interval of a mean is over tasks: it asks about tasks like these. The five trainings behind a cell, its training
    draw and the search behind each side are inside the numbers and cannot be told apart: nothing of them is printed.
    """

    analysis: ClassVar[str] = "published"
    gaps: pd.DataFrame
    summaries: pd.DataFrame
    claims: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Return the gaps, which every figure is drawn from."""
        return self.gaps

    def findings(self) -> tuple[Finding, ...]:
        """One finding a claim, in the order of the questions."""
        return tuple(_finding(row) for row in self.claims.to_dict("records"))

    def unsupported(self) -> pd.DataFrame:
        """Rows of the paper's claims that were tested and are not supported at 5% after correction."""
        tested = self.claims[self.claims["family"] == "paper"]
        return tested[tested["verdict"] != "supported"].reset_index(drop=True)


def measure(tables: Tables, *, settings: Mapping[str, Any] | None = None) -> Published:
    """Judge every claim of the paper by its own tables.

    Parameters
    ----------
    tables
        Of :func:`vptft.published.tables.load`.
    settings
        To keep with the result, beside the rule and the families.
    """
    gaps = all_gaps(tables)
    rows = [row for family in get_args(Family) for row in _family(family, gaps, tables.fids)]
    rows += [_unanswered(**asdict(each)) for each in UNANSWERABLE]
    sizes = {family: sum(question.family == family for question in QUESTIONS) for family in get_args(Family)}
    return Published(
        settings={"source": SOURCE, "rule": RULE, "tests in each family": sizes, "seed": 0, **(settings or {})},
        gaps=gaps,
        summaries=summaries(gaps),
        claims=_typed(pd.DataFrame(rows, columns=list(COLUMNS))),
    )


def _typed(claims: pd.DataFrame) -> pd.DataFrame:
    """Give every column one kind of value, so that a table that is read back is the same."""
    text = claims.select_dtypes(exclude="number").columns.difference(["denied"])
    filled = claims.assign(**{name: claims[name].fillna("").astype(str) for name in text})
    return filled.assign(denied=claims["denied"].eq(True))


def _family(family: Family, gaps: pd.DataFrame, fids: pd.DataFrame) -> list[dict[str, Any]]:
    """Measure and judge the questions of one family together."""
    questions = [question for question in QUESTIONS if question.family == family]
    measured = [question.measure(gaps, fids) for question in questions]
    findings = decide([_claim(question, each) for question, each in zip(questions, measured, strict=True)])
    others = {name: holm([getattr(each, name) for each in measured]) for name in ("p_ranks", "p_signs")}
    return [
        _row(question, each, finding, {f"{name}_adjusted": float(ps[i]) for name, ps in others.items()})
        for i, (question, each, finding) in enumerate(zip(questions, measured, findings, strict=True))
    ]


def _claim(question: Question, measured: Measured) -> Claim:
    return Claim(
        hypothesis=question.hypothesis,
        statement=question.statement.format(
            n=measured.n, won=measured.won, tied=measured.tied, lost=measured.lost
        ),
        effect=measured.effect, predicted=question.predicted, unit=question.unit, region=question.region,
        p=measured.p, n=measured.n, n_seeds=RUNS_A_CELL,
    )  # fmt: skip


def _row(question: Question, measured: Measured, finding: Finding, adjusted: Mapping[str, float]) -> dict[str, Any]:
    verdict = DENIED.get(finding.verdict, finding.verdict) if question.denied else finding.verdict
    asked = {name: getattr(question, name) for name in ASKED}
    counted = {name: getattr(measured, name) for name in COUNTED}
    effect = {name: getattr(finding, name) for name in ("statement", "effect", "low", "high", "p_adjusted")}
    return {
        **asked,
        **counted,
        **effect,
        **adjusted,
        "verdict": verdict,
        "reason": _reason(question, finding, measured),
    }


def _reason(question: Question, finding: Finding, measured: Measured) -> str:
    """Add what a reader of the verdict must know: that nothing could have been shown, or that the claim denies."""
    said, lowest = [finding.reason], measured.smallest_p * (1 + 1e-9)
    if question.denied:
        said = [f"judged is the opposite, that they help: {finding.reason}"]
    if lowest > LEVEL:
        said.append(f"so few tasks can show nothing: no p below {lowest:.3g} is possible")
    elif measured.p <= lowest:
        said.append(f"p = {lowest:.2g} is the smallest that so many tasks can give")
    return "; ".join(said)


def _unanswered(*, key: str, hypothesis: str, claim: str, reason: str) -> dict[str, Any]:
    text = {"key": key, "label": key, "family": "none", "hypothesis": hypothesis, "claim": claim, "statement": claim}
    return {**text, "unit": "", "verdict": "not applicable", "reason": reason}


def _finding(row: Mapping[Any, Any]) -> Finding:
    """Make a finding of a row; a number that is not there is None."""
    known: dict[str, Any] = {name: None if pd.isna(row[name]) else row[name] for name in COPIED}
    return Finding(**{**known, "n": None if known["n"] is None else int(known["n"])})
