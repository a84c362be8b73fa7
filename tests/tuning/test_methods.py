from dataclasses import replace
from importlib.metadata import EntryPoint
from importlib.util import find_spec

import pytest
import timm
import torch

from vptft.errors import MissingExtraError, NotApplicable, SettingsError, UnknownNameError, VptftError
from vptft.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone, load_backbone
from vptft.models.fingerprint import state_hash
from vptft.models.tuned import TunedModel
from vptft.tuning import methods
from vptft.tuning.building import build_model
from vptft.tuning.methods import METHODS, Method, find_method, known
from vptft.tuning.optimisation import optimiser
from vptft.tuning.settings import OPTIONS, TrainSettings

CLASSES, LENGTH, LAYERS, DIM, WIDTH, RANK = 5, 4, 3, 32, 6, 3
HEAD = DIM * CLASSES + CLASSES
BLOCK = 12 * DIM**2 + 13 * DIM  # attention 4 d^2 + 4 d, MLP 8 d^2 + 5 d, two norms 4 d
BACKBONE = 3 * 64 * DIM + DIM + DIM + 17 * DIM + LAYERS * BLOCK + 2 * DIM
PROMPTS = LAYERS * LENGTH * DIM
TUNED = {
    "ft": BACKBONE + HEAD,
    "linear": HEAD,
    "multi_layer_probe": 2 * DIM * CLASSES + CLASSES,
    "partial_k": BLOCK + 2 * DIM + HEAD,
    "bias": DIM + LAYERS * 11 * DIM + DIM + HEAD,  # a block: qkv 3 d, projection d, MLP 5 d, two norms 2 d
    "vpt_shallow": LENGTH * DIM + HEAD,
    "vpt_deep": PROMPTS + HEAD,
    "mixed": BACKBONE + PROMPTS + HEAD,
    "ft_then_pt": PROMPTS + HEAD,
    "pt_then_ft": BACKBONE + PROMPTS + HEAD,
    "lora": LAYERS * RANK * (DIM + 3 * DIM) + HEAD,
    "adapter": LAYERS * (2 * DIM * WIDTH + DIM + WIDTH) + HEAD,
}
SETTINGS = TrainSettings(prompt_length=LENGTH, probe_layers=2, lora_rank=RANK, adapter_width=WIDTH, lr=1e-2)
TRAINABLE = [name for name in METHODS if name != "lora" or find_spec("peft")]


def build(name, backbone=None, **changes):
    method, settings = METHODS[name], replace(SETTINGS, **changes)
    base = None if method.after is None else build(method.after, **changes)
    return build_model(method, backbone or load_backbone("tiny", 32), settings, n_classes=CLASSES, base=base)


