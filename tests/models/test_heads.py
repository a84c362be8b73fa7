"""Heads built from their tensors give what the formula gives."""

from itertools import pairwise

import pytest
import torch

from vptft.errors import WeightsError
from vptft.models.heads import MlpHead, make_head

GENERATOR = torch.Generator().manual_seed(3)


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR)


def linear(x, weight, bias):
    return torch.einsum("bi,oi->bo", x, weight.double()) + bias.double()


def mlp(widths, *, norm=True, bias=True):
    """Tensors of hidden layers of these widths, the first of which is the input's, and of 5 classes after them."""
    state = {"weight": random(5, widths[-1]), "bias": random(5)}
    for k, (d, m) in enumerate(pairwise(widths)):
        state[f"hidden.{4 * k}.weight"] = random(m, d)
        if bias:
            state[f"hidden.{4 * k}.bias"] = random(m)
        if norm:
            for name in ("weight", "bias", "running_mean"):
                state[f"hidden.{4 * k + 2}.{name}"] = random(m)
            state[f"hidden.{4 * k + 2}.running_var"] = 0.5 + random(m).abs()
            state[f"hidden.{4 * k + 2}.num_batches_tracked"] = torch.tensor(2)
    return state


def test_a_linear_head_is_linear():
    state = {"weight": random(5, 8), "bias": random(5)}
    head, x = make_head(state), random(3, 8)
    assert isinstance(head, torch.nn.Linear)
    torch.testing.assert_close(head(x).double(), linear(x.double(), *state.values()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("widths", [(8, 6), (8, 6, 7, 4)])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_hidden_layers_are_linear_relu_and_norm(widths, norm, bias):
    state, x = mlp(widths, norm=norm, bias=bias), random(3, 8)
    head = make_head(state).eval()
    assert isinstance(head, MlpHead)
    y = x.double()
    for k in range(len(widths) - 1):
        own = state.get(f"hidden.{4 * k}.bias", torch.zeros(widths[k + 1]))
        y = linear(y, state[f"hidden.{4 * k}.weight"], own).clamp(min=0)
        if norm:
            values = {name: state[f"hidden.{4 * k + 2}.{name}"].double()
                      for name in ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
            y = (y - values["running_mean"]) / (values["running_var"] + 1e-5).sqrt() * values["weight"] + values["bias"]
    torch.testing.assert_close(head(x).double(), linear(y, state["weight"], state["bias"]), rtol=0, atol=1e-4)
    again = {name.removeprefix("last."): value for name, value in head.state_dict().items()}
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bias", random(4), "do not go together"),
        ("weight", random(5, 9), "do not go together"),
        ("hidden.4.weight", random(7, 5), "do not go together"),
        ("hidden.4.weight", None, "hidden layer 4 has no weight of two dimensions"),
        ("hidden.0.weight", random(6), "hidden layer 0 has no weight of two dimensions"),
        ("hidden.0.weight", random(0, 8), "hidden layer 0 has no weight of two dimensions"),
        ("hidden.2.running_var", None, "do not go together"),
        ("hidden.1.weight", random(6), "do not go together"),
        ("hidden.x.weight", random(6), r"are named \['0', '2', '4', '6', 'x'\]; expected numbers"),
        ("hidden.99999999.weight", random(6, 6), "expected numbers"),
        ("hidden.²", random(6), "expected numbers"),
        ("hidden.400.weight", random(6, 6), "hidden layer 8 has no weight"),
    ],
)
def test_tensors_that_do_not_go_together_are_refused(name, value, message):
    state = mlp((8, 6, 7))
    state.pop(name, None)
    if value is not None:
        state[name] = value
    with pytest.raises(WeightsError, match=message):
        make_head(state)
