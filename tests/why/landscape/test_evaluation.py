import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vptft.errors import NotApplicable, SettingsError
from vptft.why.landscape.directions import random_plane
from vptft.why.landscape.evaluation import PlaneLosses, Sample
from vptft.why.landscape.folded import can_fold, gated_logits
from vptft.why.landscape.parameters import moved, put, space

PLACES = (0.4, [-0.7, 0.0, 0.3, 0.9])


@pytest.mark.parametrize("kind", ["cls", "register", "average"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", ["prompts", "head", "prompts and head"])
def test_folded_points_are_those_of_one_point_at_a_time(model, sample, kind, shared, name):
    net = model(prompts=4, kind=kind, shared=shared)
    parameters = space(net, name)
    plane = random_plane(parameters, seed=0)
    folded = PlaneLosses(net, parameters, plane, sample)
    assert folded.folds
    net.prefix_form = False  # now points go one by one, their prompts concatenated
    a, bs = PLACES
    with moved(net, parameters) as start, torch.no_grad():
        expected = []
        for b in bs:
            put(parameters, start, (a, plane.first), (b, plane.second))
            expected.append(F.cross_entropy(net(sample.images), sample.labels, reduction="none").numpy())
        net.prefix_form = True
        found = folded.row(a, bs)
    assert np.std(expected, axis=0).min() > 1e-3
    np.testing.assert_allclose(found.loss, expected, atol=2e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompts": 4, "layers": (0,)},
        {"prompts": 4, "kind": "average", "pooled": True},
        {"prompts": 4, "projection": 5},
    ],
)
def test_only_what_is_exact_is_folded(model, options):
    assert not can_fold(model(**options))


def test_moving_the_backbone_is_not_folded_and_is_right(model, sample):
    net = model(prompts=4)
    parameters = space(net, "all")
    plane = random_plane(parameters, seed=3)
    a, bs = PLACES
    with moved(net, parameters) as start:
        at = PlaneLosses(net, parameters, plane, sample, batch_size=5)
        assert not at.folds
        found = at.row(a, bs)
        put(parameters, start, (a, plane.first), (bs[-1], plane.second))
        with torch.no_grad():
            expected = net(sample.images)
    np.testing.assert_allclose(
        found.loss[-1], F.cross_entropy(expected, sample.labels, reduction="none").numpy(), rtol=1e-4
    )
    assert (found.correct[-1] == (expected.argmax(1) == sample.labels).numpy()).all()


@pytest.mark.parametrize("layers", [(0,), (0, 1), (1,)])
@pytest.mark.parametrize("kind", ["cls", "average"])
def test_a_gate_goes_from_the_network_without_prompts_to_the_prompted_one(model, sample, layers, kind):
    net, bare = model(prompts=4, kind=kind, layers=layers), model(kind=kind)
    bare.load_state_dict({name: value for name, value in net.state_dict().items() if name in bare.state_dict()})
    with torch.no_grad():
        torch.testing.assert_close(gated_logits(net, sample.images, 0.0), bare(sample.images), atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(
            gated_logits(net, sample.images, 1 - 1e-7), net(sample.images), atol=2e-5, rtol=1e-5
        )  # fmt: skip
        assert not torch.allclose(net(sample.images), bare(sample.images), atol=1e-2)


def test_a_gate_of_a_half_on_every_prompt_is_half_as_many_equal_prompts(model, sample):
    """Weights before the sum to 1 add up, so two equal prompts at a half are one."""
    double, single = model(prompts=2), model(prompts=1)
    state = double.state_dict()
    state["prompts.tokens"][:, 1] = state["prompts.tokens"][:, 0]
    single.load_state_dict({**state, "prompts.tokens": state["prompts.tokens"][:, :1]})
    with torch.no_grad():
        torch.testing.assert_close(
            gated_logits(double, sample.images, 0.5), single(sample.images), atol=2e-5, rtol=1e-5
        )  # fmt: skip


def test_pooled_prompts_have_no_gate(model, sample):
    with pytest.raises(NotApplicable, match="not pooled"):
        gated_logits(model(prompts=4, kind="average", pooled=True), sample.images, 0.5)


def test_batches_are_of_whole_groups_and_samples_are_checked(sample):
    batches = sample.batches(3)
    assert [len(set(batches[sample.group_ids == group])) for group in range(6)] == [1] * 6
    assert np.bincount(batches).tolist() == [4, 4, 4]
    with pytest.raises(SettingsError, match="equally many"):
        Sample(split="test", images=sample.images, labels=sample.labels[:3])
