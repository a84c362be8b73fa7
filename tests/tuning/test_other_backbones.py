"""Methods on backbones that are no plain vision transformer: what works there, and what answers that it does not."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from oracles.swin import make_swin
from vptft.checkpoints.native import load_run
from vptft.data.transforms import normalise
from vptft.errors import NotApplicable, SettingsError
from vptft.models import backbones
from vptft.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone, Embedded
from vptft.tuning.building import build_model
from vptft.tuning.loop import train
from vptft.tuning.methods import METHODS
from vptft.tuning.optimisation import optimiser
from vptft.tuning.settings import TrainSettings

SETTINGS = TrainSettings(prompt_length=3, image_size=32, lr=1e-2, prompt_lr=1e-2, head_lr=1e-2)
WHOLE = ("ft", "mixed", "pt_then_ft")
PROMPTED = ("vpt_shallow", "vpt_deep", "mixed", "ft_then_pt", "pt_then_ft")
# Options that keep a fresh network alive at every parameter: a branch that starts at zero has no gradient inside.
MODULES = {
    "swin": lambda: make_swin(32, drop_path_rate=0.0),
    "resnet": lambda: timm.create_model(
        "resnet10t", num_classes=0, stem_width=8, channels=(8, 8, 16, 16), zero_init_last=False
    ),
    "convnext": lambda: timm.create_model(
        "convnext_atto", num_classes=0, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), ls_init_value=0.1
    ),
}


def module_of(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODULES[kind]()


def backbone_of(kind):
    return Backbone(
        name=kind,
        module=module_of(kind),
        sha256="s",
        image_size=32,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        pretraining="random",
    )


def build(name, kind, **changes):
    method = METHODS[name]
    base = None if method.after is None else build(method.after, kind, **changes)
    return build_model(method, backbone_of(kind), replace(SETTINGS, **changes), n_classes=4, base=base)


def declared(name, kind):
    """Names of the tensors that the method should move, buffers of a backbone tuned as a whole included."""
    module = module_of(kind)
    own = {
        **{each: set(module.state_dict()) for each in WHOLE},
        "bias": {each for each, _ in module.named_parameters() if each.endswith("bias")},
    }.get(name, set())
    stages = {"vpt_shallow": (0,)}.get(name, (0, 1)) if name in PROMPTED else ()
    return (
        {f"backbone.{each}" for each in own}
        | {f"prompts.stage{stage}.tokens" for stage in stages}
        | {"head.weight", "head.bias"}
    )


def changed_by_steps(model):
    """Names of the tensors of the state dict that three steps of AdamW on noise change."""
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    steps = optimiser(model.train(), SETTINGS)
    for group in steps.param_groups:
        group["lr"] = 1e-2
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        steps.zero_grad()
        x = torch.randn(4, 3, 32, 32, generator=generator)
        torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 3])).backward()
        steps.step()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("name", ["ft", "linear", "bias", *PROMPTED])
def test_on_a_swin_exactly_what_the_method_declares_changes(name):
    assert changed_by_steps(build(name, "swin")) == declared(name, "swin")


@pytest.mark.parametrize("kind", ["resnet", "convnext"])
@pytest.mark.parametrize("name", ["ft", "linear", "bias"])
def test_on_a_convolutional_network_exactly_what_the_method_declares_changes(name, kind):
    assert changed_by_steps(build(name, kind)) == declared(name, kind)


def test_biases_leave_the_batch_statistics_alone_and_finetuning_moves_them():
    statistics = {f"backbone.{name}" for name, _ in module_of("resnet").named_buffers()}
    assert len(statistics) > 10
    assert not changed_by_steps(build("bias", "resnet")) & statistics
    assert changed_by_steps(build("ft", "resnet")) >= statistics


def test_a_last_batch_of_one_is_refused_where_batches_normalise(monkeypatch, toy_task, settings, tmp_path):
    monkeypatch.setattr(backbones, "_build", lambda name: (module_of("resnet"), "random"))
    one_left = replace(settings, n_train=9, batch_size=4)
    with pytest.raises(SettingsError, match=r"9 training images in batches of 4 leave one alone"):
        train(toy_task, METHODS["ft"], backbone="any", settings=one_left, folder=tmp_path / "ft")
    train(toy_task, METHODS["linear"], backbone="any", settings=one_left, folder=tmp_path / "linear")


@pytest.mark.parametrize("name", ["vpt_shallow", "vpt_deep", "mixed"])
@pytest.mark.parametrize(("kind", "said"), [("resnet", "ResNet"), ("convnext", "ConvNeXt")])
def test_prompts_are_not_applicable_to_a_convolutional_network(kind, said, name):
    with pytest.raises(NotApplicable, match=f"not applicable to {said}: it is not a plain vision transformer"):
        build(name, kind)


@pytest.mark.parametrize("name", ["partial_k", "multi_layer_probe", "lora", "adapter"])
def test_what_needs_a_plain_vision_transformer_says_so_of_a_swin(name):
    with pytest.raises(NotApplicable, match="not applicable to SwinTransformer: it attends within local windows"):
        build(name, "swin")


@pytest.mark.parametrize(
    ("name", "options", "layers", "count"),
    [
        ("vpt_shallow", {}, (0,), 3 * 12),
        ("vpt_deep", {}, (0, 1, 2, 3), 2 * 3 * 12 + 2 * 3 * 24),
        ("vpt_deep", {"prompt_layers": "first:3"}, (0, 1, 2), 2 * 3 * 12 + 3 * 24),
        ("vpt_deep", {"prompt_layers": "last:1"}, (3,), 3 * 24),
    ],
)
def test_layers_are_counted_through_all_stages(name, options, layers, count):
    model = build(name, "swin", **options)
    assert model.prompts.spec.layers == layers
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count + 24 * 4 + 4


def test_prompts_of_every_stage_are_spared_weight_decay():
    model = build("vpt_deep", "swin")
    decayed = {
        id(p) for group in optimiser(model, SETTINGS).param_groups if group["weight_decay"] for p in group["params"]
    }
    assert {name for name, p in model.named_parameters() if id(p) in decayed} == {"head.weight"}


@pytest.fixture
def tiny_swin(monkeypatch):
    """The name of a small Swin that :func:`load_backbone` knows."""
    known = Embedded(build=lambda: module_of("swin"), pretraining="random", about="for this test")
    monkeypatch.setitem(backbones.EMBEDDED, "tiny-swin", known)
    return "tiny-swin"


@pytest.mark.parametrize("name", ["vpt_deep", "ft_then_pt", "pt_then_ft"])
def test_a_run_on_a_swin_comes_back_from_its_folder(name, tiny_swin, toy_task, settings, tmp_path):
    method = METHODS[name]
    options = {"backbone": tiny_swin, "settings": replace(settings, lr=1e-3)}
    base = None if method.after is None else train(toy_task, METHODS[method.after], folder=tmp_path / "base", **options)
    train(toy_task, method, folder=tmp_path / "run", base=base, **options)
    run = load_run(tmp_path / "run")
    test = toy_task.load("test", n=12)
    with torch.inference_mode():
        logits = run.model()(normalise(test.pixels(32), tuple(run.info.mean), tuple(run.info.std)))
    np.testing.assert_array_equal(logits.numpy(), run.predictions().logits)
    assert run.info.prompts["layers"] == [0, 1, 2, 3]
    assert {each for each, p in run.model().named_parameters() if each.startswith("prompts.")} == {
        "prompts.stage0.tokens",
        "prompts.stage1.tokens",
    }


def test_prompts_of_a_swin_cannot_start_from_features(tiny_swin, toy_task, settings, tmp_path):
    with pytest.raises(NotApplicable, match=r"width differs by stage.\nLeave out prompt_init"):
        train(
            toy_task,
            METHODS["vpt_deep"],
            backbone=tiny_swin,
            settings=replace(settings, prompt_init="class_token"),
            folder=tmp_path / "run",
        )
