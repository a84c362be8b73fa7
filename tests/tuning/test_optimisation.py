import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import TRAINABLE
from vptft.models.backbones import load_backbone
from vptft.tuning.building import build_model
from vptft.tuning.methods import METHODS
from vptft.tuning.optimisation import epoch_schedule, optimiser, parameter_groups, part_of_peak, schedule


def built(name, settings):
    method = METHODS[name]
    base = None if method.after is None else built(method.after, settings)
    return build_model(method, load_backbone("tiny", 32), settings, n_classes=3, base=base)


@pytest.mark.parametrize(("total", "fraction"), [(100, 0.1), (7, 0.3), (5, 0.0), (1, 0.1), (1, 0.0), (40, 0.5)])
def test_the_learning_rate_warms_up_linearly_and_falls_as_half_a_cosine(total, fraction):
    rates = np.array([schedule(step, total, warmup_fraction=fraction) for step in range(total)])
    warm = math.ceil(total * fraction)
    np.testing.assert_allclose(rates[:warm], np.arange(1, warm + 1) / max(1, warm))
    after = np.arange(total - warm)
    np.testing.assert_allclose(rates[warm:], (1 + np.cos(np.pi * after / max(1, total - warm))) / 2)
    assert rates.max() == 1
    assert (rates > 0).all()


def groups_of(method, settings):
    """``{parameter name: (weight decay, peak learning rate)}``."""
    model = built(method, settings)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [
        (names[id(parameter)], (group["weight_decay"], group["peak"]))
        for group in parameter_groups(model, settings)
        for parameter in group["params"]
    ]
    assert sorted(name for name, _ in found) == sorted(n for n, p in model.named_parameters() if p.requires_grad)
    return dict(found)


@pytest.mark.parametrize("method", TRAINABLE)
def test_matrices_decay_and_vectors_prompts_and_positions_do_not(method, settings):
    groups = groups_of(method, replace(settings, lr=0.5, weight_decay=0.25))
    decayed = {name for name, (decay, _) in groups.items() if decay == 0.25}
    exempt = {name for name, (decay, _) in groups.items() if decay == 0.0}
    assert decayed | exempt == set(groups)
    assert all(name.endswith("weight") and "norm" not in name for name in decayed)
    assert "head.weight" in decayed
    assert "head.bias" in exempt
    if method == "ft":
        assert {"backbone.cls_token", "backbone.pos_embed", "backbone.norm.weight"} <= exempt
        assert {"backbone.patch_embed.proj.weight", "backbone.blocks.0.attn.qkv.weight"} <= decayed
    if METHODS[method].prompts:
        assert "prompts.tokens" in exempt


@pytest.mark.parametrize("method", TRAINABLE)
def test_head_prompts_and_the_rest_each_have_their_rate(method, settings):
    """A probe's head has the method's own rate; prompts have one of their own beside a backbone that moves."""
    groups = groups_of(method, replace(settings, lr=0.5, head_lr=0.125, prompt_lr=0.25))
    peaks = {name: peak for name, (_, peak) in groups.items()}
    head = 0.5 if METHODS[method].reads_fixed_features else 0.125
    prompts = 0.25 if method in ("mixed", "pt_then_ft") else 0.5
    assert {peaks["head.weight"], peaks["head.bias"]} == {head}
    assert {peak for name, peak in peaks.items() if name.startswith("prompts.")} <= {prompts}
    assert {peak for name, peak in peaks.items() if name.startswith("backbone.")} <= {0.5}


def test_without_rates_of_their_own_all_learn_at_one(settings):
    groups = groups_of("mixed", replace(settings, lr=0.5, head_lr=None, prompt_lr=None))
    assert {peak for _, peak in groups.values()} == {0.5}


def test_what_decays_in_kmnps_optimisers(settings):
    adamw = groups_of("ft", replace(settings, lr=1, weight_decay=0.25, decayed="all but biases"))
    assert {name for name, (decay, _) in adamw.items() if not decay} == {name for name in adamw if "bias" in name}
    sgd = groups_of("vpt_deep", replace(settings, lr=1, weight_decay=0.25, decayed="all but the head's bias"))
    assert {name for name, (decay, _) in sgd.items() if not decay} == {"head.bias"}


def test_rates_by_epoch_start_at_zero_and_stay_within_an_epoch(settings):
    rates = [epoch_schedule(epoch, 20, warmup_epochs=5) for epoch in range(20)]
    assert rates[:6] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert rates[5:] == pytest.approx([(1 + math.cos(math.pi * i / 15)) / 2 for i in range(15)])
    settings = replace(settings, epochs=20, schedule="epoch", warmup_epochs=5)
    assert {part_of_peak(settings, 3, batch, 7) for batch in range(7)} == {0.6}
    assert part_of_peak(replace(settings, schedule="step"), 3, 2, 7) == schedule(23, 140, warmup_fraction=0.1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_follows_its_equations(momentum, settings):
    """v <- m v + (g + wd w); w <- w - lr v, for two steps of a fixed gradient."""
    settings = replace(settings, lr=0.5, weight_decay=0.1, optimizer="sgd", momentum=momentum)
    model = built("linear", settings)
    torch.nn.init.ones_(model.head.weight)
    steps = optimiser(model, settings)
    expected, velocity = 1.0, 0.0
    for _ in range(2):
        for group in steps.param_groups:
            group["lr"] = group["peak"]
        model.head.weight.grad = torch.full_like(model.head.weight, 0.3)
        model.head.bias.grad = torch.zeros_like(model.head.bias)
        steps.step()
        velocity = momentum * velocity + 0.3 + 0.1 * expected
        expected -= 0.5 * velocity
    torch.testing.assert_close(model.head.weight, torch.full_like(model.head.weight, expected))


def test_adamws_epsilon_is_the_settings(settings):
    assert optimiser(built("ft", settings), replace(settings, lr=1e-3, adam_epsilon=1e-6)).defaults["eps"] == 1e-6
