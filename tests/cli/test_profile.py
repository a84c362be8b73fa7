import json

import pytest
import typer
from typer.testing import CliRunner

from vptft.cli.options import guarded
from vptft.cli.profile import profile
from vptft.tuning.profile import Profile

SMALL = ("--backbone", "tiny", "--image-size", 32, "--repeats", 1)


@pytest.fixture
def call(monkeypatch):
    """``call("ft", "--batch-size", "1,2")``: run the command alone; the full program's tests are elsewhere."""
    monkeypatch.setenv("COLUMNS", "300")
    app = typer.Typer()
    app.command()(guarded(profile))

    def invoke(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def test_methods_and_runs_give_one_row_a_batch_and_a_length(call, finished):
    run = finished["linear"]
    words = ("vpt_deep", run.folder, *SMALL, "--batch-size", "1,2", "--prompt-length", "3,5", "--classes", 7, "--json")
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    seen = [(row["method"], row["prompt_length"], row["batch_size"], row["n_classes"]) for row in rows]
    deep = [("vpt_deep", length, batch, 7) for length in (3, 5) for batch in (1, 2)]
    assert seen == [*deep, ("linear", 0, 1, 3), ("linear", 0, 2, 3)]
    assert [row["accuracy"] for row in rows[:4]] == [None] * 4
    assert [row["accuracy"] for row in rows[4:]] == pytest.approx([run.info.test_accuracy] * 2)
    assert rows[0]["parameters_tuned"] == 3 * 3 * 32 + 32 * 7 + 7
    assert rows[0]["device_peak_bytes"] is None
    assert "Linear: a step reads features computed once" in result.stderr


def test_the_table_is_drawn_and_results_and_figures_are_written(call, tmp_path):
    result = call("ft", "linear", *SMALL, "--batch-size", 2, "-o", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "activations (MB)" in result.stdout
    assert "accuracy" not in result.stdout
    saved = Profile.load(tmp_path / "results" / "profile")
    assert saved.frame()["method"].tolist() == ["ft", "linear"]
    assert saved.settings["batch_sizes"] == [2]
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"profile.pdf", "profile.svg", "profile.png"}


def test_what_cannot_be_read_is_a_usage_error_and_what_is_unknown_a_failure(call):
    result = call("ft", *SMALL, "--batch-size", "1,two")
    assert result.exit_code == 2
    assert "no list of whole numbers" in result.stderr
    result = call("vpt_dep", *SMALL)
    assert result.exit_code == 1
    assert "Did you mean vpt_deep" in result.stderr
    result = call("ft", *SMALL, "--batch-size", "0")
    assert result.exit_code == 1
    assert "batch_size must be positive, got 0" in result.stderr
