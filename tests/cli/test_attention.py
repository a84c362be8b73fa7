import pytest

from vptft.why.attention.maps import AttentionMaps


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


def test_a_run_that_is_not_there(call, tmp_path, both):
    result = call("attention", tmp_path / "none", both / "ft")
    assert result.exit_code == 1
    assert "There is no run folder" in result.stderr
