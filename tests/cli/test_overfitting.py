import pandas as pd
import pytest

from vptft.checkpoints.native import load_run


def test_overfitting_judges_every_run_and_writes_results_and_figures(parsed, finished, tmp_path):
    found = parsed("overfitting", finished["ft"].folder.parent, "-o", tmp_path)
    assert sorted(row["method"] for row in found["rows"]) == sorted(finished)
    history = finished["ft"].history().query("split == 'test'")["loss"]
    (row,) = (row for row in found["rows"] if row["method"] == "ft")
    assert row["rise_from_minimum_nats"] == pytest.approx(history.iloc[-1] - history.min())
    assert {cell["verdict"] for cell in found["cells"]} == {"cannot tell"}
    assert [each["verdict"] for each in found["findings"]] == ["inconclusive"] * 2
    assert found["explanation"][0]["n_tasks"] == 1
    assert {path.name for path in (tmp_path / "results").iterdir()} >= {"overfitting"}
    assert (tmp_path / "figures" / "overfitting-gap.pdf").is_file()
    assert (tmp_path / "figures" / "overfitting-linear.svg").is_file()


def test_histories_of_other_programs_by_a_table(call, parsed, tmp_path):
    for seed in range(3):
        loss = [2.0, 1.0, 2.0 + seed / 100]
        pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [2, 1, 0.5], "val_loss": loss}).to_csv(
            tmp_path / f"{seed}.csv", index=False
        )
    rows = [("t", "ft", seed, f"{seed}.csv") for seed in range(3)]
    pd.DataFrame(rows, columns=["task", "method", "seed", "history"]).to_csv(tmp_path / "all.csv", index=False)
    found = parsed("overfitting", "--table", tmp_path / "all.csv")
    assert [(cell["n_seeds"], cell["verdict"], cell["accuracy"]) for cell in found["cells"]] == [
        (3, "overfits", "not known")
    ]
    shown = call("overfitting", "--table", tmp_path / "all.csv")
    assert "A method overfits on a task if the 95% interval" in shown.stderr
    assert "overfits" in shown.stdout


def test_a_table_without_a_column_a_folder_that_is_not_there_and_nothing(call, tmp_path):
    (tmp_path / "bad.csv").write_text("task,method\n")
    result = call("overfitting", "--table", tmp_path / "bad.csv")
    assert "lacks the columns ['seed', 'history']" in result.stderr
    result = call("overfitting", tmp_path / "none")
    assert result.exit_code == 1
    assert "There is no" in result.stderr
    assert call("overfitting").exit_code == 2


def test_regularised_finetuning_is_compared_with_plain(parsed, call, train, squares, tmp_path):
    runs = tmp_path / "runs"
    smooth = ("--set", "label_smoothing=0.2")
    for seed in (0, 1):
        train(squares, runs / f"vpt{seed}", "--method", "vpt_deep", "--seed", seed)
        train(squares, runs / f"ft{seed}", "--method", "ft", "--seed", seed)
        train(squares, runs / f"smooth{seed}", "--method", "ft", "--seed", seed, *smooth)
        train(squares, runs / f"both{seed}", "--method", "ft", "--seed", seed, *smooth, "--set", "weight_decay=0.2")
        train(squares, runs / f"other{seed}", "--method", "ft", "--seed", seed, "--set", "head_lr=0.05")
    found = parsed("overfitting", runs, "-o", tmp_path / "out")
    rows = {row["arm"]: row for row in found["regularisation"]}
    assert rows.keys() == {"label_smoothing 0.2", "label_smoothing 0.2, weight_decay 0.2"}
    plain, smoothed = (
        [load_run(runs / f"{name}{seed}").info.test_accuracy for seed in (0, 1)] for name in ("ft", "smooth")
    )
    change = 100 * (sum(smoothed) - sum(plain)) / 2
    assert rows["label_smoothing 0.2"]["accuracy_change"] == pytest.approx(change)
    assert rows["label_smoothing 0.2"]["gap"] is not None
    assert (tmp_path / "out" / "results" / "regularisation" / "result.json").is_file()
    assert (tmp_path / "out" / "figures" / "regularisation.pdf").is_file()
    assert "FT with what keeps it from overfitting" in call("overfitting", runs).stdout
