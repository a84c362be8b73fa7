import json
import math
import os
import re
import time
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoints.kmnp_files import PREFIX, config, log, messages
from vptft.checkpoints.histories.frame import COLUMNS
from vptft.checkpoints.histories.kmnp import looks_like_log, read_jobs
from vptft.errors import CheckpointError

SECONDS = float(os.environ.get("VPTFT_FUZZ_SECONDS", "60"))
ANSI = "\x1b[32m{}\x1b[0m"


@pytest.fixture
def jobs_of(tmp_path):
    """``jobs_of(text)``: the jobs of a log with that text or those bytes."""

    def read(text):
        path = tmp_path / "logs.txt"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_jobs(path)

    return read


def on_stdout(text, coloured=True):
    """The same job as the program prints it to a terminal, or to a file without colours."""
    head = "[11/23 04:57:36 visual_prompt]: "
    return re.sub(r"^\[.*?\d+: ", ANSI.format(head) if coloured else head, text, flags=re.MULTILINE)


def curves(text):
    """An oracle: numbers of a log in the order in which they stand there."""
    patterns = {"lr": r"with learning rate (\S+)", "train": r"average train loss: (\S+)"}
    for split in ("val", "test"):
        patterns |= {
            split: rf"Inference \({split}\).* average loss: (\S+)",
            f"{split} top1": rf"with {split}_.*: top1: (\S+)",
        }
    found = {name: [float(number) for number in re.findall(pattern, text)] for name, pattern in patterns.items()}
    return found | {name: [x / 100 for x in values] for name, values in found.items() if name.endswith("top1")}


def test_every_log_of_the_peers_gives_the_numbers_that_stand_in_it(peers):
    logs = sorted((peers / "kmnp").rglob("logs.txt"))
    assert len(logs) == 17
    for path in logs:
        text = path.read_text()
        (job,) = read_jobs(path)
        expected = curves(text)
        final = "finalfinal" in text
        assert (job.final, job.trained_on) == (final, "trainval" if final else "train")
        assert job.complete
        assert not job.nan
        assert not job.problems
        assert job.epochs_planned == job.epochs_done == 4
        frame = job.frame("me")
        assert tuple(frame.columns) == COLUMNS
        assert set(frame["run"]) == {"me"}
        assert set(frame["split"]) == ({"train", "val_in_train", "test"} if final else {"train", "val"})
        for split, rows in frame.groupby("split"):
            name = "val" if split == "val_in_train" else split
            assert rows["epoch"].tolist() == [1, 2, 3, 4]
            assert rows["lr"].tolist() == expected["lr"]
            assert rows["loss"].tolist() == expected[name]
            top1 = expected.get(f"{name} top1")
            assert rows["accuracy"].isna().all() if top1 is None else rows["accuracy"].tolist() == top1


def test_what_a_log_says_of_its_run_has_the_lines_it_stands_on(peers):
    path = peers / "kmnp" / "deep" / "logs.txt"
    lines = path.read_text().splitlines()
    (job,) = read_jobs(path)
    assert (job.parameters_total, job.parameters_tuned, job.n_classes) == (32997, 549, 5)
    assert job.sizes == {"trainval": 100, "val": 20, "test": 60}
    assert job.output_dir == "/data/vpt/out/kmnp/deep_finalfinal/vtab-tiny5/sup_vittiny8/lr0.0625_wd0.01/run1"
    assert job.line == 1
    for key, words in {
        "config": "CfgNode({'DBG'", "trained_on": "dataset trainval...", "parameters": "Total Parameters: 32997",
        "last_epoch": "test_vtab-tiny5: top1: 28.33",
    }.items():  # fmt: skip
        assert words in lines[job.line_of(key) - 1]
    assert job.config_line == job.line_of("config")
    assert job.line_of("nan") is None
    assert job.setting("SOLVER.BASE_LR") == 0.0625
    assert job.setting("MODEL.PROMPT.DEEP") is True
    assert job.setting("MODEL.PROMPT.NUM_DEEP_LAYERS", "none") is None
    assert job.setting("MODEL.NOTHING.HERE", "none") == "none"
    assert job.config["MODEL"]["LINEAR"] == {"MLP_SIZES": [], "DROPOUT": 0.1}
    json.dumps(dict(job.config))  # plain values, nested


