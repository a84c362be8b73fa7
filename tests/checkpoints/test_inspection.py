"""What is said of a checkpoint without building it: counts, fingerprints, and what is wrong with it."""

import json
import math

import numpy as np
import pytest
import torch

from checkpoints.foreign_files import CLASSES, DEPTH, HEADS, WIDTH, Network, google, kmnp, named, random, timm
from checkpoints.kmnp_files import log
from vptft.checkpoints.building import build_model
from vptft.checkpoints.conversion import convert
from vptft.checkpoints.found import NORMALISATIONS, Asked, Normalisation
from vptft.checkpoints.inspection import inspect, preprocessing_name
from vptft.checkpoints.readers import read_checkpoint
from vptft.errors import CheckpointError, WeightsError
from vptft.models.fingerprint import state_hash

NETWORK = Network()
BASE = {name: value for name, value in timm(NETWORK).items() if not name.startswith("head")}
BACKBONE, HEAD = sum(value.numel() for value in BASE.values()), CLASSES * WIDTH + CLASSES
PROMPTS, DEEP = random(1, 4, WIDTH, seed=501), random(DEPTH - 1, 4, WIDTH, seed=502)


def saved(tmp_path, state, name="last_model.pth"):
    torch.save({"model": state}, tmp_path / name)
    return tmp_path / name


@pytest.fixture
def base(tmp_path):
    np.savez(tmp_path / "base.npz", **google(NETWORK))
    return tmp_path / "base.npz"


def test_fingerprints_are_those_of_the_backbone_under_our_names(tmp_path, base):
    theirs = inspect(saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS)))
    assert theirs.about["fingerprint"] == state_hash(BASE)
    assert theirs.about["fingerprint"] == inspect(base).about["fingerprint"]
    for row in theirs.layers:
        first = {"embeddings": ("cls_token", "pos_embed", "patch_embed."), "norm": ("norm.",)}
        own = {n: v for n, v in BASE.items() if n.startswith(first.get(row["layer"], f"{row['layer']}."))}
        assert (row["fingerprint"], row["tensors"]) == (state_hash(own)[:16], len(own))
        assert "equal to pretrained" not in row
    state = kmnp(NETWORK)
    state["enc.transformer.encoder.layer.1.ffn.fc1.bias"] = state["enc.transformer.encoder.layer.1.ffn.fc1.bias"] + 1
    other = inspect(saved(tmp_path, state, "other.pth"))
    assert other.about["fingerprint"] != theirs.about["fingerprint"]
    changed = [a["layer"] for a, b in zip(theirs.layers, other.layers, strict=True) if a != b]
    assert changed == ["blocks.1"]


P = random(1, 4, 7, seed=50)


@pytest.mark.parametrize(
    ("extra", "method", "tuned", "total"),
    [
        ({}, "linear", HEAD, BACKBONE + HEAD),
        ({}, "ft", BACKBONE + HEAD, BACKBONE + HEAD),
        ({}, "bias", None, BACKBONE + HEAD),
        ({}, "partial_k", None, BACKBONE + HEAD),
        ({"prompts": PROMPTS}, "vpt_shallow", 4 * WIDTH + HEAD, BACKBONE + HEAD + 4 * WIDTH),
        ({"prompts": PROMPTS, "deep": DEEP}, "mixed", *[BACKBONE + HEAD + 4 * DEPTH * WIDTH] * 2),
        (
            {"prompts": P, "projection": (random(WIDTH, 7, seed=52), random(WIDTH, seed=53))}, "vpt_shallow",
            4 * 7 + WIDTH * 7 + WIDTH + HEAD, BACKBONE + HEAD + 4 * 7 + WIDTH * 7 + WIDTH,
        ),
    ],
    ids=["linear", "ft", "bias", "partial", "shallow", "mixed", "projected"],
)  # fmt: skip
def test_tuned_and_total_are_numbers_the_file_stores(extra, method, tuned, total, tmp_path):
    found = read_checkpoint(saved(tmp_path, kmnp(NETWORK, **extra)), Asked(method=method, heads=HEADS)).found
    assert found.parameters == (tuned, total)
    if "projection" not in extra:
        assert sum(p.numel() for p in build_model(found).parameters()) == total
    about = inspect(found.path, Asked(method=method)).about
    assert about["tuned/total %"] == ("not known" if tuned is None else round(100 * tuned / total, 3))


def test_an_mlp_head_is_counted_without_what_batch_norm_only_counts(tmp_path):
    mlp = named("head.projection.0", (random(WIDTH, WIDTH, seed=1), random(WIDTH, seed=2)))
    mlp |= named("head.projection.2", (random(WIDTH, seed=3), random(WIDTH, seed=4)))
    mlp |= {f"head.projection.2.running_{name}": torch.ones(WIDTH) for name in ("mean", "var")}
    mlp["head.projection.2.num_batches_tracked"] = torch.tensor(3)
    found = inspect(saved(tmp_path, kmnp(NETWORK, mlp=mlp)), Asked(method="linear"))
    assert found.about["tuned"] == HEAD + WIDTH * WIDTH + 3 * WIDTH
    assert (found.about["head"], found.about["classes"]) == ("MLP with 1 hidden layers", CLASSES)


