import numpy as np
import pytest
import torch

from oracles.vit import make_vit, prompted_forward
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.heads import measure_heads
from vptft.why.attention.methods import explain


def build(kind, layers):
    spec = None if layers is None else PromptSpec(length=4, layers=layers)
    model = TunedModel(make_vit(kind, depth=3), n_classes=3, prompts=spec)
    return model.double().eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("layers", [None, (0,), (0, 1, 2), (1, 2)], ids=["ft", "shallow", "deep", "last two"])
@pytest.mark.parametrize("kind", ["cls", "average"])
def test_each_number_is_its_definition_summed_one_by_one(kind, layers, images):
    model = build(kind, layers)
    found = measure_heads(model, images, with_maps=True, batch_size=2)
    tokens = torch.zeros(1, 0, 24) if layers is None else model.prompts.tokens
    _, attentions = prompted_forward(model.backbone, tokens, layers or (), images)
    n_prefix = 1 if kind == "cls" else 0
    for layer, attention in enumerate(attentions):
        A, size = attention[2, 1].detach().numpy(), attention.shape[-1]
        first = size - 16
        distance, entropy, share = [], [], []
        for i in range(16):
            row = A[first + i]
            away = [8 * np.hypot(i // 4 - j // 4, i % 4 - j % 4) for j in range(16)]
            distance.append((row[first:] * away).sum() / row[first:].sum())
            entropy.append(-sum(p * np.log2(p) for p in row if p > 0))
            share.append(row[n_prefix:first].sum())
        read = A[0] if kind == "cls" else A[first:].mean(0)
        assert found.distance_pixels[2, layer, 1] == pytest.approx(np.mean(distance))
        assert found.distance_patches[2, layer, 1] == pytest.approx(np.mean(distance) / 8)
        assert found.entropy_bits[2, layer, 1] == pytest.approx(np.mean(entropy))
        assert found.prompt_share[2, layer, 1] == pytest.approx(np.mean(share), abs=1e-12)
        assert found.query_prompt_share[2, layer, 1] == pytest.approx(read[n_prefix:first].sum(), abs=1e-12)
        assert found.maps[2, layer, 1].ravel() == pytest.approx(read[first:])
        assert found.tokens[layer] == size
    frame = found.frame()
    assert frame.groupby("layer").size().tolist() == [3, 3, 3]
    row = frame.query("layer == 1 and head == 2").squeeze()
    assert row["entropy_bits"] == pytest.approx(found.entropy_bits[:, 1, 2].mean())


def test_the_rows_are_those_that_cls_attention_shows(images):
    model = build("cls", (0, 1, 2))
    maps = measure_heads(model, images, with_maps=True).maps
    for layer, head in ((-1, None), (0, None), (1, 2)):
        shown = explain(model, images, method="cls_attention", layer=layer, head=head)
        expected = maps[:, layer].mean(1) if head is None else maps[:, layer, head]
        assert shown.values == pytest.approx(expected, abs=1e-12)
    assert measure_heads(model, images).maps is None