@pytest.mark.parametrize(
    ("tree", "metric", "values"),
    [("four_finalfinal", "top4", {1.0}), ("two_val", "rocauc", {0.61, 0.635, 0.56, 0.57})],
)
def test_the_second_metric_is_kept_by_its_name(peers, tree, metric, values):
    (path,) = (peers / "kmnp" / "runtree" / tree).rglob("logs.txt")
    (job,) = read_jobs(path)
    found = [epoch.evaluations["val"].others for epoch in job.epochs]
    assert [set(others) for others in found] == [{metric}] * 4
    assert {round(others[metric], 6) for others in found} == values


def test_a_name_may_hold_quotes_brackets_equals_signs_and_commas(jobs_of):
    name = 'vtab-dsprites(predicted_attribute="label_x_position",num_classes=16)'
    (job,) = jobs_of(log({"name": name, "test": (30.0, 40.0)}))
    assert job.setting("DATA.NAME") == name
    assert job.epochs[1].evaluations["test"].dataset == name
    assert job.epochs[1].evaluations["test"].top1 == 0.4
    assert job.sizes == {"trainval": 800, "val": 200}


def test_jobs_of_one_log_are_told_apart(jobs_of):
    text = log({"val": (10.0, 20.0, 30.0), "seed": 1}, {"val": (50.0,), "seed": 2}, {"test": (1.0, 2.0), "seed": 3})
    found = jobs_of(text)
    starts = [i for i, line in enumerate(text.splitlines(), start=1) if "Rank of current" in line]
    assert [job.line for job in found] == starts
    assert [job.setting("SEED") for job in found] == [1, 2, 3]
    assert [job.epochs_done for job in found] == [3, 1, 2]
    assert [job.final for job in found] == [False, False, True]
    assert [job.label for job in found] == [f"{found[0].path}:{line}" for line in starts]


@pytest.mark.parametrize("coloured", [True, False])
def test_a_capture_of_stdout_reads_as_the_file_does(jobs_of, coloured):
    text = log({"test": (30.0, 40.0)}, {})
    from_file = jobs_of(text)
    from_terminal = jobs_of(on_stdout(text, coloured))
    assert from_terminal == from_file


def test_a_progress_bar_before_a_message_does_not_hide_it(jobs_of):
    text = log({})
    bars = "".join(f"\r {i}%|###" for i in range(5))
    assert jobs_of(bars + "\r" + text.replace("\n", "\r\n")) == jobs_of(text)


def test_a_diverged_run_stops_early_and_says_where(jobs_of):
    text = log({"val": (10.0, 20.0), "epochs": 5})
    text += PREFIX.format(9) + "Training 3 / 5 epoch, with learning rate 0.1\n"
    text += PREFIX.format(9) + "encountered nan loss, skip gradient updating for this batch!\n"
    (job,) = jobs_of(text)
    assert job.nan
    assert not job.complete
    assert "nan loss" in text.splitlines()[job.line_of("nan") - 1]
    assert (job.epochs_planned, job.epochs_done, len(job.epochs)) == (5, 2, 3)
    assert job.frame()["epoch"].max() == 2


def test_a_loss_that_is_no_number_is_a_diverged_run(jobs_of):
    (job,) = jobs_of(log({}).replace("average train loss: 2.5000", "average train loss: nan"))
    assert job.nan
    assert job.epochs_done == 1
    assert math.isnan(job.epochs[1].train_loss)


def test_a_log_may_end_anywhere(jobs_of):
    text = log({"val": (10.0, 20.0), "test": (30.0, 40.0)})
    whole = jobs_of(text)[0]
    assert whole.complete
    for end in range(text.index("\n") + 1, text.rindex("\ttop5"), 23):
        (job,) = jobs_of(text[:end])
        assert not job.complete
        assert len(job.epochs) <= 2
        for cut, full in zip(job.epochs[:-1], whole.epochs, strict=False):
            assert cut == full
        for cut, full in zip(job.epochs, whole.epochs, strict=False):
            assert math.isnan(cut.train_loss) or cut.train_loss == full.train_loss
            for split, found in cut.evaluations.items():
                assert found.loss == full.evaluations[split].loss
                assert math.isnan(found.top1) or found.top1 == full.evaluations[split].top1


