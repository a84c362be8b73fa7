import json
import os
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vptft.checkpoints.histories.columns import Meaning, meaning
from vptft.checkpoints.histories.frame import COLUMNS, SPLITS
from vptft.checkpoints.histories.tables import looks_like_table, read_table
from vptft.errors import CheckpointError

SECONDS = float(os.environ.get("VPTFT_FUZZ_SECONDS", "60"))


@pytest.fixture
def table_of(tmp_path):
    """``table_of(text, run=...)``: the frame of a file with that text."""

    def read(text, **options):
        path = tmp_path / "any.name"
        path.write_text(text if isinstance(text, str) else json.dumps(text), newline="")
        assert looks_like_table(path)
        return read_table(path, **{"run": "r", **options})

    return read


def rows(frame, *columns):
    """Rows as plain values, NaN as None."""
    names = columns or COLUMNS[1:]
    return [[None if value != value else value for value in row] for row in frame[list(names)].to_numpy().tolist()]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            (
                "train_loss",
                "Train/Loss",
                "training.loss",
                "train-ce",
                "loss/train",
                "train_loss_epoch",
                "avg train loss",
            ),
            Meaning("loss", "train"),
        ),
        (("loss", "Loss", "cross_entropy"), Meaning("loss", None)),
        (
            (
                "val_acc",
                "valid accuracy",
                "validation/top1",
                "eval_accuracy",
                "Val/Acc@1",
                "eval_top1",
                "val.acc1",
                "val/acc/top1",
                "dev_acc",
            ),
            Meaning("accuracy", "val"),
        ),
        (("test_accuracy", "Test Acc", "testing/prec1"), Meaning("accuracy", "test")),
        (("lr", "learning_rate", "lr-AdamW", "lr-SGD/pg1", "train/learning_rate", "trainer/lr"), Meaning("lr", None)),
        (("epoch", "Epoch", "train/epoch", "trainer/epoch", "epochs"), Meaning("epoch", None)),
        (("Step", "_step", "global_step", "trainer/global_step", "iteration"), Meaning("step", None)),
        (
            (
                "val_top5",
                "best_val_acc",
                "max val acc",
                "train_loss_step",
                "grad_norm",
                "",
                "train/val/loss",
                "train",
                "val_error",
                "loss_scale",
                "weighted_loss",
            ),
            None,
        ),
    ],
    ids=str,
)
def test_names_are_read_by_their_words(names, expected):
    for name in names:
        found = meaning(name)
        if expected is not None and expected.quantity == "step":
            assert found is not None, name
            assert found.quantity == "step", name
        else:
            assert found == expected, name


def test_a_table_as_timm_writes_it(table_of):
    frame = table_of(
        "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n0,2.5,2.0,40.5,80,0.1\n1,1.5,1.75,50,90,0.05\n"
    )
    assert tuple(frame.columns) == COLUMNS
    assert rows(frame) == [
        [1, "train", 2.5, None, 0.1],
        [1, "val", 2.0, 0.405, 0.1],
        [2, "train", 1.5, None, 0.05],
        [2, "val", 1.75, 0.5, 0.05],
    ]
    assert set(frame["run"]) == {"r"}
    assert frame.attrs["notes"] == (
        "Its epochs start at 0; here they start at 1.",
        "Accuracies of val are taken as percentages: the largest is 50.",
    )


def test_our_own_history(table_of, finished):
    run = finished["ft"]
    frame = table_of((run.folder / "history.csv").read_text())
    expected = run.history()
    for split, of_split in expected.groupby("split"):
        found = frame[frame["split"] == split]
        for name in ("epoch", "loss", "accuracy", "lr"):
            np.testing.assert_array_equal(found[name], of_split[name])


def test_what_was_written_is_read_again(table_of):
    frame = table_of("epoch,train_loss,val_loss,val_acc,lr\n1,2,3,0.5,0.1\n2,1,2,0.75,0.2\n")
    frame["split"] = frame["split"].replace("val", "val_in_train")
    assert table_of(frame.to_csv(index=False), run="other").equals(frame)


def test_lightning_writes_each_kind_in_rows_of_its_own(table_of):
    frame = table_of(
        "epoch,lr-SGD,step,train_loss_epoch,train_loss_step,val_acc,val_loss\n"
        "0,0.1,9,,5.0,,\n0,,19,,,0.25,2.5\n0,,19,2.0,,,\n1,,39,,,0.5,1.5\n1,,39,1.0,,,\n"
    )
    assert rows(frame) == [
        [1, "train", 2.0, None, 0.1],
        [1, "val", 2.5, 0.25, 0.1],
        [2, "train", 1.0, None, None],
        [2, "val", 1.5, 0.5, None],
    ]


