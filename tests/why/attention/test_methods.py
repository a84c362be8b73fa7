"""What holds of every method: masses, prefix form, batches, and a model left as it was found."""

import numpy as np
import pytest
import timm
import torch

from oracles.vit import make_vit
from vptft.errors import NotApplicable, SettingsError, UnknownNameError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.methods import METHODS, explain, explain_each, strongest_other

SCHEDULES = {"ft": None, "shallow": (0,), "deep": (0, 1, 2), "first two": (0, 1), "last two": (1, 2)}
MASSES = [name for name, method in METHODS.items() if method.of_attention]
TARGET, AGAINST = np.array([0, 1, 2]), np.array([1, 2, 0])


def build(kind="cls", layers=None, *, length=5, prefix_form=True, pooled=False, seed=0, patches_too=False):
    spec = None if layers is None else PromptSpec(length=length, layers=layers, pooled=pooled)
    model = TunedModel(
        make_vit(kind, depth=3, seed=seed), n_classes=3, prompts=spec, prefix_form=prefix_form, patches_too=patches_too
    )
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model.double().eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def numbers(explanation):
    return {name: value for name, value in vars(explanation).items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize("layers", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("kind", ["cls", "register", "average"])
def test_maps_and_masses_sum_to_one_and_the_prefix_form_changes_nothing(kind, layers, images):
    found, concatenated = (
        explain_each(build(kind, layers, prefix_form=form), images, methods=tuple(METHODS), target=TARGET)
        for form in (True, False)
    )
    for name, explanation in found.items():
        assert explanation.maps.sum((1, 2)) == pytest.approx(1, abs=1e-9), name
        for key, value in numbers(explanation).items():
            np.testing.assert_allclose(value, numbers(concatenated[name])[key], rtol=1e-7, atol=1e-9, err_msg=name)
    for name in MASSES:
        it = found[name]
        assert it.patch_mass + it.cls_mass + it.register_mass + it.prompt_mass == pytest.approx(1, abs=1e-9), name
        assert (it.prompt_mass.min() > 1e-3) == (layers is not None), name
        assert (it.register_mass.min() > 1e-4) == (kind == "register"), name
        if name != "cls_attention":
            assert it.prompt_share.sum(1) == pytest.approx(it.prompt_mass, abs=1e-9), name
            assert [share > 0 for share in it.prompt_share.mean(0)] == [i in (layers or ()) for i in range(3)], name


@pytest.mark.parametrize("options", [{"kind": "average", "pooled": True}, {"patches_too": True}], ids=str)
def test_other_poolings_conserve_mass_too(options, images):
    for name, it in explain_each(build(layers=(0, 1, 2), **options), images, methods=MASSES, target=TARGET).items():
        total = it.patch_mass + it.cls_mass + it.register_mass + it.prompt_mass
        assert total == pytest.approx(1, abs=1e-9), name


def test_prompts_of_no_length_are_no_prompts(images):
    none, empty = (
        explain_each(model, images, methods=tuple(METHODS), target=TARGET)
        for model in (build(), build(layers=(0, 1, 2), length=0))
    )
    for name in METHODS:
        for key, value in numbers(none[name]).items():
            np.testing.assert_array_equal(value, numbers(empty[name])[key])


@pytest.mark.parametrize("method", METHODS)
def test_alone_in_other_batches_or_beside_others_a_method_says_the_same(method, images):
    model = build("register", (0, 1, 2))
    beside = explain_each(model, images, methods=tuple(METHODS), target=TARGET, against=AGAINST)[method]
    alone = explain(model, images, method=method, target=TARGET, against=AGAINST, batch_size=2)
    for key, value in numbers(beside).items():
        np.testing.assert_allclose(value, numbers(alone)[key], rtol=1e-9, atol=1e-12)
    assert beside.n_layers == (3 if METHODS[method].of_attention else 0)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "tuned"])
def test_the_model_is_left_as_it_was_found(frozen, images):
    model = build("cls", (0, 1, 2)).requires_grad_(not frozen)
    model.train()
    model.backbone.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    fused = [block.attn.fused_attn for block in model.backbone.blocks]
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            explain_each(model, images, methods=tuple(METHODS), target=TARGET)
            assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None and p.requires_grad is not frozen for p in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [block.attn.fused_attn for block in model.backbone.blocks] == fused
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.needs_class])
def test_a_class_and_its_contrast_have_maps_of_their_own(method, images):
    model = build()
    one, other, lead = (
        explain(model, images, method=method, target=target, against=against).values
        for target, against in ((TARGET, None), (AGAINST, None), (TARGET, AGAINST))
    )
    assert np.abs(one - other).max() > 1e-4
    assert np.abs(one - lead).max() > 1e-4
    if METHODS[method].signed:  # linear in the score
        np.testing.assert_allclose(lead, one - other, atol=1e-9)


def test_methods_that_explain_no_class_need_none_and_the_others_say_so(images):
    model = build()
    assert explain(model, images, method="rollout").target is None
    with pytest.raises(SettingsError, match="relevance explains a class, and no target"):
        explain(model, images, method="relevance")
    with pytest.raises(SettingsError, match="3 images and 2 targets"):
        explain(model, images, method="gradcam", target=TARGET[:2])
    with pytest.raises(SettingsError, match="no images"):
        explain(model, images[:0])
    with pytest.raises(UnknownNameError, match="Did you mean rollout"):
        explain(model, images, method="rolout")
    with pytest.raises(SettingsError, match="rollout has no setting depth; it has residual, fusion, discard"):
        explain(model, images, depth=3)


@pytest.mark.parametrize("method", METHODS)
def test_swin_and_convolutions_are_not_applicable_with_the_reason(method):
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=0, img_size=64, window_size=2, depths=(1, 1, 1, 1)
    )
    for backbone, reason in ((swin, "local windows"), (timm.create_model("resnet10t", num_classes=0), "ResNet")):
        with pytest.raises(NotApplicable, match=reason):
            explain(TunedModel(backbone, n_classes=2), torch.zeros(1, 3, 64, 64), method=method, target=np.array([0]))


def test_a_model_whose_attention_is_captured_in_part_is_refused(images, monkeypatch):
    model = build()
    whole = TunedModel.attention
    monkeypatch.setattr(TunedModel, "attention", lambda self, x, **options: whole(self, x, (0, 2), **options))
    with pytest.raises(NotApplicable, match=r"all 3 layers was to be captured, and that of layers \[0, 2\]"):
        explain(model, images)


def test_a_map_without_anything_for_the_class_is_even_and_said_to_be(images):
    model = build()
    torch.nn.init.zeros_(model.head.weight)
    for name in ("relevance", "gradcam", "integrated_gradients"):
        found = explain(model, images, method=name, target=TARGET)
        assert found.flat.all()
        assert found.maps == pytest.approx(1 / 16)


def test_the_strongest_other_class():
    logits = np.array([[3.0, 1, 2], [3, 1, 2], [0, 0, -1]])
    assert strongest_other(logits, np.array([0, 1, 2])).tolist() == [2, 0, 0]
    with pytest.raises(SettingsError, match="one class"):
        strongest_other(logits[:, :1], np.array([0, 0, 0]))
