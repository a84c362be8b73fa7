"""Converted runs: whole or not at all, with what is not known left open."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from checkpoints.foreign_files import DEPTH, HEADS, WIDTH, Network, google, images, kmnp, named, random, timm
from vptft.checkpoints import conversion
from vptft.checkpoints.building import build_model
from vptft.checkpoints.conversion import convert, merged_state, save_merged
from vptft.checkpoints.found import NORMALISATIONS, Asked
from vptft.checkpoints.native import Predictions, keep_predictions, load_run
from vptft.checkpoints.readers import read_checkpoint
from vptft.errors import CheckpointError, NotApplicable, WeightsError

NETWORK, X = Network(), images()


@pytest.fixture
def base(tmp_path):
    np.savez(tmp_path / "base.npz", **google(NETWORK))
    return tmp_path / "base.npz"


def read(tmp_path, state, **asked):
    torch.save({"model": state}, tmp_path / "last_model.pth")
    return read_checkpoint(tmp_path / "last_model.pth", Asked(heads=HEADS, **asked))


def same(reading, run):
    with torch.no_grad():
        return torch.equal(build_model(reading.found)(X), load_run(run.folder).model()(X))


def mlp_head():
    state = named("head.projection.0", (random(WIDTH, WIDTH, seed=1), random(WIDTH, seed=2)))
    state |= named("head.projection.2", (random(WIDTH, seed=3), random(WIDTH, seed=4)))
    return state | {
        "head.projection.2.running_mean": random(WIDTH, seed=5),
        "head.projection.2.running_var": 0.5 + random(WIDTH, seed=6).abs(),
        "head.projection.2.num_batches_tracked": torch.tensor(3),
    }


def adapters():
    state = {}
    for i in range(DEPTH):
        layer = f"enc.transformer.encoder.layer.{i}."
        state |= named(f"{layer}adapter_downsample", (random(6, WIDTH, seed=10 + i), random(6, seed=20 + i)))
        state |= named(f"{layer}adapter_upsample", (random(WIDTH, 6, seed=30 + i), random(WIDTH, seed=40 + i)))
    return state


P = random(1, 4, 7, seed=50)
VARIANTS = {
    "shallow": ({"prompts": random(1, 4, WIDTH, seed=51)}, {}, "vpt_shallow"),
    "projected": ({"prompts": P, "projection": (random(WIDTH, 7, seed=52), random(WIDTH, seed=53))}, {}, "vpt_shallow"),
    "mlp head": ({"mlp": mlp_head()}, {}, "linear"),
    "adapter": ({}, adapters(), "adapter"),
    "mixed": ({"prompts": random(1, 4, WIDTH, seed=51)}, {}, "mixed"),
    "ft": ({}, {}, "ft"),
}


@pytest.mark.parametrize("with_base", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_survives_the_round_trip_bit_for_bit(variant, with_base, base, tmp_path):
    extra, more, method = VARIANTS[variant]
    network = NETWORK if method not in ("ft", "mixed") else Network(seed=4)
    reading = read(tmp_path, {**kmnp(network, **extra), **more}, method=method, base=base if with_base else None)
    run = convert(reading, tmp_path / "run")
    assert same(reading, run)
    whole = method in ("ft", "mixed")
    assert (run.info.backbone_sha256 is None) == (whole and not with_base)
    if run.info.backbone_sha256 is None:
        with pytest.raises(WeightsError, match=r"(?s)started from are not known.*--backbone"):
            run.backbone()
    else:
        assert torch.equal(run.backbone().module.cls_token, NETWORK.cls)
    if variant == "projected":
        assert run.info.parameters_tuned == 4 * 7 + WIDTH * 7 + WIDTH + 5 * WIDTH + 5


def test_what_is_not_known_is_asked_for(tmp_path):
    reading = read(tmp_path, kmnp(NETWORK))
    with pytest.raises(CheckpointError, match=r"(?s)may be ft or linear or partial_k or bias.*--backbone"):
        convert(reading, tmp_path / "run")
    torch.save(timm(NETWORK), tmp_path / "timm.pth")
    reading = read_checkpoint(tmp_path / "timm.pth", Asked(heads=HEADS, method="ft"))
    with pytest.raises(CheckpointError, match=r"(?s)normalised its images is not known.*--normalise"):
        convert(reading, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = convert(reading, tmp_path / "run", normalisation=NORMALISATIONS["half"], task="photo/count")
    assert (run.info.mean, run.info.task, run.info.seed, run.info.n_train) == ([0.5] * 3, "photo/count", None, None)
    assert run.info.test_accuracy is None
    with pytest.raises(CheckpointError, match="holds a run already"):
        convert(reading, tmp_path / "run", normalisation=NORMALISATIONS["half"])
    with pytest.raises(CheckpointError, match=r"(?s)converted without predictions.*evaluate .* --save"):
        run.predictions()


def test_predictions_are_added_to_a_converted_run_only(finished, tmp_path):
    reading = read(tmp_path, kmnp(NETWORK), method="linear")
    run = convert(reading, tmp_path / "run")
    names = np.array(["a", "b"])
    made = Predictions(ids=names, groups=names, labels=np.array([1, 2]), logits=np.eye(5, dtype=np.float32)[[1, 1]])
    kept = keep_predictions(run, made)
    assert load_run(kept.folder).info.test_accuracy == 0.5
    assert load_run(kept.folder).predictions().ids.tolist() == ["a", "b"]
    with pytest.raises(CheckpointError, match="has its own predictions"):
        keep_predictions(finished["linear"], made)


def test_the_merged_state_dict_is_timms(tmp_path):
    reading = read(tmp_path, kmnp(NETWORK), method="ft")
    save_merged(build_model(reading.found), tmp_path, tmp_path / "merged.safetensors")
    theirs, ours = timm(NETWORK), load_file(tmp_path / "merged.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    again = read_checkpoint(tmp_path / "merged.safetensors", Asked(heads=HEADS))
    with torch.no_grad():
        assert torch.equal(build_model(again.found)(X), build_model(reading.found)(X))
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        save_merged(build_model(reading.found), tmp_path, tmp_path / "merged.pth")


def test_prompts_and_mlp_heads_have_no_place_in_a_timm_state_dict(tmp_path):
    state = kmnp(NETWORK, prompts=random(1, 4, WIDTH, seed=51), mlp=mlp_head())
    with pytest.raises(NotApplicable, match="has prompts and an MLP head: a timm state dict has no place"):
        merged_state(build_model(read(tmp_path, state).found), tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "backbone.safetensors"])
def test_a_file_that_was_changed_afterwards_is_refused(name, tmp_path):
    run = convert(read(tmp_path, kmnp(NETWORK), method="linear"), tmp_path / "run")
    data = bytearray((run.folder / name).read_bytes())
    data[-1] ^= 1
    (run.folder / name).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="its hash differs"):
        load_run(run.folder).model()


@pytest.mark.parametrize(
    ("task", "objective", "appearance"),
    [("clevr_count", "counting", None), ("photo/count", "counting", "photo"), ("mine", None, None)],
)
def test_what_is_known_of_a_task_is_taken_by_its_name(task, objective, appearance, tmp_path):
    info = convert(read(tmp_path, kmnp(NETWORK), method="linear"), tmp_path / "run", task=task).info
    assert (info.task, info.objective, info.appearance, len(info.classes)) == (task, objective, appearance, 5)


def test_a_run_that_cannot_be_read_back_is_no_run(monkeypatch, tmp_path):
    reading = read(tmp_path, kmnp(NETWORK), method="linear")
    monkeypatch.setattr(conversion.Run, "model", lambda self: lambda image: image)
    with pytest.raises(CheckpointError, match="gives other logits than last_model"):
        convert(reading, tmp_path / "run")
    with pytest.raises(CheckpointError, match="is not a run"):
        load_run(tmp_path / "run")


def test_the_counts_are_those_of_inspect(tmp_path):
    for extra, method in (({"mlp": mlp_head()}, "linear"), (VARIANTS["projected"][0], "vpt_shallow")):
        reading = read(tmp_path, kmnp(NETWORK, **extra), method=method)
        info = convert(reading, tmp_path / method).info
        assert (info.parameters_tuned, info.parameters_total) == reading.found.parameters


def test_the_notes_travel_with_the_run(tmp_path):
    run = convert(read(tmp_path, kmnp(NETWORK), method="linear"), tmp_path / "run")
    imported = json.loads((run.folder / "run.json").read_text())["imported"]
    assert imported["producer"] == "KMnP/vpt or VPT-or-FT"
    assert imported["file"] == "last_model.pth"
    assert imported["sources"]["heads"] == "--heads"
    assert any("no logs.txt" in note for note in imported["notes"])
