import numpy as np


def test_landscape_has_the_runs_own_loss_in_its_middle(parsed, both):
    rows = parsed("landscape", both / "ft", "--images", 4, "--points", 3, "--extent", 0.1)
    assert len(rows) == 9
    (middle,) = [row["loss"] for row in rows if row["a"] == row["b"] == 0]
    assert np.isfinite(middle)
    assert {row["method"] for row in rows} == {"ft"}


def test_a_folder_that_is_not_there(call, tmp_path):
    result = call("landscape", tmp_path / "none")
    assert result.exit_code == 1
    assert "There is no folder" in result.stderr