def test_wandb_puts_the_run_before_the_name(table_of):
    frame = table_of(
        '"epoch","vpt - val/acc","vpt - val/acc__MIN","vpt - val/acc__MAX","ft - seed 1 - val/acc"\n'
        '"1","0.25","0","1","0.5"\n"2","","0","1","0.75"\n'
    )
    assert rows(frame, "run", "epoch", "accuracy") == [
        ["ft - seed 1", 1, 0.5],
        ["ft - seed 1", 2, 0.75],
        ["vpt", 1, 0.25],
    ]


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_other_separators_and_line_ends(table_of, separator, end):
    text = "\ufeffepoch,split,loss\n1,valid,2.5\n\n1,Test,3.5\n".replace("\n", end).replace(",", separator)
    assert rows(table_of(text), "epoch", "split", "loss") == [[1, "val", 2.5], [1, "test", 3.5]]


def test_json_lines_may_be_nested_and_cut_off(table_of):
    lines = [
        {"epoch": 1, "train": {"loss": 1.5}, "val": {"top1": 0.5}},
        {"epoch": 2, "train": {"loss": 1.0}, "run": None},
    ]
    frame = table_of("\n".join(map(json.dumps, lines)) + '\n{"epoch": 3, "tra')
    assert rows(frame, "epoch", "split", "loss") == [[1, "train", 1.5], [1, "val", None], [2, "train", 1.0]]
    assert frame.attrs["notes"][0] == "The last line (3) is cut off, and left out."


def test_keras_writes_a_list_for_each_name(table_of):
    frame = table_of({"loss": [2.0, 1.0], "accuracy": [0.25, 0.5], "val_loss": [2.5, 1.5]})
    assert rows(frame, "epoch", "split", "loss", "accuracy") == [
        [1, "train", 2.0, 0.25],
        [1, "val", 2.5, None],
        [2, "train", 1.0, 0.5],
        [2, "val", 1.5, None],
    ]


def test_hugging_faces_epochs_tell_how_much_is_done(table_of):
    frame = table_of(
        {
            "best_metric": None,
            "log_history": [
                {"epoch": 0, "eval_loss": 4.0, "eval_accuracy": 0.125, "step": 0},
                {"epoch": 0.5, "loss": 3.0, "learning_rate": 1e-3, "step": 5},
                {"epoch": 1.0, "loss": 2.0, "learning_rate": 5e-4, "step": 10},
                {"epoch": 1.0, "eval_loss": 2.5, "eval_accuracy": 0.5, "eval_runtime": 9.0, "step": 10},
                {"epoch": 1.5, "loss": 1.0, "learning_rate": 0.0, "step": 15},
                {"epoch": 1.5, "train_loss": 99.0, "train_runtime": 3.0, "step": 15},
            ],
        }
    )
    assert rows(frame) == [
        [0, "val", 4.0, 0.125, None],
        [1, "train", 2.5, None, 5e-4],
        [1, "val", 2.5, 0.5, 5e-4],
        [2, "train", 1.0, None, 0.0],
    ]
    whole = table_of({"log_history": [{"epoch": 0, "eval_loss": 4.0}, {"epoch": 1, "eval_loss": 2.0}]})
    assert whole["epoch"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, 1.0), [0.5, 1.0]),
        ((50, 100), [0.5, 1.0]),
        ((0.5, 1.5), [0.005, 0.015]),
        ((0, 0), [0, 0]),
    ],
)
def test_percent_or_fraction_is_decided_by_all_values_of_a_split(table_of, values, expected):
    frame = table_of({"val_acc": list(values), "test_acc": [0.5, 0.5]})
    assert frame[frame["split"] == "val"]["accuracy"].tolist() == expected
    assert frame[frame["split"] == "test"]["accuracy"].tolist() == [0.5, 0.5]


def test_the_same_quantity_twice_is_taken_once_and_said(table_of):
    frame = table_of("epoch,val_acc,val_top1\n1,0.5,0.75\n")
    assert frame["accuracy"].tolist() == [0.5]
    assert "'val_top1' says the same as 'val_acc', and is left out." in frame.attrs["notes"]


