import json
import shutil

import jsonschema
import pytest

from vptft.checkpoints.native import find_runs
from vptft.errors import NotApplicable
from vptft.report.assembly.study import RunStudy, Sizes, measure_apart
from vptft.report.pages.findings import SCHEMA

pytestmark = pytest.mark.usefixtures("svg_alone")


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


@pytest.mark.parametrize("first", ["why", "published"])
def test_no_page_takes_the_place_of_another_commands(first, both, tmp_path, call):
    out = tmp_path / "out"
    sign = out / "results" / ("study.json" if first == "why" else "published")
    sign.mkdir(parents=True)
    words = ("published",) if first == "why" else ("why", both)
    result = call(*words, "-o", out)
    assert result.exit_code == 1
    assert f"holds the page of `{first}`" in result.stderr
    assert not (out / "index.html").exists()


def test_why_without_a_pair_is_refused(call, both):
    result = call("why", both / "ft")
    assert result.exit_code == 1
    assert "No pair of vpt_deep and ft" in result.stderr


def test_why_takes_no_images_or_enough_of_them(parsed, both, tmp_path, call):
    few = call("why", both, "--images", "5", "-o", tmp_path / "out")
    assert few.exit_code == 2
    assert "5 is neither 0 nor at least 30" in few.stderr
    assert call("why", both, "--scored", "5", "-o", tmp_path / "out").exit_code == 2
    out = tmp_path / "none"
    more = ("--images", "0", "--compare", "published")
    parsed("why", both, "--reference", "squares", *more, "--no-pdf", "-o", out)
    assert "Beside the published numbers" in (out / "index.html").read_text(encoding="utf-8")
    assert (out / "results" / "attention").is_dir()
    assert not (out / "results" / "attention-scores").exists()
    assert not (out / "results" / "features").exists()


def test_of_many_reasons_the_first_are_told_and_the_others_counted(both, tmp_path):
    study = RunStudy(runs=find_runs([both]), out=tmp_path, reference="squares")

    def fails(number):
        def go():
            raise NotApplicable(f"run {number} has no weights.")

        return go

    for number in (0, 0, 1, 2, 3, 4):
        study.tried("landscape", fails(number))()
    assert study.left_out["landscape"] == (
        "run 0 has no weights; run 1 has no weights; run 2 has no weights; and 2 more"
    )
    assert json.loads((tmp_path / "results" / "left_out.json").read_text()) == study.left_out


def test_a_reason_is_gone_once_what_it_was_about_is_made(both, tmp_path):
    def broken():
        raise NotApplicable("no weights.")

    def studied(measure, key="landscape"):
        study = RunStudy(runs=find_runs([both]), out=tmp_path, reference="squares")
        study.tried(key, measure)()

    path = tmp_path / "results" / "left_out.json"
    studied(broken)
    studied(broken, key="features")
    studied(lambda: None)
    assert json.loads(path.read_text()) == {"features": "no weights"}  # of what was not tried again
    studied(lambda: None, key="features")
    assert not path.exists()


def test_processes_beside_measure_what_the_study_then_finds(parsed, both, tmp_path):
    (both / "ft" / "model.safetensors").unlink()
    out = tmp_path / "out"
    study = RunStudy(runs=find_runs([both]), out=out, reference="squares", sizes=Sizes(features=30))
    told = []
    measure_apart(study, 2, lambda done, total: told.append((done, total)))
    # Two slices, features of two runs, maps of the pair; what lacks its weights is left to the study's own process.
    assert told == [(done, 5) for done in range(6)]
    made = {path: path.stat().st_mtime_ns for path in (out / "results").rglob("result.json")}
    assert {path.parent.parent.name for path in made} == {"landscape", "features"}
    assert not (out / "results" / "left_out.json").exists()
    words = ("--reference", "squares", "--images", 30, "--scored", 0, "--workers", 2, "--no-pdf")
    left_out = parsed("why", both, *words, "-o", out)["left_out"]
    assert {"landscape", "features", "attention"} <= left_out.keys()
    assert "attention-scores" not in left_out
    assert made == {path: path.stat().st_mtime_ns for path in made}


def test_without_runs_the_page_is_made_again_from_what_was_measured(parsed, call, both, tmp_path, monkeypatch):
    out = tmp_path / "out"
    parsed("why", both, "--reference", "squares", "--images", 0, "--no-pdf", "-o", out)
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    (out / "index.html").unlink()
    shutil.rmtree(both)
    parsed("why", "--no-pdf", "-o", out)
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before
    nothing = call("why", "--no-pdf", "-o", tmp_path / "empty")
    assert nothing.exit_code == 1
    assert "study.json" in nothing.stderr
