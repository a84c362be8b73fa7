import errno
import math
import os
import random
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from conftest import TRAINABLE
from vptft.checkpoints.native import is_complete, load_run
from vptft.data.transforms import normalise
from vptft.errors import CheckpointError, DataError, NotApplicable, SettingsError, StorageError, TrainingError
from vptft.models.backbones import load_backbone
from vptft.storage import lock
from vptft.tuning import loop
from vptft.tuning.building import build_model
from vptft.tuning.loop import Purpose, curve_rows, predict, train
from vptft.tuning.methods import METHODS, Method
from vptft.tuning.optimisation import schedule
from vptft.tuning.settings import TrainSettings

INTERRUPTED = 2
"""Epochs done when a test stops a run."""


@pytest.fixture
def long(settings):
    """Five epochs, learning fast enough that every step counts."""
    return replace(settings, epochs=5, lr=5e-3)


@pytest.fixture
def saving_always(monkeypatch):
    monkeypatch.setattr(loop, "RESUME_SECONDS", -1.0)


class Stop(Exception):
    """What a test stops a run with."""


def stop_after(epochs):
    def on_epoch(done, total):
        if done == epochs:
            raise Stop("stopped")

    return on_epoch


def tensors(run):
    return load_file(run.folder / "model.safetensors")


def assert_same_run(first, second):
    """Equal bit for bit, but for the time it took."""
    assert tensors(first).keys() == tensors(second).keys()
    for name, tensor in tensors(first).items():
        assert torch.equal(tensor, tensors(second)[name]), name
    pd.testing.assert_frame_equal(
        first.history().drop(columns="seconds"), second.history().drop(columns="seconds"), check_exact=True
    )
    np.testing.assert_array_equal(first.predictions().logits, second.predictions().logits)
    assert first.info.model_sha256 == second.info.model_sha256


def left_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# What training changes


FROM_THE_BACKBONE = [name for name in TRAINABLE if METHODS[name].after is None]


@pytest.mark.parametrize("method", [name for name in FROM_THE_BACKBONE if name != "lora"])
def test_what_the_method_tunes_changes_and_nothing_else(method, go, settings, tmp_path):
    run = go(method, tmp_path / "run", replace(settings, lr=1e-2))
    start = build_model(METHODS[method], load_backbone("tiny", 32), settings, n_classes=3)
    tuned = {name for name, parameter in start.named_parameters() if parameter.requires_grad}
    before, after = start.state_dict(), run.model().state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == tuned
    assert run.info.parameters_tuned == sum(before[name].numel() for name in tuned)
    assert run.info.parameters_total == sum(p.numel() for p in start.parameters())


def test_training_learns(go, settings, tmp_path):
    run = go("ft", tmp_path / "run", replace(settings, epochs=12, lr=3e-3, n_train=90))
    history = run.history()
    train_loss = history[history["split"] == "train"].set_index("epoch")["loss"]
    assert train_loss[1] == pytest.approx(math.log(3), abs=0.15)
    assert train_loss[12] < 0.1
    assert run.info.test_accuracy > 0.9


def test_the_history_has_every_split_of_every_epoch(go, settings, tmp_path):
    run = go("linear", tmp_path / "run", replace(settings, n_curve=5))
    history = run.history()
    assert list(zip(history["epoch"], history["split"], strict=True)) == [
        (epoch, split) for epoch in (1, 2) for split in ("train", "val", "test")
    ]
    steps = 2 * math.ceil(20 / 8)
    rates = [METHODS["linear"].default_lr * schedule(step, steps, warmup_fraction=0.1) for step in (2, 5)]
    assert history["lr"].tolist() == pytest.approx(np.repeat(rates, 3))
    for split, count in (("test", 5), ("val", 9)):  # of validation images none is left out
        shares = history[history["split"] == split]["accuracy"] * count
        assert shares.to_numpy() == pytest.approx(shares.round())


def test_the_last_curve_point_is_the_models_own_loss(go, settings, tmp_path):
    run = go("vpt_deep", tmp_path / "run", replace(settings, n_curve=12))
    predictions = run.predictions()
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels)
    ).item()
    last = run.history().iloc[-1]
    assert (last["split"], last["loss"], last["accuracy"]) == ("test", pytest.approx(loss), predictions.accuracy)


