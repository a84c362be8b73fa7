import json

import jsonschema

from vptft.report.pages.findings import SCHEMA


def test_why_measures_what_applies_tells_the_rest_and_goes_on(parsed, both, tmp_path, call):
    out = tmp_path / "out"
    told = parsed("why", both, "--reference", "squares", "--images", "30", "--no-pdf", "-o", out)
    assert told["page"].endswith("index.html")
    assert "two training sizes" in told["left_out"]["datasize"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Not measured: " in page
    jsonschema.validate(json.loads((out / "findings.json").read_text(encoding="utf-8")), SCHEMA)
    kept = {path: path.stat().st_mtime_ns for path in (out / "results").rglob("result.json")}
    removed = out / "results" / "fairness" / "result.json"
    removed.unlink()
    assert call("why", both, "--reference", "squares", "--images", "30", "--no-pdf", "-o", out).exit_code == 0
    assert (out / "index.html").read_text(encoding="utf-8") == page
    assert removed.is_file()
    assert {path: path.stat().st_mtime_ns for path in kept if path != removed} == {
        path: when for path, when in kept.items() if path != removed
    }


def test_why_without_a_pair_is_refused(call, both):
    result = call("why", both / "ft")
    assert result.exit_code == 1
    assert "No pair of vpt_deep and ft" in result.stderr
