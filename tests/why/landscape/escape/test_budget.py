import copy

import pytest
import torch
from torch.nn import functional as F

from vptft.errors import SettingsError, TrainingError
from vptft.why.landscape.escape.budget import MOVES, Budget, batches, gradient_norm, moving, spend
from vptft.why.landscape.escape.extensions import AJAR, extend
from vptft.why.landscape.evaluation import Sample
from why.landscape.escape.planted import images, network, point

SMALL = Budget(steps=4, batch_size=8, rates=(1e-2,), network_rates=(1e-3,))


def sample(double=False):
    x = images(20, 3)
    return Sample(split="train", images=x.double() if double else x, labels=torch.arange(20) % 3)


@pytest.mark.parametrize("variant", MOVES)
@pytest.mark.parametrize("name", ["prompts", "lora", "neurons"])
def test_only_what_a_variant_names_moves(name, variant):
    extended = extend(network(), name, prompts=2)
    added, own = set(map(id, extended.added)), set(map(id, moving(extended, variant)))
    before = {key: p.detach().clone() for key, p in extended.model.named_parameters()}
    spend(extended, sample(), SMALL, variant=variant, trial=0, seed=0)
    moved = {key for key, p in extended.model.named_parameters() if not torch.equal(p, before[key])}
    may = {key for key, p in extended.model.named_parameters() if id(p) in added | own}
    assert moved <= may
    assert ("head.weight" in moved) == (variant != "alone")
    assert any(key.startswith("backbone.patch_embed") for key in moved) == (variant == "joint")
    assert moved & {key for key, p in extended.model.named_parameters() if id(p) in added}


def test_gates_stay_ajar():
    extended = extend(network(), "prompts", prompts=4)
    spend(extended, sample(), Budget(steps=6, rates=(0.5,), network_rates=(1.0,)), variant="alone", trial=0, seed=0)
    gates = torch.cat([gate.detach() for gate in extended.gates])
    assert (gates >= AJAR).all()
    assert (gates == torch.tensor(AJAR)).any()
    assert (gates > AJAR).any()


def test_prompts_behind_a_gate_that_opens_uphill_learn_all_the_same():
    extended = extend(network(), "prompts", prompts=4)
    uphill = (
        torch.cat(
            torch.autograd.grad(F.cross_entropy(extended.model(sample().images), sample().labels), extended.gates)
        )
        > 0
    )
    before = torch.cat([p.detach().clone() for p in extended.added if p.ndim == 2])
    spend(extended, sample(), Budget(steps=6, rates=(1e-2,), network_rates=(1.0,)), variant="alone", trial=0, seed=0)
    after = torch.cat([p.detach() for p in extended.added if p.ndim == 2])
    assert uphill.any()
    assert ((after - before).abs().amax(dim=1) > 1e-3).all()


def test_batches_depend_on_the_seed_alone_and_pass_over_all_images_in_turn():
    budget = Budget(steps=6, batch_size=8)
    order = torch.cat(batches(20, budget, seed=3))
    assert torch.equal(order, torch.cat(batches(20, budget, seed=3)))
    assert not torch.equal(order, torch.cat(batches(20, budget, seed=4)))
    assert [len(batch) for batch in batches(20, budget, seed=3)] == [8] * 6
    assert sorted(order[:20].tolist()) == sorted(order[20:40].tolist()) == list(range(20))


def test_a_step_of_the_budget_is_a_step_of_adam():
    """Spelled out on the head of a network without new dimensions: Adam's first step is the rate times the sign."""
    extended = extend(network().double(), "none")
    data = sample(double=True)
    budget = Budget(steps=1, batch_size=20, rates=(1.0,), network_rates=(1e-3,))
    weight = extended.model.head.weight
    start = weight.detach().clone()
    (gradient,) = torch.autograd.grad(F.cross_entropy(extended.model(data.images), data.labels), weight)
    spend(extended, data, budget, variant="with head", trial=0, seed=0)
    torch.testing.assert_close(weight.detach() - start, -1e-3 * gradient.sign(), rtol=1e-4, atol=1e-9)


def test_a_loss_that_is_no_number_is_an_error():
    extended = extend(network(), "neurons", prompts=2)
    budget = Budget(steps=8, rates=(1e30,), network_rates=(1.0,))
    with pytest.raises(TrainingError, match=r"became (nan|inf) in step \d, at rate 1e\+30"):
        spend(extended, sample(), budget, variant="alone", trial=0, seed=0)


def test_the_gradient_norm_is_that_of_the_whole_mean_loss():
    extended = extend(network().double(), "none")
    data = sample(double=True)
    loss = F.cross_entropy(extended.model(data.images), data.labels)
    parameters = list(extended.model.parameters())
    whole = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]).norm().item()
    assert gradient_norm(extended, data, parameters, batch_size=7) == pytest.approx(whole, rel=1e-10)
    assert gradient_norm(extended, data, []) == 0.0


def test_a_gate_that_may_only_make_the_loss_larger_is_at_rest():
    extended = extend(network().double(), "prompts", prompts=3)
    data = sample(double=True)
    loss = F.cross_entropy(extended.model(data.images), data.labels)
    gradient = torch.cat(torch.autograd.grad(loss, extended.gates))
    assert (gradient > 0).any()
    found = gradient_norm(extended, data, extended.added)
    assert found == pytest.approx(gradient.clamp(max=0).norm().item(), rel=1e-9)


def test_equal_seeds_give_equal_weights():
    one = point("lora")
    first, again = (extend(copy.deepcopy(one.model), "lora", prompts=2) for _ in range(2))
    for each in (first, again):
        spend(each, one.train, SMALL, variant="joint", trial=0, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "at least one step of one image: 0"),
        ({"rates": (1.0,)}, "Each rate needs a network rate"),
        ({"rates": (), "network_rates": ()}, "Each rate needs a network rate"),
        ({"rates": (1.0, -1.0)}, "positive"),
    ],
)
def test_budgets_without_sense_are_refused(given, message):
    with pytest.raises(SettingsError, match=message):
        Budget(**given)
