"""What the template is given: tables of text, images as data, verdicts and sections."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vptft.evidence.findings import Finding
from vptft.evidence.hypotheses import HYPOTHESES
from vptft.evidence.verdicts import RULE
from vptft.report.figures.style import to_png, to_svg
from vptft.report.pages import words
from vptft.report.pages.study import Study
from vptft.report.sections.parts import Analysis, Picture, Table

PIXELS_PER_INCH = 128
"""Size at which the page shows a figure where there is room."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A figure as the template shows it."""

    source: str
    alt: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finding as the template shows it."""

    statement: str
    effect: str = ""
    n: str = ""
    verdict: str = ""
    reason: str = ""


NOT_MEASURED = Found(statement="not measured here")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A hypothesis and all that was found about it."""

    id: str
    hypothesis: str
    rows: list[Found]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One analysis: its figures and tables, or why there are none, and how its numbers can mislead."""

    key: str
    heading: str
    images: list[Image]
    tables: list[Table]
    notes: list[str]
    missing: str
    caution: str


def shapes(study: Study, drawn: Mapping[str, Sequence[Picture]]) -> dict[str, Any]:
    """Return everything the template shows of a study and its figures, by name."""
    return {
        "subtitle": words.subtitle(study.facts),
        "question": words.QUESTION,
        "answer": _answer(study),
        "fairness": words.fairness(study.facts),
        "verdicts": verdicts_of(study.findings()),
        "rule": RULE,
        "sections": [_section(each, study, drawn[each.key]) for each in study.shown if _is_told(each, study)],
        "unmeasured": [(each.heading, each.command) for each in study.shown if not _is_told(each, study)],
        "settings": _settings(study.facts),
        "runs": _runs(study.facts),
        "results": [(name, pairs_of(result.settings)) for name, result in study.results()],
        "provenance": pairs_of(study.facts.get("provenance", {})),
    }


def _answer(study: Study) -> list[str]:
    if not study.of("quadrants"):
        return [f"No answer: {study.missing['quadrants']}."]
    return [said for plane in study.of("quadrants") for said in words.answer(plane.frame())]


def verdicts_of(findings: Sequence[Finding]) -> list[Verdict]:
    """Return every hypothesis with what was found about it."""
    return [
        Verdict(
            id=hypothesis.id,
            hypothesis=hypothesis.statement,
            rows=[_found(finding) for finding in findings if finding.hypothesis == hypothesis.id] or [NOT_MEASURED],
        )
        for hypothesis in HYPOTHESES.values()
    ]


def _found(finding: Finding) -> Found:
    return Found(
        statement=finding.statement,
        effect=words.effect(finding),
        n="" if finding.n is None else f"{finding.n:,}",
        verdict=finding.verdict,
        reason=finding.reason,
    )


def _is_told(analysis: Analysis[Any], study: Study) -> bool:
    """Whether an analysis has a section: it was measured, or begun."""
    reason = study.missing.get(analysis.key, "")
    return bool(study.of(analysis.key)) or not reason.endswith("is missing")


def _section(analysis: Analysis[Any], study: Study, drawn: Sequence[Picture]) -> Section:
    results = study.of(analysis.key)
    return Section(
        key=analysis.key,
        heading=analysis.heading,
        images=[image_of(picture) for picture in drawn],
        tables=list(analysis.tables(results)) if results else [],
        notes=list(analysis.notes(results)) if results else [],
        missing=f"Not measured: {study.missing[analysis.key]}." if analysis.key in study.missing else "",
        caution=analysis.caution,
    )


def image_of(picture: Picture) -> Image:
    """Return a figure as data that the page holds itself."""
    kind, data = ("png", to_png(picture.figure)) if picture.raster else ("svg+xml", to_svg(picture.figure).encode())
    width, height = picture.figure.get_size_inches() * PIXELS_PER_INCH
    return Image(
        source=f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        alt=picture.alt,
        caption=picture.caption,
        width=round(width),
        height=round(height),
    )


def _settings(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return everything ``study.json`` says, but runs and provenance, which have places of their own."""
    told = {name: value for name, value in facts.items() if name not in ("runs", "provenance")}
    return [(words.LABELS.get(name, name.replace("_", " ")), text) for name, text in pairs_of(told)]


def _runs(facts: Mapping[str, Any]) -> Table | None:
    runs = facts.get("runs", [])
    if not runs:
        return None
    names = list(dict.fromkeys(name for run in runs for name in run))
    return Table(
        caption="The runs.",
        columns=[name.replace("_", " ") for name in names],
        rows=[[_text(run.get(name)) for name in names] for run in runs],
        numbers=frozenset(i for i, name in enumerate(names) if isinstance(runs[0].get(name), int | float)),
    )


def pairs_of(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values as text."""
    return [(name, _text(value)) for name, value in values.items()]


def _text(value: object) -> str:
    """Return a plain value for a reader: words for truth, separators in counts, inner tables as ``name: value``."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" if abs(value) >= 10_000 else str(value)
        case float():
            return f"{value:.4g}"
        case str():
            return value
        case Mapping():
            return "; ".join(f"{name}: {_text(inner)}" for name, inner in value.items()) or "none"
        case list() | tuple():
            return ", ".join(_text(inner) for inner in value) or "none"
        case _:
            return json.dumps(value, default=str)
