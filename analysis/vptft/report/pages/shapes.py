"""What the template is given: tables of text, images as data, verdicts and sections."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from PIL import Image

from vptft.evidence.findings import Finding
from vptft.evidence.hypotheses import HYPOTHESES
from vptft.evidence.results import Result
from vptft.evidence.verdicts import RULE
from vptft.report.figures.style import to_png, to_svg
from vptft.report.pages import words
from vptft.report.pages.study import Study
from vptft.report.sections.parts import PROGRAM, Analysis, Context, Picture, Table, Widget
from vptft.storage import slug

PIXELS_PER_INCH = 128
"""Size at which the page shows a figure where there is room."""
THUMBNAIL = 640
"""Pixels that a figure is wide where it is shown small."""
QUALITY = 88
"""Of figures that hold photographs."""
LONGEST = 160
"""Settings with longer values stand at the end of the page only."""
OVERRIDES = dict.fromkeys((*range(0x202A, 0x202F), 0x2066, 0x2067))
"""Characters that force a direction on all that follows; a name must not reach beyond itself."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure as the template shows it; ``id`` is where links to it lead, ``file`` where it is whole if not here."""

    id: str
    source: str
    alt: str
    caption: str
    width: int
    height: int
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class Behind:
    """What a finding rests on: analysis, figures by place and name, settings, and how its numbers can mislead."""

    heading: str
    command: str
    figures: list[tuple[str, str]]
    settings: list[tuple[str, str]]
    caution: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finding as the template shows it."""

    statement: str
    effect: str = ""
    n: str = ""
    verdict: str = ""
    reason: str = ""
    behind: Behind | None = None


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
    images: list[Shown]
    tables: list[Table]
    notes: list[str]
    missing: str
    caution: str
    widgets: list["Control"] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A widget as the template shows it: its data as JSON that can stand inside a page."""

    kind: str
    label: str
    data: Markup


@dataclass(frozen=True, kw_only=True)
class TaskPart:
    """Everything the page says of one task: rows of tables, and where its own figures are."""

    id: str
    task: str
    said: str
    tables: list[Table]
    figures: list[tuple[str, str]]


def shapes(
    study: Study, drawn: Mapping[str, Sequence[Picture]], *, files: str | None = None, saved: Path | None = None
) -> dict[str, Any]:
    """Return everything the template shows of a study and its figures, by name.

    ``files`` is the folder of the figures' files as the page names it, where the page shows them small; ``saved`` the
    folder where these figures were saved, which spares drawing them again.
    """
    context = Context(facts=study.facts, others=study.found)
    images = {
        key: [image_of(picture, files=files, saved=saved) for picture in pictures] for key, pictures in drawn.items()
    }
    sections = [_section(each, study, images[each.key], context) for each in study.shown if _is_told(each, study)]
    told = list(study.told())
    behind = [_behind(analysis, result, drawn) for _, analysis, result in told]
    return {
        "subtitle": words.subtitle(study.facts),
        "question": words.QUESTION,
        "answer": _answer(study),
        "fairness": words.fairness(study.facts),
        "verdicts": verdicts_of([finding for finding, _, _ in told], behind),
        "rule": RULE,
        "sections": sections,
        "quadrants": _by_quadrant(study, sections, drawn),
        "unmeasured": [(each.heading, each.line) for each in study.shown if not _is_told(each, study)],
        "settings": _settings(study.facts),
        "runs": _runs(study.facts),
        "results": [(name, pairs_of(result.settings)) for name, result in study.results()],
        "provenance": pairs_of(study.facts.get("provenance", {})),
    }


def _answer(study: Study) -> list[str]:
    if not study.of("quadrants"):
        return [f"No answer: {study.missing['quadrants']}."]
    return [said for plane in study.of("quadrants") for said in words.answer(plane.frame())]


def verdicts_of(findings: Sequence[Finding], behind: Sequence[Behind | None] | None = None) -> list[Verdict]:
    """Return every hypothesis with what was found about it, and what that rests on where it is given."""
    told = list(zip(findings, behind or [None] * len(findings), strict=True))
    return [
        Verdict(
            id=hypothesis.id,
            hypothesis=hypothesis.statement,
            rows=[_found(*each) for each in told if each[0].hypothesis == hypothesis.id]
            or [Found(statement="not measured here", reason=f"needs {hypothesis.needs}")],
        )
        for hypothesis in HYPOTHESES.values()
    ]


def _found(finding: Finding, behind: Behind | None) -> Found:
    return Found(
        statement=finding.statement,
        effect=words.effect(finding),
        n="" if finding.n is None else f"{finding.n:,}",
        verdict=finding.verdict,
        reason="; ".join(filter(None, [finding.reason, words.could_see(finding)])),
        behind=behind,
    )


