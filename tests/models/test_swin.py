"""Prompts in the local windows of a Swin, against a reference that goes through the windows one by one."""

import pytest
import timm
import torch

from oracles.swin import make_swin, prompted_swin
from vptft.errors import NotApplicable, SettingsError
from vptft.models.prompts import PromptSpec
from vptft.models.swin import prompted_block, stages_of
from vptft.models.tuned import TunedModel

SCHEDULES = {
    "shallow": (0,),
    "deep": (0, 1, 2, 3),
    "first two": (0, 1),
    "first three": (0, 1, 2),
    "first of each stage": (0, 2),
    "last two": (2, 3),
}
LENGTH = 3


def build(layers, *, image_size=64, prefix_form=True, length=LENGTH, swin=None, **spec):
    model = TunedModel(
        make_swin(image_size) if swin is None else swin,
        n_classes=3,
        prompts=PromptSpec(length=length, layers=layers, **spec),
        generator=torch.Generator().manual_seed(3),
        prefix_form=prefix_form,
    )
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(4))
    return model.double().eval()


def make_images(image_size=64, n=2):
    return torch.randn(n, 3, image_size, image_size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_layer(model):
    """The prompts read off the state dict: the rows of ``stage0``, then those of ``stage1``."""
    state = dict(model.named_parameters())
    names = [f"prompts.stage{stage}.tokens" for stage in (0, 1)]
    rows = [row for name in names if name in state for row in state[name]]
    return dict(zip(model.prompts.spec.layers, rows, strict=True))


@pytest.mark.parametrize("prefix_form", [True, False], ids=["prefix", "concatenated"])
@pytest.mark.parametrize("image_size", [64, 40], ids=["shifted", "padded"])
@pytest.mark.parametrize("layers", SCHEDULES.values(), ids=SCHEDULES)
def test_features_equal_the_explicit_forward(layers, image_size, prefix_form):
    model, images = build(layers, image_size=image_size, prefix_form=prefix_form), make_images(image_size)
    expected = prompted_swin(model.backbone, by_layer(model), images)
    torch.testing.assert_close(model.features(images), expected, rtol=1e-9, atol=1e-9)
    assert (expected - model.backbone(images)).abs().max() > 1e-3  # the prompts do something


@pytest.mark.parametrize("prefix_form", [True, False], ids=["prefix", "concatenated"])
@pytest.mark.parametrize("layers", SCHEDULES.values(), ids=SCHEDULES)
def test_prompts_may_go_through_merging_and_be_pooled_as_in_another_program(layers, prefix_form):
    images, found = make_images(), {}
    for merges, pools in ((True, True), (True, False), (False, True)):
        model = build(layers, prefix_form=prefix_form, merged=merges, pooled=pools)
        expected = prompted_swin(model.backbone, by_layer(model), images, merges_prompts=merges, pools_prompts=pools)
        found[merges, pools] = model.features(images)
        torch.testing.assert_close(found[merges, pools], expected, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(found[True, True], found[True, False])


@pytest.mark.parametrize("image_size", [64, 40, 32], ids=["shifted", "padded", "one window"])
def test_no_prompts_is_the_plain_timm_model(image_size):
    swin, images = make_swin(image_size).double(), make_images(image_size)
    torch.testing.assert_close(prompted_swin(swin, {}, images), swin(images), rtol=1e-9, atol=1e-9)
    none = PromptSpec(length=0, layers=(0, 1, 2, 3))
    for model in (TunedModel(swin, n_classes=2), TunedModel(swin, n_classes=2, prompts=none)):
        torch.testing.assert_close(model.double().eval().features(images), swin(images), rtol=0, atol=0)


@pytest.mark.parametrize("outputs", [True, False])
@pytest.mark.parametrize("strict", [True, False], ids=["fixed mask", "mask of the moment"])
def test_an_empty_set_of_prompts_leaves_a_block_as_timm_runs_it(strict, outputs):
    """Training mode: stochastic depth and dropout draw the same numbers, and so drop the same."""
    swin = make_swin(40, drop_path_rate=0.5, proj_drop_rate=0.3, strict_img_size=strict).double().train()
    x = torch.randn(4, 10, 10, 12, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for block in swin.layers[0].blocks:
        torch.manual_seed(6)
        expected = block(x)
        torch.manual_seed(6)
        found, carried = prompted_block(block, x, x.new_zeros(1, 0, 12), outputs=outputs)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        assert carried is None if not outputs else carried.shape == (4, 0, 12)


@pytest.mark.parametrize("layers", [(0,), (0, 1, 2, 3)], ids=["shallow", "deep"])
def test_gradients_of_the_prefix_form_equal_those_of_concatenation_and_of_the_reference(layers):
    gradients, images = [], make_images(40)
    for prefix_form in (True, False, None):
        model = build(layers, image_size=40, prefix_form=bool(prefix_form))
        features = model.features(images)
        if prefix_form is None:
            features = prompted_swin(model.backbone, by_layer(model), images)
        model.head(features).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert gradients[0]["prompts.stage0.tokens"].abs().max() > 1e-3
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradient, other[name], rtol=1e-8, atol=1e-9, msg=name)


def tokens_through_the_mlps(model, images):
    seen = []
    for stage in model.backbone.layers:
        for block in stage.blocks:
            block.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    model(images)
    return seen


def test_a_prompt_has_outputs_only_where_they_are_carried_on():
    images = make_images()
    assert tokens_through_the_mlps(build((0, 1, 2, 3)), images) == [256, 256, 64, 64]
    assert tokens_through_the_mlps(build((0, 1, 2, 3), prefix_form=False), images) == [259, 259, 67, 67]
    assert tokens_through_the_mlps(build((0, 2)), images) == [259, 256, 67, 64]


def test_shallow_prompts_end_with_the_first_stage():
    """The second stage runs as timm runs it: its blocks see patches alone."""
    model, seen = build((0,)), []
    model.backbone.layers[1].blocks[0].register_forward_hook(lambda *_: seen.append("as it is"))
    model(make_images())
    assert seen == ["as it is"]


def test_no_image_knows_of_another_in_its_batch():
    images = make_images(n=3)
    for layers in ((0,), (0, 1, 2, 3)):
        model = build(layers)
        alone = torch.cat([model.features(image[None]) for image in images])
        torch.testing.assert_close(model.features(images), alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("per_sample", [True, False])
def test_prompt_dropout_is_the_same_in_both_forms(per_sample):
    found = []
    for prefix_form in (True, False):
        model = build((0, 1, 2, 3), dropout=0.5, dropout_per_sample=per_sample, prefix_form=prefix_form)
        model.backbone.requires_grad_(False)
        model.train()
        torch.manual_seed(2)
        found.append(model.features(make_images()[:1].expand(2, -1, -1, -1)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-10)
    assert torch.allclose(found[0][0], found[0][1]) != per_sample


def test_a_model_in_bfloat16_runs_and_is_near():
    model, images = build((0, 2)).float(), make_images().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model.features(images)
    assert torch.nn.functional.cosine_similarity(rounded.float(), model.features(images)).min() > 0.99


def test_prompts_have_their_stages_width_and_start_within_its_bound():
    parameters = {name: p for name, p in build((0, 1, 3), length=400).named_parameters() if name.startswith("prompts.")}
    assert {name: tuple(p.shape) for name, p in parameters.items()} == {
        "prompts.stage0.tokens": (2, 400, 12),
        "prompts.stage1.tokens": (1, 400, 24),
    }
    for width, tokens in zip((12, 24), parameters.values(), strict=True):
        bound = (6 / (3 * 4 * 4 + width)) ** 0.5
        assert 0.99 * bound < tokens.abs().max() <= bound
        assert abs(tokens.mean()) < 0.02 * bound
    assert [name for name, _ in build((3,)).prompts.named_parameters()] == ["stage1.tokens"]


def test_the_deep_prompts_of_a_swin_base_are_counted_by_the_closed_form():
    """Ten prompts a block: 10 * (2 * 128 + 2 * 256 + 18 * 512 + 2 * 1024) numbers."""
    with torch.device("meta"):
        swin = timm.create_model("swin_base_patch4_window7_224", num_classes=0)
    assert stages_of(swin) == (0,) * 2 + (1,) * 2 + (2,) * 18 + (3,) * 2
    prompts = TunedModel(swin, n_classes=1, prompts=PromptSpec(length=10, layers=tuple(range(24)))).prompts
    assert sum(p.numel() for p in prompts.parameters()) == sum(
        depth * 10 * width for depth, width in ((2, 128), (2, 256), (18, 512), (2, 1024))
    )
    assert sum(p.numel() for p in prompts.parameters()) == 120_320


@pytest.mark.parametrize(
    "asked",
    [
        lambda model: list(model.attention(make_images())),
        lambda model: model.tokens(make_images()),
        lambda model: model.layout,
        lambda model: model.pooling,
        lambda model: model.replaced_after(0),
    ],
    ids=["attention", "tokens", "layout", "pooling", "replaced_after"],
)
def test_what_needs_one_set_of_tokens_is_not_applicable(asked):
    with pytest.raises(NotApplicable, match="not applicable to SwinTransformer: it attends within local windows"):
        asked(build((0, 1, 2, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shared": True}, r"Shared prompts are not applicable: .* widths \(12, 24\)"),
        ({"projection": 4}, r"Projected prompts are not applicable: .* widths \(12, 24\)"),
    ],
)
def test_options_that_need_one_width_are_not_applicable(options, message):
    with pytest.raises(NotApplicable, match=message):
        build((0,), **options)


def test_prompts_of_several_widths_are_no_one_tensor_and_cannot_start_from_features():
    prompts = build((0, 2)).prompts
    with pytest.raises(NotApplicable, match="no one tensor"):
        _ = prompts.tokens
    with pytest.raises(NotApplicable, match="Vectors of width 24 cannot start prompts"):
        prompts.start_from(torch.zeros(3, 24))


def test_prompt_layers_beyond_the_backbone_are_refused():
    with pytest.raises(SettingsError, match="beyond the backbone's 4 layers"):
        build((0, 4))


def test_attention_with_something_added_is_refused_rather_than_passed_over():
    model = build((0, 1, 2, 3))
    model.backbone.layers[1].blocks[0].attn.register_forward_hook(lambda *_: None)
    with pytest.raises(NotApplicable, match="with nothing added to its attention"):
        model(make_images())


def test_a_block_of_another_make_is_refused():
    swin = make_swin()
    swin.layers[0].blocks[1].attn.qkv = torch.nn.Sequential(swin.layers[0].blocks[1].attn.qkv)
    with pytest.raises(NotApplicable, match="only timm's own Swin block"):
        build((0,), swin=swin)


def test_a_swin_of_the_second_version_takes_no_prompts():
    swin = timm.create_model(
        "swinv2_tiny_window8_256", num_classes=0, img_size=32, window_size=4, embed_dim=8, depths=(1, 1),
        num_heads=(1, 2),
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="not applicable to SwinTransformerV2"):
        build((0,), swin=swin)
