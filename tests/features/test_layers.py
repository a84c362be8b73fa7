"""Features by layer and kind, against tokens computed by concatenation."""

import numpy as np
import pytest
import timm
import torch

from oracles.vit import make_vit
from vptft.errors import NotApplicable
from vptft.features.layers import BATCH, Where, layer_features, read_kind
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel

IMAGES = torch.randn(BATCH + 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def make(kind="cls", layers=None, prefix_form=True):
    spec = None if layers is None else PromptSpec(length=4, layers=layers)
    return TunedModel(make_vit(kind, depth=3, seed=0), n_classes=3, prompts=spec, prefix_form=prefix_form).eval()


@pytest.mark.parametrize("kind", ["cls", "register", "average"])
@pytest.mark.parametrize("layers", [None, (0,), (0, 1, 2)], ids=["plain", "shallow", "deep"])
def test_features_are_means_over_the_layouts_positions(kind, layers):
    found = layer_features(make(kind, layers), IMAGES)
    whole = make(kind, layers, prefix_form=False)
    with torch.inference_mode():
        tokens = whole.tokens(IMAGES)
    for where, values in found.items():
        at = getattr(whole.layout, where.kind)
        expected = tokens[where.layer][:, at].mean(dim=1).numpy()
        np.testing.assert_allclose(values, expected, atol=2e-5)
    expected = {"cls", "patches", "prompts"} - ({"cls"} if kind == "average" else set())
    assert {where.kind for where in found} == expected - (set() if layers == (0,) else {"prompts"})


def test_layers_that_were_asked_for_and_how_far_it_is():
    seen = []
    found = layer_features(make(), IMAGES, layers=(2,), on_batch=lambda *each: seen.append(each))
    assert set(found) == {Where(2, "cls"), Where(2, "patches")}
    assert seen == [(BATCH, BATCH + 3), (BATCH + 3, BATCH + 3)]


def test_the_head_reads_cls_or_patches():
    assert read_kind(make("cls")) == "cls"
    assert read_kind(make("average")) == "patches"


def test_a_backbone_without_one_set_of_tokens_is_refused():
    model = TunedModel(timm.create_model("resnet10t", num_classes=0), n_classes=2).eval()
    with pytest.raises(NotApplicable, match="not a plain vision transformer"):
        layer_features(model, IMAGES[:2])
