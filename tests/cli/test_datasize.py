import json
from dataclasses import replace

import pytest

from vptft.checkpoints.native import load_run
from vptft.data import registry
from vptft.errors import DataError
from vptft.report.assembly.studies import papers_rule, read_conclusions
from vptft.when.datasize.measure import DataSize
from vptft.when.sensitivity.measure import Sensitivity


@pytest.fixture
def sizes(train, squares, tmp_path):
    """Two draws of two sizes, of both methods."""
    for method in ("vpt_deep", "ft"):
        for n in (6, 12):
            for seed in (0, 1):
                train(
                    squares,
                    tmp_path / "runs" / f"{method}{n}-{seed}",
                    "--method",
                    method,
                    "--n-train",
                    n,
                    "--seed",
                    seed,
                )
    return tmp_path / "runs"


@pytest.fixture
def lengths(train, squares, tmp_path):
    """Two draws of two prompt lengths, of shallow prompts, and of FT."""
    for seed in (0, 1):
        for name, options in {
            "three": ("--method", "vpt_deep"),
            "shallow": ("--method", "vpt_shallow"),
            "five": ("--method", "vpt_deep", "--prompt-length", 5),
            "ft": ("--method", "ft"),
            "linear": ("--method", "linear"),
        }.items():
            train(squares, tmp_path / "choices" / f"{name}{seed}", *options, "--seed", seed)
    return tmp_path / "choices"


def test_datasize_pairs_runs_of_every_size(parsed, sizes, squares, tmp_path):
    found = parsed("datasize", sizes, "-o", tmp_path / "out", "--least-sizes", 2)
    assert [(row["task"], row["n_train"], row["n_draws"]) for row in found["rows"]] == [
        (squares, 6, 2),
        (squares, 12, 2),
    ]
    runs = {name: load_run(sizes / name).info.test_accuracy for name in ("vpt_deep6-0", "vpt_deep6-1")}
    assert found["rows"][0]["accuracy_vpt"] == pytest.approx(sum(runs.values()) / 2)
    assert found["tasks"][0]["n_draws"] == 2
    assert found["tasks"][0]["task_group"] == registry.task(squares).group
    assert [finding["hypothesis"] for finding in found["findings"]] == ["W3"]
    assert (tmp_path / "out" / "figures" / "datasize.pdf").is_file()
    saved = DataSize.load(tmp_path / "out" / "results" / "datasize")
    assert saved.frame()["n_train"].tolist() == [6, 12]
    assert parsed("datasize", sizes, "-o", tmp_path / "out", "--least-sizes", 2) == found


def test_datasize_prints_tables_and_the_rule(call, sizes):
    result = call("datasize", sizes, "--least-sizes", 2)
    assert result.exit_code == 0
    assert "points a doubling" in result.stdout
    assert "2 seeds: no verdict" in result.stdout
    assert "Otherwise inconclusive" in result.stderr


def test_datasize_of_one_size_says_what_is_missing(call, train, squares, tmp_path):
    for method in ("vpt_deep", "ft"):
        train(squares, tmp_path / "one" / method, "--method", method)
    result = call("datasize", tmp_path / "one")
    assert result.exit_code == 1
    assert "No task has runs at two training sizes" in result.stderr
    assert "protocol datasize" in result.stderr


def test_datasize_of_the_papers_tables_counts_no_task_twice(parsed, tmp_path):
    found = parsed("datasize", "--published", "-o", tmp_path)
    by_task = {row["task"]: row for row in found["tasks"]}
    assert len(by_task) == 19
    assert by_task["retinopathy"]["says"] == "FT overtakes at 610 images [490, 750]"
    assert by_task["dtd"]["judged"] is False  # two sizes
    (w3,) = found["findings"]
    assert (w3["hypothesis"], w3["n"]) == ("W3", 14)
    assert (tmp_path / "figures" / "datasize.pdf").is_file()


def test_datasize_wants_one_source(call, tmp_path):
    for arguments in (("datasize",), ("datasize", tmp_path, "--published")):
        assert call(*arguments).exit_code == 2


def test_sensitivity_lays_out_every_choice(parsed, lengths, tmp_path):
    found = parsed("sensitivity", lengths, "-o", tmp_path / "out")
    assert len(found["rows"]) == 3
    told = {(row["choice"], row["level"]) for row in found["choices"]}
    assert told == {
        ("prompt length", "3"),
        ("prompt length", "5"),
        ("prompt layers", "all"),
        ("prompt layers", "input only"),
    }
    assert {row["choice"] for row in found["shares"]} == {
        "prompt length", "prompt layers", "training draw and seed", "interactions and noise"
    }  # fmt: skip
    runs = {name: load_run(lengths / name).info.test_accuracy for name in ("five0", "five1", "ft0", "ft1")}
    gap = 50 * (runs["five0"] + runs["five1"] - runs["ft0"] - runs["ft1"])
    number = next(row["specification"] for row in found["choices"] if row["level"] == "5")
    assert found["rows"][number]["gap_points"] == pytest.approx(gap)
    for name in ("specifications", "variance_shares"):
        assert (tmp_path / "out" / "figures" / f"{name}.svg").is_file()
    assert Sensitivity.load(tmp_path / "out" / "results" / "sensitivity").reason == found["reason"] == ""


def test_sensitivity_holds_runs_to_given_conclusions(call, lengths, squares, tmp_path):
    (tmp_path / "said.csv").write_text(f"task,winner,source\n{squares},ft,Table 9\n")
    result = call("sensitivity", lengths, "--conclusions", tmp_path / "said.csv", "--json")
    (row,) = json.loads(result.stdout)["verdicts"]
    assert (row["conclusion"], row["source"]) == ("ft", "Table 9")


def test_sensitivity_of_one_setting_is_not_applicable(call, sizes, tmp_path):
    result = call(
        "sensitivity", *(sizes / f"{m}6-{seed}" for m in ("ft", "vpt_deep") for seed in (0, 1)), "-o", tmp_path / "out"
    )
    assert result.exit_code == 0
    assert "not applicable: the runs of each task differ in no choice" in result.stderr
    assert not (tmp_path / "out" / "figures").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [("a,winner\n", r"lacks the columns \['task'\]"), ("task,winner\nx,linear\n", "vpt or ft, not 'linear'")],
)
def test_conclusions_that_cannot_be_read_are_refused(text, match, tmp_path):
    (tmp_path / "said.csv").write_text(text)
    with pytest.raises(DataError, match=match):
        read_conclusions(tmp_path / "said.csv")
    with pytest.raises(DataError, match="could not be read as a table"):
        read_conclusions(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("objective", "appearance", "winner"),
    [("classification", "plain", "ft"), ("classification", "photo", "vpt"), ("counting", "plain", "vpt")],
)
def test_the_papers_rule_names_a_winner_for_tasks_of_the_factorial_suite(finished, objective, appearance, winner):
    info = replace(finished["ft"].info, objective=objective, appearance=appearance)
    assert papers_rule(info).winner == winner
    assert papers_rule(replace(info, appearance=None)) is None