def test_run_json_says_what_was_done(go, settings, tmp_path):
    run = go("vpt_deep", tmp_path / "run", replace(settings, seed=3))
    info = run.info
    assert (info.task, info.method, info.backbone, info.pretraining) == ("toy/colour", "vpt_deep", "tiny", "random")
    assert (info.n_train, info.seed, info.image_size, info.classes) == (20, 3, 32, ["red", "green", "blue"])
    assert info.settings["lr"] == METHODS["vpt_deep"].default_lr
    assert {"epochs", "batch_size", "weight_decay", "warmup_fraction", "optimizer", "schedule"} <= set(info.settings)
    assert info.backbone_sha256 == load_backbone("tiny", 56).sha256


# Determinism


@pytest.mark.parametrize("method", ["ft", "vpt_deep"])
def test_a_seed_gives_one_run_and_another_seed_another(method, go, settings, tmp_path):
    settings = replace(settings, prompt_dropout=0.3)
    first, again = (go(method, tmp_path / name, settings) for name in ("a", "b"))
    assert_same_run(first, again)
    other = go(method, tmp_path / "c", replace(settings, seed=1))
    assert other.info.model_sha256 != first.info.model_sha256


def test_the_callers_random_numbers_neither_matter_nor_move(go, settings, tmp_path):
    settings = replace(settings, prompt_dropout=0.3)
    first = go("vpt_deep", tmp_path / "a", settings)
    torch.manual_seed(99)
    second = go("vpt_deep", tmp_path / "b", settings, on_epoch=lambda done, total: torch.rand(7 + done))
    assert_same_run(first, second)


# The recipe


@pytest.mark.parametrize("method", FROM_THE_BACKBONE)
def test_both_rates_reach_the_steps(method, go, settings, tmp_path):
    """AdamW's first step is as long as its rate, in every entry that has a gradient."""
    once = replace(settings, epochs=1, n_train=2, batch_size=2, lr=2e-4, head_lr=3e-4, weight_decay=0)
    after = tensors(go(method, tmp_path / "run", once))
    assert after["head.weight"].abs().max() == pytest.approx(
        2e-4 if METHODS[method].reads_fixed_features else 3e-4, rel=1e-3
    )


def test_weight_decay_pulls_the_head_towards_zero(go, settings, tmp_path):
    free, pulled = (
        tensors(go("linear", tmp_path / str(decay), replace(settings, epochs=6, lr=1e-2, weight_decay=decay)))
        for decay in (0.0, 20.0)
    )
    assert pulled["head.weight"].norm() < 0.6 * free["head.weight"].norm()


def test_predicting_in_batches_changes_nothing_and_restores_the_mode(toy_task):
    backbone = load_backbone("tiny", 32)
    model = build_model(METHODS["ft"], backbone, TrainSettings(), n_classes=3).train()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    pixels = toy_task.load("test", n=7).pixels(32)
    whole = predict(model, pixels, backbone)
    assert model.training
    torch.testing.assert_close(predict(model, pixels, backbone, batch_size=2), whole)
    assert whole.shape == (7, 3)


# What a run is for


def test_a_trial_never_looks_at_test_and_keeps_no_weights(go, settings, tmp_path, toy_task, make_task):
    asked = []

    def load(split, n=None, seed=0):
        asked.append(split)
        return toy_task.load(split, n=n, seed=seed)

    purpose = Purpose(test=False, keep_weights=False)
    run = go("vpt_deep", tmp_path / "run", settings, task=make_task(load=load), purpose=purpose)
    assert set(asked) == {"train", "val"}
    history = run.history()
    assert set(history["split"]) == {"train", "val"}
    assert run.info.val_accuracy == history["accuracy"].iloc[-1]
    assert run.info.test_accuracy is None
    assert left_in(run.folder) == ["history.csv", "run.json"]
    with pytest.raises(CheckpointError, match="trial of a search: it never looked at test images"):
        run.predictions()
    with pytest.raises(CheckpointError, match="does not hold its weights"):
        run.model()


def test_a_trial_and_a_final_run_are_not_taken_for_each_other(go, settings, tmp_path):
    go("linear", tmp_path / "run", settings, purpose=Purpose(test=False))
    with pytest.raises(CheckpointError, match="finished run with other settings"):
        go("linear", tmp_path / "run", settings)


def test_a_refit_trains_on_validation_images_too_and_draws_no_curve_of_them(go, settings, tmp_path):
    run = go("linear", tmp_path / "run", replace(settings, train_split="trainval", n_train=29))
    assert set(run.history()["split"]) == {"train", "test"}
    assert (run.info.n_train, run.info.val_accuracy) == (29, None)