def _behind(analysis: Analysis[Any] | None, result: Result, drawn: Mapping[str, Sequence[Picture]]) -> Behind:
    settings = [(name, text) for name, text in pairs_of(result.settings) if len(text) <= LONGEST]
    if analysis is None:
        return Behind(
            heading=words.capital(result.analysis), command=f"{PROGRAM} checkpoints compare", figures=[],
            settings=settings, caution="What neither log nor configuration tells is not compared.",
        )  # fmt: skip
    task = getattr(result, "task", "") if analysis.many else ""
    pictures = [picture for picture in drawn[analysis.key] if not picture.task or picture.task == task]
    return Behind(
        heading=analysis.heading, command=analysis.line, settings=settings, caution=analysis.caution,
        figures=[(_place(picture), picture.name) for picture in pictures] or [(analysis.key, analysis.heading)],
    )  # fmt: skip


def _by_quadrant(
    study: Study, sections: Sequence[Section], drawn: Mapping[str, Sequence[Picture]]
) -> list[tuple[str, list[TaskPart]]]:
    """Return each quadrant of the planes with its tasks; without a plane there are none."""
    found: dict[str, list[TaskPart]] = {}
    for plane in study.of("quadrants"):
        for row in plane.frame().to_dict("records"):
            task = str(row["task"])
            tables = [table.only(task) for section in sections for table in section.tables]
            own = [picture for each in drawn.values() for picture in each if picture.task == task]
            part = TaskPart(
                id=f"task-{slug(task)}", task=task, said=words.gap_of(row),
                tables=[table for table in tables if table is not None],
                figures=[(_place(picture), picture.name) for picture in own],
            )  # fmt: skip
            found.setdefault(words.capital(words.side(row["objective_is_far"], row["data_is_far"])), []).append(part)
    return list(found.items())


def _is_told(analysis: Analysis[Any], study: Study) -> bool:
    """Whether an analysis has a section: it was measured, or begun."""
    reason = study.missing.get(analysis.key, "")
    return bool(study.of(analysis.key)) or not reason.endswith("is missing")


def _section(analysis: Analysis[Any], study: Study, images: list[Shown], context: Context) -> Section:
    results = study.of(analysis.key)
    return Section(
        key=analysis.key,
        heading=analysis.heading,
        images=images,
        tables=list(analysis.tables(results)) if results else [],
        notes=list(analysis.notes(results)) if results else [],
        missing=_missing(study.missing.get(analysis.key), partly=bool(results)),
        caution=analysis.caution,
        widgets=[_control(widget) for widget in analysis.widgets(results, context)] if results else [],
    )


def _missing(reason: str | None, *, partly: bool) -> str:
    if reason is None:
        return ""
    return f"Not measured{' of some runs' if partly else ''}: {reason}."


def _control(widget: Widget) -> Control:
    text = json.dumps(widget.data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":  # nothing in it can end the element it stands in
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Control(kind=widget.kind, label=widget.label, data=Markup(text.translate(OVERRIDES)))


def _place(picture: Picture) -> str:
    return f"figure-{picture.name}"


def image_of(picture: Picture, *, files: str | None = None, saved: Path | None = None) -> Shown:
    """Return a figure as data that the page holds itself: whole, or small with the name of its file in ``files``.

    Where the figure lies in ``saved``, as SVG, it is read from there.
    """
    size = picture.figure.get_size_inches() * PIXELS_PER_INCH
    small = files is not None
    width, height = size * min(1.0, THUMBNAIL / size[0]) if small else size
    if small:
        kind, data = "webp", _webp(picture, THUMBNAIL)
    else:
        kind, data = ("webp", _webp(picture)) if picture.raster else ("svg+xml", _svg(picture, saved))
    return Shown(
        id=_place(picture),
        source=f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        alt=picture.alt,
        caption=picture.caption,
        width=round(width),
        height=round(height),
        file=f"{files}/{quote(picture.name)}.{'png' if picture.raster else 'svg'}" if small else "",
    )


def _svg(picture: Picture, saved: Path | None) -> bytes:
    return to_svg(picture.figure).encode() if saved is None else (saved / f"{picture.name}.svg").read_bytes()


def _webp(picture: Picture, width: int | None = None) -> bytes:
    """Photographs at a fifth of the bytes of PNG; the files beside the page keep every pixel."""
    image = Image.open(io.BytesIO(to_png(picture.figure))).convert("RGB")
    if width is not None:
        image.thumbnail((width, 2 * width), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=QUALITY, method=4)
    return buffer.getvalue()


def _settings(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what ``study.json`` says, but runs, their hashes and provenance, which have places of their own."""
    told = {name: value for name, value in facts.items() if name not in ("runs", "identities", "provenance")}
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
