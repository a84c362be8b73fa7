import json

import numpy as np
import pytest

from vptft.why.attention.maps import AttentionMaps
from vptft.why.attention.scores import AttentionScores


def test_attention_without_masks_is_json_all_the_same(parsed, both, tmp_path):
    found = parsed("attention", both / "vpt_deep", both / "ft", "--images", 3, "-o", tmp_path / "out")
    assert found["settings"]["n_images"] == 3
    assert len(found["rows"]) == 6
    for row in found["rows"]:
        assert row["on_object"] is None
        masses = [row[name] for name in ("patch_mass", "cls_mass", "register_mass", "prompt_mass")]
        assert sum(masses) == pytest.approx(1, abs=1e-5)
    assert sorted({row["method"] for row in found["rows"]}) == ["ft", "vpt"]
    saved = AttentionMaps.load(tmp_path / "out" / "results" / "attention" / "squares")
    assert saved.table["image"].tolist() == [row["image"] for row in found["rows"]]


def test_a_pair_in_the_wrong_order_is_refused(call, both):
    result = call("attention", both / "ft", both / "vpt_deep")
    assert result.exit_code == 1
    assert "Give the run with prompts first" in result.stderr


def test_runs_of_other_images_are_no_pair(call, both, train, squares, tmp_path):
    train(squares, tmp_path / "larger", "--method", "ft", "--image-size", "64")
    result = call("attention", both / "vpt_deep", tmp_path / "larger")
    assert result.exit_code == 1
    assert "differ in image size" in result.stderr


def test_methods_are_drawn_by_outcome_with_every_map_kept(parsed, both, tmp_path):
    found = parsed(
        "attention", both, "--method", "gradcam", "--method", "rollout", "--images", 4, "--target", "predicted",
        "-o", tmp_path,
    )  # fmt: skip
    assert {row["map"] for row in found["rows"]} == {"gradcam", "rollout", "random"}
    assert len(found["rows"]) == 4 * 2 * 3
    by_image = {(row["image"], row["target"]) for row in found["rows"]}
    assert len(by_image) == 4  # one class an image, for both sides and every kind
    figures = {path.name for path in (tmp_path / "figures").glob("*.png")}
    assert figures == {"attention-gradcam.png", "attention-rollout.png", "attention-heads.png"}
    maps = sorted((tmp_path / "figures" / "maps" / "attention").glob("*.npz"))
    pictures = list((tmp_path / "figures" / "maps" / "attention").glob("*.png"))
    assert 1 <= len(maps) <= 4
    assert len(pictures) == len(maps) * 2 * 2
    with np.load(maps[0]) as kept:
        assert {"pixels", "vpt/gradcam", "ft/rollout", "ft/random"} < set(kept.files)
        assert kept["vpt/gradcam"].sum() == pytest.approx(1, abs=1e-5)


def test_runs_on_permuted_labels_are_a_sanity_check_and_no_pair_of_their_own(parsed, both, train, call):
    words = ("attention", both, "--scores", "--method", "gradcam", "--sample", 4)
    for method in ("vpt_deep", "ft"):
        train("squares+permuted", both / f"permuted-{method}", "--method", method)
    found = parsed(*words)
    assert {row["task"] for row in found["rows"]} == {"squares"}
    assert {row["changed"] for row in found["sanity"]} == {"weights", "labels", "class"}
    alone = call("attention", both / "permuted-vpt_deep", both / "permuted-ft", "--scores")
    assert alone.exit_code == 1
    assert "All of these runs were trained on permuted labels" in alone.stderr


def test_scores_of_every_test_image_are_resumed_and_withhold_the_verdict(call, both, tmp_path, monkeypatch):
    words = ("attention", both, "--scores", "--method", "gradcam", "--sample", 4, "-o", tmp_path, "--json")
    first = call(*words)
    assert first.exit_code == 0, first.stderr
    part = AttentionScores.load(tmp_path / "results" / "attention-scores" / "squares")
    monkeypatch.setattr("vptft.why.attention.scores.measure", lambda *_, **__: pytest.fail("made again"))
    assert call(*words).stdout == first.stdout
    found = json.loads(first.stdout)
    assert {finding["hypothesis"] for finding in found["findings"]} == {"Y4"}
    assert not {finding["verdict"] for finding in found["findings"]} & {"supported", "refuted"}
    tested = {row["n_images"] for row in found["rows"] if row["score"] == "gini" and row["outcome"] == "all"}
    assert tested == {part.table["image"].nunique()}
    figures = {path.name for path in (tmp_path / "figures").glob("*.png")}
    assert {f"attention-{name}.png" for name in ("scores", "sanity", "curves-tokens", "curves-pixels")} <= figures


def test_a_run_that_is_not_there(call, tmp_path, both):
    result = call("attention", tmp_path / "none", both / "ft")
    assert result.exit_code == 1
    assert "There is no folder" in result.stderr


def test_a_method_that_is_not_known(call, both):
    result = call("attention", both, "--method", "saliency")
    assert result.exit_code == 1
    assert "not ['saliency']" in result.stderr
