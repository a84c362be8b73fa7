"""Tiny prompted and plain models, and noise for them to see."""

import pytest
import torch

from oracles.vit import make_vit
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel


def make_model(*, prompts=0, kind="cls", depth=3, seed=0, **spec):
    spec = PromptSpec(**{"length": prompts, "layers": tuple(range(depth)), **spec}) if prompts else None
    return TunedModel(make_vit(kind, depth=depth, seed=seed), n_classes=3, prompts=spec).eval()


@pytest.fixture
def model():
    """``model(prompts=4, kind="cls", depth=3, seed=0, layers=(0,))``."""
    return make_model


@pytest.fixture
def images():
    """Forty images of noise."""
    return torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(1))
