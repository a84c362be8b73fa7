import pytest
import timm
import torch

from vptft.errors import NotApplicable, UnknownNameError
from vptft.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone, load_backbone
from vptft.models.fingerprint import state_hash
from vptft.tuning.methods import METHODS, build_model, find_method

CLASSES, LENGTH, LAYERS, DIM = 5, 4, 3, 32
HEAD = DIM * CLASSES + CLASSES
TUNED = {
    "linear": HEAD,
    "vpt_shallow": LENGTH * DIM + HEAD,
    "vpt_deep": LAYERS * LENGTH * DIM + HEAD,
}


def build(method, *, seed=0, **others):
    arguments = {"n_classes": CLASSES, "prompt_length": LENGTH, "prompt_dropout": 0.0, "seed": seed, **others}
    return build_model(METHODS[method], load_backbone("tiny", 32), **arguments)


def tuned_names(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("method", METHODS)
def test_the_parameters_tuned_are_counted_by_the_closed_form(method):
    model = build(method)
    backbone = sum(p.numel() for p in model.backbone.parameters())
    expected = TUNED.get(method, backbone + HEAD)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected
    assert sum(p.numel() for p in model.parameters()) == (backbone + expected if method in TUNED else expected)


def test_the_paper_sized_network_has_the_papers_share():
    """ViT-B/16, 50 deep prompts, 100 classes: 12 * 50 * 768 + 768 * 100 + 100 of 86 million."""
    with torch.device("meta"):
        module = timm.create_model("vit_base_patch16_224", num_classes=0)
    # Shapes are all that counts here; the prompts' start needs real memory, the network none.
    tuned = build_model(
        METHODS["linear"], as_backbone(module), n_classes=100, prompt_length=50, prompt_dropout=0, seed=0
    )
    total = sum(p.numel() for p in tuned.backbone.parameters())
    assert total == 85_798_656
    deep = build_model(METHODS["vpt_deep"], as_backbone(module), n_classes=100, prompt_length=50, prompt_dropout=0,
                       seed=0)  # fmt: skip
    assert sum(p.numel() for p in deep.parameters() if p.requires_grad) == 12 * 50 * 768 + 768 * 100 + 100


def as_backbone(module):
    return Backbone(
        name="n", module=module, sha256="s", image_size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, pretraining="random"
    )


@pytest.mark.parametrize("method", METHODS)
def test_exactly_what_the_method_declares_gets_gradients(method):
    model = build(method).train()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))).square().sum().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert with_gradient == tuned_names(model)
    expected = {"head.weight", "head.bias"} | ({"prompts.tokens"} if METHODS[method].prompt_layers else set())
    if METHODS[method].tunes_backbone:
        expected |= {f"backbone.{name}" for name, _ in model.backbone.named_parameters()}
    assert with_gradient == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_network_stays_in_evaluation_mode(method):
    assert build(method).train().backbone.training == METHODS[method].tunes_backbone


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_gives_one_start_and_another_seed_another_prompt(method):
    first, again, other = (state_hash(build(method, seed=seed).state_dict()) for seed in (3, 3, 4))
    assert first == again
    assert (first != other) == (METHODS[method].prompt_layers is not None)


def test_prompts_come_in_where_the_method_says():
    assert build("vpt_shallow").prompts.spec.layers == (0,)
    assert build("vpt_deep", prompt_dropout=0.3).prompts.spec.layers == (0, 1, 2)
    assert build("vpt_deep", prompt_dropout=0.3).prompts.spec.dropout == 0.3
    assert build("ft").prompts is None


def test_no_prompts_leave_a_linear_probe():
    assert tuned_names(build("vpt_deep", prompt_length=0)) == tuned_names(build("linear"))


def test_a_network_without_tokens_trains_but_takes_no_prompts():
    module = timm.create_model("resnet10t", num_classes=0)
    model = build_model(METHODS["ft"], as_backbone(module), n_classes=2, prompt_length=4, prompt_dropout=0, seed=0)
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    with pytest.raises(NotApplicable, match="not applicable to ResNet: it is not a plain vision transformer"):
        build_model(METHODS["vpt_deep"], as_backbone(module), n_classes=2, prompt_length=4, prompt_dropout=0, seed=0)


def test_every_method_is_searched_over_three_ascending_rates_around_its_default():
    for name, method in METHODS.items():
        assert method.name == name
        assert len(method.learning_rates) == 3
        assert list(method.learning_rates) == sorted(method.learning_rates)
        assert method.default_lr == method.learning_rates[1]


def test_an_unknown_method_lists_the_known():
    assert find_method("ft") is METHODS["ft"]
    with pytest.raises(UnknownNameError, match=r"no method named 'vpt'.*\nKnown: ft, linear, vpt_deep, vpt_shallow"):
        find_method("vpt")
