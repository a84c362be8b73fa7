"""The page of the paper's own tables: claims, gaps, sizes, backbones, the audit, and a user's runs beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from vptft.evidence.results import Result
from vptft.published.audit import Audit
from vptft.published.claims import Published
from vptft.published.questions import Family
from vptft.published.reproduction import Reproduction
from vptft.report.figures.datasize import draw_datasize
from vptft.report.figures.published import (
    draw_claims,
    draw_data_size,
    draw_group_gaps,
    draw_pretraining,
)
from vptft.report.figures.quadrants import draw_quadrants
from vptft.report.figures.style import save_figure, with_interval
from vptft.report.pages import published_words as words
from vptft.report.pages.page import template
from vptft.report.pages.shapes import Section, image_of, pairs_of, verdicts_of
from vptft.report.pages.words import alt_quadrants
from vptft.report.sections import datasize, reproduction
from vptft.report.sections.parts import Context, Picture, Table
from vptft.report.sections.quadrants import cell_table, prediction_table
from vptft.report.tables.latex import booktabs
from vptft.storage import read_json, write_text
from vptft.when.datasize.measure import DataSize
from vptft.when.quadrants.plane import Quadrants

PLANES = {"quadrants-vtab": "VTAB-1k, grouped by hand", "quadrants-fgvc": "FGVC, by printed distance"}
"""Names of the quadrants' results, and what they are of."""


@dataclass(frozen=True, kw_only=True)
class Printed:
    """Everything the page is made from; ``reproduction`` is None where no runs were given.

    Attributes
    ----------
    planes
        Quadrants of the tables, by the names in :data:`PLANES`.
    sizes
        Data size in the tables.
    """

    published: Published
    audit: Audit
    planes: Mapping[str, Quadrants]
    sizes: DataSize
    reproduction: Reproduction | None
    provenance: Mapping[str, Any]

    def results(self) -> Iterator[Result]:
        """Give every result, in the order of the page."""
        yield from filter(None, (self.published, *self.planes.values(), self.sizes, self.audit, self.reproduction))


def load_printed(results: Path) -> Printed:
    """Read the results saved below ``results``: all that :class:`Printed` holds, ``reproduction`` where it is there."""
    own = results / "reproduction"
    return Printed(
        published=Published.load(results / "published"),
        audit=Audit.load(results / "audit"),
        planes={name: Quadrants.load(results / name) for name in PLANES},
        sizes=DataSize.load(results / "datasize"),
        reproduction=Reproduction.load(own) if (own / "result.json").is_file() else None,
        provenance=read_json(results / "provenance.json"),
    )