def test_prompts_are_described(tmp_path):
    shallow = inspect(saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS))).about
    assert shallow["prompts"] == "4 before layers [0]"
    deep = inspect(saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS, deep=DEEP))).about
    assert deep["prompts"] == "4 before every layer"
    projection = random(WIDTH, 7, seed=52), random(WIDTH, seed=53)
    projected = inspect(saved(tmp_path, kmnp(NETWORK, prompts=P, projection=projection))).about
    assert projected["prompts"] == "4 before layers [0], projected from width 7"
    assert "prompts" not in inspect(saved(tmp_path, kmnp(NETWORK))).about


def test_a_bare_backbone_is_described(base):
    about = inspect(base).about
    assert (about["method"], about["parameters"], about["heads"]) == ("a backbone, not tuned", BACKBONE, HEADS)
    assert not about.keys() & {"classes", "head", "prompts"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("enc.transformer.encoder.layer.1.ffn.fc1.weight", "blocks.1.mlp.fc1.weight"),
        ("enc.transformer.prompt_embeddings", "prompts.tokens"),
        ("head.last_layer.bias", "head.bias"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_told(name, shown, value, tmp_path):
    state = {key: each.clone() for key, each in kmnp(NETWORK, prompts=PROMPTS).items()}
    state[name].view(-1)[-1] = value
    unknown = inspect(saved(tmp_path, state)).unknown
    assert f"NaN or infinite values in {shown}: no model can be built." in unknown


def test_large_values_are_numbers(tmp_path):
    state = kmnp(NETWORK)
    state["head.last_layer.weight"] = torch.full((CLASSES, WIDTH), 3e38)
    assert not any("NaN" in text for text in inspect(saved(tmp_path, state)).unknown)


def test_missing_tensors_are_told_and_the_rest_is_described(tmp_path):
    state = kmnp(NETWORK)
    del state["enc.transformer.encoder.encoder_norm.bias"]
    found = inspect(saved(tmp_path, state))
    assert any("1 missing (norm.bias)" in text for text in found.unknown)
    assert found.about["classes"] == CLASSES
    assert found.layers[-1]["tensors"] == 1


def test_additions_without_their_base_are_described(tmp_path):
    state = {
        f"blocks.0.adapter_mlp.adapter_{name}": value
        for name, value in {
            **named("down", (random(6, WIDTH, seed=1), random(6, seed=2))),
            **named("conv", (random(6, 6, 3, 3, seed=3), random(6, seed=4))),
            **named("up", (random(WIDTH, 6, seed=5), random(WIDTH, seed=6))),
        }.items()
    }
    torch.save({**state, **named("head", NETWORK.head)}, tmp_path / "x.pt")
    found = inspect(tmp_path / "x.pt")
    assert "pass the pretrained weights" in " ".join(found.unknown)
    assert found.layers == ()
    assert found.about["reader"] == "read by description, not tried on a file of theirs"


def test_the_log_beside_the_weights_tells_recipe_and_metrics(tmp_path):
    path = saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS, deep=DEEP))
    assert inspect(path).metrics == {}
    (tmp_path / "logs.txt").write_text(log({"batch": 32, "seed": 7, "val": (10.0, 30.0)}))
    found = inspect(path)
    assert (found.recipe.facts["batch size"].value, found.recipe.facts["seed"].value) == (32, 7)
    assert f"{tmp_path / 'logs.txt'}:" in found.recipe.facts["seed"].evidence
    assert found.metrics == pytest.approx({"train loss": 2.5, "val loss": 3.0, "val accuracy": 0.3})


def test_a_converted_run_names_whose_it_was(tmp_path):
    reading = read_checkpoint(saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS)), Asked(heads=HEADS, method="vpt_shallow"))
    run = convert(reading, tmp_path / "run", task="photo/count")
    found = inspect(run.folder)
    assert found.about["producer"] == "vptft-analyze, converted from KMnP/vpt or VPT-or-FT"
    assert (found.about["task"], found.about["prompts"]) == ("photo/count", "4 before layers [0]")
    assert (found.about["tuned"], found.about["parameters"]) == reading.found.parameters
    assert found.about["normalisation"] == "imagenet"
    assert found.sources["heads"] == "--heads"
    assert found.unknown[:-1] == reading.found.notes
    assert found.unknown[-1].startswith("No history: ")
    assert found.metrics == {}
    json.dumps([dict(found.about), found.sources, found.unknown])


def test_normalisations_have_names_or_numbers():
    assert preprocessing_name(None) == "not known"
    assert {preprocessing_name(value) for value in NORMALISATIONS.values()} == {"imagenet", "half", "none"}
    other = Normalisation((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert preprocessing_name(other) == "mean (0.1, 0.2, 0.3), deviation (1.0, 2.0, 3.0)"


def test_what_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"text")
    with pytest.raises(WeightsError, match="holds no weights"):
        inspect(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        inspect(tmp_path / "none.pth")
