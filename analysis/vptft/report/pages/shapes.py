"""What the template is given: tables of text, images as data, verdicts and sections."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vptft.evidence.findings import Finding
from vptft.evidence.hypotheses import HYPOTHESES
from vptft.evidence.results import Result
from vptft.evidence.verdicts import RULE
from vptft.report.figures.distances import decimals, fixed
from vptft.report.figures.style import to_png, to_svg, with_interval
from vptft.report.pages import words
from vptft.report.pages.gallery import Picture
from vptft.report.pages.study import Study
from vptft.when.distribution.distance import SetDistance
from vptft.why.attention.maps import AttentionMaps
from vptft.why.landscape.slices import LossSlice

PIXELS_PER_INCH = 128
"""Size at which the page shows a figure where there is room."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as the template shows it: text cells, and the columns that hold numbers."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numbers: frozenset[int] = frozenset()


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


def shapes(study: Study, drawn: Sequence[Picture]) -> dict[str, Any]:
    """Return everything the template shows of a study and its figures, by name."""
    return {
        "subtitle": words.subtitle(study.facts),
        "question": words.QUESTION,
        "answer": _answer(study),
        "fairness": words.fairness(study.facts),
        "verdicts": verdicts_of(study.findings()),
        "rule": RULE,
        "sections": [_section(key, study, drawn) for key in words.HEADINGS],
        "settings": _settings(study.facts),
        "runs": _runs(study.facts),
        "results": [(_name(result), pairs_of(result.settings)) for result in study.results()],
        "provenance": pairs_of(study.facts.get("provenance", {})),
    }


def _name(result: Result) -> str:
    """Return what was analysed, and of what where there are several."""
    match result:
        case SetDistance():
            return f"{result.analysis}: {result.first} to {result.second}"
        case LossSlice():
            return f"{result.analysis}: {result.label}"
        case AttentionMaps():
            return f"{result.analysis}: {result.task}"
        case _:
            return result.analysis


def _answer(study: Study) -> list[str]:
    if study.quadrants is None:
        return [f"No answer: {study.missing['quadrants']}."]
    return words.answer(study.quadrants.frame())


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


def _section(key: str, study: Study, drawn: Sequence[Picture]) -> Section:
    tables, notes = [], []
    if key == "quadrants" and study.quadrants is not None:
        tables += [_task_table(study.quadrants.frame()), _cell_table(study.quadrants.cells)]
        if len(study.quadrants.predictions):
            tables.append(_prediction_table(study.quadrants.predictions))
    if key == "distance" and study.distances:
        tables.append(_distance_table(study))
        notes = list(dict.fromkeys(warning for result in study.distances for warning in result.warnings()))
    if key == "overfitting" and study.curves is not None:
        tables.append(_curve_table(study.curves.runs))
    return Section(
        key=key,
        heading=words.HEADINGS[key],
        images=[image_of(picture) for picture in drawn if picture.section == key],
        tables=tables,
        notes=notes,
        missing=f"Not measured: {study.missing[key]}." if key in study.missing else "",
        caution=words.CAUTIONS[key],
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


def _task_table(frame: pd.DataFrame) -> Table:
    rows = [
        [
            str(row["task"]),
            f"{row['objective']}, {'far' if row['objective_is_far'] else 'near'}",
            "far" if row["data_is_far"] else "near",
            f"{100 * row['accuracy_vpt']:.1f}",
            f"{100 * row['accuracy_ft']:.1f}",
            with_interval(row["gap_points"], row["low_points"], row["high_points"]),
            f"{row['distance']:.4g}",
            f"{row['n_test']:,}",
            f"{row['n_groups']:,}",
            str(row["n_seeds"]),
        ]
        for row in frame.to_dict("records")
    ]
    measure = ", ".join(frame["measure_name"].unique())
    return Table(
        caption="Accuracy of VPT and FT in percent, mean over seeds; gap in points with its 95% interval; distance: "
        f"debiased {measure}.",
        columns=["task", "objective", "data", "VPT", "FT", "gap", "distance", "test images", "groups", "seeds"],
        rows=rows,
        numbers=frozenset(range(3, 10)),
    )


def _cell_table(cells: pd.DataFrame) -> Table:
    rows = [
        [
            words.side(row["objective_is_far"], row["data_is_far"]), row["predicted"].upper(), str(row["n_tasks"]),
            str(row["n_vpt"]), str(row["n_ft"]), str(row["n_open"]),
            with_interval(row["gap_points"], row["low_points"], row["high_points"]), row["pretraining"],
        ]
        for row in cells.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption="The paper's four quadrants: the winner its rule names, and on how many tasks each method is ahead by "
        "more than the region of practical equivalence; mean gap in points with its 95% interval.",
        columns=["quadrant", "rule", "tasks", "VPT ahead", "FT ahead", "open", "mean gap", "pretraining"],
        rows=rows,
        numbers=frozenset(range(2, 7)),
    )


def _prediction_table(predictions: pd.DataFrame) -> Table:
    rows = [
        [
            row["boundary"], f"{row['value']:.4g}", str(row["n"]), str(row["ties"]),
            f"{100 * row['accuracy']:.0f}% [{100 * row['low']:.0f}, {100 * row['high']:.0f}]",
            f"{100 * row['base']:.0f}%", f"{100 * row['always_vpt']:.0f}%", f"{row['p']:.2g}", row["pretraining"],
        ]
        for row in predictions.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption="Does the paper's rule name the winner of a task it has not seen? Each task is named with a boundary "
        "from the others; beside it the others' usual winner, and always VPT; p is McNemar's, rule against usual.",
        columns=["boundary", "distance", "tasks", "ties", "rule", "usual winner", "always VPT", "p", "pretraining"],
        rows=rows,
        numbers=frozenset(range(1, 8)),
    )


def _distance_table(study: Study) -> Table:
    rows = [
        [
            result.first,
            result.second,
            result.measure_name,
            words.estimate(result),
            fixed(result.distance, decimals([result.distance], figures=4)),
            _noise_floor(result),
            words.with_error(result.kid, result.kid_se),
            ", ".join("unknown" if n is None else f"{n:,}" for n in (result.n_first, result.n_second)),
            words.remark(result),
        ]
        for result in study.distances
    ]
    return Table(
        caption=f"Distances: {words.INTERVAL}; {words.FLOOR}, at the N beside it. KID (in other features than "
        "Inception's: the same kernel distance) is unbiased, ± its standard error.",
        columns=[
            "first", "second", "measure", "debiased [95% interval]", "plug-in", "noise floor", "KID ± SE", "N",
            "remark",
        ],
        rows=rows,
        numbers=frozenset(range(3, 8)),
    )  # fmt: skip


def _noise_floor(result: SetDistance) -> str:
    if result.noise_floor is None:
        return "no halves"
    return f"{fixed(result.noise_floor, decimals([result.noise_floor], figures=4))} (N = {result.noise_floor_n:,})"


def _curve_table(runs: pd.DataFrame) -> Table:
    rows = [
        [
            str(row["task"]),
            str(row["method"]),
            str(row["seed"]),
            f"{row['onset_epoch']:g}",
            f"{row['rise_nats']:.3f}",
            f"{row['loss_gap_nats']:.3f}",
        ]
        for row in runs.to_dict("records")
    ]
    columns = ["task", "method", "seed", "epoch of least test loss", "rise since, nats", "test − training loss, nats"]
    return Table(caption="Where each run's test loss is least, and what followed.", columns=columns, rows=rows,
                 numbers=frozenset(range(2, 6)))  # fmt: skip


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