def build_published(results: Path, out: Path) -> Path:
    """Write page, figures and tables of the results saved in ``results`` into the folder ``out``.

    Returns
    -------
    Path
        The page, ``out/index.html``; figures are beside it as PDF, SVG and PNG, tables as CSV and LaTeX.
    """
    printed = load_printed(results)
    drawn, figures = list(pictures(printed)), out / "figures"
    for picture in drawn:
        save_figure(picture.figure, figures / picture.name)
    told = tables(printed)
    for name, (table, frame) in told.items():
        write_text(out / "tables" / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
        write_text(out / "tables" / f"{name}.tex", booktabs(table, label=f"tab:{name}"))
    page = template("published.html.j2").render(
        title=words.TITLE, subtitle=words.SUBTITLE, question=words.QUESTION, answer=words.answer(printed.published),
        rule=printed.published.settings["rule"], verdicts=verdicts_of(printed.published.findings()),
        sections=list(_sections(printed, drawn, figures, {name: table for name, (table, _) in told.items()})),
        results=[(result.analysis, pairs_of(result.settings)) for result in printed.results()],
        provenance=pairs_of(printed.provenance),
    )  # fmt: skip
    write_text(out / "index.html", page)
    return out / "index.html"


def pictures(printed: Printed) -> Iterator[Picture]:
    """Draw every figure of the page."""
    result = printed.published
    yield Picture(
        name="claims", figure=draw_claims(result), alt=_alt_claims(result.claims),
        caption=words.CAPTION_CLAIMS,
    )  # fmt: skip
    yield Picture(
        name="gaps", figure=draw_group_gaps(result), caption=words.CAPTION_GAPS,
        alt="Gap VPT minus FT of each VTAB-1k task in points, by group; every number stands in the figure.",
    )  # fmt: skip
    yield Picture(
        name="quadrants-fgvc", figure=draw_quadrants(printed.planes["quadrants-fgvc"]),
        caption=words.CAPTION_PLANE, alt=alt_quadrants(printed.planes["quadrants-fgvc"].frame()),
    )  # fmt: skip
    yield Picture(
        name="datasize", figure=draw_datasize(printed.sizes), caption=words.CAPTION_CROSSINGS,
        alt="Gap of VPT and FT against training images, with its fitted line and crossing, one panel a task; the "
        "crossings are in the table.",
    )  # fmt: skip
    yield Picture(
        name="data-size", figure=draw_data_size(result), caption=words.CAPTION_SIZES,
        alt="Accuracy of VPT and FT against training images, one panel a task; numbers are in gaps.csv of the results.",
    )  # fmt: skip
    yield Picture(
        name="backbones", figure=draw_pretraining(result), caption=words.CAPTION_BACKBONES,
        alt="Gap VPT minus FT of each VTAB-1k task on four backbones; counts stand above each panel.",
    )  # fmt: skip
    if printed.reproduction is not None:
        yield from reproduction.ANALYSIS.pictures([printed.reproduction], Context())


def tables(printed: Printed) -> dict[str, tuple[Table, pd.DataFrame]]:
    """Give every table of the page as it is shown, and the numbers behind it."""
    result = printed.published
    asked = {name: result.claims[result.claims["family"] == name] for name in get_args(Family)}
    supported = asked["paper"][asked["paper"]["verdict"] == "supported"]
    found = printed.audit.discrepancies()
    percents, rounding = found["kind"] == "tuned percent", found["outcome"] == "rounding"
    told = {
        "unsupported": (_claims(result.unsupported(), UNSUPPORTED), result.unsupported()),
        "supported": (_claims(supported, SUPPORTED), supported),
        "tests": (_tests(asked["paper"]), asked["paper"]),
        "added": (_claims(asked["added"], ADDED), asked["added"]),
        "summaries": (_summaries(result.summaries), result.summaries),
        **_when(printed),
        "audit": (_audit(found[~percents & ~rounding], DIFFERENT), found[~percents & ~rounding]),
        "audit-percents": (_audit(found[percents], PERCENTS), found[percents]),
        "audit-rounding": (_audit(found[rounding], ROUNDING), found[rounding]),
    }
    if printed.reproduction is not None:
        (table,) = reproduction.ANALYSIS.tables([printed.reproduction])
        told["reproduction"] = (table, printed.reproduction.table)
    return told


UNSUPPORTED = (
    "Claims of the paper that its own tables do not support at 5% after Holm's correction over all claims tested here. "
    "Effects in points of accuracy where no unit is given, with their 95% interval over tasks; p before and after "
    "correction. +, 0, −: tasks with a difference above, at and below zero."
)
SUPPORTED = "Claims of the paper that its tables support."
ADDED = "Asked of the tables besides, a family of its own: not claims that the paper makes in these words."
DIFFERENT = "Printed means, counts and sentences that do not agree with what other printed numbers give."
PERCENTS = "Printed Tuned/Total, in percent, against what the printed prompt length gives."
ROUNDING = "Differences that rounding of the cells can explain."


def _sections(printed: Printed, drawn: list[Picture], figures: Path, told: Mapping[str, Table]) -> Iterator[Section]:
    belongs = {
        "claims": ("unsupported", "supported", "tests", "added"), "gaps": ("summaries",),
        "plane": ("quadrants-vtab", "rule-vtab", "quadrants-fgvc", "rule-fgvc"),
        "data-size": ("crossings", "crossings-groups"),
        "audit": ("audit", "audit-percents", "audit-rounding"), "reproduction": ("reproduction",),
    }  # fmt: skip
    shown = {"plane": ("quadrants-fgvc",), "data-size": ("data-size", "datasize")}
    paper = printed.published.claims[printed.published.claims["family"] == "paper"]
    notes = {
        "claims": words.family_notes(paper),
        "audit": [words.audit_note(printed.audit), words.percent_note(printed.audit), words.CAUTIONS["audit"]],
    }
    for key, heading in words.HEADINGS.items():
        if key == "reproduction" and printed.reproduction is None:
            continue
        yield Section(
            key=key, heading=heading,
            images=[image_of(picture, saved=figures) for picture in drawn if picture.name in shown.get(key, (key,))],
            tables=[told[name] for name in belongs.get(key, ())], notes=notes.get(key, []), missing="",
            caution=reproduction.CAUTION if key == "reproduction" else words.CAUTIONS[key],
        )  # fmt: skip


def _when(printed: Printed) -> dict[str, tuple[Table, pd.DataFrame]]:
    """Give the tables of the plane and of data size, which pages of runs have too."""
    told: dict[str, tuple[Table, pd.DataFrame]] = {}
    for name, plane in printed.planes.items():
        cells, rule = (
            replace(table, caption=f"{PLANES[name]}. {table.caption}")
            for table in (cell_table(plane.cells), prediction_table(plane.predictions))
        )
        told |= {name: (cells, plane.cells), name.replace("quadrants", "rule"): (rule, plane.predictions)}
    tasks, groups = datasize.ANALYSIS.tables([printed.sizes])
    return told | {"crossings": (tasks, printed.sizes.tasks), "crossings-groups": (groups, printed.sizes.groups)}


def _claims(claims: pd.DataFrame, caption: str) -> Table:
    rows = [
        [
            f"{row['claim']} ({_tables(row['tables'])})", f"{row['won']:.0f}, {row['tied']:.0f}, {row['lost']:.0f}",
            words.effect(pd.Series(row)), words.p_value(row["p"]), words.p_value(row["p_adjusted"]),
            f"{row['verdict']}: {row['reason']}",
        ]
        for row in claims.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption=caption, columns=["claim", "+, 0, −", "effect", "p", "corrected", "verdict"], rows=rows,
        numbers=frozenset((1, 3, 4)),
    )  # fmt: skip


def _tables(names: str) -> str:
    return f"{'Table' if names.isdecimal() else 'Tables'} {names}"


def _tests(claims: pd.DataFrame) -> Table:
    rows = [
        [
            row["claim"], *(words.p_value(row[name]) for name in words.ADJUSTED), words.p_value(row["smallest_p"]),
            "" if pd.isna(row["detectable"]) else f"{row['detectable']:.1f}",
            "" if pd.isna(row["wins_needed"]) else f"{row['won']:.0f} of {row['wins_needed']:.0f}", row["method"],
        ]
        for row in claims.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption="The same claims by three tests, each corrected over the family; the smallest p that so many tasks can "
        "give before correction; the smallest mean effect that four of five such studies would find before "
        "correction, given this spread between tasks; and wins, of those that a sign test of so many untied tasks "
        "needs. Verdicts are by the first.",
        columns=["claim", "mean", "ranks", "signs", "smallest p", "would be found", "wins", "how"],
        rows=rows, numbers=frozenset(range(1, 7)),
    )  # fmt: skip


def _summaries(frame: pd.DataFrame) -> Table:
    rows = [
        [
            f"{words.SUMMARY_NAMES[row['method']]} − {words.SUMMARY_NAMES[row['against']]}",
            f"{words.BLOCK_NAMES[row['setting']]}, {words.BLOCK_NAMES[row['backbone']]}, "
            f"{words.BLOCK_NAMES[row['pretraining']]}, n = {row['n_train']}",
            row["group"], str(row["n"]), f"{row['won']}, {row['tied']}, {row['lost']}",
            _interval(row, "mean_points", "low_points", "high_points"), words.p_value(row["p_sign_flip"]),
            _interval(row, "median_points", "median_low_points", "median_high_points"),
            words.p_value(row["p_signed_rank"]), words.p_value(row["p_sign"]),
        ]
        for row in frame.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption="Every printed comparison by group: won, tied, lost; mean gap in points with its 95% t interval and "
        "exact sign-flip p; Hodges-Lehmann median with its signed-rank interval and p; exact sign test. No p is "
        "corrected.",
        columns=[
            "gap", "condition", "group", "n", "won, tied, lost", "mean", "p, sign flips", "median", "p, signed ranks",
            "p, signs",
        ],
        rows=rows, numbers=frozenset(range(3, 10)),
    )  # fmt: skip


def _audit(frame: pd.DataFrame, caption: str) -> Table:
    rows = [
        [
            row["kind"], row["table"], row["cell"], _number(row["printed"]), _number(row["recomputed"]),
            f"{row['off']:+.3f}".replace("-", "−").rstrip("0").rstrip("."), row["note"],
        ]
        for row in frame.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption=caption, columns=["what", "table", "cell", "printed", "recomputed", "off by", "note"],
        rows=rows, numbers=frozenset(range(3, 6)),
    )  # fmt: skip


def _interval(row: Mapping[Any, Any], value: str, low: str, high: str) -> str:
    """Give a value with its interval; alone where there is none, empty where there is no value."""
    if pd.isna(row[value]):
        return ""
    unbounded = pd.isna(row[low]) or abs(row[low]) == float("inf")
    return f"{row[value]:+.1f}".replace("-", "−") if unbounded else with_interval(row[value], row[low], row[high])


def _number(value: float) -> str:
    """Give a printed number as it stands, a recomputed one to three places; empty where there is none."""
    return "" if pd.isna(value) else f"{value:.3f}".rstrip("0").rstrip(".")


def _alt_claims(claims: pd.DataFrame) -> str:
    points = claims[(claims["unit"] == "points") & claims["effect"].notna()]
    said = (
        f"{row['label']} {with_interval(row['effect'], row['low'], row['high'])} {row['verdict']}"
        for row in points.to_dict("records")
    )
    return f"Effects in points with 95% intervals over tasks: {'; '.join(said)}."
