import json
import shutil
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from vptft.checkpoints import native
from vptft.checkpoints.native import (
    HISTORY_COLUMNS,
    Predictions,
    find_runs,
    is_complete,
    load_run,
    load_tuned,
    save_run,
    tuned_state,
    write_snapshot,
)
from vptft.data.transforms import normalise
from vptft.errors import CheckpointError, StorageError
from vptft.models.tuned import TunedModel
from vptft.tuning.methods import METHODS

GONE = object()


@pytest.fixture(params=METHODS)
def any_run(request, finished):
    if request.param not in finished:
        pytest.skip(f"{request.param} cannot be trained without an extra")
    return finished[request.param]


@pytest.fixture
def copied(finished, tmp_path):
    """``copied(method)``: a copy of a finished run that a test may damage."""

    def copy(method="vpt_deep"):
        return load_run(shutil.copytree(finished[method].folder, tmp_path / "run"))

    return copy


def edit(path, **changes):
    """Change fields of a JSON file; GONE takes a field out."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not GONE}))


def test_a_loaded_model_gives_the_runs_logits(any_run, toy_task):
    """Bit for bit, but for low-rank updates, which are merged, and features that came in other batches."""
    run = load_run(any_run.folder)
    test = toy_task.load("test", n=12)
    inputs = normalise(test.pixels(32), tuple(run.info.mean), tuple(run.info.std))
    model = run.model()
    assert not model.training
    with torch.inference_mode():
        logits = model(inputs).numpy()
    predictions = run.predictions()
    rounding = 1e-6 if run.info.method in ("lora", "linear", "multi_layer_probe") else 0
    np.testing.assert_allclose(logits, predictions.logits, rtol=0, atol=rounding)
    assert predictions.ids.tolist() == list(test.ids)
    assert predictions.groups.tolist() == list(test.groups)
    np.testing.assert_array_equal(predictions.labels, test.labels)
    assert run.info.test_accuracy == predictions.accuracy == np.mean(logits.argmax(1) == test.labels)


def test_what_is_loaded_is_what_was_given(any_run):
    run = load_run(any_run.folder)
    assert run == any_run
    assert run.info.provenance["versions"]["torch"] == version("torch")
    pd.testing.assert_frame_equal(run.history(), any_run.history())
    assert tuple(run.history().columns) == HISTORY_COLUMNS
    assert run.label == f"{run.info.method} toy/colour seed 0"


def test_a_run_holds_what_it_changed_and_no_more(finished):
    held = {name: set(load_file(run.folder / "model.safetensors")) for name, run in finished.items()}
    head = {"head.weight", "head.bias"}
    assert held["linear"] == head
    assert held["vpt_shallow"] == held["vpt_deep"] == head | {"prompts.tokens"}
    assert held["ft"] == set(finished["ft"].model().state_dict())


def test_a_run_is_four_files(any_run):
    names = sorted(path.name for path in any_run.folder.iterdir())
    assert names == ["history.csv", "model.safetensors", "predictions.npz", "run.json"]


def test_a_network_with_buffers_comes_back_whole(monkeypatch):
    """Batch statistics are part of what finetuning changes; buffers the architecture makes itself are not saved."""
    trained = TunedModel(timm.create_model("resnet10t", num_classes=0), n_classes=2).train()
    trained(torch.randn(4, 3, 32, 32))
    state = tuned_state(trained)
    assert "backbone.bn1.running_mean" in state
    loaded = TunedModel(timm.create_model("resnet10t", num_classes=0), n_classes=2)
    load_tuned(loaded, state, source="here")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded.eval()(images), trained.eval()(images), rtol=0, atol=0)


def test_a_network_with_buffers_of_its_own_making_comes_back():
    def build():
        swin = timm.create_model(
            "swin_tiny_patch4_window7_224", num_classes=0, img_size=32, window_size=2, embed_dim=8,
            depths=(2, 2), num_heads=(1, 2),
        )  # fmt: skip
        return TunedModel(swin, n_classes=2)

    state = tuned_state(build())
    assert state.keys() == build().state_dict().keys()
    load_tuned(build(), state, source="here")


def test_a_changed_weight_is_noticed(copied):
    run = copied()
    path = run.folder / "model.safetensors"
    state = load_file(path)
    state["head.bias"][0] += 1e-6
    save_file(state, path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not the file run\.json describes"):
        run.model()


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.npz", "history.csv"])
@pytest.mark.parametrize("left", [0, 0.4, 0.9], ids=["empty", "a part", "most"])
def test_a_truncated_file_is_named(copied, name, left):
    run = copied()
    path = run.folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    read = {"model.safetensors": run.model, "predictions.npz": run.predictions, "history.csv": run.history}[name]
    with pytest.raises((CheckpointError, StorageError), match=rf"{name} (could not be read|is incomplete)"):
        read()


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.npz", "history.csv"])
def test_a_missing_file_is_named(copied, name):
    run = copied()
    (run.folder / name).unlink()
    read = {"model.safetensors": run.model, "predictions.npz": run.predictions, "history.csv": run.history}[name]
    told = f"{name} could not be read"
    if name == "model.safetensors":
        told = r"does not hold its weights.\nTrain them again: vptft-analyze checkpoints rebuild"
    with pytest.raises((CheckpointError, StorageError), match=told):
        read()


def test_a_run_that_started_from_another_needs_that_one_and_no_other(finished, tmp_path):
    shutil.copytree(finished["ft"].folder.parent, tmp_path / "runs")
    run = load_run(tmp_path / "runs" / "ft_then_pt")
    assert run.base_run().folder == tmp_path / "runs" / "ft"
    (tmp_path / "runs" / "ft").rename(tmp_path / "runs" / "gone")
    with pytest.raises(CheckpointError, match=r"ft_then_pt started from another run\. There is no run folder .*ft"):
        run.model()
    shutil.copytree(tmp_path / "runs" / "linear", tmp_path / "runs" / "ft")
    with pytest.raises(CheckpointError, match=r"is no longer the run that .*ft_then_pt started from"):
        run.model()


def test_a_run_whose_every_weight_moved_needs_no_other(finished, tmp_path):
    shutil.copytree(finished["pt_then_ft"].folder, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.info.base["method"] == "vpt_deep"
    assert run.model().prompts is not None
    with pytest.raises(CheckpointError, match="started from another run"):
        run.base_run()


def test_snapshots_are_found_by_epoch(tmp_path, finished):
    shutil.copytree(finished["ft"].folder, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.snapshots() == {}
    write_snapshot(run.folder, 12, {"head.bias": torch.arange(3.0)})
    assert list(run.snapshots()) == [12]
    assert load_file(run.snapshots()[12])["head.bias"].tolist() == [0, 1, 2]


def test_a_history_whose_last_epoch_is_gone_is_incomplete(copied):
    run = copied()
    path = run.folder / "history.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))
    with pytest.raises(CheckpointError, match=r"history\.csv is incomplete: .* all 2 epochs"):
        run.history()


def test_a_history_of_other_columns_is_refused(copied):
    run = copied()
    path = run.folder / "history.csv"
    path.write_text(path.read_text().replace("loss", "cost"))
    with pytest.raises(CheckpointError, match=r"history\.csv has columns .*'cost'.*expected .*'loss'"):
        run.history()


def test_predictions_that_lack_an_array_are_refused(copied):
    run = copied()
    np.savez(run.folder / "predictions.npz", ids=np.array(["a"]), labels=np.array([0]))
    with pytest.raises(CheckpointError, match=r"predictions\.npz holds \['ids', 'labels'\]; expected .*'logits'"):
        run.predictions()


def test_predictions_never_unpickle(copied, tmp_path):
    run = copied()
    hostile = np.array([{"an": "object"}], dtype=object)
    np.savez(run.folder / "predictions.npz", ids=hostile, groups=hostile, labels=hostile, logits=hostile)
    with pytest.raises(StorageError, match=r"predictions\.npz could not be read"):
        run.predictions()


@pytest.mark.parametrize("content", ["", "{", "[1]", '"run"', "null"])
def test_a_damaged_run_json_is_named(copied, content):
    run = copied()
    (run.folder / "run.json").write_text(content)
    with pytest.raises((CheckpointError, StorageError), match=r"run\.json (could not be read as JSON|has schema)"):
        load_run(run.folder)


@pytest.mark.parametrize(("changes", "match"), [
    ({"schema": 2}, r"run\.json has schema 2; this version reads schema 1"),
    ({"schema": GONE}, r"run\.json has schema None; this version reads schema 1"),
    ({"colour": "red"}, r"missing \[\], unknown \['colour'\]"),
    ({"backbone": GONE, "seed": GONE}, r"missing \['backbone', 'seed'\], unknown \[\]"),
])  # fmt: skip
def test_an_unknown_schema_or_field_is_named(copied, changes, match):
    run = copied()
    edit(run.folder / "run.json", **changes)
    with pytest.raises(CheckpointError, match=match):
        load_run(run.folder)


def test_another_backbone_of_that_name_is_refused(copied):
    run = copied()
    edit(run.folder / "run.json", backbone_sha256="0" * 64)
    with pytest.raises(CheckpointError, match=r"from tiny with weights 000000000000, but tiny here has [0-9a-f]{12}"):
        load_run(run.folder).model()


def test_tensors_of_another_model_are_refused(finished, copied):
    run = copied("vpt_shallow")
    deep = finished["vpt_deep"]
    shutil.copy(deep.folder / "model.safetensors", run.folder)
    edit(run.folder / "run.json", model_sha256=deep.info.model_sha256)
    with pytest.raises(CheckpointError, match=r"does not fit its model: .*not belonging \['prompts.tokens'\]"):
        load_run(run.folder).model()


def test_a_model_without_its_head_is_refused(finished):
    model = finished["linear"].model()
    with pytest.raises(CheckpointError, match=r"here does not fit its model: missing \['head.bias', 'head.weight'\]"):
        load_tuned(model, {}, source="here")


def test_a_folder_that_is_no_run_says_what_it_is(tmp_path, copied):
    with pytest.raises(CheckpointError, match=r"There is no run folder .*missing.\n.*vptft-analyze runs"):
        load_run(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty is not a run: it has no run\.json"):
        load_run(tmp_path / "empty")
    run = copied()
    (run.folder / "run.json").unlink()
    (run.folder / "resume").mkdir()
    assert not is_complete(run.folder)
    with pytest.raises(CheckpointError, match=r"holds an unfinished run.\nRun the same train command again"):
        load_run(run.folder)


def test_runs_are_found_once_and_in_order(finished, tmp_path):
    root = finished["ft"].folder.parent
    found = find_runs([root, finished["linear"].folder, root])
    assert [run.info.method for run in found] == sorted(finished)
    assert find_runs([finished["linear"].folder]) == [finished["linear"]]


def test_folders_without_a_run_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"No complete run in .*\nMake one: vptft-analyze quickstart, or train"):
        find_runs([tmp_path])
    with pytest.raises(CheckpointError, match=r"There is no folder .*missing"):
        find_runs([tmp_path, tmp_path / "missing"])


def test_the_marker_is_written_last(finished, tmp_path, monkeypatch):
    run = finished["linear"]
    state = load_file(run.folder / "model.safetensors")

    def stop(*_):
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(native, "write_json", stop)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            save_run(tmp_path / "r", run.info, state=state, history=run.history(), predictions=run.predictions())
    assert not is_complete(tmp_path / "r")
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        "history.csv", "model.safetensors", "predictions.npz",
    ]  # fmt: skip
    again = save_run(tmp_path / "r", run.info, state=state, history=run.history(), predictions=run.predictions())
    assert load_run(tmp_path / "r") == again


def test_accuracy_is_the_fraction_whose_largest_logit_is_the_label():
    logits = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 3.0]], dtype=np.float32)
    names = np.array(["a", "b", "c", "d"])
    predictions = Predictions(ids=names, groups=names, labels=np.array([0, 1, 1, 1]), logits=logits)
    assert predictions.correct.tolist() == [True, True, False, True]
    assert predictions.accuracy == 0.75
    assert replace(predictions, labels=np.array([1, 0, 1, 0])).accuracy == 0