def tuned_names(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def plain_name(name):
    """Of a parameter before peft put its own modules around it."""
    return name.replace(".base_layer", "")


def declared(name, backbone):
    """Names the method should move, from the words of its row alone."""
    every = {f"backbone.{each}" for each, _ in backbone.named_parameters()}
    last = (f"backbone.blocks.{LAYERS - 1}.", "backbone.norm.")
    own = {
        "partial_k": {each for each in every if each.startswith(last)},
        "bias": {each for each in every if each.endswith("bias")},
        **dict.fromkeys(("ft", "mixed", "pt_then_ft"), every),
    }.get(name, set())
    prompts = {"prompts.tokens"} if name in ("vpt_shallow", "vpt_deep", "mixed", "ft_then_pt", "pt_then_ft") else set()
    return own | prompts | {"head.weight", "head.bias"}


def one_step(model, settings=SETTINGS):
    """Names of what a few steps change, buffers included."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    before["head.weight"] = model.head.weight.detach().clone()
    steps = optimiser(model, settings)
    for group in steps.param_groups:
        group["lr"] = 1e-2
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):  # LoRA's A moves once B is no longer zero
        steps.zero_grad()
        x = torch.randn(4, 3, 32, 32, generator=generator)
        torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 3])).backward()
        steps.step()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_parameters_tuned_are_counted_by_the_closed_form(name):
    model = build(name)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == TUNED[name]
    assert sum(p.numel() for p in load_backbone("tiny", 32).module.parameters()) == BACKBONE
    frozen = 0 if name in ("ft", "mixed", "pt_then_ft") else BACKBONE
    overlap = {"partial_k": BLOCK + 2 * DIM, "bias": DIM + LAYERS * 11 * DIM + DIM}.get(name, 0)
    assert sum(p.numel() for p in model.parameters()) == TUNED[name] + frozen - overlap


@pytest.mark.parametrize("name", TRAINABLE)
def test_exactly_what_the_method_declares_changes(name):
    model = build(name)
    backbone = load_backbone("tiny", 32).module
    expected = declared(name, backbone)
    if METHODS[name].adds is not None:
        mark = {"lora": ".lora_", "adapter": ".adapter."}[METHODS[name].adds]
        expected |= {each for each in model.state_dict() if mark in each}
    assert {plain_name(each) for each in tuned_names(model)} == expected
    assert {plain_name(each) for each in one_step(model)} == expected


def test_every_method_has_a_count_and_names_itself():
    assert TUNED.keys() == METHODS.keys()
    for name, method in METHODS.items():
        assert method.name == name
        assert list(method.learning_rates) == sorted(method.learning_rates)
        assert method.default_lr == method.learning_rates[1]
        assert method.options <= OPTIONS
    assert {name for name, method in METHODS.items() if method.reads_fixed_features} == {"linear", "multi_layer_probe"}


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_network_that_is_not_tuned_as_a_whole_stays_in_evaluation_mode(name):
    assert build(name).train().backbone.training == (name in ("ft", "mixed", "pt_then_ft"))


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_seed_gives_one_start_and_another_seed_another_where_something_is_drawn(name):
    first, again, other = (state_hash(build(name, seed=seed).state_dict()) for seed in (3, 3, 4))
    assert first == again
    drawn = METHODS[name].prompts or METHODS[name].adds or name == "pt_then_ft"
    assert (first != other) == bool(drawn)


@pytest.mark.parametrize("name", [name for name in TRAINABLE if METHODS[name].adds])
def test_what_is_added_adds_nothing_at_first(name):
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = TunedModel(load_backbone("tiny", 32).module, n_classes=2).eval()
    torch.testing.assert_close(build(name).eval().features(x), plain.features(x), rtol=0, atol=1e-6)


def test_the_paper_sized_network_has_the_papers_share():
    """ViT-B/16, 50 deep prompts, 100 classes: 12 * 50 * 768 + 768 * 100 + 100 of 86 million."""
    with torch.device("meta"):
        module = timm.create_model("vit_base_patch16_224", num_classes=0)
    assert sum(p.numel() for p in module.parameters()) == 85_798_656
    # Shapes are all that counts here; the prompts' start needs real memory, the network none.
    deep = build_model(METHODS["vpt_deep"], as_backbone(module), replace(SETTINGS, prompt_length=50), n_classes=100)
    assert sum(p.numel() for p in deep.parameters() if p.requires_grad) == 12 * 50 * 768 + 768 * 100 + 100


def as_backbone(module):
    return Backbone(
        name="n", module=module, sha256="s", image_size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, pretraining="random"
    )


@pytest.mark.parametrize(
    ("name", "layers", "which"),
    [
        ("vpt_shallow", (0,), "all"),
        ("vpt_deep", (0, 1, 2), "all"),
        ("vpt_deep", (0, 1), "first:2"),
        ("vpt_deep", (1, 2), "last:2"),
        ("mixed", (0,), "first:1"),
        ("ft_then_pt", (2,), "last:1"),
    ],
)
def test_prompts_come_in_where_the_settings_say(name, layers, which):
    spec = build(name, prompt_layers=which, prompt_dropout=0.3).prompts.spec
    assert (spec.layers, spec.dropout, spec.length) == (layers, 0.3, LENGTH)


def test_prompt_options_reach_the_prompts():
    shared = build("vpt_deep", prompt_shared=True).prompts
    assert shared.tokens.shape == (1, LENGTH, DIM)
    assert torch.equal(shared.at(0, 1), shared.at(2, 1))
    narrow = build("vpt_deep", prompt_projection=8).prompts
    assert (narrow.tokens.shape, narrow.project.weight.shape) == ((LAYERS, LENGTH, 8), (DIM, 8))
    assert narrow.tokens.abs().max() <= (6 / (3 * 64 + 8)) ** 0.5
    expected = narrow.tokens[1] @ narrow.project.weight.T + narrow.project.bias
    torch.testing.assert_close(narrow.at(1, 1)[0], expected)


def test_no_prompts_leave_a_linear_probe():
    assert tuned_names(build("vpt_deep", prompt_length=0)) == tuned_names(build("linear"))


def test_a_method_after_another_takes_its_network_its_head_and_its_prompts():
    base = build("vpt_deep")
    torch.nn.init.ones_(base.head.weight)
    after = build_model(METHODS["pt_then_ft"], load_backbone("tiny", 32), SETTINGS, n_classes=CLASSES, base=base)
    assert after.backbone is base.backbone
    assert after.head is base.head
    assert torch.equal(after.prompts.tokens, base.prompts.tokens)
    with pytest.raises(SettingsError, match="ft_then_pt starts from ft"):
        build_model(METHODS["ft_then_pt"], load_backbone("tiny", 32), SETTINGS, n_classes=CLASSES)
    with pytest.raises(SettingsError, match="ft starts from the pretrained backbone"):
        build_model(METHODS["ft"], load_backbone("tiny", 32), SETTINGS, n_classes=CLASSES, base=base)


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("partial_k", {"partial_layers": 4}, "partial_layers is 4; the backbone has 3 blocks"),
        ("multi_layer_probe", {"probe_layers": 9}, "probe_layers is 9; the backbone has 3 layers"),
        ("vpt_deep", {"prompt_layers": "last:7"}, "prompt_layers is last:7; the backbone has 3 layers"),
    ],
)
def test_more_layers_than_there_are_is_refused(name, changes, match):
    with pytest.raises(SettingsError, match=match):
        build(name, **changes)


CONVOLUTIONAL = {
    "ResNet": lambda: timm.create_model("resnet10t", num_classes=0, zero_init_last=False),
    "ConvNeXt": lambda: timm.create_model("convnext_atto", num_classes=0, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
@pytest.mark.parametrize("name", ["ft", "linear", "bias"])
def test_a_network_without_tokens_is_tuned_exactly_where_the_method_says(kind, name):
    backbone = as_backbone(CONVOLUTIONAL[kind]())
    names = {f"backbone.{each}" for each, _ in backbone.module.named_parameters()}
    expected = {"ft": names, "linear": set(), "bias": {each for each in names if each.endswith("bias")}}[name]
    changed = one_step(build(name, backbone))
    buffers = {f"backbone.{each}" for each, _ in backbone.module.named_buffers()}
    assert changed - buffers == expected | {"head.weight", "head.bias"}
    assert bool(changed & buffers) == (name == "ft" and kind == "ResNet")  # batch statistics move with all weights only


@pytest.mark.parametrize(
    "name", ["vpt_shallow", "vpt_deep", "mixed", "lora", "adapter", "partial_k", "multi_layer_probe"]
)
def test_a_network_without_tokens_takes_no_prompts_and_no_additions(name):
    with pytest.raises(NotApplicable, match="not applicable to ResNet: it is not a plain vision transformer"):
        build(name, as_backbone(CONVOLUTIONAL["ResNet"]()))


def test_dropout_lies_where_kmnp_has_it_and_nowhere_else():
    model = build("ft", backbone_dropout=0.1)
    dropping = {name for name, part in model.named_modules() if isinstance(part, torch.nn.Dropout) and part.p == 0.1}
    mlp = {f"backbone.blocks.{i}.mlp.drop{k}" for i in range(LAYERS) for k in (1, 2)}
    assert dropping == {"backbone.pos_drop", *mlp}
    with pytest.raises(NotApplicable, match="backbone_dropout is not applicable to ResNet"):
        build("ft", as_backbone(CONVOLUTIONAL["ResNet"]()), backbone_dropout=0.1)


def test_a_kaiming_head_starts_as_kmnps():
    head = build("linear", head_init="kaiming").head
    assert head.bias.tolist() == pytest.approx([-4.59511985] * CLASSES)
    assert head.weight.std().item() == pytest.approx((2 / CLASSES) ** 0.5, rel=0.15)


def test_lora_without_peft_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"LoRA needs the package peft.*\npip install 'vptft-analyze\[peft\]'"):
        build("lora")


def test_an_unknown_method_lists_the_known():
    assert find_method("ft") is METHODS["ft"]
    with pytest.raises(UnknownNameError, match=r"no method named 'vpt'.*\nKnown: adapter, bias, ft, .*vpt_shallow"):
        find_method("vpt")


THEIRS = Method(name="theirs", about="another package's", learning_rates=(1e-3, 1e-2, 1e-1))


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("tuning_plugin:THEIRS", None),
        ("tuning_plugin:WRONG", "gives 3, not a Method of that name"),
        ("tuning_plugin:GONE", "cannot be loaded: AttributeError"),
        ("no_such_module:X", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_another_package_adds_a_method(value, match, monkeypatch):
    module = type(methods)("tuning_plugin")
    module.THEIRS, module.WRONG = THEIRS, 3
    monkeypatch.setitem(__import__("sys").modules, "tuning_plugin", module)
    point = EntryPoint("theirs", value, methods.ENTRY_POINTS)
    monkeypatch.setattr(methods, "entry_points", lambda group: (point,) if group == methods.ENTRY_POINTS else ())
    assert "theirs" in known()
    if match is None:
        assert find_method("theirs") is THEIRS
    else:
        with pytest.raises(VptftError, match=match):
            find_method("theirs")
