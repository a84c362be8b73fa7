"""Rescaling two layers leaves the function as it is: raw curvature moves, relative curvature does not."""

import numpy as np
import pytest
import torch
from torch import nn

from vptft.errors import SettingsError
from vptft.why.landscape.curvature.exact import exact_matrix
from vptft.why.landscape.curvature.function import Batch, LossFunction
from vptft.why.landscape.curvature.hvp import HessianProducts
from vptft.why.landscape.curvature.scaling import SCALINGS, scaled, sizes
from vptft.why.landscape.curvature.sharpness import of_size, sharpness


def relu_net(scale):
    """``W2 relu(W1 x + b1) + b2`` with the first layer ``scale`` times as large and the second as much smaller."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        net[0].weight.mul_(scale)
        net[0].bias.mul_(scale)
        net[2].weight.div_(scale)
    return net


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.randn(12, 4, dtype=torch.float64, generator=generator), torch.arange(12) % 3)


def measures(net, batch, scaling):
    """Sharpness, m-sharpness, trace and largest eigenvalue."""
    products = HessianProducts(net, dict(net.named_parameters()), [batch])
    matrix = exact_matrix(scaled(products, products.function, scaling))
    return np.array([
        sharpness(products.function, [batch], scaling=scaling),
        sharpness(products.function, of_size(batch, 4), scaling=scaling),
        np.trace(matrix), np.linalg.eigvalsh(matrix)[-1],
    ])  # fmt: skip


def test_rescaled_layers_move_raw_values_and_no_scale_invariant_one(batch):
    plain, rescaled = relu_net(1.0), relu_net(10.0)
    assert torch.allclose(plain(batch.images), rescaled(batch.images), atol=1e-12)
    for scaling in SCALINGS:
        ratio = measures(rescaled, batch, scaling) / measures(plain, batch, scaling)
        if scaling == "none":
            assert (np.abs(ratio - 1) > 0.5).all(), ratio
        else:
            np.testing.assert_allclose(ratio, 1, rtol=1e-9)


def test_single_units_can_be_rescaled_too(batch):
    plain, rescaled = relu_net(1.0), relu_net(1.0)
    with torch.no_grad():
        factors = torch.tensor([0.1, 0.5, 1, 2, 5, 10], dtype=torch.float64)
        rescaled[0].weight.mul_(factors[:, None])
        rescaled[0].bias.mul_(factors)
        rescaled[2].weight.div_(factors)
    np.testing.assert_allclose(measures(rescaled, batch, "element"), measures(plain, batch, "element"), rtol=1e-9)


def test_sizes_are_per_row_token_or_element():
    weights = {
        "w": torch.tensor([[3.0, 4.0], [0.0, 2.0]]),
        "prompts": torch.tensor([[[1.0, -7.0]]]),
        "b": -torch.ones(2),
    }
    root = 2**0.5
    filters = sizes(weights, "filter")
    assert filters["w"].flatten().tolist() == pytest.approx([5 / root, 5 / root, root, root])
    assert filters["prompts"].flatten().tolist() == pytest.approx([5, 5])
    assert filters["b"].tolist() == [1, 1]
    assert sizes(weights, "element")["prompts"].flatten().tolist() == [1, 7]
    assert sizes(weights, "none")["w"].flatten().tolist() == [1] * 4
    with pytest.raises(SettingsError, match="A scaling is one of element, filter, none"):
        sizes(weights, "layer")


def test_scaled_products_are_those_of_d_h_d(batch):
    net = relu_net(2.0)
    products = HessianProducts(net, dict(net.named_parameters()), [batch])
    d = np.abs(torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy())
    found = exact_matrix(scaled(products, products.function, "element"))
    np.testing.assert_allclose(found, d[:, None] * exact_matrix(products) * d, atol=1e-12)


@pytest.mark.parametrize("scaling", ["element", "none"])
def test_a_short_step_rises_by_its_length_times_the_gradients(batch, scaling):
    net = relu_net(1.0)
    function = LossFunction(net, dict(net.named_parameters()))
    _, gradient = function.gradient(batch)
    d = function.weights().abs() if scaling == "element" else torch.ones(function.size)
    found = sharpness(function, [batch], scaling=scaling, rho=1e-6)
    assert found == pytest.approx(1e-6 * float((d * gradient).norm()), rel=1e-4)


def test_a_quadratic_has_its_known_sharpness():
    """For L = w^2 at w, a step rho uphill gives (w + rho)^2."""

    class Bowl(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x):
            return self.w.expand(len(x))

    def of(w):
        bowl = Bowl()
        torch.nn.init.constant_(bowl.w, w)
        return LossFunction(bowl, dict(bowl.named_parameters()), loss=lambda out, y: (out**2).mean())

    function, one = of(3.0), Batch(torch.zeros(4), torch.zeros(4))
    assert sharpness(function, [one], scaling="none", rho=0.1) == pytest.approx(3.1**2 - 9)
    assert sharpness(function, [one], scaling="element", rho=0.1) == pytest.approx(3.3**2 - 9)
    assert sharpness(of(0.0), [one], scaling="none") == 0.0


def test_smaller_parts_rise_more(batch):
    function = LossFunction(net := relu_net(1.0), dict(net.named_parameters()))
    rises = [sharpness(function, of_size(batch, m), scaling="element", rho=0.05) for m in (12, 4, 1)]
    assert rises == sorted(rises)
    assert rises[0] < rises[2]
    assert [len(part.labels) for part in of_size(batch, 5)] == [5, 5, 2]


def test_what_cannot_be_asked_is_said(batch):
    function = LossFunction(net := relu_net(1.0), dict(net.named_parameters()))
    with pytest.raises(SettingsError, match="positive step length"):
        sharpness(function, [batch], rho=0)
    with pytest.raises(SettingsError, match="one image at least"):
        of_size(batch, 0)
