import pytest


def test_overfitting_gives_one_row_a_run(parsed, finished):
    rows = parsed("overfitting", finished["ft"].folder.parent)
    assert [row["method"] for row in rows] == sorted(finished)
    history = finished["ft"].history()
    test = history[history["split"] == "test"]["loss"]
    assert rows[sorted(finished).index("ft")]["rise_nats"] == pytest.approx(test.iloc[-1] - test.min())


def test_a_folder_that_is_not_there(call, tmp_path):
    result = call("overfitting", tmp_path / "none")
    assert result.exit_code == 1
    assert "There is no folder" in result.stderr