def test_a_log_without_its_beginning_has_the_epochs_that_are_left(jobs_of):
    text = log({"val": (10.0, 20.0)})
    (job,) = jobs_of(text[text.index("Training 2 / 2") - 40 :])
    assert [epoch.epoch for epoch in job.epochs] == [2]
    assert job.config == {}
    assert (job.config_line, job.trained_on) == (None, None)


def test_epochs_that_start_over_without_a_header_are_another_job(jobs_of):
    text = log({"val": (10.0, 20.0)})
    first, second = jobs_of(text + text[text.index("[", text.index("Gradient Parameters")) :])
    assert [epoch.epoch for epoch in second.epochs] == [1, 2]
    assert first.config
    assert second.config == {}
    assert re.fullmatch(r"a training starts on line \d+ without its settings before it", second.problems[0])


def test_an_evaluation_before_any_training_is_epoch_0(jobs_of):
    lines = list(messages(val=()))
    lines += ["Inference (test):avg data time: 1, avg batch time: 1, average loss: 2.5", "Classification results with "
              "test_vtab-dtd: top1: 2.00\ttop5: 9.00\t"]  # fmt: skip
    (job,) = jobs_of("".join(PREFIX.format(1) + line + "\n" for line in lines))
    assert job.frame()[["epoch", "split", "loss", "accuracy"]].to_numpy().tolist() == [[0, "test", 2.5, 0.02]]
    assert job.epochs_done == 0


def test_settings_may_be_a_plain_dict_over_several_lines(jobs_of):
    settings = "{'DATA': {'BATCH_SIZE': 64,\n          'NAME': 'vtab-'\n                  'dtd'},\n 'SEED': None}"
    (job,) = jobs_of(log({"settings": settings}))
    assert job.config == {"DATA": {"BATCH_SIZE": 64, "NAME": "vtab-dtd"}, "SEED": None}
    assert job.complete
    text = log({"settings": settings})
    joined = re.sub(r"config:\n\[.*?\d+: \{", "config:\n{", text)
    assert joined != text
    assert jobs_of(joined)[0].config == job.config


