"""Products with the Hessian against finite differences in float64, closed forms and another package."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vptft.errors import NotApplicable, SettingsError, UnknownNameError
from vptft.why.landscape.curvature.exact import exact_matrix
from vptft.why.landscape.curvature.function import Batch, LossFunction
from vptft.why.landscape.curvature.hvp import GaussNewtonProducts, HessianProducts
from vptft.why.landscape.parameters import ALL, HEAD, PROMPTS, space
from why.landscape.curvature.conftest import make_batch


def backward(model, parameters, batch):
    """Gradient by the plainest way there is."""
    model.zero_grad()
    F.cross_entropy(model(batch.images), batch.labels).backward()
    found = torch.cat([parameter.grad.reshape(-1) for parameter in parameters.values()])
    model.zero_grad()
    return found.clone()


def by_differences(model, parameters, batch, vector, step=1e-5):
    """Central differences of plain gradients at weights that are moved by hand."""
    sides = []
    for sign in (1, -1):
        parts = vector.split([parameter.numel() for parameter in parameters.values()])
        start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        with torch.no_grad():
            for parameter, part in zip(parameters.values(), parts, strict=True):
                parameter.add_(sign * step * part.view_as(parameter))
        sides.append(backward(model, parameters, batch))
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(start[name])
    return (sides[0] - sides[1]) / (2 * step)


@pytest.mark.parametrize("name", [PROMPTS, HEAD, ALL, "block 1"])
def test_a_product_is_the_derivative_of_the_gradient_along_the_vector(vit, name):
    parameters, batch = space(vit, name), make_batch()
    products = HessianProducts(vit, parameters, [batch])
    vector = torch.randn(products.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = by_differences(vit, parameters, batch, vector)
    assert torch.allclose(products(vector), expected, rtol=1e-6, atol=1e-7 * float(expected.abs().max()))


def test_the_exact_matrix_is_symmetric_before_it_is_made_so_and_gives_the_products(hessian, exact):
    rows = torch.stack([hessian(unit) for unit in torch.eye(hessian.size, dtype=torch.float64)])
    assert torch.allclose(rows, rows.T, atol=1e-13)
    np.testing.assert_allclose(exact, rows.numpy(), atol=1e-13)
    vector = torch.randn(hessian.size, dtype=torch.float64)
    assert torch.allclose(hessian(vector), torch.as_tensor(exact) @ vector, atol=1e-12)


def test_the_hessian_of_a_linear_softmax_is_its_closed_form():
    """For logits W x it is the mean of (diag p - p p') x (x x')."""
    model = nn.Linear(4, 3, bias=False).double()
    batch = Batch(torch.randn(7, 4, dtype=torch.float64), torch.arange(7) % 3)
    probabilities = F.softmax(model(batch.images), dim=1).detach()
    expected = (
        sum(
            torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(x, x))
            for p, x in zip(probabilities, batch.images, strict=True)
        )
        / 7
    )
    for kind in (HessianProducts, GaussNewtonProducts):  # logits are linear in W, so they are one
        found = exact_matrix(kind(model, dict(model.named_parameters()), [batch]))
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-14)


def test_of_several_batches_it_is_of_the_mean_over_their_images(vit):
    whole = make_batch(7)
    parts = [Batch(whole.images[:3], whole.labels[:3]), Batch(whole.images[3:], whole.labels[3:])]
    parameters = space(vit, PROMPTS)
    vector = torch.randn(48, dtype=torch.float64)
    expected = HessianProducts(vit, parameters, [whole])(vector)
    assert torch.allclose(HessianProducts(vit, parameters, parts)(vector), expected, atol=1e-13)
    assert torch.allclose(HessianProducts(vit, parameters, parts, keep_graph=False)(vector), expected, atol=1e-13)


def test_gauss_newton_is_made_of_the_jacobian_of_the_logits(vit):
    parameters, batch = space(vit, PROMPTS), make_batch(3)
    function = LossFunction(vit, parameters)
    jacobian = torch.autograd.functional.jacobian(
        lambda step: function.logits(
            {name: parameters[name].detach() + part for name, part in function.point(step).items()}, batch
        ),
        torch.zeros(48, dtype=torch.float64),
    )
    p = F.softmax(vit(batch.images), dim=1).detach()
    outer = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    expected = torch.einsum("bci,bcd,bdj->ij", jacobian, outer, jacobian) / 3
    found = exact_matrix(GaussNewtonProducts(vit, parameters, [batch]))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-13)


def test_both_agree_with_curvlinops(vit):
    curvlinops = pytest.importorskip("curvlinops")
    batch, model = make_batch(4), vit
    parameters = space(model, PROMPTS)
    vector = torch.randn(48, dtype=torch.float64)
    pairs = ((curvlinops.HessianLinearOperator, HessianProducts), (curvlinops.GGNLinearOperator, GaussNewtonProducts))
    with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for peer, ours in pairs:
            data, weights = [(batch.images, batch.labels)], list(parameters.values())
            operator = peer(model, nn.CrossEntropyLoss(), weights, data, check_deterministic=False)
            expected = operator @ vector
            assert torch.allclose(ours(model, parameters, [batch])(vector), expected, atol=1e-12)


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_caller_finds_weights_gradients_flags_and_modes_as_they_were(model, monkeypatch, interrupted):
    net = model(prompts=2)
    net.backbone.requires_grad_(False)
    net.head.train()
    net.head.weight.grad = torch.ones_like(net.head.weight)
    torch.backends.cuda.enable_flash_sdp(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    identities = [(p, p.grad, p.requires_grad) for p in net.parameters()]
    modes = [module.training for module in net.modules()]
    try:
        with torch.no_grad():
            products = HessianProducts(net, space(net, ALL), [make_batch(2, dtype=torch.float32)])
            if interrupted:
                monkeypatch.setattr(torch.autograd, "grad", lambda *args, **others: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    products(torch.ones(products.size))
            else:
                assert products(torch.ones(products.size)).isfinite().all()
            assert not torch.is_grad_enabled()
        assert not torch.backends.cuda.flash_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
    finally:
        torch.backends.cuda.enable_flash_sdp(True)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is grad and p.requires_grad == flag for p, grad, flag in identities)
    assert [module.training for module in net.modules()] == modes


def test_it_is_of_the_weights_as_they_were_when_it_was_made(model):
    net = model(prompts=2)
    products = HessianProducts(net, space(net, PROMPTS), [make_batch(2, dtype=torch.float32)])
    vector = torch.ones(products.size)
    before = products(vector)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    assert torch.equal(products(vector), before)
    assert products.function.at(products.batches[0]) != LossFunction(net, space(net, PROMPTS)).at(products.batches[0])


def test_batch_statistics_of_the_caller_do_not_move():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = Batch(torch.randn(6, 4), torch.arange(6) % 3)
    HessianProducts(model, dict(model.named_parameters()), [batch])(torch.ones(21))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_that_does_not_repeat_itself_is_refused_with_the_reason():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 3))
    batch = Batch(torch.randn(6, 4), torch.arange(6) % 3)
    with pytest.raises(NotApplicable, match=r"deterministic model: two evaluations .* differ by .* training mode"):
        HessianProducts(model, dict(model.named_parameters()), [batch])
    assert HessianProducts(model.eval(), dict(model.named_parameters()), [batch]).size == 67


def test_parameters_that_the_loss_does_not_depend_on_have_no_curvature():
    model = nn.Linear(2, 2)
    model.register_parameter("unused", nn.Parameter(torch.ones(3)))
    products = HessianProducts(model, dict(model.named_parameters()), [Batch(torch.randn(4, 2), torch.arange(4) % 2)])
    matrix = exact_matrix(products)
    assert not matrix[-3:].any()
    assert matrix[:6, :6].any()


def test_a_loss_that_is_linear_in_the_parameters_has_the_zero_matrix():
    model = nn.Linear(2, 2)
    products = HessianProducts(
        model, dict(model.named_parameters()), [Batch(torch.randn(4, 2), torch.arange(4) % 2)],
        loss=lambda logits, labels: logits.sum(),
    )  # fmt: skip
    assert not exact_matrix(products).any()


def test_what_cannot_be_asked_is_said(vit):
    parameters = space(vit, PROMPTS)
    with pytest.raises(SettingsError, match="needs a batch"):
        HessianProducts(vit, parameters, [])
    with pytest.raises(SettingsError, match="without parameters"):
        LossFunction(vit, {})
    with pytest.raises(UnknownNameError, match=r"Did you mean prompts\.tokens"):
        LossFunction(vit, {"prompts.token": parameters["prompts.tokens"]})
    with pytest.raises(SettingsError, match=r"shape \(48,\), not \(3,\)"):
        HessianProducts(vit, parameters, [make_batch(1)])(torch.ones(3))
    with pytest.raises(NotApplicable, match="would take as many products; 47 are allowed"):
        exact_matrix(HessianProducts(vit, parameters, [make_batch(1)]), limit=47)
