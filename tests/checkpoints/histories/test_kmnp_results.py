import os
import pickle
import re
import shutil
import zipfile
from collections import defaultdict

import numpy as np
import pytest
import torch

from checkpoints.kmnp_files import results
from vptft.checkpoints.histories.kmnp_results import (
    RESULT_COLUMNS,
    read_eval_results,
    read_logits,
    read_prompts,
)
from vptft.errors import CheckpointError

READERS = {"eval_results.pth": read_eval_results, "x_logits.pth": read_logits, "prompt_ep0.pth": read_prompts}


class Harmful:
    """Pickles to something that would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(params=READERS)
def name(request):
    return request.param


def saved(path, content):
    torch.save(content, path)
    return path


def test_metrics_are_those_of_the_logs(peers):
    files = sorted((peers / "kmnp").rglob("eval_results.pth"))
    assert len(files) == 17
    for path in files:
        frame = read_eval_results(path)
        assert tuple(frame.columns) == RESULT_COLUMNS
        logged = re.findall(
            r"results with (\w+?)_(\S+): top1: (\S+)\t(\w+): (\S+)\t", path.with_name("logs.txt").read_text()
        )
        top1 = frame[frame["metric"] == "top1"]
        assert top1["epoch"].tolist() == sorted([1, 2, 3, 4] * (len(logged) // 4))
        assert list(zip(top1["split"], top1["dataset"], strict=True)) == [(split, data) for split, data, *_ in logged]
        np.testing.assert_allclose(top1["value"], [float(value) / 100 for *_, value, _, _ in logged], atol=6e-5)
        second = frame[frame["metric"] != "top1"]
        assert second["metric"].tolist() == [metric for *_, metric, _ in logged]
        np.testing.assert_allclose(second["value"], [float(value) / 100 for *_, value in logged], atol=6e-5)


def test_logits_give_the_accuracy_that_was_logged(peers):
    for path in sorted((peers / "kmnp").glob("*/*_logits.pth")):
        labels, logits = read_logits(path)
        assert (labels.dtype, logits.dtype) == (np.int64, np.float32)
        split = path.name.partition("_")[0]
        frame = read_eval_results(path.with_name("eval_results.pth"))
        last = frame[(frame["split"] == split) & (frame["metric"] == "top1")]["value"].iloc[-1]
        assert (logits.argmax(axis=1) == labels).mean() == pytest.approx(last)


def test_the_last_epochs_prompts_are_those_of_the_model(peers):
    folder = peers / "kmnp" / "deep"
    model = torch.load(folder / "last_model.pth", weights_only=True)["model"]
    last, first = read_prompts(folder / "prompt_ep4.pth"), read_prompts(folder / "prompt_ep0.pth")
    np.testing.assert_array_equal(last.shallow, model["enc.transformer.prompt_embeddings"].numpy())
    np.testing.assert_array_equal(last.deep, model["enc.transformer.deep_prompt_embeddings"].numpy())
    assert not np.array_equal(first.deep, last.deep)
    assert np.abs(first.deep).max() <= np.sqrt(6 / (3 * 8 * 8 + 32))


def test_files_of_numpy_1_are_read_too(peers, tmp_path):
    old = tmp_path / "prompt_ep0.pth"
    path = peers / "kmnp" / "deep" / "prompt_ep0.pth"
    found = 0
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith("data.pkl"):
                found = data.count(b"numpy._core.multiarray")
                data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(info.filename, data)
    assert found
    np.testing.assert_array_equal(read_prompts(old).deep, read_prompts(path).deep)


def test_shallow_prompts_have_no_deep_ones(tmp_path):
    found = read_prompts(
        saved(tmp_path / "p.pth", {"shallow_prompt": np.ones((1, 2, 3), np.float32), "deep_prompt": None})
    )
    assert found.deep is None
    assert found.shallow.tolist() == [[[1, 1, 1], [1, 1, 1]]]


def test_epochs_come_in_their_order(tmp_path):
    results(tmp_path / "r.pth", val=tuple(float(i) for i in range(12)))
    frame = read_eval_results(tmp_path / "r.pth")
    top1 = frame[frame["metric"] == "top1"]
    assert top1["epoch"].tolist() == list(range(1, 13))
    assert top1["value"].tolist() == [i / 100 for i in range(12)]


def test_pickled_objects_are_refused_and_not_run(name, tmp_path):
    path = tmp_path / name
    for content in (
        Harmful(tmp_path / "hacked"), {"epoch_0": Harmful(tmp_path / "hacked")}, torch.nn.Linear(2, 2),
        {"shallow_prompt": Harmful(tmp_path / "hacked"), "targets": [], "joint_logits": Harmful(tmp_path / "hacked")},
    ):  # fmt: skip
        saved(path, content)
        with pytest.raises(CheckpointError, match=rf"{name} .*(it is refused|than plain tensors)"):
            READERS[name](path)
    with path.open("wb") as file:
        pickle.dump(Harmful(tmp_path / "hacked"), file)
    with pytest.raises(CheckpointError, match=name):
        READERS[name](path)
    assert [child.name for child in tmp_path.iterdir()] == [name]


def test_metrics_may_hold_no_arrays_and_arrays_no_defaultdicts(tmp_path):
    saved(tmp_path / "r.pth", {"epoch_0": np.ones(3)})
    with pytest.raises(CheckpointError, match=r"pickled object of numpy\.\S*_reconstruct"):
        read_eval_results(tmp_path / "r.pth")
    saved(tmp_path / "l.pth", defaultdict(list))
    with pytest.raises(CheckpointError, match="defaultdict"):
        read_logits(tmp_path / "l.pth")


def test_cut_and_missing_files_are_errors_that_name_them(name, tmp_path, peers):
    source = {"eval_results.pth": "eval_results.pth", "x_logits.pth": "test_vtab-tiny5_logits.pth"}.get(name, name)
    whole = shutil.copy(peers / "kmnp" / "deep" / source, tmp_path / "whole")
    path, data = tmp_path / name, (tmp_path / "whole").read_bytes()
    READERS[name](tmp_path / whole)
    for end in (0, 3, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:end])
        with pytest.raises(CheckpointError, match=name):
            READERS[name](path)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"There is no file .*{name}"):
        READERS[name](path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "holds no metrics"), ([], "epochs is no mapping from names, but list"), ({"epoch_x": {}}, "'epoch_x'"),
        ({"epoch_0": {"detection": {}}}, "'detection'; expected 'classification'"),
        ({"epoch_0": {"classification": {"val": {}}}}, "'val'; expected val_NAME"),
        ({"epoch_0": {"classification": {"val_x": 1}}}, "val_x is no mapping"),
        ({"epoch_0": {"classification": {"val_x": {1: 2}}}}, "val_x is no mapping"),
        *(({"epoch_0": {"classification": {"val_x": {"top1": value}}}}, "top1 = .*; expected a fraction")
          for value in (float("nan"), 1.5, -0.1, "0.5", None, True, torch.ones(1))),
    ],
    ids=str,
)  # fmt: skip
def test_metrics_of_another_kind_are_refused(tmp_path, content, said):
    with pytest.raises(CheckpointError, match=rf"r\.pth.*{said}"):
        read_eval_results(saved(tmp_path / "r.pth", content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"joint_logits": np.ones(4, np.float32)}, r"float32 \(4,\); expected floats in 2 dimensions"),
        ({"joint_logits": np.ones((2, 3), np.int64)}, "int64"), ({"joint_logits": [1.0]}, "'joint_logits' is list"),
        ({"joint_logits": np.full((2, 3), np.nan, np.float32)}, "values that are no numbers"),
        ({"joint_logits": np.ones((3, 3), np.float32)}, r"labels of shape \(2,\) for logits of shape \(3, 3\)"),
        ({"targets": [0, 3]}, "labels that are not among its 3 classes"), ({"targets": [-1, 0]}, "not among"),
        ({"targets": [0.5, 1.0]}, "float64 labels"), ({"targets": ["a", "b"]}, "labels"),
        ({"targets": [0, 10**30]}, "labels"), ({"targets": [0]}, r"labels of shape \(1,\)"),
        ({"targets": [[0], [0, 1]]}, "'targets' is no list of classes"), ({"targets": None}, "labels of shape"),
    ],
    ids=str,
)  # fmt: skip
def test_logits_of_another_kind_are_refused(tmp_path, change, said):
    content = {"targets": [np.int64(0), np.int64(2)], "joint_logits": np.ones((2, 3), np.float32)}
    assert read_logits(saved(tmp_path / "l.pth", content)).labels.tolist() == [0, 2]
    with pytest.raises(CheckpointError, match=rf"l\.pth.*{said}"):
        read_logits(saved(tmp_path / "l.pth", content | change))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], r"holds list; expected \['shallow_prompt'\]"), ({"prompt": 1}, r"holds \['prompt'\]"),
        ({"shallow_prompt": np.ones((2, 2, 3), np.float32)}, r"prompts of shape \(2, 2, 3\)"),
        ({"shallow_prompt": np.ones((1, 2, 3), np.float32), "deep_prompt": np.ones((4, 2, 5), np.float32)},
         r"\(1, 2, 3\) and \(4, 2, 5\)"),
        ({"shallow_prompt": np.full((1, 2, 3), np.inf, np.float32)}, "no numbers"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_prompts_of_another_kind_are_refused(tmp_path, content, said):
    with pytest.raises(CheckpointError, match=rf"p\.pth.*{said}"):
        read_prompts(saved(tmp_path / "p.pth", content))
