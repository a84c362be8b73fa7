import numpy as np
import pytest
import torch

from oracles.attention import attended_logits, relevance_of_one, rolled
from oracles.vit import make_vit
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.methods import explain
from vptft.why.attention.rollout import pooling_query
from vptft.why.attention.source import Score, Source

SCHEDULES = {"ft": None, "shallow": (0,), "deep": (0, 1, 2), "first two": (0, 1), "last two": (1, 2)}
TARGET, AGAINST = torch.tensor([0, 2]), torch.tensor([1, 0])


def build(kind, layers, *, prefix_form=True, pooled=False):
    spec = None if layers is None else PromptSpec(length=4, layers=layers, pooled=pooled)
    model = TunedModel(make_vit(kind, depth=3), n_classes=3, prompts=spec, prefix_form=prefix_form)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model.double().eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def explicit(model, images, score):
    logits, attentions, zeros = attended_logits(model, images)
    return attentions, torch.autograd.grad(score(logits).sum(), zeros)


@pytest.mark.parametrize("prefix_form", [True, False], ids=["prefix", "concatenated"])
@pytest.mark.parametrize("layers", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("kind", ["cls", "register", "average"])
def test_gradients_are_those_of_the_probabilities_after_the_softmax(kind, layers, prefix_form, images):
    model, score = build(kind, layers, prefix_form=prefix_form), Score(TARGET, AGAINST)
    found, gradients = Source(model, images, score).gradients()
    attentions, expected = explicit(model, images, score)
    assert [layer.layer for layer in found] == [0, 1, 2]
    for layer, gradient, attention, slope in zip(found, gradients, attentions, expected, strict=True):
        whole = attention.shape[2] == gradient.shape[2]
        rows = slice(None) if whole else slice(0, 1) if gradient.shape[2] == 1 else model.layout.kept
        torch.testing.assert_close(layer.probabilities, attention[:, :, rows], rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(gradient, slope[:, :, rows], rtol=1e-7, atol=1e-10)
        left = torch.ones(slope.shape[2], dtype=torch.bool)
        left[rows] = False
        assert (slope[:, :, left] == 0).all()  # rows that are not computed: nothing depends on them
    of_scores = [a * (g - (a * g).sum(-1, keepdim=True)) for a, g in zip(attentions, expected, strict=True)]
    assert (of_scores[0] - expected[0]).abs().max() > 1e-3  # what a peer takes instead, before the softmax


@pytest.mark.parametrize("layers", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(
    ("kind", "pooled"), [("cls", False), ("register", False), ("average", False), ("average", True)]
)
def test_relevance_is_the_rule_of_chefer_for_each_image_alone(kind, pooled, layers, images):
    model = build(kind, layers, pooled=pooled)
    attentions, gradients = explicit(model, images, Score(TARGET))
    layout, found = model.layout, explain(model, images, method="relevance", target=TARGET.numpy())
    query = pooling_query(layout, model.pooling).numpy()
    n_prefix, n_prompts = layout.n_prefix, layout.n_prompts
    for i in range(2):
        R = relevance_of_one([a[i] for a in attentions], [g[i] for g in gradients], layers or (), n_prefix, n_prompts)
        start = relevance_of_one(
            [0 * a[i] for a in attentions], [g[i] for g in gradients], layers or (), n_prefix, n_prompts
        )
        came = query @ (R - start)
        share = came[layout.n_tokens :].reshape(3, -1).sum(1)
        np.testing.assert_allclose(found.values[i].ravel(), came[layout.patches] / came.sum(), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.cls_mass[i], came[layout.cls].sum() / came.sum(), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.prompt_share[i], share / came.sum(), rtol=1e-6, atol=1e-9)
        if kind == "cls":  # the map is the published one: row of cls, columns of the patches
            patches = R[0, layout.patches]
            np.testing.assert_allclose(found.maps[i].ravel(), patches / patches.sum(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("layers", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("kind", ["cls", "average"])
def test_gradient_rollout_is_rollout_of_the_weighted_rows(kind, layers, images):
    model = build(kind, layers)
    attentions, gradients = explicit(model, images, Score(TARGET))
    layout = model.layout
    found = explain(model, images, method="gradient_rollout", target=TARGET.numpy(), residual=0.3)
    for i in range(2):
        matrices = []
        for attention, gradient in zip(attentions, gradients, strict=True):
            weights = (attention[i] * gradient[i]).clamp(min=0).mean(0)
            empty = weights.sum(1) == 0
            weights[empty, empty.nonzero()[:, 0]] = 1
            matrices.append(weights / weights.sum(1, keepdim=True))
        query = pooling_query(layout, model.pooling)
        mass, share = rolled(matrices, layers or (), layout.n_prefix, layout.n_prompts, query, residual=0.3)
        np.testing.assert_allclose(found.values[i].ravel(), mass[layout.patches].numpy(), rtol=1e-6, atol=1e-8)
        if layers:
            np.testing.assert_allclose(found.prompt_share[i], share.numpy(), rtol=1e-6, atol=1e-8)


def test_a_larger_logit_changes_relevance_but_not_gradient_rollout(images):
    maps = {}
    for scale in (1, 10):
        model = build("cls", None)
        model.head.weight.mul_(scale)
        for method in ("relevance", "gradient_rollout"):
            maps[method, scale] = explain(model, images, method=method, target=TARGET.numpy()).maps
    np.testing.assert_allclose(maps["gradient_rollout", 1], maps["gradient_rollout", 10], rtol=1e-6)
    assert np.abs(maps["relevance", 1] - maps["relevance", 10]).max() > 1e-3
