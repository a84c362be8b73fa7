"""A backbone against the pretrained weights: what is counted, and what is concluded from it."""

import math
from pathlib import Path

import pytest
import torch

from checkpoints.foreign_files import DEPTH, Network, random, timm
from vptft.checkpoints.found import Found
from vptft.checkpoints.matching import concluded, layer_of, match, place_of

BASE = {name: value for name, value in timm(Network()).items() if not name.startswith("head")}
BLOCKS = [f"blocks.{i}" for i in range(DEPTH)]


def moved(*names, by=0.25):
    """The base with some tensors changed: every value by so much."""
    return {name: value + by if name in names else value.clone() for name, value in BASE.items()}


def found(*methods, **fields):
    return Found(
        path=Path("x.pth"), producer="p", tried=True, shape=None, backbone={}, head={}, methods=methods, **fields
    )


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("cls_token", "embeddings"), ("pos_embed", "embeddings"), ("patch_embed.proj.weight", "embeddings"),
        ("blocks.11.attn.qkv.bias", "blocks.11"), ("norm.weight", "norm"), ("fc_norm.bias", "norm"),
        ("blocks", "embeddings"), ("norm_pre.weight", "embeddings"),
    ],
)  # fmt: skip
def test_every_tensor_belongs_to_a_part(name, layer):
    assert layer_of(name) == layer


def test_parts_stand_in_the_order_of_the_network():
    parts = ["norm", "blocks.10", "blocks.2", "embeddings", "blocks.0"]
    assert sorted(parts, key=place_of) == ["embeddings", "blocks.0", "blocks.2", "blocks.10", "norm"]
    assert place_of("blocks.x") == place_of("blocks.²") == place_of("blocks.9999999999") == (1,)


def test_the_same_weights_are_frozen():
    compared = match(moved(), BASE)
    assert [layer.layer for layer in compared.layers] == ["embeddings", *BLOCKS, "norm"]
    assert sum(layer.tensors for layer in compared.layers) == len(BASE)
    assert all((layer.equal, layer.change, layer.changed) == (layer.tensors, 0, ()) for layer in compared.layers)
    assert (compared.frozen, compared.changed, compared.resized, compared.unrelated) == (True, (), False, False)


def test_what_moved_is_named_with_how_far():
    names = "blocks.1.mlp.fc1.weight", "blocks.1.attn.proj.bias"
    compared = match(moved(*names), BASE)
    (layer,) = [layer for layer in compared.layers if layer.changed]
    assert (layer.layer, layer.changed, layer.tensors - layer.equal) == ("blocks.1", tuple(sorted(names)), 2)
    whole = torch.cat([v.flatten() for n, v in BASE.items() if n.startswith("blocks.1.")]).norm()
    n = sum(BASE[name].numel() for name in names)
    assert layer.change == pytest.approx(0.25 * n**0.5 / float(whole), rel=1e-5)
    assert not compared.frozen


def test_one_bit_is_a_change():
    state = moved()
    state["norm.bias"].view(torch.int32)[0] ^= 1
    assert match(state, BASE).changed == ("norm.bias",)


def test_a_tensor_that_only_one_has_differs():
    state = moved()
    state["blocks.0.ls1.gamma"] = state.pop("blocks.0.norm1.bias")
    compared = match(state, BASE)
    assert compared.changed == ("blocks.0.ls1.gamma", "blocks.0.norm1.bias")
    assert math.isnan(next(layer.change for layer in compared.layers if layer.layer == "blocks.0"))


def test_another_shape_and_values_that_are_no_numbers_differ():
    for value in (random(7, seed=1), torch.full_like(BASE["norm.bias"], torch.nan)):
        compared = match({**moved(), "norm.bias": value}, BASE)
        assert compared.changed == ("norm.bias",)
        assert math.isnan(compared.layers[-1].change)
        assert not compared.unrelated


def test_a_resized_position_grid_is_neither_equal_nor_moved():
    compared = match({**moved(), "pos_embed": random(1, 17, BASE["pos_embed"].shape[-1], seed=1)}, BASE)
    assert (compared.resized, compared.frozen) == (True, True)
    embeddings = compared.layers[0]
    assert (embeddings.layer, embeddings.tensors, embeddings.equal, embeddings.change) == ("embeddings", 4, 3, 0)
    methods, why, notes = concluded(found("linear", "ft"), compared)
    assert methods == ("linear",)
    assert why == {"method": "every backbone tensor but the positions equals the pretrained one bit for bit"}
    assert notes == ("The position grids differ in size: the images had another size than in pretraining.",)


