"""Tiny prompted and plain models whose weights are far from 0, and a sample of noise."""

import pytest
import torch

from oracles.vit import make_vit
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.landscape.evaluation import Sample


def make_model(*, prompts=0, kind="cls", depth=2, seed=0, **spec):
    spec = PromptSpec(**{"length": prompts, "layers": tuple(range(depth)), **spec}) if prompts else None
    model = TunedModel(make_vit(kind, depth=depth, seed=seed), n_classes=3, prompts=spec).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.fixture
def model():
    """``model(prompts=4, kind="cls", depth=2, seed=0)``: random weights, head included."""
    return make_model


@pytest.fixture
def sample():
    """Twelve images in six groups."""
    generator = torch.Generator().manual_seed(1)
    return Sample(
        split="train", images=torch.randn(12, 3, 32, 32, generator=generator), labels=torch.arange(12) % 3,
        groups=torch.arange(12).div(2, rounding_mode="floor").numpy(),
    )  # fmt: skip