def test_snapshots_hold_the_tensors_of_their_epochs(go, long, tmp_path):
    run = go("vpt_deep", tmp_path / "run", replace(long, snapshots=2))
    assert list(run.snapshots()) == [3, 5]
    last, middle = (load_file(run.snapshots()[epoch]) for epoch in (5, 3))
    for name, tensor in tensors(run).items():
        assert torch.equal(last[name], tensor)
    assert not torch.equal(middle["prompts.tokens"], last["prompts.tokens"])
    shorter = go("vpt_deep", tmp_path / "other", replace(long, snapshots=5))
    assert list(shorter.snapshots()) == [1, 2, 3, 4, 5]
    assert shorter.info.model_sha256 == run.info.model_sha256


def test_snapshots_of_a_training_that_was_given_up_are_not_the_next_ones(go, long, tmp_path):
    with pytest.raises(Stop):
        go("vpt_deep", tmp_path / "run", replace(long, snapshots=5), on_epoch=stop_after(3))
    shutil.rmtree(tmp_path / "run" / "resume", ignore_errors=True)
    assert len(list((tmp_path / "run" / "snapshots").iterdir())) >= 2
    run = go("vpt_deep", tmp_path / "run", replace(long, epochs=2, snapshots=1))
    assert list(run.snapshots()) == [2]


def test_what_must_be_known_is_kept_with_the_run(go, settings, tmp_path):
    purpose = Purpose(notes=("at an end",), search={"budget": 4, "trials": []})
    info = load_run(go("linear", tmp_path / "run", settings, purpose=purpose).folder).info
    assert info.notes == ["at an end"]
    assert info.search == {"budget": 4, "trials": []}


@pytest.mark.parametrize(
    ("accuracies", "told"),
    [
        (
            [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.5, 0.5, 0.6, 0.6],
            "rose by 10.0 points from the 2 epochs before to the last 2",
        ),
        ([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.5, 0.5, 0.51, 0.51], None),
        ([0.1, 0.9], None),
    ],
)
def test_a_run_that_still_improved_says_so(accuracies, told):
    rows = [{"split": split, "accuracy": value} for value in accuracies for split in ("train", "val")]
    notes = list(loop._still_improving(pd.DataFrame(rows), len(accuracies)))
    assert [told in note for note in notes] == ([] if told is None else [True])


# What it starts from


def test_a_base_of_another_kind_is_refused(go, settings, tmp_path, finished, make_task):
    with pytest.raises(SettingsError, match=r"ft_then_pt starts from a finished run of ft\.\nTrain that first"):
        go("ft_then_pt", tmp_path / "run", settings, base=None)
    with pytest.raises(SettingsError, match=r"ft starts from the backbone\."):
        go("ft", tmp_path / "run", settings, base=finished["ft"])
    with pytest.raises(CheckpointError, match=r"is no base for this run: it holds \('linear', .*expected \('ft', "):
        go("ft_then_pt", tmp_path / "run", settings, base=finished["linear"])
    with pytest.raises(CheckpointError, match="is no base for this run"):
        go("ft_then_pt", tmp_path / "run", settings, base=finished["ft"], task=make_task("other"))


@pytest.mark.parametrize("changed", [{"seed": 5}, {"n_train": 10}, {"train_split": "trainval"}], ids=str)
def test_a_base_of_another_draw_is_refused(go, settings, tmp_path, finished, changed):
    (name, value) = next(iter(changed.items()))
    with pytest.raises(CheckpointError, match=rf"is no base for this run: {name} \S+, not {value}"):
        go("ft_then_pt", tmp_path / "run", replace(settings, **changed), base=finished["ft"])


def test_a_base_with_other_prompts_is_refused(go, settings, tmp_path, finished):
    other = replace(settings, prompt_length=settings.prompt_length + 1)
    with pytest.raises(CheckpointError, match="no base for this run: prompt_length"):
        go("pt_then_ft", tmp_path / "run", other, base=finished["vpt_deep"])


def test_another_base_makes_another_run(go, settings, tmp_path, finished):
    first = go("ft_then_pt", tmp_path / "run", settings, base=finished["ft"])
    other = go("ft", tmp_path / "ft", replace(settings, lr=2e-3))
    with pytest.raises(CheckpointError, match="finished run with other settings"):
        go("ft_then_pt", tmp_path / "run", settings, base=other)
    assert first.info.base == {
        "folder": os.path.relpath(finished["ft"].folder, tmp_path / "run"),
        "method": "ft",
        "model_sha256": finished["ft"].info.model_sha256,
    }