def test_positions_alone_are_compared_too():
    (layer,) = match({"pos_embed": torch.ones(1, 5, 2)}, {"pos_embed": torch.ones(1, 10, 2)}).layers
    assert (layer.tensors, layer.equal) == (1, 0)
    assert math.isnan(layer.change)


def test_independent_weights_are_unrelated_and_nothing_is_concluded():
    other = {name: value for name, value in timm(Network(seed=7)).items() if name in BASE}
    compared = match(other, BASE)
    assert compared.unrelated
    methods, why, notes = concluded(found("linear", "ft"), compared)
    assert (methods, why) == (("linear", "ft"), {})
    assert "did not start from them" in notes[0]


@pytest.mark.parametrize("names", [[n for n in BASE if n.startswith("blocks.0.")], list(BASE)], ids=["one", "all"])
def test_a_finetuned_backbone_is_related(names):
    assert not match(moved(*names, by=0.01), BASE).unrelated
    assert match(moved(*names, by=9.0), BASE).unrelated == (len(names) == len(BASE))


@pytest.mark.parametrize("change", ["wider", "deeper", "another kind"])
def test_another_networks_weights_conclude_nothing(change):
    base = {
        "wider": {name: torch.cat([value, value], dim=-1) for name, value in BASE.items()},
        "deeper": {**BASE, "blocks.99.norm1.bias": BASE["blocks.0.norm1.bias"]},
        "another kind": {name.replace("blocks.", "layers.0.blocks."): value for name, value in BASE.items()},
    }[change]
    compared = match(moved(), base)
    assert compared.unrelated
    assert not compared.resized
    methods, why, notes = concluded(found("linear", "ft"), compared)
    assert (methods, why) == (("linear", "ft"), {})
    assert "another network's" in notes[0]


@pytest.mark.parametrize("names", [("cls_token",), ("blocks.0.norm1.bias", "norm.bias")], ids=["cls", "biases"])
def test_prompts_with_a_token_or_biases_besides_are_not_mixed(names):
    """KMnP's cls+prompt and prompt+bias: methods that are none of those known here."""
    compared = match(moved(*names, by=0.01), BASE)
    methods, why, notes = concluded(found("vpt_deep", "mixed"), compared)
    assert (methods, why) == (("vpt_deep", "mixed"), {})
    assert "backbone tensors moved" in notes[0]


def test_nothing_is_related_to_nothing():
    assert not match({}, {}).unrelated


ALL = ("ft", "linear", "partial_k", "bias", "mixed", "vpt_deep")
LAST = f"blocks.{DEPTH - 1}.mlp.fc2"


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ((), ("linear", "vpt_deep")),
        (tuple(BASE), ("ft", "mixed")),
        (("cls_token",), ("ft",)),
        (("blocks.0.norm1.weight", f"{LAST}.weight"), ("ft", "mixed")),
        ((f"{LAST}.weight", f"{LAST}.bias"), ("partial_k", "mixed")),
        (("norm.weight",), ("partial_k",)),
        (("blocks.0.norm1.bias", "norm.bias"), ("bias",)),
        (("patch_embed.proj.bias",), ("bias",)),
    ],
    ids=["nothing", "all", "cls", "first", "last block", "norm", "biases", "patch bias"],
)
def test_methods_that_move_what_moved_remain(names, left):
    methods, why, notes = concluded(found(*ALL), match(moved(*names), BASE))
    assert set(methods) == set(left)
    moved_many = f"{len(names)} backbone tensors moved"
    assert why["method"] == (moved_many if names else "every backbone tensor equals the pretrained one bit for bit")
    assert notes == ()


def test_what_disagrees_is_told_and_kept():
    frozen = match(moved(), BASE)
    methods, why, notes = concluded(found("ft", sources={"method": "logs.txt:3"}), frozen)
    assert (methods, why) == (("ft",), {})
    assert notes == ("logs.txt:3 say ft, but every backbone tensor equals the pretrained one bit for bit.",)
    _, _, notes = concluded(found("linear", "vpt_deep"), match(moved("cls_token"), BASE))
    assert notes == ("The tensors say linear or vpt_deep, but 1 backbone tensors moved.",)


@pytest.mark.parametrize("methods", [("lora",), ("adapter",), ()])
def test_nothing_is_concluded_of_what_was_merged(methods):
    assert concluded(found(*methods), match(moved("cls_token"), BASE)) == (methods, {}, ())
