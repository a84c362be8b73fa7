import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vptft.features import extraction
from vptft.when.objective.comparison import Comparison
from vptft.when.objective.disparity import Disparity

TINY = ("--backbone", "tiny:32")


def test_a_folder_and_a_registered_name_are_measured(parsed, squares, image_folder):
    rows = parsed("objective", squares, image_folder, *TINY)
    table = pd.DataFrame(rows)
    assert list(dict.fromkeys(table["task"])) == [squares, str(image_folder)]
    assert set(table["backbone"]) == {"tiny:32"}
    assert set(table["pretraining"]) == {"random"}
    assert dict(zip(table["task"], table["objective"], strict=True)) == {
        squares: "classification", str(image_folder): "unknown",
    }  # fmt: skip
    scores = table[table["measure"] == "disparity"]
    assert scores["value"].between(0, 1).all()
    assert scores["value"].iloc[0] == scores["value"].iloc[1]
    assert set(table["n"]) == {30}
    assert set(table["n_classes"]) == {3}


def test_an_unregistered_folder_with_splits_is_read_by_its_classes(parsed, image_folder, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(image_folder, tmp_path / "split" / split)
    rows = parsed("objective", tmp_path / "split", *TINY)
    assert {row["n_classes"] for row in rows} == {3}
    assert {row["n"] for row in rows} == {30}  # of train, with val taken from it: never of test


def test_mistakes_are_found_before_anything_is_measured(call, squares, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "embed", lambda *_: pytest.fail("measured"))
    unknown = call("objective", squares, "nosuch", *TINY)
    assert (unknown.exit_code, "nosuch" in unknown.stderr) == (1, True)
    nowhere = call("objective", squares, *TINY, "-o", "/proc/nowhere")
    assert (nowhere.exit_code, "/proc/nowhere cannot be written" in " ".join(nowhere.stderr.split())) == (2, True)
    (tmp_path / "there").mkdir()
    call("objective", "nosuch", *TINY, "-o", tmp_path / "there" / "deep" / "er")
    assert not list((tmp_path / "there").iterdir())


def test_the_table_is_a_row_a_task_and_notes_go_to_stderr(call, squares):
    result = call("objective", squares, *TINY)
    assert result.exit_code == 0
    assert "disparity" in result.stdout
    assert "note: random pretraining: far means that nothing was asked" in result.stderr
    assert "note" not in result.stdout


def test_results_and_the_figure_are_kept_and_taken_up_again(parsed, squares, tmp_path, monkeypatch):
    words = ("objective", squares, *TINY, "-o", tmp_path, "--seed", 3, "--images", 12)
    rows = parsed(*words)
    assert {path.suffix for path in (tmp_path / "figures").glob("disparity.*")} == {".pdf", ".png", ".svg"}
    saved = Disparity.load(tmp_path / "results" / "objective")
    assert saved.settings["seed"] == 3
    assert len(saved.frame()) == len(rows)
    monkeypatch.setattr("vptft.when.objective.disparity.measure", lambda *a, **k: pytest.fail("measured again"))
    assert parsed(*words) == rows


def test_draws_and_backbones_multiply_and_features_are_taken_once(parsed, squares, monkeypatch):
    embedded = []
    plain = extraction.embed
    monkeypatch.setattr(extraction, "embed", lambda *words: embedded.append(words[1].name) or plain(*words))
    rows = parsed("objective", squares, "--backbone", "tiny:32,pixels:8", "--draws", 2, "--images", 15)
    found = {(row["backbone"], row["draw"]) for row in rows}
    assert found == {("tiny:32", 0), ("tiny:32", 1), ("pixels:8", 0), ("pixels:8", 1)}
    assert len(embedded) == 4
    parsed("objective", squares, "--backbone", "tiny:32,pixels:8", "--draws", 2, "--images", 15)
    assert len(embedded) == 4


def test_slow_measures_are_asked_for(parsed, squares):
    pytest.importorskip("ot")
    assert "otdd" not in {row["measure"] for row in parsed("objective", squares, *TINY)}
    by = {row["measure"]: row["value"] for row in parsed("objective", squares, *TINY, "--slow")}
    assert np.isfinite([by["otdd"], by["task2vec"]]).all()


def test_measures_are_compared_on_the_suite(parsed, call, squares, tmp_path):
    tasks = ("plain/category", "plain/count", squares)
    rows = parsed("objective", *tasks, *TINY, "--images", 40, "--compare", "-o", tmp_path)
    by = {row["measure"]: row for row in rows}
    assert (by["linear"]["n_near"], by["linear"]["n_far"], by["linear"]["unseen_n"]) == (1, 1, 1)
    assert by["leep"]["missing"] == 2
    assert (tmp_path / "figures" / "measures.png").is_file()
    names = ("agreement", "calibration", "disparity", "measures")
    assert sorted(path.stem for path in tmp_path.glob("*.csv")) == list(names)
    calibration = pd.read_csv(tmp_path / "calibration.csv")
    assert dict(zip(calibration["task"], calibration["is_far"], strict=True)) == {tasks[0]: False, tasks[1]: True}
    assert Comparison.load(tmp_path / "results" / "objective_measures").settings["chosen_from"] == list(tasks[:2])
    alone = call("objective", squares, *TINY, "--compare")
    assert alone.exit_code == 1
    assert "none of its tasks is here" in alone.stderr


def test_what_has_no_labels_or_one_class_is_refused_by_name(call, image_folder, tmp_path):
    assert "photos has no labels" in call("objective", "photos", *TINY).stderr
    shutil.copytree(image_folder / "red", tmp_path / "one" / "red")
    refused = call("objective", tmp_path / "one", *TINY)
    assert refused.exit_code == 1
    assert "1 class among 10 images" in refused.stderr


def test_unknown_names_are_told(call, squares):
    unknown = call("objective", "sqares", *TINY)
    assert unknown.exit_code == 1
    assert "named 'sqares'. Did you mean squares" in unknown.stderr
    backbone = call("objective", squares, "--backbone", "dinov2")
    assert backbone.exit_code == 1
    assert "no extractor named 'dinov2'" in backbone.stderr


def test_images_that_cannot_be_read_are_told_and_left_out(call, image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "some")
    (tmp_path / "some" / "red" / "0.png").write_bytes(b"no image")
    Image.new("RGB", (4, 4)).save(tmp_path / "some" / "red" / "11.png")
    result = call("objective", tmp_path / "some", *TINY)
    assert result.exit_code == 0, result.stderr
    assert "images that could not be read and are left out: 1" in result.stderr
