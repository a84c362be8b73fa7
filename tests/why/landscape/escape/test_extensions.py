import pytest
import torch
from torch.nn import functional as F

from oracles.vit import make_vit, prompted_forward
from vptft.errors import NotApplicable, SettingsError, UnknownNameError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.landscape.escape.extensions import AJAR, EXTENSIONS, GatedPrompts, LowRank, MoreNeurons, extend
from why.landscape.escape.planted import images, network, opened

KINDS = ("cls", "register", "average")


def gated(extended):
    return [module for module in extended.model.modules() if isinstance(module, GatedPrompts)]


@pytest.mark.parametrize("name", EXTENSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_function_is_the_same_at_the_start(name, kind):
    model = network(kind)
    x = images(3, 5)
    single = extend(model, name, prompts=5).model
    assert (single(x) - model(x)).abs().max() <= 1e-5 * model(x).abs().max()
    double = extend(model.double(), name, prompts=5).model
    assert (double(x.double()) - model(x.double())).abs().max() <= 1e-12 * model(x.double()).abs().max()


@pytest.mark.parametrize("name", ["prompts", "lora", "neurons"])
def test_an_opened_extension_computes_something_else(name):
    model = network()
    x = images(3, 5)
    assert (opened(model, name, seed=1)(x) - model(x)).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_with_open_gates_it_is_deep_prompts_concatenated(kind):
    extended = extend(network(kind).double(), "prompts", prompts=5)
    with torch.no_grad():
        for module in gated(extended):
            module.gate.fill_(1.0)
    tokens = [module.tokens for module in gated(extended)]
    vit = make_vit(kind, depth=3).double()
    x = images(3, 5).double()
    features, _ = prompted_forward(vit, torch.stack(tokens), (0, 1, 2), x)
    torch.testing.assert_close(extended.model.features(x), features, rtol=1e-10, atol=1e-10)


def test_a_half_open_gate_is_half_a_prompt():
    """Two copies of a prompt at gate one half weigh what one at gate one does."""
    model = network().double()
    one, two = extend(model, "prompts", prompts=1), extend(model, "prompts", prompts=2)
    x = images(3, 5).double()
    with torch.no_grad():
        for single, double in zip(gated(one), gated(two), strict=True):
            single.gate.fill_(1.0)
            double.gate.fill_(0.5)
            double.tokens.copy_(single.tokens.expand_as(double.tokens))
    torch.testing.assert_close(one.model(x), two.model(x), rtol=1e-11, atol=1e-11)


def test_the_gate_has_a_derivative_from_the_right_at_zero():
    extended = extend(network().double(), "prompts", prompts=3)
    x, y = images(4, 5).double(), torch.tensor([0, 1, 2, 0])

    def loss():
        return F.cross_entropy(extended.model(x), y)

    found = torch.autograd.grad(loss(), extended.gates)
    at_zero = loss().item()
    for gate, gradient in zip(extended.gates, found, strict=True):
        for j in range(3):
            quotients = []
            for step in (1e-5, 2e-5):
                with torch.no_grad():
                    gate[j] = step
                quotients.append((loss().item() - at_zero) / step)
            with torch.no_grad():
                gate[j] = 0.0
            assert 2 * quotients[0] - quotients[1] == pytest.approx(gradient[j].item(), rel=1e-5, abs=1e-8)


def test_behind_closed_gates_the_prompts_themselves_have_no_gradient():
    extended = extend(network().double(), "prompts", prompts=3)
    loss = F.cross_entropy(extended.model(images(4, 5).double()), torch.tensor([0, 1, 2, 0]))
    tokens = [module.tokens for module in gated(extended)]
    assert all(torch.equal(g, torch.zeros_like(g)) for g in torch.autograd.grad(loss, tokens))


@pytest.mark.parametrize("name", ["lora", "neurons"])
def test_each_control_has_a_way_out_of_first_order(name):
    extended = extend(network().double(), name, prompts=3)
    loss = F.cross_entropy(extended.model(images(4, 5).double()), torch.tensor([0, 1, 2, 0]))
    zeros = [p for p in extended.added if not p.any() and p.ndim == 2]
    assert zeros
    assert all(g.norm() > 1e-4 for g in torch.autograd.grad(loss, zeros))


def test_sizes_are_as_equal_as_whole_ranks_and_neurons_allow():
    model = network()
    prompts, lora, neurons = (extend(model, name, prompts=10).size for name in ("prompts", "lora", "neurons"))
    assert prompts == 3 * 10 * (24 + 1)
    assert abs(lora - prompts) <= (24 + 3 * 24) / 2
    assert abs(neurons - prompts) <= (24 + 1 + 24) / 2
    assert extend(model, "none").size == 0


def test_what_is_left_over_is_spread_over_the_layers():
    model = network()
    shares = {
        "lora": [m.b.shape[1] for m in extend(model, "lora", prompts=10).model.modules() if isinstance(m, LowRank)],
        "neurons": [
            len(m.bias) for m in extend(model, "neurons", prompts=10).model.modules() if isinstance(m, MoreNeurons)
        ],
    }
    assert sum(shares["lora"]) == 8
    assert sum(shares["neurons"]) == 15
    assert all(max(each) - min(each) <= 1 for each in shares.values())


def test_at_the_size_of_the_paper_the_counts_differ_by_less_than_a_percent():
    """ViT-S with 10 prompts a layer, by arithmetic: 46,200 against 30 ranks of 1,536 and 60 neurons of 769."""
    prompts = 12 * 10 * 385
    assert abs(round(prompts / 1536) * 1536 / prompts - 1) < 0.01
    assert abs(round(prompts / 769) * 769 / prompts - 1) < 0.01


@pytest.mark.parametrize("name", EXTENSIONS)
def test_the_original_shares_nothing_with_the_copy(name):
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    extended = extend(model, name, prompts=2)
    with torch.no_grad():
        for parameter in extended.model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert set(before) == set(model.state_dict())


def test_one_seed_draws_one_extension_and_another_seed_another():
    model = network()
    first, again, other = (extend(model, "prompts", prompts=2, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.added, again.added, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.added, other.added, strict=True))


def test_a_gate_that_a_step_made_negative_is_put_back_ajar():
    extended = extend(network(), "prompts", prompts=2)
    with torch.no_grad():
        extended.gates[0].copy_(torch.tensor([-0.5, 0.5]))
    extended.project()
    assert extended.gates[0].tolist() == pytest.approx([AJAR, 0.5])


def test_what_cannot_be_extended_is_said():
    prompted = TunedModel(make_vit("cls"), n_classes=3, prompts=PromptSpec(length=4, layers=(0,)))
    with pytest.raises(NotApplicable, match="has prompts"):
        extend(prompted, "lora")
    with pytest.raises(UnknownNameError, match=r"no extension named 'lor'.*lora"):
        extend(network(), "lor")
    with pytest.raises(SettingsError, match="at least one prompt a layer, got 0"):
        extend(network(), "lora", prompts=0)
    twice = extend(network(), "lora").model
    with pytest.raises(NotApplicable, match="only timm's standard ViT block"):
        extend(twice, "prompts")
