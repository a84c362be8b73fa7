"""Every table's LaTeX: what a parser can see, and that pdfLaTeX sets it."""

import re
import shutil
import subprocess

import pytest

from report.builders import HOSTILE, save_study
from vptft.published import audit, claims
from vptft.published.tables import load
from vptft.report.assembly.quadrant_tables import published_planes
from vptft.report.assembly.studies import published_data_size
from vptft.report.pages.published import Printed
from vptft.report.pages.published import tables as published_tables
from vptft.report.pages.report import tables
from vptft.report.pages.study import load_study
from vptft.report.sections.parts import Table
from vptft.report.tables.latex import booktabs, escaped

NAMES = (
    r"back\slash_50%&#$ ~^ {brace} [x]", "→ Δθ ρ≥½ ‖ü‖", "שלום \N{RIGHT-TO-LEFT OVERRIDE}עולם 学",
    "<script>alert(1)</script>" + "n" * 275,
)  # fmt: skip
"""Names of tasks that LaTeX would stumble over."""
PAGE = r"""\documentclass[10pt]{article}
\usepackage[letterpaper,textwidth=5.5in,textheight=9in]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return load_study(save_study(tmp_path_factory.mktemp("hostile"), tasks=NAMES, classes=[*HOSTILE, *NAMES]))


@pytest.fixture(scope="module")
def every_table(study):
    printed = load()
    told = published_tables(
        Printed(
            published=claims.measure(printed),
            audit=audit.measure(printed),
            reproduction=None,
            provenance={},
            planes=published_planes(boundary=None, seed=0),
            sizes=published_data_size(),
        )
    )
    return [*tables(study), *((name, table) for name, (table, _) in told.items())]


def bare(text):
    """The text without what is escaped."""
    return re.sub(r"\\[\\{}$&#%_]", " ", text)


def columns_of(text):
    """Columns of the tabular by its format."""
    start = text.index(r"\begin{tabular}{") + len(r"\begin{tabular}{")
    return len(re.findall(r"[lr]|p\{[^}]*\}", text[start : text.index("\n", start)]))


def test_every_row_has_every_column_and_every_brace_its_partner(every_table):
    for name, table in every_table:
        text = booktabs(table, label=f"tab:{name}")
        assert text.isascii(), name
        plain = bare(text)
        depth = 0
        for letter in plain:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            assert depth >= 0, name
        assert depth == 0, name
        assert plain.count("$") % 2 == 0, name
        assert columns_of(text) == len(table.columns), name
        rows = [line for line in text.splitlines() if line.endswith((r"\\", r"\tabularnewline"))]
        assert len(rows) == len(table.rows) + text.count(r"\begin{table}"), name
        for row in rows:
            assert bare(row.removesuffix(r"\\")).count("&") == len(table.columns) - 1, (name, row)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (r"\a{b}$c$", r"\textbackslash{}a\{b\}\$c\$"),
        ("5% & #1_x ~^`", r"5\% \& \#1\_x \textasciitilde{}\textasciicircum{}\textasciigrave{}"),
        ("<b> −3 ± ρ→∞", r"$<$b$>$ $-$3 $\pm$ $\rho$$\rightarrow$$\infty$"),
        ("é ü č ñ ø ß Å", r"\'{e} \"{u} \v {c} \~{n} \o{} \ss{} \r {A}"),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b\x07c\nd", "abc d"),
        ("学 ½", r"\texttt{U+5B66}\allowbreak{} \texttt{U+00BD}\allowbreak{}"),
        ("--all ``x''", r"-{}-all \textasciigrave{}\textasciigrave{}x'{}'"),
        ("a–b \u2011c", "a--b -c"),
        ("I\u0307 e\u0301 5 µm", r"\.{I} \'{e} 5 $\mu$m"),
        ("a" * 25, "a" * 12 + r"\allowbreak{}" + "a" * 12 + r"\allowbreak{}a"),
        ("one_two/three_four", r"one\_\allowbreak{}two/\allowbreak{}three\_\allowbreak{}four"),
    ],
)
def test_letters_are_written_so_that_they_are_printed(text, written):
    assert escaped(text) == written


def test_a_row_that_begins_with_a_bracket_is_no_option_of_the_row_before():
    text = booktabs(Table(caption="", columns=["a"], rows=[["[1, 2]"], ["*"]]), label="tab:x")
    assert "\n{}[1, 2] \\\\\n{}* \\\\\n" in text


def test_a_table_that_fits_is_loose_and_a_wide_one_shares_the_line():
    small = Table(caption="", columns=["task", "gap"], rows=[["a", "1.0"]], numbers=frozenset({1}))
    assert r"\begin{tabular}{lr}" in booktabs(small, label="x")
    wide = Table(
        caption="",
        columns=["task", "n", "why", "who"],
        rows=[["t" * 200, "1", "w " * 100, "x" * 25]],
        numbers=frozenset({1}),
    )
    text = booktabs(wide, label="x")
    assert r"\footnotesize\setlength{\tabcolsep}{3pt}\sloppy" in text
    shares = [float(share) for share in re.findall(r"p\{([\d.]+)\\linewidth\}", text)]
    assert sum(shares) <= 1


def test_a_table_higher_than_a_page_goes_on_under_the_same_number():
    tall = Table(caption="c", columns=["n"], rows=[[str(i)] for i in range(120)], numbers=frozenset({0}))
    text = booktabs(tall, label="tab:tall")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\toprule") == 3
    assert text.count(r"\addtocounter{table}{-1}\caption{(continued)}") == 2
    assert text.count(r"\label{tab:tall}") == 1
    assert [line[:-3] for line in text.splitlines() if line[:1].isdigit()] == [str(i) for i in range(120)]


@pytest.mark.verify
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-base)")
def test_pdflatex_sets_every_table_inside_the_text(every_table, tmp_path):
    body = "\\clearpage\n".join(booktabs(table, label=f"tab:{name}") for name, table in every_table)
    (tmp_path / "all.tex").write_text(PAGE % body, encoding="ascii")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True,
        check=False, text=True, errors="replace",
    )  # fmt: skip
    log = (tmp_path / "all.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-3000:]
    too_wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(too_wide, default=0) < 10, too_wide
    assert "Float too large" not in log
    assert not re.findall(r"^!.*", log, flags=re.MULTILINE)
