import sys

import pytest

from vptft.checkpoints.histories import read_history
from vptft.checkpoints.histories.tensorboard import looks_like_events, read_events
from vptft.errors import CheckpointError, MissingExtraError


@pytest.fixture
def written(tmp_path):
    """``written({"val/acc": {step: value}}, ...)``: a folder with one event file for each dict of curves."""
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    def write(*files):
        for i, curves in enumerate(files):
            with SummaryWriter(str(tmp_path / "events"), filename_suffix=f".{i}") as writer:
                for tag, values in curves.items():
                    for step, value in values.items():
                        writer.add_scalar(tag, value, step)
        return tmp_path / "events"

    return write


def test_scalars_become_curves(written):
    folder = written(
        {
            "train/loss": {0: 2.0, 1: 1.0},
            "Val/Accuracy": {0: 25.0, 1: 50.0},
            "lr": {0: 0.5, 1: 0.25},
            "grad_norm": {0: 9.0},
        }
    )
    frame = read_history(folder, run="r")
    assert frame.fillna(-1).to_numpy().tolist() == [
        ["r", 1, "train", 2.0, -1, 0.5],
        ["r", 1, "val", -1, 0.25, 0.5],
        ["r", 2, "train", 1.0, -1, 0.25],
        ["r", 2, "val", -1, 0.5, 0.25],
    ]
    assert frame.attrs["notes"] == (
        "There is no scalar named epoch; its steps follow each other, and are taken as epochs.",
        "Its epochs start at 0; here they start at 1.",
        "Accuracies of val are taken as percentages: the largest is 50.",
    )


def test_a_scalar_named_epoch_tells_the_epochs(written):
    folder = written({"epoch": {9: 0, 19: 1}, "val_loss": {9: 2.0, 19: 1.0}, "lr-SGD": {4: 0.5, 9: 0.25}})
    frame = read_history(folder)
    assert frame[["epoch", "loss"]].to_numpy().tolist() == [[1, 2.0], [2, 1.0]]
    assert frame["lr"].tolist()[0] == 0.25


def test_files_of_one_run_belong_together(written):
    folder = written({"test/acc": {1: 0.5}}, {"test/acc": {2: 0.75}})
    assert len(list(folder.iterdir())) == 2
    assert read_history(folder)["accuracy"].tolist() == [0.5, 0.75]
    assert read_history(sorted(folder.iterdir())[0])["accuracy"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("curves", "said"),
    [
        ({"val/loss": {10: 1.0, 20: 0.5}}, r"has steps 10, 20 \.\.\. and no epochs"),
        ({"grad": {1: 1.0}}, "has no loss or accuracy"),
        ({"epoch": {1: 0.0}, "loss": {1: 1.0, 2: 1.0}}, "has no epoch at step 2"),
        ({"loss": {1: float("nan")}}, "has no loss"),
        ({}, "has no loss or accuracy"),
    ],
    ids=str,
)
def test_what_cannot_be_told_is_an_error(written, curves, said):
    with pytest.raises(CheckpointError, match=said):
        read_history(written(curves))


def test_damaged_files_give_what_is_whole_or_an_error(written):
    folder = written({"val/acc": {i: 0.5 for i in range(1, 9)}})
    (path,) = folder.iterdir()
    data = path.read_bytes()
    assert looks_like_events(path)
    lengths = set()
    for end in range(40, len(data), 17):
        path.write_bytes(data[:end])
        try:
            lengths.add(len(read_history(path)))
        except CheckpointError as error:
            lengths.add(0 if path.name in str(error) else -1)
    assert lengths == set(range(9)) - {8}
    broken = bytearray(data)
    broken[len(data) // 2] ^= 255
    path.write_bytes(broken)
    assert 0 < len(read_history(path)) < 8


def test_without_the_package_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_file_loader", None)
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(bytes(12) + b"\x1a\x0dbrain.Event:2")
    with pytest.raises(MissingExtraError, match="Reading event files needs the package tensorboard"):
        read_events([path], run="r")
    with pytest.raises(MissingExtraError, match=r"pip install 'vptft-analyze\[tensorboard\]'"):
        read_history(tmp_path)
