import pytest
import torch

from vptft.errors import NotApplicable, UnknownNameError
from vptft.why.landscape.parameters import moved, put, space, spaces


def test_spaces_divide_the_model(model):
    prompted = model(prompts=4)
    found = spaces(prompted)
    assert set(found) == {"all", "backbone", "head", "prompts", "prompts and head", "block 0", "block 1"}
    everything = dict(prompted.named_parameters())
    assert found["all"] == everything
    assert found["prompts"] | found["head"] | found["backbone"] == everything
    assert all(name.startswith("backbone.blocks.1.") for name in found["block 1"])
    assert found["block 1"]["backbone.blocks.1.mlp.fc1.weight"] is prompted.backbone.blocks[1].mlp.fc1.weight


def test_a_space_that_is_not_there_is_named(model):
    with pytest.raises(NotApplicable, match="has no prompts"):
        space(model(), "prompts")
    with pytest.raises(UnknownNameError, match="Did you mean backbone"):
        space(model(), "backbones")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_weights_gradients_and_flags_come_back_whatever_happens(model, error):
    net = model(prompts=4)
    net.register_buffer("counter", torch.zeros(2))
    net.backbone.blocks[0].mlp.train()
    net.head.bias.requires_grad_(False)
    gradient = net.head.weight.grad = torch.ones_like(net.head.weight)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]

    def disturb():
        with moved(net, space(net, "all")) as start:
            assert net.head.weight.grad is None
            put(space(net, "all"), start, (2.0, start))
            net.counter.add_(1)
            net.train().requires_grad_(True)
            net(torch.randn(2, 3, 32, 32)).sum().backward()
            raise error

    with pytest.raises(error):
        disturb()
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())
    assert net.head.weight.grad is gradient
    assert (gradient == 1).all()
    assert [p.grad is None for name, p in net.named_parameters() if name != "head.weight"].count(False) == 0
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["head.bias"]
    assert [module.training for module in net.modules()] == modes
