from importlib.metadata import EntryPoint

import numpy as np
import pytest

from report.builders import save_study
from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import PairedDraw
from vptft.report.pages.page import build_page
from vptft.report.sections import outcomes, table
from vptft.report.sections.parts import Analysis, Table
from vptft.when.quadrants.outcomes import TestedPair
from vptft.when.quadrants.outcomes import measure as measure_outcomes
from vptft.why.overfitting import OverfittingCurves

OTHER = Analysis(
    key="overfitting-again", kind=OverfittingCurves, heading="Another package's analysis", caution="It is not ours.",
    command="theirs", tables=lambda results: [Table(caption="Theirs.", columns=["rows"], rows=[["12"]])],
)  # fmt: skip
TAKEN = Analysis(key="distance", kind=OverfittingCurves, heading="h", caution="c", command="c")


def plugged(monkeypatch, name):
    entry = EntryPoint(name="theirs", value=f"report.test_sections:{name}", group=table.ENTRY_POINTS)
    monkeypatch.setattr(table, "entry_points", lambda group: [entry] if group == table.ENTRY_POINTS else [])
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.value.partition(":")[2]])


def test_an_analysis_of_another_package_is_a_section_like_any_other(monkeypatch, tmp_path):
    plugged(monkeypatch, "OTHER")
    results = save_study(tmp_path / "results", tasks=("a",), gaps=(0.1,), distances=(1.0,))
    without = build_page(results, tmp_path / "page.html", title="t").read_text(encoding="utf-8")
    assert "Another package&#39;s analysis: <code>vptft-analyze theirs</code>" in without
    (results / "overfitting").rename(results / "overfitting-again")
    page = build_page(results, tmp_path / "page.html", title="t").read_text(encoding="utf-8")
    assert "<h2>Another package&#39;s analysis</h2>" in page
    assert "Theirs." in page


@pytest.mark.parametrize(
    ("name", "said"), [("TAKEN", "takes the key 'distance' again"), ("Table", "gives no Analysis")]
)
def test_what_does_not_fit_is_refused_by_name(monkeypatch, name, said):
    plugged(monkeypatch, name)
    with pytest.raises(SettingsError, match=f"entry point theirs of {table.ENTRY_POINTS} {said}"):
        table.analyses()


def test_every_analysis_has_a_place_a_heading_and_a_warning():
    keys = [each.key for each in table.BUILT_IN]
    assert len(set(keys)) == len(keys)
    assert all(each.heading and each.command and len(each.caution) > 80 for each in table.BUILT_IN)


def test_networks_that_differ_are_counted_by_who_is_right_more_often():
    signs = {"vpt": [1.0] * 40 + [0.0] * 60, "ft": [-1.0] * 40 + [0.0] * 60, "neither": [1.0, -1.0] * 50}
    pairs = [
        TestedPair(task=name, draw=PairedDraw(differences=np.array(each), groups=np.arange(100)), both=0)
        for name, each in signs.items()
    ]
    result = measure_outcomes([*pairs, pairs[0]])
    (note,) = outcomes.ANALYSIS.notes([result])
    assert note.startswith("In 3 of 4 pairs the two networks are not right equally often")
    assert "VPT more often in 2, FT in 1" in note
    (shown,) = outcomes.ANALYSIS.tables([result])
    assert "seed" not in shown.columns  # of none is it known
    assert shown.rows[0][shown.columns.index("gap")].startswith("+40.0 [")
