"""Sizes of a plain vision transformer: what they promise is what timm builds, and they are read off it again."""

import json
from dataclasses import replace

import pytest
import torch

from vptft.errors import WeightsError
from vptft.models.shape import STANDARD, VitShape, check_names, shape_of

PLAIN = VitShape(width=12, depth=2, mlp_width=48, patch=4, grid=(3, 3), heads=3)
SHAPES = {
    "plain": PLAIN,
    "registers": replace(PLAIN, registers=2),
    "registers without positions": replace(PLAIN, grid=(4, 4), registers=4, prefix_positions=False),
    "cls without position": replace(PLAIN, prefix_positions=False),
    "layer scale": replace(PLAIN, layer_scale=True),
    "no qkv bias": replace(PLAIN, qkv_bias=False),
    "average": replace(PLAIN, pooling="avg", pool_then_norm=True),
    "average without cls": replace(PLAIN, class_token=False, pooling="avg", pool_then_norm=True),
    "average of normed, without cls": replace(PLAIN, class_token=False, pooling="avg"),
    "odd mlp": replace(PLAIN, mlp_width=37),
    "narrow mlp": replace(PLAIN, mlp_width=1),
    "one head": replace(PLAIN, heads=1),
    "all": replace(PLAIN, registers=3, layer_scale=True, qkv_bias=False, pooling="avg", pool_then_norm=True),
}


def state_of(shape=PLAIN):
    return shape.build().state_dict()


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_promised_is_what_timm_builds(name):
    built = {key: tuple(value.shape) for key, value in state_of(SHAPES[name]).items()}
    assert SHAPES[name].parameters() == built


@pytest.mark.parametrize("name", SHAPES)
def test_sizes_are_read_off_what_was_built(name):
    shape = SHAPES[name]
    found = shape_of(state_of(shape), source="x")
    assert found.heads is None
    assert found.with_heads(shape.heads) == shape
    check_names(state_of(shape), found, source="x")


def test_average_pooling_before_the_norm_cannot_be_seen_with_a_cls_token():
    shape = replace(PLAIN, pooling="avg")
    assert shape_of(state_of(shape), source="x").pooling == "token"


@pytest.mark.parametrize("width", range(1, 60, 7))
def test_any_mlp_width_is_built_exactly(width):
    for d in (12, 21, 48):
        shape = VitShape(width=d, depth=1, mlp_width=width, patch=2, grid=(1, 1), heads=3)
        assert shape.build().blocks[0].mlp.fc1.out_features == width


def test_the_built_model_takes_its_image_size_and_eps():
    shape = replace(PLAIN, grid=(2, 5), norm_eps=1e-3)
    assert shape.image_size == (8, 20)
    vit = shape.build()
    assert vit(torch.zeros(1, 3, 8, 20)).shape == (1, 12)
    assert {m.eps for m in vit.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-3}
    assert vit.blocks[0].attn.num_heads == 3


@pytest.mark.parametrize("sizes", STANDARD)
def test_standard_sizes_have_a_name_and_heads_of_64_or_more(sizes):
    width, depth, mlp_width = sizes
    shape = VitShape(width=width, depth=depth, mlp_width=mlp_width, patch=16, grid=(14, 14))
    letter, heads = shape.standard
    assert shape.name == f"ViT-{letter}/16"
    assert width % heads == 0
    assert width // heads >= 64


@pytest.mark.parametrize(
    ("timm_name", "patch", "name"),
    [("vit_tiny_patch16_224", 16, "ViT-Ti/16"), ("vit_base_patch32_224", 32, "ViT-B/32")],
)
def test_names_are_those_of_timms_models(timm_name, patch, name):
    import timm

    with torch.device("meta"):
        model = timm.create_model(timm_name, num_classes=0)
    shape = shape_of(model.state_dict(), source="x")
    assert shape.name == name
    assert shape.standard[1] == model.blocks[0].attn.num_heads
    assert shape.image_size == (224, 224)


def test_other_sizes_are_told_by_number():
    assert PLAIN.standard is None
    assert PLAIN.name == "ViT of width 12, 2 layers, patch 4"


@pytest.mark.parametrize("name", SHAPES)
def test_plain_values_come_back(name):
    values = SHAPES[name].to_json()
    assert VitShape.from_json(json.loads(json.dumps(values))) == SHAPES[name]


@pytest.mark.parametrize("heads", [0, -3, 5, 24])
def test_heads_must_divide_the_width(heads):
    with pytest.raises(WeightsError, match=f"{heads} heads do not divide a width of 12"):
        PLAIN.with_heads(heads)


def test_no_heads_no_model():
    with pytest.raises(WeightsError, match=r"(?s)attention heads of this ViT of width 12.*Pass --heads"):
        replace(PLAIN, heads=None).build()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("patch_embed.proj.weight", None, r"patch_embed\.proj\.weight is missing"),
        ("patch_embed.proj.weight", (12, 48), r"patch_embed\.proj\.weight has shape \(12, 48\)"),
        ("patch_embed.proj.weight", (12, 3, 4, 5), "patches of 4 x 5 pixels; square ones"),
        ("patch_embed.proj.weight", (0, 3, 4, 4), r"has shape \(0, 3, 4, 4\)"),
        ("pos_embed", None, "pos_embed is missing"),
        ("pos_embed", (10, 12), r"pos_embed has shape \(10, 12\)"),
        ("pos_embed", (1, 12, 12), "has 12 positions, which is no square grid with 1 other tokens"),
        ("reg_token", (2, 12), r"reg_token has shape \(2, 12\)"),
        ("blocks.0.mlp.fc1.weight", None, r"blocks\.0\.mlp\.fc1\.weight is missing"),
        ("blocks.3.norm1.weight", (12,), r"has blocks \[0, 1, 3\]; expected 0, 1, 2"),
    ],
)
def test_what_is_no_plain_vision_transformer_is_named(name, value, message):
    state = state_of()
    state.pop(name, None)
    if value is not None:
        state[name] = torch.zeros(value)
    with pytest.raises(WeightsError, match=f"x .*{message}"):
        shape_of(state, source="x")


def test_no_blocks_are_no_vision_transformer():
    state = {name: value for name, value in state_of().items() if not name.startswith("blocks.")}
    with pytest.raises(WeightsError, match=r"has blocks \[\]; expected"):
        shape_of({**state, "blocks.12345.x": torch.zeros(1), "blocks.²": torch.zeros(1)}, source="x")


def test_one_position_for_the_cls_of_several_prefix_tokens_is_understood():
    state = {**state_of(replace(PLAIN, registers=2)), "pos_embed": torch.zeros(1, 10, 12)}
    found = shape_of(state, source="x")
    assert (found.grid, found.prefix_positions, found.registers) == ((3, 3), False, 2)


def test_names_that_do_not_fit_are_counted_and_the_first_named():
    state = state_of()
    left = {f"extra.{i}": torch.zeros(1) for i in range(6)}
    for name in ("blocks.0.norm1.bias", "cls_token"):
        del state[name]
    state["norm.bias"] = torch.zeros(5)
    with pytest.raises(WeightsError) as error:
        check_names({**state, **left}, PLAIN, source="x")
    assert error.value.problem == (
        "x does not fit a ViT of width 12, 2 layers, patch 4: 2 missing (blocks.0.norm1.bias, cls_token); "
        "6 left over (extra.0, extra.1, extra.2, extra.3); 1 of another shape (norm.bias (5,) instead of (12,))."
    )