def test_a_diverged_training_is_said(table_of):
    frame = table_of("epoch,loss\n1,2\n2,nan\n3,inf\n")
    assert frame["epoch"].tolist() == [1]
    assert "2 values are NaN or infinite, and left out: the training diverged." in frame.attrs["notes"]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("step,loss\n1,2\n", "has steps, but no epochs: step, loss", "Export the epoch too"),
        ("loss\n2\n", "has no epochs: loss", "Export the epoch too"),
        ("epoch,speed\n1,2\n", "has no loss or accuracy", "val_acc"),
        ("epoch,loss\n", "has no loss or accuracy", ""),
        ("epoch,loss\n1,2,3\n", "line 2 has 3 values under 2 names", ""),
        ("epoch,loss\n1,abc\n", "record 1 has 'loss' = 'abc', which is no number", ""),
        ("epoch,loss\n,2\n", "record 1 has 'loss' but no epoch", ""),
        ("epoch,loss\n-1,2\n", "has the epoch -1.0", ""),
        ("epoch,loss\nnan,2\n", "has the epoch nan", ""),
        ("epoch,loss\n1e99,2\n", "has the epoch 1e\\+99", ""),
        ("epoch,val_acc\n1,250\n", "val accuracies from 250 to 250", ""),
        ("epoch,val_acc\n1,-1\n", "from -1 to -1", ""),
        ("epoch,split,loss\n1,moon,2\n", "record 1 is of the split 'moon'", ""),
        ("[1, 2]", "JSON that is no history", ""),
        ('{"a": 1', "line 1 is no JSON", ""),
        ('{"epoch": 1, "loss": 2}\n{"a\n{"b": 1}', "line 2 is no JSON", ""),
        ('{"loss": [1], "val_loss": [1, 2]}', r"lists of lengths \[1, 2\]", ""),
        ("[" * 100_000, "nested too deeply", ""),
        ('{"epoch": 1, "loss": "x"}', "'loss' = 'x', which is no number", ""),
        ("{}", "has no loss or accuracy", ""),
        ('epoch,loss\n1,"' + "2" * 200_000, "line 2 could not be read: field larger than", ""),
    ],
    ids=lambda text: text[:20],
)
def test_what_cannot_be_told_is_an_error_that_says_why(table_of, text, said, hint):
    with pytest.raises(CheckpointError, match=rf"any\.name.*{said}") as caught:
        table_of(text)
    assert hint in caught.value.hint


def test_what_is_no_table_is_told(tmp_path):
    for content in (b"", b"\x00epoch,loss", b"hello\nepoch,loss", b"\xff\xd8\xff", b"a,b,c\n1,2,3\n"):
        (tmp_path / "x").write_bytes(content)
        assert not looks_like_table(tmp_path / "x")
    assert not looks_like_table(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="nothing could not be read: No such file"):
        read_table(tmp_path / "nothing")


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "x.csv").open("wb") as file:
        file.write(b"epoch,loss\n")
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match=r"x\.csv has more than 256 MiB: that is no table of epochs"):
        read_table(tmp_path / "x.csv")


NAMES = st.sampled_from(
    ["epoch", "split", "run", "loss", "val_acc", "train/loss", "lr", "step", "x - test acc", "log_history", "top1", ""]
)
CELLS = st.one_of(
    st.integers(-2, 120).map(str), st.floats(width=16).map(str), st.sampled_from(["", "val", "nan", '"', "é"])
)
CSVS = st.tuples(st.lists(NAMES, max_size=6), st.lists(st.lists(CELLS, max_size=6), max_size=5)).map(
    lambda found: "\n".join(",".join(row) for row in (found[0], *found[1]))
)
PLAUSIBLE = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 101), CELLS), min_size=1, max_size=6).map(
    lambda rows: "\n".join(["epoch,val_acc,loss", *(",".join(map(str, row)) for row in rows)])
)
JSONS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), CELLS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
).map(json.dumps)
TEXTS = st.one_of(CSVS, PLAUSIBLE, JSONS, st.lists(JSONS, max_size=3).map("\n".join), st.text(max_size=60)).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


def check(path, data):
    path.write_bytes(data)
    looks_like_table(path)
    try:
        frame = read_table(path)
    except CheckpointError as error:
        named = "fuzz.csv" in str(error)
    else:
        assert tuple(frame.columns) == COLUMNS
        assert (frame["epoch"] >= 0).all()
        assert set(frame["split"]) <= set(SPLITS)
        assert not ((frame["accuracy"] < 0) | (frame["accuracy"] > 1)).any()
        return True
    assert named
    return False


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=TEXTS)
def test_any_text_gives_a_frame_or_our_error(tmp_path, data):
    check(tmp_path / "fuzz.csv", data)


@pytest.mark.verify
def test_any_text_gives_a_frame_or_our_error_for_long(tmp_path):
    end = time.monotonic() + SECONDS
    read = []
    while time.monotonic() < end:

        @settings(
            max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
        )
        @given(data=st.one_of(TEXTS, st.binary(max_size=60)))
        def attempt(data):
            read.append(check(tmp_path / "fuzz.csv", data))

        attempt()
    print(f"read_table: {len(read)} inputs, {sum(read)} of them histories")  # noqa: T201 - the number is asked for
    assert len(read) > 5 * SECONDS
    assert 0.03 < sum(read) / len(read) < 0.99
