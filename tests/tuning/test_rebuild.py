import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from conftest import TRAINABLE
from vptft.checkpoints.native import load_run
from vptft.errors import CheckpointError
from vptft.tuning import rebuild as rebuilding
from vptft.tuning.loop import Purpose, train
from vptft.tuning.rebuild import rebuild, settings_of


@pytest.fixture
def copied(finished, tmp_path):
    """All finished runs, in a place where they may be damaged, by method."""
    shutil.copytree(finished["ft"].folder.parent, tmp_path / "runs")
    return {name: load_run(tmp_path / "runs" / name) for name in finished}


@pytest.mark.parametrize("method", TRAINABLE)
def test_a_run_without_its_weights_is_trained_to_the_same_ones(method, copied, toy_task):
    run = copied[method]
    before = load_file(run.folder / "model.safetensors")
    (run.folder / "model.safetensors").unlink()
    rebuilt = rebuild(run, task=toy_task)
    assert (rebuilt.exact, rebuilt.agreeing) == (True, 1.0)
    after = load_file(run.folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert sorted(path.name for path in run.folder.iterdir() if not path.name.startswith(".")) == [
        "history.csv", "model.safetensors", "predictions.npz", "run.json",
    ]  # fmt: skip


def test_what_it_started_from_is_rebuilt_first(copied, toy_task):
    for name in ("ft", "ft_then_pt"):
        (copied[name].folder / "model.safetensors").unlink()
    assert rebuild(copied["ft_then_pt"], task=toy_task).exact
    copied["ft"].model()
    copied["ft_then_pt"].model()


def test_of_two_at_once_one_rebuilds_and_the_other_waits_for_it(copied, toy_task, monkeypatch):
    run, starts = copied["ft"], []

    def slow(*args, **kwargs):
        starts.append(1)
        time.sleep(0.5)
        return train(*args, **kwargs)

    (run.folder / "model.safetensors").unlink()
    monkeypatch.setattr(rebuilding, "train", slow)
    with ThreadPoolExecutor(2) as both:
        found = list(both.map(lambda _: rebuild(run, task=toy_task).exact, range(2)))
    assert (found, len(starts)) == ([True, True], 1)


def test_snapshots_come_back_too(go, settings, tmp_path, toy_task):
    run = go("vpt_deep", tmp_path / "run", replace(settings, snapshots=2))
    before = {epoch: path.read_bytes() for epoch, path in run.snapshots().items()}
    shutil.rmtree(run.folder / "snapshots")
    (run.folder / "model.safetensors").unlink()
    rebuild(run, task=toy_task)
    assert {epoch: path.read_bytes() for epoch, path in run.snapshots().items()} == before


def test_a_run_that_has_its_weights_is_left_alone_and_damaged_ones_are_named(copied, monkeypatch):
    monkeypatch.setattr(rebuilding, "train", None)
    assert rebuild(copied["ft"]).exact
    shutil.copy(copied["linear"].folder / "model.safetensors", copied["ft"].folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"is not the file run\.json describes: its hash differs"):
        rebuild(copied["ft"])


def told_otherwise(run, **changes):
    path = run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    (run.folder / "model.safetensors").unlink()
    return load_run(run.folder)


def test_other_weights_with_the_same_predictions_are_taken_and_said(copied, toy_task):
    run = told_otherwise(copied["vpt_deep"], model_sha256="0" * 64)
    rebuilt = rebuild(run, task=toy_task)
    assert (rebuilt.exact, rebuilt.agreeing) == (False, 1.0)
    again = load_run(run.folder)
    assert again.info.notes == ["rebuilt on another machine: 100.0% of the test predictions agree with those kept"]
    again.model()


def test_what_started_from_a_run_goes_on_after_that_was_rebuilt_elsewhere(copied, toy_task):
    later = copied["ft_then_pt"]
    earlier = told_otherwise(copied["ft"], model_sha256="0" * 64)
    path = later.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base": {**later.info.base, "model_sha256": "0" * 64}}))
    rebuild(earlier, task=toy_task)
    assert load_run(earlier.folder).info.rebuilt_of == ["0" * 64]
    load_run(later.folder).model()


def test_other_predictions_are_refused_and_kept_beside(copied, toy_task):
    kept = copied["ft"].predictions()
    run = told_otherwise(copied["ft"], model_sha256="0" * 64)
    flipped = {**vars(kept), "logits": -kept.logits}
    np.savez(run.folder / "predictions.npz", **flipped)
    with pytest.raises(CheckpointError, match=r"another result: \d+\.\d% of the test predictions agree.*\nThe other"):
        rebuild(run, task=toy_task)
    assert (run.folder / "rebuilding" / "run" / "model.safetensors").is_file()
    assert not (run.folder / "model.safetensors").exists()


def test_a_trial_comes_back_exactly_or_not_at_all(go, settings, tmp_path, toy_task):
    run = go("linear", tmp_path / "run", settings, purpose=Purpose(test=False, keep_weights=False))
    assert rebuild(run, task=toy_task).exact
    other = told_otherwise(run, model_sha256="0" * 64)
    with pytest.raises(CheckpointError, match="no predictions to compare"):
        rebuild(other, task=toy_task)


def test_what_cannot_be_trained_again_is_said(copied):
    converted = replace(copied["ft"], info=replace(copied["ft"].info, imported={}))
    with pytest.raises(CheckpointError, match="converted from another program's checkpoint"):
        rebuild(converted)
    odd = replace(copied["ft"], info=replace(copied["ft"].info, settings={"warp": 9}))
    with pytest.raises(CheckpointError, match=r"settings that are not known here: \['warp'\]"):
        settings_of(odd)
