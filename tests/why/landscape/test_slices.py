import numpy as np
import pytest
import torch
from torch.nn import functional as F

from oracles.vit import make_vit
from vptft.errors import SettingsError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.landscape import evaluation
from vptft.why.landscape.directions import random_direction
from vptft.why.landscape.slices import default_parameters, measure


class Quadratic(torch.nn.Module):
    """Logits whose cross-entropy is a known function of one matrix: log(1 + exp(-s)), s the sum of its entries."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        self.bias = torch.nn.Parameter(torch.tensor([5.0]))
        self.prompts = None

    def forward(self, x):
        return torch.stack([self.weight.sum() + self.bias.sum() - 15 + 0 * x, 0 * x], dim=1)


def run(model, **settings):
    images, labels = torch.zeros(3), torch.zeros(3, dtype=torch.int64)
    return measure(model, images=images, labels=labels, label="m", task="t", method="ft", **settings)


def test_grid_coordinates_and_losses_are_those_of_a_known_function():
    model = Quadratic()
    generator = torch.Generator().manual_seed(7)
    first, second = (random_direction(dict(model.named_parameters()), generator) for _ in range(2))
    frame = run(model, points=5, extent=0.8, seed=7).frame()
    assert len(frame) == 25
    assert sorted(frame["a"].unique()) == pytest.approx([-0.8, -0.4, 0, 0.4, 0.8])
    s = frame["a"] * first["weight"].sum().item() + frame["b"] * second["weight"].sum().item()
    assert frame["loss"].to_numpy() == pytest.approx(np.log1p(np.exp(-s.to_numpy())), rel=1e-5)


def test_the_model_comes_back_bit_for_bit_and_the_centre_is_its_loss():
    model = TunedModel(make_vit("cls"), n_classes=3).eval()
    torch.nn.init.normal_(model.head.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = torch.randn(5, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1])
    result = measure(model, images=x, labels=y, label="m", task="t", method="ft", points=3, batch_size=2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    centre = result.frame().query("a == 0 and b == 0")["loss"].item()
    with torch.no_grad():
        assert centre == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-5)


def test_the_model_comes_back_even_when_the_slice_is_interrupted(monkeypatch):
    model = Quadratic()
    calls, measured = iter(range(100)), evaluation.losses_of

    def interrupt(*given, **settings):
        if next(calls) == 4:
            raise KeyboardInterrupt
        return measured(*given, **settings)

    monkeypatch.setattr(evaluation, "losses_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(model, points=3)
    assert model.weight.tolist() == [[1, 2], [3, 4]]


def test_prompts_and_head_move_where_there_are_prompts_and_everything_otherwise():
    prompted = TunedModel(make_vit("cls"), n_classes=3, prompts=PromptSpec(length=4, layers=(0,)))
    assert set(default_parameters(prompted)) == {"prompts.tokens", "head.weight", "head.bias"}
    plain = TunedModel(make_vit("cls"), n_classes=3)
    assert set(default_parameters(plain)) == {name for name, _ in plain.named_parameters()}


@pytest.mark.parametrize(("settings", "message"), [({"points": 4}, "odd.*: 4"), ({"extent": 0.0}, "positive, got 0.0")])
def test_bad_grids_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        run(Quadratic(), **settings)
