"""``read_history``: the right reader by content, from files and folders."""

import os
import subprocess
import sys

import pytest

from checkpoints.kmnp_files import log
from vptft.checkpoints.histories import read_history
from vptft.checkpoints.histories.frame import COLUMNS
from vptft.errors import CheckpointError


def test_a_log_is_read_by_content_under_any_name(tmp_path):
    path = tmp_path / "capture.csv"
    path.write_text(log({"test": (30.0, 40.0)}))
    frame = read_history(path, run="mine")
    assert tuple(frame.columns) == COLUMNS
    assert set(frame["run"]) == {"mine"}
    assert set(frame["split"]) == {"train", "val_in_train", "test"}
    assert read_history(tmp_path).equals(read_history(path, run=str(tmp_path)))


def test_jobs_of_one_log_are_runs_of_their_own(tmp_path):
    text = log({}, {"val": (50.0,)})
    (tmp_path / "logs.txt").write_text(text)
    _, second = [i for i, line in enumerate(text.splitlines(), start=1) if "Rank of" in line]
    frame = read_history(tmp_path, run="two")
    assert frame.groupby("run").size().to_dict() == {"two:1": 4, f"two:{second}": 2}


def test_a_run_folder_of_ours(finished):
    run = finished["linear"]
    expected = run.history()[["epoch", "split", "loss", "accuracy", "lr"]]
    found = read_history(run.folder)
    assert found.drop(columns="run").sort_values(["epoch", "split"]).to_numpy().tolist() == (
        expected.sort_values(["epoch", "split"]).to_numpy().tolist()
    )


@pytest.mark.parametrize(
    ("files", "read"),
    [({"logs.txt": log({}), "x.csv": "epoch,loss\n1,2\n"}, 4), ({"x.csv": "epoch,loss\n1,2\n"}, 1),
     ({"notes.txt": "hello", "metrics.csv": "epoch,loss\n1,2\n"}, 1), ({"x.jsonl": '{"epoch": 1, "loss": 2}'}, 1),
     ({"slurm.out": log({})}, 4)],
    ids=str,
)  # fmt: skip
def test_the_history_of_a_folder_is_found(tmp_path, files, read):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert len(read_history(tmp_path)) == read


@pytest.mark.parametrize(
    ("files", "said"),
    [({}, "holds no history"), ({"a.csv": "", "b.log": ""}, r"holds a\.csv, b\.log: which is the history\?"),
     ({"a.csv": "hello"}, r"a\.csv is no history of a kind that is known"), ({"model.pth": "x"}, "holds no history")],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_told_is_an_error(tmp_path, files, said):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_history(tmp_path)
    assert caught.value.hint


def test_what_is_not_there_or_no_file_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no .*nothing\."):
        read_history(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="pipe is neither a file nor a folder"):
        read_history(tmp_path / "pipe")


def test_logs_are_read_without_timm_torch_and_pandas(tmp_path):
    (tmp_path / "logs.txt").write_text(log({}))
    code = (
        "import sys; from pathlib import Path; from vptft.checkpoints.histories.kmnp import read_jobs\n"
        f"assert read_jobs(Path({str(tmp_path / 'logs.txt')!r}))[0].complete\n"
        "assert not {'timm', 'torch', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
