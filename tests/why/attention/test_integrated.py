import numpy as np
import pytest
import torch

from oracles.vit import make_vit
from vptft.errors import SettingsError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.methods import explain

TARGET, AGAINST = np.array([0, 2, 1]), np.array([1, 0, 2])


def build(layers=(0, 1)):
    model = TunedModel(make_vit("cls", depth=2), n_classes=3, prompts=PromptSpec(length=4, layers=layers))
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model.double().eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_it_is_the_integral_of_the_gradient_by_gauss_legendre(at_once, images):
    model, baseline = build(), -0.4
    nodes, weights = np.polynomial.legendre.leggauss(6)
    total = torch.zeros_like(images)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        x = (baseline + node * (images - baseline)).requires_grad_()
        logits = model(x)
        score = logits[range(3), TARGET] - logits[range(3), AGAINST]
        total += weight * torch.autograd.grad(score.sum(), x)[0]
    pixels = ((images - baseline) * total).sum(1)
    expected = pixels.unflatten(1, (4, 8)).unflatten(3, (4, 8)).sum(dim=(2, 4))
    found = explain(
        model, images, method="integrated_gradients", target=TARGET, against=AGAINST, steps=6, baseline=baseline,
        at_once=at_once, batch_size=2,
    )  # fmt: skip
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        ends = [model(x) for x in (images, torch.full_like(images, baseline))]
    change = [(end[range(3), TARGET] - end[range(3), AGAINST]).numpy() for end in ends]
    np.testing.assert_allclose(found.change, change[0] - change[1], rtol=1e-9)
    np.testing.assert_allclose(found.gap, expected.sum((1, 2)).numpy() - found.change, rtol=1e-4, atol=1e-6)


def test_the_gap_closes_with_more_steps(images):
    gaps = [
        np.abs(explain(build(), images, method="integrated_gradients", target=TARGET, steps=steps).gap).max()
        for steps in (2, 100)
    ]
    assert gaps[0] > 1e-2
    assert gaps[1] < 0.01 * gaps[0]


def test_one_step_is_no_integral(images):
    with pytest.raises(SettingsError, match="at least 2 steps, not 1"):
        explain(build(), images, method="integrated_gradients", target=TARGET, steps=1)
