import json
import shutil

import pytest

TINY = ("--backbone", "tiny", "--feature-size", 32, "--image-size", 32, "--images", 20)


@pytest.fixture
def evidence(call, train, image_folder, tmp_path):
    """VPT and FT runs on five tasks of the same images, each in a folder of its own."""
    for i in range(5):
        copy = tmp_path / f"copy{i}"
        shutil.copytree(image_folder, copy)
        assert call("tasks", "add", f"t{i}", copy).exit_code == 0
        for method in ("vpt_deep", "ft"):
            train(f"t{i}", tmp_path / "runs" / f"t{i}-{method}", "--method", method, "--seed", i)
    return tmp_path / "runs"


def test_advice_for_a_folder_rests_on_runs_and_is_kept_with_its_figure(call, parsed, evidence, image_folder, tmp_path):
    words = ("advise", image_folder, *TINY, "--reference", image_folder, "--runs", evidence, "-o", tmp_path / "out")
    found = parsed(*words, "--budget", "storage=20KB")
    assert found["predictions"][0]["block"] == "your runs, tiny, 32 px"
    assert found["recommendation"] in ("VPT", "FT", "too close to call")
    assert "5 tasks, each foretold from others" in found["record"]
    assert {row["method"] for row in found["costs"]} == {"vpt_deep", "ft", "linear"}
    assert next(row for row in found["costs"] if row["method"] == "ft")["over_budget"] == "storage"
    assert found["settling"][0]["measurement"] == "as it is"
    kept = tmp_path / "out" / "results" / "advice" / "result.json"
    assert json.loads(kept.read_text())["recommendation"] == found["recommendation"]
    assert (tmp_path / "out" / "figures" / "advice.pdf").is_file()
    before = kept.read_bytes()
    said = call(*words, "--budget", "storage=20KB")
    assert kept.read_bytes() == before
    assert "Track record: your runs, tiny, 32 px: 5 tasks" in said.stdout
    assert "rule: VPT (or FT) where it is ahead with a probability of at least 80%" in said.stderr


def test_a_look_ahead_becomes_a_predictor_here_and_of_the_evidence(parsed, evidence, image_folder):
    words = ("advise", image_folder, *TINY, "--reference", image_folder, "--runs", evidence, "--look-ahead", 1)
    reasons = {row["predictor"]: row for row in parsed(*words)["reasons"]}
    assert reasons["look_ahead"]["value"] is not None
    assert reasons["look_ahead"]["note"] != "known of 0 of 5 tasks of the evidence"


def test_without_evidence_of_its_pretraining_nothing_is_advised(call, parsed, image_folder):
    words = ("advise", image_folder, *TINY, "--reference", image_folder)
    found = parsed(*words)
    assert found["recommendation"] == "too close to call"
    assert "there is no evidence of tiny (random pretraining); borrowed" in found["reason"]
    assert len(found["predictions"]) == 4
    assert not any(row["decides"] for row in found["predictions"])


def test_the_record_needs_no_task_and_comes_with_its_figure(parsed, tmp_path):
    found = parsed("advise", "--score", "-o", tmp_path)
    assert [row["n"] for row in found["summary"]] == [19, 19, 19, 19]
    assert {row["rule"] for row in found["regrets"]} == {"always VPT", "always FT", "the paper's rule"}
    assert len(found["tasks"]) == 76
    assert (tmp_path / "figures" / "advice-record.svg").is_file()


def test_the_record_is_written_for_a_reader_too(call):
    said = call("advise", "--score")
    assert said.exit_code == 0
    assert "Winner named rightly on" in said.stdout
    assert "not shown to beat" in said.stdout or "is shown to beat" in said.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "give a folder or task, or --score, and not both"),
        (("x", "--score"), 2, "give a folder or task, or --score, and not both"),
        (("/nowhere",), 1, "There is no folder /nowhere"),
        (("FOLDER", "--backbone", "dinov9"), 1, "named 'dinov9'"),
        (("FOLDER", "--budget", "colour=1"), 1, "'colour=1' is no limit of a budget"),
        (("FOLDER/red",), 1, "a folder of images without classes"),
        (("FOLDER", *TINY, "--runs", "FOLDER"), 1, "No complete run"),
    ],
    ids=str,
)
def test_what_cannot_be_advised_on_is_said(call, image_folder, words, code, said):
    result = call("advise", *(str(word).replace("FOLDER", str(image_folder)) for word in words))
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""
