import json
import shutil

import numpy as np
import pytest

from vptft.checkpoints.native import load_run
from vptft.report.assembly import features as assembly
from vptft.report.assembly.features import FeatureSettings, features_of

SMALL = ("--images", 80, "--other", "digits")


def test_runs_are_compared_with_what_they_came_from(call, both, train, squares, tmp_path):
    train(squares, both / "linear", "--method", "linear")
    out = tmp_path / "out"
    result = call("features", "pretrained", both, *SMALL, "-o", out, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    runs = {run["method"]: run for run in found["runs"]}
    assert runs["linear"]["cka"] == pytest.approx(1)
    assert runs["ft"]["cka"] < 1
    assert [runs[method]["median_drift"] > 0 for method in ("ft", "vpt_deep", "linear")] == [True, False, False]
    assert {len(runs[method]["written"]) for method in ("ft", "linear")} == {0}
    assert len(runs["vpt_deep"]["written"]) == 6
    assert {finding["verdict"] for finding in found["findings"]} <= {"inconclusive", "not applicable"}
    assert {path.stem for path in (out / "figures").glob("*.png")} == {
        "features-layers", "features-drift", "features-written", "features-forgetting", "features-preservation",
    }  # fmt: skip
    again = call("features", both, *SMALL, "-o", out, "--json")
    assert json.loads(again.stdout) == found
    shown = call("features", both, *SMALL, "-o", out)
    assert "Preservation, last layer" in shown.stdout
    assert "Y3" in shown.stdout
    assert "inconclusive" in shown.stdout
    assert "by construction" in shown.stderr
    assert "stands in for the pretraining set" in shown.stderr


def test_finished_runs_are_not_measured_again(both, tmp_path, monkeypatch):
    run, settings = load_run(both / "ft"), FeatureSettings(n_images=12, others=())
    first = features_of(run, settings, folder=tmp_path / "r")
    monkeypatch.setattr(assembly, "layer_features", lambda *a, **k: pytest.fail("measured again"))
    again = features_of(run, settings, folder=tmp_path / "r")
    assert again.frame().equals(first.frame())


def test_layers_reference_and_seed_are_heeded(both, image_folder):
    run = load_run(both / "ft")
    by = {
        seed: features_of(
            run, FeatureSettings(n_images=12, reference=str(image_folder), others=(), layers=(0, 2), seed=seed)
        )
        for seed in (0, 1)
    }
    for result in by.values():
        assert set(result.frame()["layer"]) == {0, 2}
        assert set(result.frame()["role"]) == {"reference", "own task"}
    assert not np.allclose(by[0].frame()["value"], by[1].frame()["value"], equal_nan=True)


@pytest.mark.parametrize(("words", "said"), [
    (("--layers", "9"), "not all among the backbone's 3"),
    (("--other", "nothing"), "There is no task named 'nothing'"),
    (("--reference", "no/such"), "no/such"),
    (("--reference", "three"), "The reference three holds 3 images; 12 are needed."),
])  # fmt: skip
def test_what_cannot_be_measured_is_said(call, both, words, said, image_folder, tmp_path, monkeypatch):
    (tmp_path / "three").mkdir()
    for i, path in enumerate(sorted(image_folder.rglob("*.png"))[:3]):
        shutil.copy(path, tmp_path / "three" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    result = call("features", both / "ft", "--images", 12, *words)
    assert result.exit_code == 1
    assert said in result.stderr


def test_another_task_with_the_same_classes_is_no_other_task(call, both, image_folder):
    assert call("tasks", "add", "again", image_folder).exit_code == 0
    others = FeatureSettings(n_images=12, others=("again", "digits"))
    frame = features_of(load_run(both / "ft"), others).frame()
    assert {name.split()[0] for name in frame.loc[frame["role"] == "other task", "images"]} == {"digits"}


def test_a_reference_that_changed_is_measured_again(both, image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "own")
    settings = FeatureSettings(n_images=12, reference=str(tmp_path / "own"), others=())
    first, same = (features_of(load_run(both / "ft"), settings, folder=tmp_path / "r") for _ in range(2))
    assert same.settings["key"] == first.settings["key"]
    for path in list((tmp_path / "own").rglob("*.png"))[::2]:
        path.unlink()
    changed = features_of(load_run(both / "ft"), settings, folder=tmp_path / "r")
    assert changed.settings["key"] != first.settings["key"]


def test_a_run_whose_features_are_no_numbers_is_left_out_by_name(call, both, monkeypatch):
    real = assembly.layer_features

    def broken(model, *arguments, **named):
        found = real(model, *arguments, **named)
        return found if model.prompts is None else {where: values * np.nan for where, values in found.items()}

    monkeypatch.setattr(assembly, "layer_features", broken)
    result = call("features", both, *SMALL)
    assert result.exit_code == 0
    assert "that are not finite: did it diverge?" in result.stderr


def test_usage(call):
    assert "give run folders" in call("features", "pretrained").stderr
    assert "takes numbers such as 0,5,11" in call("features", ".", "--layers", "a").stderr


def test_a_run_that_has_no_weights_is_left_out_with_the_reason(call, both):
    (both / "ft" / "model.safetensors").unlink()
    result = call("features", both, *SMALL)
    assert result.exit_code == 0
    assert "left out: ft" in result.stderr
    assert "no task and training size has runs of two methods" in result.stderr.lower()
