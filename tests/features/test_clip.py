"""The code path of the CLIP towers, with shallow random ones: the hub is never asked."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from vptft.errors import WeightsError
from vptft.features.clip import TOWERS, load_clip

# CLIP's published normalisation (Radford et al. 2021), not read from timm.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture
def towers(monkeypatch):
    """What timm builds from here on: the tower asked for, one layer deep, with random weights."""
    real, built = timm.create_model, []

    def shallow(name, *, pretrained):
        assert pretrained
        torch.manual_seed(1)
        built.append(real(name, pretrained=False, depth=1, embed_dim=48, num_heads=4))
        return built[-1]

    monkeypatch.setattr(timm, "create_model", shallow)
    return built


@pytest.mark.parametrize(
    ("name", "size", "width"),
    [("clip-b32", 224, 512), ("clip-b16", 224, 512), ("clip-l14", 224, 768), ("clip-l14-336", 336, 768)],
)
def test_features_are_the_projected_class_token(towers, name, size, width):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    extractor = load_clip(name)
    inputs = extractor.prepare(Image.fromarray(pixels)).unsqueeze(0)
    found = extractor.embed(inputs)
    model = towers[0]
    normalised = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    token = model.forward_features(torch.tensor(normalised, dtype=torch.float32).permute(2, 0, 1).unsqueeze(0))[:, 0]
    expected = token @ model.head.weight.T + model.head.bias
    assert found.shape == (1, width)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert extractor.name == extractor.space.extractor == name
    assert extractor.distance_name == f"FD ({name})"
    assert extractor.space.resize == f"{size} px centre crop, bicubic antialiased"


def test_every_tower_is_openais_with_its_own_activation():
    for architecture in TOWERS.values():
        assert timm.models.get_pretrained_cfg(architecture).classifier == "head"
        with torch.device("meta"):
            model = timm.create_model(architecture, depth=1)
        assert architecture.endswith(".openai")
        assert {type(each).__name__ for each in model.modules()} & {"GELU", "QuickGELU"} == {"QuickGELU"}
        assert isinstance(model.head, nn.Linear)


def test_the_space_follows_the_weights(towers):
    first = load_clip("clip-b32").space
    assert load_clip("clip-b32").space == first
    towers[0].head.weight.add_(1.0)
    assert len(first.weights) == 64
    assert load_clip("clip-b16").space.difference(first).startswith("extractor (clip-b16 and clip-b32) and weights (")


def test_without_a_hub_the_alternative_is_named(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    match = r"clip-b32 needs the weights timm/vit_base\S+, which .*no route to host\n.*--extractor dinov2-s"
    with pytest.raises(WeightsError, match=match) as caught:
        load_clip("clip-b32")
    assert isinstance(caught.value.__cause__, OSError)


def test_a_tower_without_its_projection_is_refused(monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: timm.models.VisionTransformer(depth=1, num_classes=0))
    with pytest.raises(WeightsError, match=r"came without CLIP's projection.*its head is Identity, expected Linear"):
        load_clip("clip-b16")