@pytest.mark.parametrize(
    "settings",
    [
        "CfgNode({'A': __import__('os').system('touch hacked')})", "CfgNode({'A': open('hacked', 'w')})",
        "CfgNode(" * 100_000, "{" * 100_000, "CfgNode({'A': " + "-" * 100_000 + "1})", "CfgNode({'A': 1", "CfgNode(7)",
        "CfgNode({'A': 'unfinished", "{[]: 1}",
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_settings_that_are_no_plain_values_are_not_run_but_reported(jobs_of, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (job,) = jobs_of(log({"settings": settings}))
    assert job.config == {}
    assert re.match(rf"the settings on line {job.config_line} could not be read: ", job.problems[0])
    assert job.epochs_done == 2
    assert [path.name for path in tmp_path.iterdir()] == ["logs.txt"]


def test_bytes_that_are_no_text_are_passed_over(jobs_of):
    text = log({}).encode()
    at = text.index(b"Epoch 1")
    (job,) = jobs_of(text[:at] + b"\xff\xfe\x00\n" + text[at:])  # the line is torn from its prefix
    assert [math.isnan(epoch.train_loss) for epoch in job.epochs] == [True, False]
    assert job.epochs[0].evaluations["val"].top1 == 0.1


@pytest.mark.parametrize(
    ("content", "expected"),
    [(log({}), True), (on_stdout(log({})), True), ("epoch,loss\n1,2\n", False), ("", False), ("\0" * 1000, False),
     ("Rank of current process: 0\n", False), ("[11/23 04:52:38][INFO] other: 12: nothing\n", False)],
    ids=["file", "stdout", "csv", "empty", "zeros", "no prefix", "other words"],
)  # fmt: skip
def test_a_log_is_known_by_its_lines(tmp_path, content, expected):
    path = tmp_path / "any.name"
    path.write_text(content)
    assert looks_like_log(path) is expected
    if not expected:
        with pytest.raises(CheckpointError, match=r"any\.name is no log of KMnP/vpt or VPT-or-FT"):
            read_jobs(path)


def test_what_is_no_file_is_no_log(tmp_path):
    assert not looks_like_log(tmp_path)
    assert not looks_like_log(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="nothing could not be read: No such file"):
        read_jobs(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    assert not looks_like_log(tmp_path / "pipe")


def test_jobs_are_frozen(jobs_of):
    (job,) = jobs_of(log({}))
    with pytest.raises(FrozenInstanceError, match="nan"):
        job.nan = True
    with pytest.raises(TypeError, match="item assignment"):
        job.sizes["val"] = 1


@pytest.mark.parametrize(
    "line",
    ["[" * 300_000, "[11/23 04:52:38][INFO] visual_prompt:" + " " * 300_000, "\x1b[" + "0;" * 300_000,
     PREFIX.format(1) + "Classification results with val_" + ": " * 150_000,
     PREFIX.format(1) + "Classification results with val_x" + "\t: " * 150_000,
     PREFIX.format(1) + "Inference (val):" + "average loss" * 30_000,
     PREFIX.format(1) + "CfgNode({" + "'a': 'b'," * 30_000, PREFIX.format(1) + "{'" + "\\" * 300_000,
     PREFIX.format(1) + "Training " + "9" * 300_000 + " / 1 epoch"],
    ids=range(9),
)  # fmt: skip
def test_no_line_takes_long(jobs_of, line):
    start = time.process_time()
    jobs_of(log({}) + PREFIX.format(1) + "Training with config:\n" + line + "\n" + log({}))
    assert time.process_time() - start < 2


WORDS = st.sampled_from([
    *(message + "\n" for message in messages(test=(1.0, 2.0))), PREFIX.format(7), config() + "\n", "\r", "\x1b[32m",
    "nan", "CfgNode({", "})", "'", "{'a':\n", "[11/23 04:57:36 visual_prompt]: ", "encountered nan loss", "99999999999",
    "\t",
])  # fmt: skip
LOGS = st.lists(
    st.one_of(WORDS, st.builds(lambda word: PREFIX.format(3) + word, WORDS), st.text(max_size=20)), max_size=30
).map("".join)


def check(path, data):
    path.write_bytes(data)
    looks_like_log(path)
    try:
        jobs = read_jobs(path)
    except CheckpointError as error:
        named = "fuzz.log" in str(error)
    else:
        named = None
    if named is not None:
        assert named
        return False
    for job in jobs:
        frame = job.frame()
        assert tuple(frame.columns) == COLUMNS
        assert (frame["epoch"] >= 0).all()
        assert not job.complete or job.epochs_done >= job.epochs_planned
        assert all(1 <= line <= data.count(b"\n") + 1 for line in (*job.lines.values(), job.line))
    return True


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=LOGS)
def test_any_text_gives_jobs_or_our_error(tmp_path, text):
    check(tmp_path / "fuzz.log", text.encode("utf-8", "surrogatepass"))


@pytest.mark.verify
def test_any_text_gives_jobs_or_our_error_for_long(tmp_path):
    end = time.monotonic() + SECONDS
    read = []
    while time.monotonic() < end:

        @settings(
            max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
        )
        @given(
            text=st.one_of(LOGS.map(str.encode), st.binary(max_size=200), LOGS.map(lambda t: t.encode()[: len(t) // 2]))
        )
        def attempt(text):
            read.append(check(tmp_path / "fuzz.log", text))

        attempt()
    print(f"read_jobs: {len(read)} inputs, {sum(read)} of them logs")  # noqa: T201 - the number is asked for
    assert len(read) > 5 * SECONDS
    assert 0.05 < sum(read) / len(read) < 0.99
