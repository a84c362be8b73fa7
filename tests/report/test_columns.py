"""Tables of sections: what stands in them is what the results hold, and every analysis that has numbers has one."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from report.builders import TASKS, make_curves, make_quadrants, make_scores
from vptft.report.pages.report import as_csv
from vptft.report.sections import attention_scores, overfitting, quadrants
from vptft.report.sections.columns import METHOD, Column, table
from vptft.report.sections.parts import Table
from vptft.why.attention import comparison


def test_numbers_keep_their_form_and_what_is_missing_is_empty():
    frame = pd.DataFrame({
        "task": ["a", "b"], "n": [3.0, np.nan], "gap": [-0.0123, -1e-9], "low": [-0.02, np.nan], "high": [0.01, 1.0],
        "said": [None, "x"],
    })  # fmt: skip
    columns = [
        Column("task", "task"), Column("n", "n", ",d"), Column("gap", "gap", "+.2f", ("low", "high"), 100),
        Column("said", "said"),
    ]  # fmt: skip
    made = table(frame, "c", columns)
    assert made.rows == [["a", "3", "−1.23 [−2.00, +1.00]", ""], ["b", "", "0.00", "x"]]
    assert made.numbers == {1, 2}


def test_readers_are_told_the_fields_word_for_a_method_and_files_keep_its_name():
    names = ["ft", "bias", "theirs"]
    made = table(pd.DataFrame({"method": names}), "c", [METHOD])
    assert made.rows == [["FT"], ["BitFit"], ["theirs"]]
    assert made.values["method"].tolist() == names


def test_the_rows_of_one_task_come_without_its_column():
    made = Table(
        caption="c", columns=["x", "task", "y"], rows=[["1", "a", "2"], ["3", "b", "4"]], numbers=frozenset({0, 2})
    )
    only = made.only("b")
    assert only is not None
    assert (only.columns, only.rows, only.numbers) == (["x", "y"], [["3", "4"]], {0, 1})
    assert made.only("c") is None
    assert Table(caption="c", columns=["x"], rows=[["a"]]).only("a") is None


def test_training_images_stand_in_a_table_where_there_are_several():
    result = make_curves(seeds=range(3))
    assert all("training images" not in made.columns for made in overfitting.ANALYSIS.tables([result]))
    both = replace(result, cells=two_sizes(result.cells), runs=two_sizes(result.runs))
    for made in overfitting.ANALYSIS.tables([both]):
        at = made.columns.index("training images")
        assert {row[at] for row in made.rows} == {"300", "1,000"}


def two_sizes(frame):
    return pd.concat([frame.assign(n_train=n) for n in (300, 1000)], ignore_index=True)


def test_the_verdict_of_every_cell_stands_in_the_table_of_curves():
    result = make_curves(seeds=range(3))
    cells, runs = overfitting.ANALYSIS.tables([result])
    assert [row[-1] for row in cells.rows] == list(result.cells["verdict"])
    assert len(runs.rows) == len(result.runs)
    assert overfitting.ANALYSIS.notes([result]) == [result.settings["rule"]]


@pytest.mark.parametrize("score", ["on_object", "faithfulness_tokens"])
def test_scores_of_all_images_stand_in_the_table_with_what_fails(score):
    result = comparison.measure([make_scores(task, draw) for task in ("a", "b") for draw in range(3)])
    scores, masses, outcomes = attention_scores.ANALYSIS.tables([result])
    frame = result.frame()
    row = frame[
        (frame["outcome"] == "all") & (frame["task"] == "a") & (frame["map"] == "rollout") & (frame["score"] == score)
    ]
    (shown,) = (each for each in scores.rows if each[:3] == ["a", "rollout", score])
    assert shown[3] == f"{row['vpt'].item():.3f}"
    assert shown[-1] == row["failed"].item()
    assert len(masses.rows) == len(result.masses)
    assert outcomes.rows[0][0] == "a"


def test_the_file_of_a_table_holds_numbers_and_no_formula():
    frame = pd.DataFrame({
        "task": ["=1+1", "-x", "b"], "gap": [0.1234567, -0.5, np.nan], "low": [0.0, -1, np.nan], "high": [0.2, 0, 1.0],
    })  # fmt: skip
    made = table(frame, "c", [Column("task", "task"), Column("gap, points", "gap", "+.1f", ("low", "high"), 100)])
    assert made.rows[0][1] == "+12.3 [0.0, +20.0]"
    read = pd.read_csv(io.StringIO(as_csv(made)))
    assert list(read.columns) == ["task", "gap, points", "gap, points low", "gap, points high"]
    assert read["gap, points"].iloc[0] == pytest.approx(12.34567)
    assert list(read["task"]) == ["'=1+1", "'-x", "b"]
    text = Table(caption="c", columns=["@a"], rows=[["+b"], ["−3"]])
    assert as_csv(text) == "'@a\n'+b\n−3\n"


def test_a_measure_that_contradicts_the_grouping_by_hand_is_told():
    plain = make_quadrants()
    assert quadrants.ANALYSIS.notes([plain]) == []
    assert "disparity" not in quadrants.ANALYSIS.tables([plain])[0].columns
    sides = plain.frame()["objective_is_far"]
    agreeing = replace(plain, table=plain.frame().assign(disparity=np.where(sides, 0.9, 0.1)))
    assert quadrants.ANALYSIS.notes([agreeing]) == []
    contrary = agreeing.frame().assign(disparity=np.where(np.arange(len(sides)) == 0, 0.97 - 0.9 * sides, 0.9 * sides))
    (note,) = quadrants.ANALYSIS.notes([replace(plain, table=contrary)])
    assert f"disagree on {TASKS[0]} (" in note
    assert not any(task in note for task in TASKS[1:])
    assert "disparity" in quadrants.ANALYSIS.tables([agreeing])[0].columns
