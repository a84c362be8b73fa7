import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vptft.checkpoints.listed import ListedRun
from vptft.checkpoints.run_tables import selections, summaries, table, vtab_means
from vptft.checkpoints.trees import list_runs
from vptft.data import vtab


def run(accuracy=0.5, *, task="dtd", stage="final", **fields):
    """A final KMnP run, with some of its fields changed."""
    row = vtab.known(task)
    values = {
        "folder": Path("/x"), "producer": "kmnp", "task": task, "group": row.group if row else None, "stage": stage,
        "method": "vpt_deep", "backbone": "b", "experiment": "e", "lr": 0.25, "wd": 0.01, "seed": 42, "complete": True,
        "accuracy": accuracy, "accuracy_split": "val" if stage == "search" else "test",
    }  # fmt: skip
    return ListedRun(**values | fields)


def test_every_run_is_a_row_of_the_table():
    frame = table([run(), run(problems=("one", "two"), accuracy=None)])
    assert frame["problems"].tolist() == ["", "one; two"]
    assert frame["folder"].tolist() == ["/x", "/x"]
    assert frame.columns[0] == "task"
    assert table([]).empty


def test_the_mean_over_seeds_is_the_peers():
    scores = (0.5, 0.6, 0.7, 0.75, 0.8)
    (row,) = summaries([run(s, seed=i) for i, s in enumerate(scores)]).to_dict("records")
    assert (row["n"], row["seeds"], row["cells"], row["left_out"]) == (5, "0, 1, 2, 3, 4", 1, 0)
    assert row["mean"] == pytest.approx(np.mean(scores))
    assert row["std"] == pytest.approx(np.std(scores))  # ddof 0


@pytest.mark.parametrize(
    "fields",
    [{"complete": False}, {"superseded": True}, {"accuracy": None, "accuracy_split": None}, {"accuracy_split": "val"}],
    ids=str,
)
def test_runs_without_a_final_number_are_counted_but_not_averaged(fields):
    (row,) = summaries([run(0.5), replace(run(0.9), **fields)]).to_dict("records")
    assert (row["n"], row["mean"], row["left_out"]) == (1, 0.5, 1)
    (row,) = summaries([replace(run(0.9), **fields)]).to_dict("records")
    assert (row["n"], row["left_out"]) == (0, 1)
    assert math.isnan(row["mean"])


def test_what_differs_is_not_averaged():
    runs = [run(0.1), run(0.2, method="ft"), run(0.3, task="svhn"), run(0.4, backbone="c"), run(0.5, experiment="f"),
            run(0.6, producer="vptft", stage="run"), run(0.7, stage="search"), run(0.8, method=None)]  # fmt: skip
    assert sorted(summaries(runs)["mean"]) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8]


def test_several_cells_in_one_mean_are_counted():
    (row,) = summaries([run(0.5), run(0.6, lr=0.5), run(0.7, wd=0.1)]).to_dict("records")
    assert (row["n"], row["cells"]) == (3, 3)


def test_a_run_that_nothing_says_is_incomplete_counts():
    assert summaries([run(0.5, complete=None)])["n"].tolist() == [1]


def test_the_vtab_mean_is_the_mean_of_group_means():
    scores = {row.name: 0.3 + 0.02 * i for i, row in enumerate(vtab.TASKS)}
    (row,) = vtab_means([run(score, task=name) for name, score in scores.items()]).to_dict("records")
    groups = {
        g: np.mean([scores[t.name] for t in vtab.TASKS if t.group == g])
        for g in ("natural", "specialized", "structured")
    }
    assert {group: row[group] for group in groups} == pytest.approx(groups)
    assert row["mean"] == pytest.approx(np.mean(list(groups.values())))
    assert row["mean"] != pytest.approx(np.mean(list(scores.values())))
    assert (row["n_natural"], row["n_specialized"], row["n_structured"], row["incomplete"]) == (7, 4, 8, "")