def test_the_frozen_network_of_ft_then_pt_is_the_finetuned_one(go, settings, tmp_path, finished):
    run = go("ft_then_pt", tmp_path / "run", settings, base=finished["ft"])
    ours, theirs = run.model().backbone.state_dict(), finished["ft"].model().backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert sorted(tensors(run)) == ["head.bias", "head.weight", "prompts.tokens"]


def test_prompts_start_from_the_mean_feature_of_each_class(go, settings, tmp_path, toy_task):
    once = replace(settings, epochs=1, lr=1e-12, head_lr=1e-12, prompt_init="class_token", weight_decay=0)
    prompts = tensors(go("vpt_deep", tmp_path / "run", once))["prompts.tokens"]
    backbone = load_backbone("tiny", 32)
    train_set = toy_task.load("train", n=20, seed=0)
    with torch.no_grad():
        features = backbone.module(normalise(train_set.pixels(32), backbone.mean, backbone.std))
    labels = torch.from_numpy(train_set.labels)
    means = torch.stack([features[labels == label].mean(0) for label in range(3)])
    expected = means[[0, 1, 2, 0]].expand(3, -1, -1)
    torch.testing.assert_close(prompts, expected, rtol=0, atol=1e-5)


# Features that never change


@pytest.mark.parametrize("method", ["linear", "multi_layer_probe"])
def test_a_probe_on_cached_features_is_one_on_images(method, go, long, tmp_path, monkeypatch):
    cached = go(method, tmp_path / "cached", long)
    monkeypatch.setattr(Method, "reads_fixed_features", property(lambda self: False))
    recomputed = go(method, tmp_path / "recomputed", long)
    for name, tensor in tensors(recomputed).items():
        torch.testing.assert_close(tensors(cached)[name], tensor, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(cached.predictions().logits, recomputed.predictions().logits, rtol=0, atol=1e-4)


def test_features_are_computed_once_for_all_rates_and_not_for_other_layers(go, settings, tmp_path, monkeypatch):
    seen = []
    whole = loop.TunedModel.features
    monkeypatch.setattr(loop.TunedModel, "features", lambda self, x: seen.append(len(x)) or whole(self, x))
    go("linear", tmp_path / "a", settings)
    assert sum(seen) == 20 + 9 + 12
    go("linear", tmp_path / "b", replace(settings, lr=0.1))
    assert sum(seen) == 20 + 9 + 12
    go("multi_layer_probe", tmp_path / "c", settings)
    assert sum(seen) == 2 * (20 + 9 + 12)


@pytest.mark.parametrize("method", ["ft", "vpt_deep"])
def test_bfloat16_stays_near_float32(method, go, settings, tmp_path):
    """Eight bits of mantissa: 0.4% an operation; one epoch at a small rate keeps both on one path."""
    once = replace(settings, epochs=1, lr=1e-5)
    exact, short = (go(method, tmp_path / word, replace(once, precision=word)) for word in ("float32", "bfloat16"))
    assert not np.array_equal(exact.predictions().logits, short.predictions().logits)
    np.testing.assert_allclose(short.predictions().logits, exact.predictions().logits, rtol=0, atol=0.02)
    np.testing.assert_allclose(short.history()["loss"], exact.history()["loss"], rtol=0.01)


# Going on after an interruption


@pytest.mark.parametrize(
    ("method", "dropout"), [("ft", 0.0), ("linear", 0.0), ("vpt_shallow", 0.4), ("vpt_deep", 0.0), ("vpt_deep", 0.4)]
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(method, dropout, go, long, tmp_path, saving_always):
    settings = replace(long, prompt_dropout=dropout)
    whole = go(method, tmp_path / "whole", settings)
    with pytest.raises(Stop, match="stopped"):
        go(method, tmp_path / "run", settings, on_epoch=stop_after(INTERRUPTED))
    assert left_in(tmp_path / "run") == ["resume/state.pt"]
    seen = []
    resumed = go(method, tmp_path / "run", settings, on_epoch=lambda done, total: seen.append((done, total)))
    assert seen == [(epoch, 5) for epoch in range(INTERRUPTED, 6)]
    assert_same_run(resumed, whole)
    assert not (tmp_path / "run" / "resume").exists()


def test_a_run_interrupted_again_and_again_is_the_same_run(go, long, tmp_path, saving_always):
    whole = go("vpt_deep", tmp_path / "whole", long)
    for epochs in (0, 1, 1, 2, 4, 5):
        with pytest.raises(Stop, match="stopped"):
            go("vpt_deep", tmp_path / "run", long, on_epoch=stop_after(epochs))
    assert_same_run(go("vpt_deep", tmp_path / "run", long), whole)


def test_without_a_resume_state_it_starts_again(go, long, tmp_path):
    whole = go("linear", tmp_path / "whole", long)
    with pytest.raises(Stop, match="stopped"):
        go("linear", tmp_path / "run", long, on_epoch=stop_after(INTERRUPTED))
    assert not is_complete(tmp_path / "run")
    assert_same_run(go("linear", tmp_path / "run", long), whole)


def test_an_interruption_while_the_run_is_written_loses_nothing(go, long, tmp_path, monkeypatch):
    whole = go("linear", tmp_path / "whole", long)

    def stop(*_, **__):
        raise Stop("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_run", stop)
        with pytest.raises(Stop, match="stopped"):
            go("linear", tmp_path / "run", long)
    seen = []
    resumed = go("linear", tmp_path / "run", long, on_epoch=lambda done, total: seen.append(done))
    assert seen == [5]
    assert_same_run(resumed, whole)


def test_a_finished_run_is_given_and_not_trained_again(go, settings, tmp_path, monkeypatch):
    first = go("linear", tmp_path / "run", settings)
    stamps = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    (first.folder / "resume").mkdir()
    monkeypatch.setattr(loop, "_fit", None)
    assert go("linear", tmp_path / "run", settings) == first
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == stamps


OTHERS = [{"epochs": 3}, {"lr": 0.1}, {"seed": 1}, {"n_train": 9}, {"schedule": "epoch"}, {"weight_decay": 0.5}]


@pytest.mark.parametrize("changes", OTHERS, ids=str)
def test_a_folder_of_other_settings_is_refused(go, settings, tmp_path, changes, saving_always):
    go("linear", tmp_path / "done", settings)
    with pytest.raises(CheckpointError, match=r"done holds a finished run with other settings.\nGive another folder"):
        go("linear", tmp_path / "done", replace(settings, **changes))
    with pytest.raises(Stop, match="stopped"):
        go("linear", tmp_path / "half", settings, on_epoch=stop_after(1))
    with pytest.raises(CheckpointError, match=r"half holds an unfinished run with other settings.\nGive another"):
        go("linear", tmp_path / "half", replace(settings, **changes))


def test_a_folder_of_another_task_or_method_is_refused(go, settings, tmp_path, make_task):
    go("linear", tmp_path / "run", settings)
    with pytest.raises(CheckpointError, match="finished run with other settings"):
        go("ft", tmp_path / "run", settings)
    with pytest.raises(CheckpointError, match="finished run with other settings"):
        go("linear", tmp_path / "run", settings, task=make_task("other"))


def test_the_default_learning_rate_written_out_is_the_same_run(go, settings, tmp_path):
    first = go("linear", tmp_path / "run", settings)
    assert go("linear", tmp_path / "run", replace(settings, lr=METHODS["linear"].default_lr)) == first


@pytest.mark.parametrize("damage", ["empty", "truncated", "hostile", "another file", "flipped"])
def test_a_damaged_resume_state_says_what_to_do(go, long, tmp_path, saving_always, damage):
    folder = tmp_path / "run"
    with pytest.raises(Stop, match="stopped"):
        go("vpt_deep", folder, long, on_epoch=stop_after(INTERRUPTED))
    path = folder / "resume" / "state.pt"
    content = path.read_bytes()
    if damage == "hostile":
        torch.save({"key": Touch(tmp_path / "touched")}, path)
    elif damage == "another file":
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(
            {"empty": b"", "truncated": content[: len(content) // 2], "flipped": b"x" + content[1:]}[damage]
        )
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged: [\s\S]*\nRemove .*run and train again"):
        go("vpt_deep", folder, long)
    assert not (tmp_path / "touched").exists()
    assert not is_complete(folder)


class Touch:
    """Unpickled, it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


# What cannot go on


@pytest.mark.parametrize("method", ["ft", "linear"])
def test_a_loss_that_is_no_number_is_named_and_leaves_nothing(method, go, settings, tmp_path, saving_always):
    with pytest.raises(TrainingError, match=r"loss became (nan|inf)[\s\S]*epoch \d, .*learning rate [\d.e+]+\.\nLower"):
        go(method, tmp_path / "run", replace(settings, epochs=4, lr=3e37, weight_decay=0))
    assert not (tmp_path / "run").exists() or left_in(tmp_path / "run") == []


def test_the_batch_of_a_loss_that_is_no_number_is_named(go, settings, tmp_path, monkeypatch):
    seen = []
    original = torch.nn.functional.cross_entropy

    def broken(logits, labels):
        seen.append(len(labels))
        return original(logits, labels) * (math.nan if seen.count(8) == 2 else 1)

    monkeypatch.setattr(loop.F, "cross_entropy", broken)
    match = r"The training loss became nan in epoch 1, batch 2, at learning rate 0\.00[0-9]+"
    with pytest.raises(TrainingError, match=match):
        go("linear", tmp_path / "run", settings)


def test_weights_broken_by_the_very_last_step_are_noticed(go, settings, tmp_path):
    """One epoch of two batches, whose losses are numbers: the head starts at zero, so the network first moves last."""
    once = replace(settings, epochs=1, batch_size=10, lr=3e37, weight_decay=0)
    with pytest.raises(TrainingError, match=r"The val loss became (nan|inf) in epoch 1, at peak learning rate 3e\+37"):
        go("ft", tmp_path / "run", once)
    assert not is_complete(tmp_path / "run")


def test_a_failed_run_can_be_given_again_with_a_smaller_rate(go, settings, tmp_path, saving_always):
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        go("ft", tmp_path / "run", replace(settings, lr=1e30))
    assert go("ft", tmp_path / "run", settings).info.settings["lr"] == METHODS["ft"].default_lr


def test_every_unreadable_image_is_listed(go, settings, tmp_path, make_task, make_images):
    task = make_task(load=lambda split, n=None, seed=0: make_images(split, n, 1, bad=(1, 5) if split == "test" else ()))
    match = r"test: 2 of 12 images cannot be read:\n  test/1\.png: broken on purpose\n  test/5\.png: broken"
    with pytest.raises(DataError, match=match):
        go("linear", tmp_path / "run", settings, task=task)
    assert not (tmp_path / "run").exists()


def test_images_without_labels_or_too_few_are_refused(go, settings, tmp_path, make_task, make_images):
    unlabelled = make_task(load=lambda split, n=None, seed=0: replace(make_images(split, n, 1), labels=None))
    with pytest.raises(DataError, match="train has no labels; training needs at least two labelled images"):
        go("linear", tmp_path / "run", settings, task=unlabelled)
    with pytest.raises(DataError, match="val has 1 images; training needs at least two labelled images"):
        go("linear", tmp_path / "run", replace(settings, n_val=1))


def test_a_method_that_the_network_cannot_have_leaves_nothing(settings, tmp_path, toy_task, monkeypatch):
    timm = pytest.importorskip("timm")
    resnet = replace(load_backbone("tiny", 32), module=timm.create_model("resnet10t", num_classes=0), name="resnet")
    monkeypatch.setattr(loop, "load_backbone", lambda name, size: resnet)
    with pytest.raises(NotApplicable, match="not applicable to ResNet"):
        train(toy_task, METHODS["vpt_deep"], backbone="resnet", settings=settings, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("writer", ["save_file", "np.savez_compressed"])
def test_a_full_disk_at_the_end_leaves_no_run_and_loses_nothing(writer, go, settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(f"vptft.checkpoints.native.{writer}", full_disk)
        with pytest.raises(
            StorageError, match=r"could not be written: No space left on device\.\nNothing half-written"
        ):
            go("ft", tmp_path / "run", settings)
    assert not is_complete(tmp_path / "run")
    assert not [name for name in left_in(tmp_path / "run") if "/." in f"/{name}"]
    whole = go("ft", tmp_path / "whole", settings)
    assert_same_run(go("ft", tmp_path / "run", settings), whole)


LIMITED = """
import resource, signal
from pathlib import Path
from vptft.errors import StorageError
from vptft.tuning.loop import train
from vptft.tuning.methods import METHODS
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def limit(done, total):
    if done == total:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))


def attempt(folder, on_epoch):
    try:
        train(
            conftest.toy(), METHODS["ft"], backbone="tiny", settings=conftest.TOY_SETTINGS, folder=Path(folder),
            on_epoch=on_epoch,
        )
    except StorageError as error:
        Path(f"{folder}.txt").write_text(str(error))


attempt(end, limit)
attempt(cut, lambda done, total: None)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_file_the_system_cuts_off_leaves_nothing_half_written(tmp_path, go, settings, start_process):
    """The real refusal, which torch and safetensors report as errors of their own."""
    end, cut = tmp_path / "end", tmp_path / "cut"
    process = start_process(LIMITED, end=str(end), cut=str(cut))
    process.join()
    assert process.exitcode == 0
    assert "model.safetensors could not be written" in (tmp_path / "end.txt").read_text()
    assert "state.pt could not be written" in (tmp_path / "cut.txt").read_text()
    assert left_in(end) == ["resume/state.pt"]
    assert left_in(cut) == []
    whole = go("ft", tmp_path / "whole", settings)
    assert_same_run(go("ft", end, settings), whole)
    assert_same_run(go("ft", cut, settings), whole)


def test_a_second_training_of_one_folder_waits_for_the_first(go, settings, tmp_path):
    folder = tmp_path / "run"
    with lock(folder.parent / f".{folder.name}"):
        waiting = ThreadPoolExecutor(1).submit(go, "linear", folder, settings)
        time.sleep(0.5)
        assert not folder.exists()
    assert waiting.result(timeout=60) == load_run(folder)


# Killed at any moment

KILLED = """
from dataclasses import replace
from pathlib import Path
from vptft.tuning import loop
from vptft.tuning.methods import METHODS
loop.RESUME_SECONDS = -1.0
settings = replace(conftest.TOY_SETTINGS, epochs=60, lr=5e-3, prompt_dropout=0.2)
Path(ready).touch()
loop.train(conftest.toy(), METHODS[method], backbone="tiny", settings=settings, folder=Path(folder))
"""


@pytest.mark.verify
@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by POSIX signals")
@pytest.mark.parametrize("method", ["ft", "vpt_deep"])
def test_a_run_killed_twenty_times_is_the_run_that_was_never_killed(method, tmp_path, start_process):
    draw = random.Random(20)

    def start(folder, ready):
        process = start_process(KILLED, method=method, folder=str(folder), ready=str(ready))
        while not ready.exists():
            assert process.exitcode is None
            time.sleep(0.005)
        return process

    whole = start(tmp_path / "whole", tmp_path / "ready")
    began = time.monotonic()
    whole.join()
    assert whole.exitcode == 0
    duration = time.monotonic() - began
    killed, epochs_seen = 0, set()
    for attempt in range(20):
        process = start(tmp_path / "run", tmp_path / f"ready{attempt}")
        # Short enough on average that twenty attempts do not finish the run.
        process.join(draw.uniform(0, duration / 14))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        state = tmp_path / "run" / "resume" / "state.pt"
        epochs_seen.add(torch.load(state, weights_only=True)["epoch"] if state.is_file() else None)
    assert killed >= 15
    assert len(epochs_seen) >= 5
    last = start(tmp_path / "run", tmp_path / "last")
    last.join()
    assert last.exitcode == 0
    assert_same_run(load_run(tmp_path / "run"), load_run(tmp_path / "whole"))
    assert not (tmp_path / "run" / "resume").exists()


def test_a_curve_of_a_set_that_lies_class_by_class_shows_every_class():
    by_class = np.repeat(np.arange(10), 25)
    rows = curve_rows(by_class, 100)
    assert np.bincount(by_class[rows]).tolist() == [10] * 10
    assert (np.diff(rows) > 0).all()
    mixed = np.tile(np.arange(10), 25)
    assert curve_rows(mixed, 100) == slice(100)
    assert curve_rows(by_class, 250) == slice(250)


def test_every_validation_image_has_a_say(make_task, settings, tmp_path):
    few = replace(settings, n_curve=2, epochs=1)
    histories = [
        train(make_task(), METHODS["linear"], backbone="tiny", settings=each, folder=tmp_path / str(i)).history()
        for i, each in enumerate((few, replace(few, n_curve=1000)))
    ]
    val = [history[history["split"] == "val"][["loss", "accuracy"]].to_numpy() for history in histories]
    assert len(val[0])
    np.testing.assert_array_equal(*val)
