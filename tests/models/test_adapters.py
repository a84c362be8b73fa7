"""Adapters beside a backbone's modules: what they add, and that the backbone keeps its names."""

from dataclasses import replace

import pytest
import torch

from vptft.errors import WeightsError
from vptft.models.adapters import Convpass, Pfeiffer, attach
from vptft.models.blocks import is_plain
from vptft.models.shape import VitShape

SHAPE = VitShape(width=12, depth=2, mlp_width=24, patch=4, grid=(2, 3), heads=3)
GENERATOR = torch.Generator().manual_seed(5)


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR) * 0.5


def tensors(part="mlp", *, block=0, rank=4, conv=False):
    root = f"blocks.{block}.{part}.adapter."
    shapes = {"down.weight": (rank, 12), "down.bias": (rank,), "up.weight": (12, rank), "up.bias": (12,)}
    if conv:
        shapes |= {"conv.weight": (rank, rank, 3, 3), "conv.bias": (rank,)}
    return {root + name: random(*shape) for name, shape in shapes.items()}


@pytest.fixture
def vit():
    vit = SHAPE.build().eval()
    with torch.no_grad():
        for value in vit.parameters():
            value.copy_(random(*value.shape))
    return vit


def of(state, root):
    return {name.removeprefix(root): value.double() for name, value in state.items() if name.startswith(root)}


def test_a_bottleneck_takes_what_the_mlp_says(vit):
    state, x = tensors(), random(2, 7, 12)
    bare = vit.blocks[0].mlp(x).double()
    attach(vit, state, kind="pfeiffer")
    at = of(state, "blocks.0.mlp.adapter.")
    low = bare @ at["down.weight"].T + at["down.bias"]
    low = low * 0.5 * (1 + torch.erf(low / 2**0.5))
    expected = bare + low @ at["up.weight"].T + at["up.bias"]
    torch.testing.assert_close(vit.blocks[0].mlp(x).double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("part", ["attn", "mlp"])
def test_a_convolution_takes_what_the_module_takes(part, vit):
    state, x, scale = tensors(part, block=1, conv=True), random(2, 7, 12), 0.3
    bare = getattr(vit.blocks[1], part)(x).double()
    attach(vit, state, kind="convpass", scale=scale)
    at = of(state, f"blocks.1.{part}.adapter.")
    low = x.double() @ at["down.weight"].T + at["down.bias"]
    low = low * torch.sigmoid(1.702 * low)
    mixed = at["conv.bias"].expand(2, 7, 4).clone()
    mixed[:, 0] += low[:, 0] @ at["conv.weight"][:, :, 1, 1].T
    for to in range(6):
        for near in range(6):
            row, column = near // 3 - to // 3, near % 3 - to % 3
            if abs(row) <= 1 and abs(column) <= 1:
                mixed[:, 1 + to] += low[:, 1 + near] @ at["conv.weight"][:, :, row + 1, column + 1].T
    mixed = mixed * torch.sigmoid(1.702 * mixed)
    expected = bare + scale * (mixed @ at["up.weight"].T + at["up.bias"])
    torch.testing.assert_close(getattr(vit.blocks[1], part)(x).double(), expected, rtol=0, atol=1e-4)


def test_the_backbone_keeps_its_names_and_values(vit):
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    state = {**tensors("attn", conv=True), **tensors("mlp", block=1, rank=3, conv=True)}
    attach(vit, state, kind="convpass", scale=2.0)
    after = vit.state_dict()
    assert after.keys() == before.keys() | state.keys()
    assert all(torch.equal(after[name], value) for name, value in {**before, **state}.items())
    assert isinstance(vit.blocks[0].attn.adapter, Convpass)
    assert vit.blocks[1].mlp.adapter.scale == 2.0
    assert not hasattr(vit.blocks[0].mlp, "adapter")
    assert not is_plain(vit.blocks[0])


def test_a_zero_adapter_changes_nothing(vit):
    x = random(2, 3, 8, 12)
    before = vit(x)
    attach(vit, {name: torch.zeros_like(value) for name, value in tensors().items()}, kind="pfeiffer")
    assert torch.equal(vit(x), before)
    assert isinstance(vit.blocks[0].mlp.adapter, Pfeiffer)


def without(state, end):
    return {name: value for name, value in state.items() if not name.endswith(end)}


@pytest.mark.parametrize(
    ("state", "kind", "message"),
    [
        (tensors(block=7), "pfeiffer", r"block 7 does not fit: the backbone has 2 blocks.*has shape \(4, 12\)"),
        (without(tensors(), "down.weight"), "pfeiffer", "first weight is missing"),
        ({**tensors(), "blocks.0.mlp.adapter.down.weight": random(4)}, "pfeiffer", r"has shape \(4,\)"),
        (tensors(rank=0), "pfeiffer", r"has shape \(0, 12\)"),
        (without(tensors(), "up.bias"), "pfeiffer", r"missing \['blocks.0.mlp.adapter.up.bias'\]"),
        (tensors(), "convpass", r"missing \['blocks.0.mlp.adapter.conv.weight', 'blocks.0.mlp.adapter.conv.bias'\]"),
        (tensors(conv=True), "pfeiffer", r"left over \['blocks.0.mlp.adapter.conv.weight'"),
        ({**tensors(), "blocks.0.mlp.adapter.up.weight": random(12, 5)}, "pfeiffer", "(?s)do not fit: .*size mismatch"),
        ({**tensors(), "elsewhere": random(2)}, "pfeiffer", r"left over \['elsewhere'\]"),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_what_does_not_fit_is_said(state, kind, message, vit):
    with pytest.raises(WeightsError, match=message):
        attach(vit, state, kind=kind)


@pytest.mark.parametrize(("change", "tokens"), [({"registers": 2}, 3), ({"class_token": False, "pooling": "avg"}, 0)])
def test_convpass_needs_exactly_a_cls_token(change, tokens):
    with pytest.raises(WeightsError, match=rf"one token before the patches; this backbone has {tokens}\."):
        attach(replace(SHAPE, **change).build(), tensors(conv=True), kind="convpass")