def test_an_incomplete_vtab_mean_says_so():
    names = ("dtd", "svhn", "eurosat", "dmlab")
    (row,) = vtab_means([run(0.1 * i, task=name) for i, name in enumerate(names, start=1)]).to_dict("records")
    assert row["mean"] == pytest.approx((0.15 + 0.3 + 0.4) / 3)
    assert row["incomplete"].startswith("lacks 15 of 19 tasks: cifar100, caltech101, flowers102, ")
    (row,) = vtab_means([run(0.5, task="dtd"), run(0.7, task="dmlab")]).to_dict("records")
    assert (row["natural"], row["structured"]) == (0.5, 0.7)
    assert math.isnan(row["specialized"])
    assert math.isnan(row["mean"])
    assert (row["n_natural"], row["n_specialized"]) == (1, 0)


def test_tasks_of_one_method_are_pooled_unless_experiments_repeat_them():
    apart = [run(0.5, task="dtd", experiment="a"), run(0.7, task="eurosat", experiment="b")]
    (row,) = vtab_means(apart).to_dict("records")
    assert (row["natural"], row["specialized"], row["experiment"]) == (0.5, 0.7, "")
    twice = vtab_means([*apart, run(0.9, task="dtd", experiment="b")])
    assert twice[["experiment", "natural"]].to_numpy().tolist() == [["a", 0.5], ["b", 0.9]]
    assert vtab_means([run(task="mine")]).empty


def chosen(*runs):
    (row,) = selections(runs).to_dict("records")
    return row


def test_the_search_of_the_peers_chose_what_their_final_runs_use(peers):
    frame = selections(list_runs([peers / "kmnp" / "runtree"]))
    assert frame[["task", "searched", "lr", "wd", "val_accuracy", "used"]].to_numpy().tolist() == [
        ["vtab-tiny5", 4, 0.0625, 0.01, 0.45, True], ["kitti_distance", 1, 0.03125, 0.001, 0.3, True],
        ["clevr_count", 2, 0.0025, 0.0001, 1.0, True], ["patch_camelyon", 1, 0.03125, 0.001, 0.5, True],
    ]  # fmt: skip


def test_of_equal_cells_the_smaller_learning_rate_wins():
    cells = [run(0.5, stage="search", lr=lr, wd=0.01, seed=None) for lr in (1.0, 0.25, 0.5)]
    row = chosen(*cells, run(0.4, stage="search", lr=0.1))
    assert (row["lr"], row["wd"], row["tied_wd"], row["searched"], row["used"]) == (0.25, 0.01, "", 4, None)
    assert chosen(*cells, run(lr=0.25))["used"] is True
    assert chosen(*cells, run(lr=0.25), run(lr=0.5))["used"] is False
    assert chosen(*cells, run(lr=0.25, wd=0.1))["used"] is False
    assert chosen(*cells, run(lr=None, wd=None))["used"] is False


def test_a_tie_of_weight_decays_is_left_open():
    cells = [run(0.5, stage="search", wd=wd) for wd in (0.01, 0.0, 0.001)]
    row = chosen(*cells, run(wd=0.001))
    assert (row["wd"], row["tied_wd"], row["used"], row["final_wd"]) == (0.0, "0, 0.001, 0.01", True, 0.001)


def test_cells_without_accuracy_are_counted():
    row = chosen(run(0.5, stage="search"), run(None, stage="search", lr=0.5, accuracy_split=None))
    assert (row["searched"], row["without_accuracy"], row["lr"]) == (2, 1, 0.25)
    row = chosen(run(None, stage="search", accuracy_split=None), run(lr=0.25))
    assert (row["lr"], row["used"], row["final_lr"]) == (None, None, 0.25)


def test_searches_of_other_experiments_are_their_own():
    runs = [run(0.5, stage="search"), run(0.5, stage="search", experiment="f"), run(stage="run")]
    assert selections(runs)["searched"].tolist() == [1, 1]
    assert selections([run(), run(stage="run")]).empty
