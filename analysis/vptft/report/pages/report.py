"""A whole report in a folder: page, figures, tables, findings, provenance, PDF; from saved results only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vptft.errors import VptftError
from vptft.report.pages.findings import write_findings
from vptft.report.pages.page import build_page, whole_page
from vptft.report.pages.printing import print_page
from vptft.report.pages.shapes import verdicts_of
from vptft.report.pages.study import Study, load_study
from vptft.report.sections.parts import Table
from vptft.report.tables.latex import booktabs
from vptft.storage import write_json, write_text


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: the page, and what could not be."""

    page: Path
    notes: tuple[str, ...] = ()


def write_report(results: Path, out: Path, *, title: str, pdf: bool = True, venue: str | None = None) -> Written:
    """Write the report of the study saved in ``results``; made again from the same results it has the same bytes.

    Figures are drawn for the page of ``venue`` where one is named. Only ``report.pdf`` differs, by the date a browser
    puts in it.
    """
    page = build_page(results, out / "index.html", title=title, figures=out / "figures", page=venue)
    study = load_study(results)
    for name, table in tables(study):
        write_text(out / "tables" / f"{name}.csv", as_csv(table))
        write_text(out / "tables" / f"{name}.tex", booktabs(table, label=f"tab:{name}"))
    write_findings(study.findings(), out)
    write_json(out / "provenance.json", study.facts.get("provenance", {}))
    notes, printed = [], page
    if whole_page(page).is_file():
        printed = whole_page(page)
        notes.append(f"the page shows its figures small and needs its folder; {printed.name} holds them all")
    if pdf:
        try:
            print_page(printed, out / "report.pdf")
        except VptftError as error:
            notes.append(f"no report.pdf: {error.problem} {error.hint or ''}".strip())
    return Written(page=page, notes=tuple(notes))


def as_csv(table: Table) -> str:
    """Write a table for other programs: its numbers as they are where it has them, and no cell that is a formula."""
    frame = table.values
    if frame is None:
        frame = pd.DataFrame(table.rows, columns=pd.Index(table.columns))
    return frame.map(_no_formula).rename(columns=_no_formula).to_csv(index=False, lineterminator="\n")


def _no_formula(cell: object) -> object:
    """Text that a spreadsheet would compute stands behind an apostrophe, as they show text."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def tables(study: Study) -> Iterator[tuple[str, Table]]:
    """Give every table of the page with the name of its files; the verdicts first."""
    rows = [
        [verdict.id, verdict.hypothesis, row.statement, row.effect, row.n, row.verdict or "not measured", row.reason]
        for verdict in verdicts_of(study.findings())
        for row in verdict.rows
    ]
    columns = ["id", "hypothesis", "found", "effect", "n", "verdict", "reason"]
    yield (
        "verdicts",
        Table(caption="Verdicts. Brackets hold the 95% interval.", columns=columns, rows=rows, numbers=frozenset({4})),
    )
    for analysis in study.shown:
        found = study.of(analysis.key)
        made = list(analysis.tables(found)) if found else []
        for i, table in enumerate(made, start=1):
            yield (analysis.key if len(made) == 1 else f"{analysis.key}-{i}"), table
