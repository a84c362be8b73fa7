import pytest

from vptft.published.audit import Audit
from vptft.published.claims import Published
from vptft.published.reproduction import Reproduction


@pytest.fixture
def runs(train, squares, tmp_path):
    train(squares, tmp_path / "runs" / "ft", "--method", "ft")
    return tmp_path / "runs"


def test_alone_it_gives_every_claim_with_its_verdict(parsed):
    found = parsed("published")
    assert found["reproduction"] is None
    rows = {row["key"]: row for row in found["claims"]}
    assert rows["overall"]["p"] == pytest.approx(0.004158, abs=1e-6)
    assert rows["overall"]["verdict"] == "inconclusive"
    assert rows["probes"]["effect"] is None


def test_the_table_is_drawn_with_the_rule(call):
    result = call("published")
    assert result.exit_code == 0
    assert result.stdout.startswith("Supported: the 95% interval")
    assert "VPT beats Mixed" in result.stdout
    assert result.stderr == ""


def test_the_audit_lists_what_differs_and_exits_0(parsed, call):
    found = parsed("published", "audit")
    assert {row["outcome"] for row in found} == {"differs", "rounding"}
    assert len(parsed("published", "audit", "--all")) > len(found)
    result = call("published", "audit")
    assert result.exit_code == 0
    assert "group mean: 47 agree, 11 can by rounding, 4 differ" in result.stderr
    assert "is the sum of the 7" in result.stdout


def test_page_results_figures_and_tables_are_written(call, runs, tmp_path):
    out = tmp_path / "out"
    result = call("published", "--runs", runs, "-o", out, "--json")
    assert result.exit_code == 0, result.stderr
    assert f"The page: {out / 'index.html'}" in result.stderr
    assert len(Published.load(out / "results" / "published").findings()) > 25
    assert len(Audit.load(out / "results" / "audit").discrepancies()) == 41
    (row,) = Reproduction.load(out / "results" / "reproduction").frame().to_dict("records")
    assert row["outcome"] == "not applicable"
    assert row["reason"] == "the paper has no backbone with random pretraining"
    assert {path.suffix for path in (out / "figures").iterdir()} == {".pdf", ".svg", ".png"}
    assert {path.suffix for path in (out / "tables").iterdir()} == {".csv", ".tex"}


def test_own_runs_are_told_beside_the_claims(call, runs):
    result = call("published", "--runs", runs)
    assert result.exit_code == 0
    assert "Reproduced: the 95% interval of own minus printed" in result.stdout


def test_runs_that_are_not_there_fail(call, tmp_path):
    result = call("published", "--runs", tmp_path / "none")
    assert result.exit_code == 1
    assert "There is no folder" in result.stderr


def test_audit_saves_its_result(call, tmp_path):
    assert call("published", "audit", "-o", tmp_path).exit_code == 0
    assert len(Audit.load(tmp_path / "results" / "audit").table) == 156
