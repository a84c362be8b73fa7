import numpy as np
import pytest

from vptft.why.attention.maps import AttentionMaps


@pytest.fixture
def both(train, squares, tmp_path):
    """A VPT run and an FT run of the registered squares, in one folder."""
    for method in ("vpt_deep", "ft"):
        train(squares, tmp_path / "runs" / method, "--method", method)
    return tmp_path / "runs"


def test_overfitting_gives_one_row_a_run(parsed, finished):
    rows = parsed("overfitting", finished["ft"].folder.parent)
    assert [row["method"] for row in rows] == sorted(finished)
    history = finished["ft"].history()
    test = history[history["split"] == "test"]["loss"]
    assert rows[sorted(finished).index("ft")]["rise_nats"] == pytest.approx(test.iloc[-1] - test.min())


def test_landscape_has_the_runs_own_loss_in_its_middle(parsed, both):
    rows = parsed("landscape", both / "ft", "--images", 4, "--points", 3, "--extent", 0.1)
    assert len(rows) == 9
    (middle,) = [row["loss"] for row in rows if row["a"] == row["b"] == 0]
    assert np.isfinite(middle)
    assert {row["method"] for row in rows} == {"ft"}


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


def test_analyses_say_what_is_missing(call, tmp_path, both):
    for words in (("overfitting", tmp_path / "none"), ("landscape", tmp_path / "none")):
        result = call(*words)
        assert result.exit_code == 1
        assert "There is no folder" in result.stderr
    result = call("attention", tmp_path / "none", both / "ft")
    assert result.exit_code == 1
    assert "There is no run folder" in result.stderr
    result = call("quadrants", both / "ft")
    assert result.exit_code == 1
    assert "No pair of vpt_deep and ft" in result.stderr
