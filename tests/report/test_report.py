"""The whole report: page, tables, findings with their schema, PDF."""

import json
import re
import shutil
from dataclasses import replace

import jsonschema
import pandas as pd
import pytest

from report.builders import HOSTILE, TASKS, save_study
from vptft.errors import VptftError
from vptft.evidence.findings import Finding
from vptft.evidence.hypotheses import HYPOTHESES
from vptft.report.pages import printing
from vptft.report.pages.findings import SCHEMA, write_findings
from vptft.report.pages.report import write_report
from vptft.storage import write_json


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_report_holds_page_figures_tables_findings_and_provenance_and_repeats(small_study, tmp_path):
    shutil.rmtree(small_study / "attention")
    for place in "ab":
        written = write_report(small_study, tmp_path / place, title="t", pdf=False)
    assert written.page == tmp_path / "b" / "index.html"
    first, second = (files(tmp_path / place) for place in "ab")
    assert first == second
    assert {"figures/gaps.pdf", "tables/verdicts.tex", "tables/distance.csv", "provenance.json"} <= first.keys()
    told = pd.read_csv(tmp_path / "a" / "tables" / "verdicts.csv", keep_default_na=False)
    assert set(told["id"]) == set(HYPOTHESES)
    assert (told[told["id"] == "Y2"]["verdict"] == "not measured").all()


def test_figures_for_a_venue_are_of_its_width_and_the_page_is_as_on_the_screen(small_study, tmp_path):
    shutil.rmtree(small_study / "attention")
    plain = write_report(small_study, tmp_path / "a", title="t", pdf=False).page
    printed = write_report(small_study, tmp_path / "b", title="t", pdf=False, venue="cvpr").page
    assert plain.read_bytes() == printed.read_bytes()
    widths = {
        folder: float(
            re.search(r'<svg[^>]* width="([0-9.]+)pt"', (tmp_path / folder / "figures" / "gaps.svg").read_text())[1]
        )
        for folder in "ab"
    }
    assert widths["b"] in (pytest.approx(72 * 3.28125, abs=0.1), pytest.approx(72 * 6.875, abs=0.1))
    assert widths["a"] == pytest.approx(72 * 5.5, abs=0.1)


@pytest.mark.usefixtures("svg_alone")
def test_findings_keep_to_their_schema(tmp_path):
    results = save_study(tmp_path / "results", tasks=TASKS[:2], gaps=(0.1, 0.2), distances=(1.0, 2.0), seeds=range(3))
    write_report(results, tmp_path / "out", title="t", pdf=False)
    found = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
    schema = json.loads((tmp_path / "out" / "findings.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(found, schema)
    assert len(found["findings"]) >= 5
    found["findings"][0]["verdict"] = "proven"
    with pytest.raises(jsonschema.ValidationError, match="'proven' is not one of"):
        jsonschema.validate(found, schema)


def test_an_infinite_end_of_an_interval_is_null_in_json(tmp_path):
    one = Finding(hypothesis="W3", statement="s", verdict="inconclusive", reason="r", effect=1.0, low=-float("inf"))
    write_findings([one, replace(one, low=float("nan"))], tmp_path)
    text = (tmp_path / "findings.json").read_text(encoding="utf-8")
    assert [row["low"] for row in json.loads(text)["findings"]] == [None, None]
    jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.usefixtures("svg_alone")
def test_hostile_names_stay_text_in_tables_of_latex(tmp_path):
    results = save_study(tmp_path / "results", tasks=HOSTILE[:2], gaps=(0.1, 0.2), distances=(1.0, 2.0))
    shutil.rmtree(results / "attention")
    write_report(results, tmp_path / "out", title="t", pdf=False)
    table = (tmp_path / "out" / "tables" / "quadrants-1.tex").read_text(encoding="utf-8")
    assert "quotes '' and ' \\& " in table
    assert r"\$x\textasciicircum{}2\$" in table


@pytest.mark.usefixtures("svg_alone")
def test_an_analysis_that_was_tried_says_why_it_has_no_result(small_study, tmp_path):
    shutil.rmtree(small_study / "attention")
    write_json(small_study / "left_out.json", {"datasize": "Only one size was trained."})
    page = write_report(small_study, tmp_path / "out", title="t", pdf=False).page.read_text(encoding="utf-8")
    assert "Not measured: Only one size was trained." in page


@pytest.mark.usefixtures("svg_alone")
def test_without_a_browser_everything_else_is_written_and_the_reason_told(small_study, tmp_path, monkeypatch):
    monkeypatch.setattr(printing, "browser", lambda: None)
    shutil.rmtree(small_study / "attention")
    written = write_report(small_study, tmp_path / "out", title="t")
    assert "There is no browser" in written.notes[0]
    assert written.page.is_file()
    assert not (tmp_path / "out" / "report.pdf").exists()


def test_a_browser_that_fails_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "no-such-browser"))
    with pytest.raises(VptftError, match="could not print"):
        printing.print_page(tmp_path / "page.html", tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


@pytest.mark.browser
def test_the_page_prints(small_study, tmp_path):
    written = write_report(small_study, tmp_path / "out", title="t")
    assert written.notes == ()
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF-")
