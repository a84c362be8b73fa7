"""Token dropping against timm's own and a spelled-out forward; curves of a model whose best order is known."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from oracles.vit import attention_and_output, make_vit
from vptft.errors import NotApplicable, SettingsError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.dropping import logits_along
from vptft.why.attention.faithfulness import curves, painted
from vptft.why.attention.ranking import at_random

X = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
ORDERS = torch.from_numpy(at_random(3, 16, seed=1))


def model(kind, layers=None, **settings):
    spec = None if layers is None else PromptSpec(length=5, layers=layers, pooled=settings.pop("pooled", False))
    built = TunedModel(make_vit(kind), n_classes=3, prompts=spec, **settings)
    torch.nn.init.normal_(built.head.weight, generator=torch.Generator().manual_seed(1))
    return built.eval()


CASES = {
    "plain": ("cls", None, {}),
    "deep": ("cls", (0, 1, 2, 3), {}),
    "deep, concatenated": ("cls", (0, 1, 2, 3), {"prefix_form": False}),
    "shallow": ("cls", (0,), {}),
    "partly deep, registers": ("register", (1, 3), {}),
    "average": ("average", None, {}),
    "average, deep": ("average", (0, 1, 2, 3), {}),
    "average, shallow": ("average", (0,), {}),
    "prompts pooled": ("average", (0, 2), {"pooled": True}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@torch.inference_mode()
def test_with_every_patch_it_is_the_models_own_forward_in_any_order(case):
    kind, layers, settings = case
    built = model(kind, layers, **settings)
    torch.testing.assert_close(logits_along(built, X, ORDERS, [slice(None)])[0], built(X), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@torch.inference_mode()
def test_with_some_patches_it_is_a_spelled_out_forward_of_the_others_left_out(case):
    kind, layers, settings = case
    built = model(kind, layers, **settings)
    vit, n_prefix = built.backbone, built.layout.n_prefix
    chosen = ORDERS[:, 3:10]
    found = logits_along(built, X, ORDERS, [slice(3, 10)])[0]
    for i in range(len(X)):
        tokens = vit._pos_embed(vit.patch_embed(X[i : i + 1]))
        tokens = torch.cat([tokens[:, :n_prefix], tokens[:, n_prefix + chosen[i]]], dim=1)
        carried = 0
        for index, block in enumerate(vit.blocks):
            if layers and index in layers:
                new = built.prompts.tokens[layers.index(index)][None]
                tokens = torch.cat([tokens[:, :n_prefix], new, tokens[:, n_prefix + carried :]], dim=1)
                carried = new.shape[1]
            _, tokens = attention_and_output(block, tokens)
        tokens = vit.norm(tokens)
        read = tokens[:, n_prefix:] if settings.get("pooled") else tokens[:, n_prefix + carried :]
        pooled = tokens[:, 0] if vit.global_pool == "token" else vit.fc_norm(read.mean(dim=1))
        torch.testing.assert_close(found[i], built.head(pooled)[0], atol=2e-5, rtol=2e-4)


@torch.inference_mode()
def test_without_patches_a_cls_token_answers_and_an_average_does_not():
    assert logits_along(model("cls"), X, ORDERS, [slice(0, 0)]).shape == (1, 3, 3)
    with pytest.raises(NotApplicable, match="averages over patches"):
        logits_along(model("average"), X, ORDERS, [slice(0, 0)])
    found = curves(model("average"), X, ORDERS.numpy(), np.zeros(3), steps=4)
    assert np.isfinite(found.deletion).all()  # its last patch stays


WEIGHTS = np.array([2.0, -1.0, 0.5, 3.0])
"""What each of 2 x 2 patches adds to the logit of class 1 where it is white."""


class Planted:
    """Class 1 against class 0 by a weighted sum of patch means."""

    layout = SimpleNamespace(grid=(2, 2))

    def __call__(self, x):
        means = x[:, 0].unflatten(1, (2, 2)).unflatten(3, (2, 2)).mean(dim=(2, 4)).flatten(1)
        logit = means @ torch.tensor(WEIGHTS, dtype=x.dtype)
        return torch.stack([torch.zeros_like(logit), logit], dim=1)


def of_order(order):
    """Curves of one white image on black; painting over must be with black, so the mean colour is made 0 by a rim."""
    x = torch.ones(1, 3, 4, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vptft.why.attention.faithfulness.painted", lambda x, *_: torch.zeros_like(x))
        return curves(Planted(), x, np.array([order]), np.array([1]), how="pixels", steps=4)


def test_the_order_of_the_planted_weights_is_the_best_of_all_orders():
    best = tuple(np.argsort(-WEIGHTS))
    scores = {order: of_order(order) for order in permutations(range(4))}
    assert max(scores, key=lambda order: scores[order].insertion_auc[0]) == best
    assert min(scores, key=lambda order: scores[order].deletion_auc[0]) == best
    assert max(scores, key=lambda order: scores[order].faithfulness[0]) == best
    assert np.mean([each.faithfulness[0] for each in scores.values()]) == pytest.approx(0, abs=1e-6)


def test_the_curves_are_those_of_the_planted_sums():
    found = of_order((3, 0, 2, 1))
    inserted = np.concatenate([[0], np.cumsum(WEIGHTS[[3, 0, 2, 1]])])
    assert found.share == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert found.insertion[0] == pytest.approx(1 / (1 + np.exp(-inserted)), abs=1e-6)
    assert found.deletion[0] == pytest.approx(1 / (1 + np.exp(inserted - WEIGHTS.sum())), abs=1e-6)
    expected = np.mean((found.insertion[0][1:] + found.insertion[0][:-1]) / 2)
    assert found.insertion_auc[0] == pytest.approx(expected)


@torch.inference_mode()
def test_batches_change_nothing_and_both_ways_agree_at_the_whole_image():
    built = model("cls", (0, 1, 2, 3))
    target = np.array([0, 1, 2])
    whole = curves(built, X, ORDERS.numpy(), target, steps=16)
    parts = curves(built, X, ORDERS.numpy(), target, steps=16, batch_size=2)
    np.testing.assert_allclose(whole.deletion, parts.deletion, atol=1e-6)
    pixels = curves(built, X, ORDERS.numpy(), target, steps=16, how="pixels")
    np.testing.assert_allclose(whole.deletion[:, 0], pixels.deletion[:, 0], atol=1e-5)
    np.testing.assert_allclose(whole.deletion[:, 0], whole.insertion[:, -1])
    assert np.abs(whole.deletion[:, 8] - pixels.deletion[:, 8]).max() > 1e-3  # painted patches are seen


def test_a_random_order_scores_nothing_on_average():
    built = model("cls")
    x = X[:1].expand(500, -1, -1, -1)
    found = curves(built, x, at_random(500, 16, seed=0), np.zeros(500), steps=8)
    spread = found.faithfulness.std(ddof=1) / np.sqrt(500)
    assert abs(found.faithfulness.mean()) < 3 * spread
    assert spread < 0.02


def test_baselines_keep_the_mean_and_blur_smooths():
    mean, blur = painted(X, "mean", 8), painted(X, "blur", 8)
    torch.testing.assert_close(mean[:, :, 3, 5], X.mean(dim=(2, 3)))
    assert blur.std() < 0.3 * X.std()
    assert blur.shape == X.shape
    with pytest.raises(SettingsError, match="mean or blur, not 'noise'"):
        painted(X, "noise", 8)


def test_more_steps_than_patches_are_refused():
    with pytest.raises(SettingsError, match="1 to 16 steps, not 17"):
        curves(model("cls"), X, ORDERS.numpy(), np.zeros(3), steps=17)
