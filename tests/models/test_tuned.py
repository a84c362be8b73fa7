import pytest
import timm
import torch
from timm.models.deit import VisionTransformerDistilled

from oracles.vit import make_vit, prompted_forward
from vptft.errors import NotApplicable, SettingsError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel

KINDS = ("cls", "register", "average")
SCHEDULES = {
    "shallow": (0,),
    "deep": (0, 1, 2, 3),
    "first two": (0, 1),
    "first and third": (0, 2),
    "last two": (2, 3),
    "third": (2,),
}


def build(kind, layers, *, length=5, prefix_form=True, **spec):
    generator = torch.Generator().manual_seed(3)
    model = TunedModel(
        make_vit(kind),
        n_classes=3,
        prompts=PromptSpec(length=length, layers=layers, **spec),
        generator=generator,
        prefix_form=prefix_form,
    )
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(4))
    return model.double().eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("prefix_form", [True, False], ids=["prefix", "concatenated"])
@pytest.mark.parametrize("layers", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_features_and_attention_equal_the_explicit_forward(kind, layers, prefix_form, images):
    model = build(kind, layers, prefix_form=prefix_form)
    expected, attentions = prompted_forward(model.backbone, model.prompts.tokens, layers, images)
    torch.testing.assert_close(model.features(images), expected, rtol=1e-9, atol=1e-9)
    kept = model.layout.kept
    for found, whole in zip(model.attention(images), attentions, strict=True):
        carried = found.probabilities.shape[2] == whole.shape[2]
        rows = whole if carried else whole[:, :, kept]
        torch.testing.assert_close(found.probabilities, rows, rtol=1e-9, atol=1e-9)
        assert found.inserted == (found.layer in layers)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_prefix_form_equal_those_of_concatenation(kind, images):
    gradients = []
    for prefix_form in (True, False):
        model = build(kind, (0, 1, 2, 3), prefix_form=prefix_form)
        model(images).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert gradients[0]["prompts.tokens"].abs().max() > 1e-3
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-8, atol=1e-10, msg=name)


def test_prefix_form_computes_no_prompt_outputs_where_they_are_thrown_away(images):
    assert all(t.shape[1] == 17 for t in build("cls", (0, 1, 2, 3)).tokens(images).values())
    assert [t.shape[1] for t in build("cls", (0, 1)).tokens(images).values()] == [17, 22, 22, 22]
    assert all(t.shape[1] == 22 for t in build("cls", (0, 1, 2, 3), prefix_form=False).tokens(images).values())


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompts_is_the_plain_timm_model(kind, images):
    vit = make_vit(kind).double()
    for model in (
        TunedModel(vit, n_classes=2),
        TunedModel(vit, n_classes=2, prompts=PromptSpec(length=0, layers=(0, 1, 2, 3))),
    ):
        torch.testing.assert_close(model.double().features(images), vit(images), rtol=1e-10, atol=1e-10)


def test_pooled_prompts_count_in_the_mean_and_in_the_last_layer(images):
    layers = (0, 1, 2, 3)
    pooled = build("average", layers, pooled=True)
    tokens = build("average", layers, prefix_form=False).tokens(images)[3]
    torch.testing.assert_close(pooled.features(images), pooled.backbone.fc_norm(pooled.backbone.norm(tokens).mean(1)))
    assert pooled.pooling == "patches and prompts"
    assert [pooled.replaced_after(layer) for layer in range(4)] == [True, True, True, False]


def test_dropout_per_sample_leaves_the_prefix_form_and_dropout_per_batch_keeps_it(images):
    for per_sample, expected in ((True, 22), (False, 17)):
        model = build("cls", (0, 1, 2, 3), dropout=0.5, dropout_per_sample=per_sample).train()
        assert model.tokens(images)[0].shape[1] == expected
    assert model.eval().tokens(images)[0].shape[1] == 17


def test_attention_leaves_fused_attention_on_and_rows_sum_to_one(images):
    model = build("register", (0, 1, 2, 3))
    before = [block.attn.fused_attn for block in model.backbone.blocks]
    layers = list(model.attention(images))
    assert len(layers) == 4
    for layer in layers:
        torch.testing.assert_close(layer.probabilities.sum(-1), torch.ones(2, 3, 20, dtype=torch.float64))
    assert [block.attn.fused_attn for block in model.backbone.blocks] == before


def test_layout_names_every_position_once():
    layout = build("register", (0,)).layout
    positions = [*range(22 + 3)]
    named = [positions[part] for part in (layout.cls, layout.registers, layout.prompts, layout.patches)]
    assert [position for part in named for position in part] == positions
    assert [len(part) for part in named] == [1, 3, 5, 16]
    assert layout.kept.tolist() == [*range(4), *range(9, 25)]


def test_a_convolutional_backbone_gives_features_and_says_attention_is_not_applicable():
    backbone = timm.create_model("resnet10t", num_classes=0)
    model = TunedModel(backbone, n_classes=2).eval()
    x = torch.zeros(1, 3, 64, 64)
    assert model(x).shape == (1, 2)
    with pytest.raises(NotApplicable, match="not applicable to ResNet"):
        list(model.attention(x))
    with pytest.raises(NotApplicable, match="not applicable to ResNet"):
        TunedModel(backbone, n_classes=2, prompts=PromptSpec(length=1, layers=(0,)))


def test_a_pooling_that_is_not_understood_is_named():
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, global_pool="avgmax", img_size=32)
    with pytest.raises(NotApplicable, match="'avgmax'"):
        _ = TunedModel(vit, n_classes=2).pooling


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"length": -1, "layers": (0,)}, "negative, nor its width: -1, 0"),
        ({"length": 2, "layers": (0,), "projection": -3}, "negative, nor its width: 2, -3"),
        ({"length": 2, "layers": (-1, 2)}, "from 0 on"),
        ({"length": 2, "layers": (0, 2, 1)}, "increasing"),
        ({"length": 2, "layers": (0,), "dropout": 1.0}, r"\[0, 1\): 1.0"),
    ],
)
def test_bad_prompt_settings_are_refused(values, message):
    with pytest.raises(SettingsError, match=message):
        PromptSpec(**values)


def test_prompt_layers_beyond_the_backbone_are_refused():
    with pytest.raises(SettingsError, match="beyond the backbone's 4 layers"):
        build("cls", (0, 9))


def test_prompts_start_within_the_bound_of_jia_et_al():
    tokens = build("cls", (0, 1, 2, 3), length=200).prompts.tokens
    bound = (6 / (3 * 8 * 8 + 24)) ** 0.5
    assert tokens.abs().max() <= bound
    assert tokens.abs().max() > 0.99 * bound
    assert abs(tokens.mean()) < 0.02 * bound


def test_a_frozen_backbone_stays_in_evaluation_mode_while_training():
    model = build("cls", (0,))
    model.backbone.requires_grad_(False)
    assert not model.train().backbone.training
    model.backbone.requires_grad_(True)
    assert model.train().backbone.training


def test_both_tokens_of_a_distilled_network_reach_the_head():
    torch.manual_seed(0)
    vit = VisionTransformerDistilled(img_size=32, patch_size=16, embed_dim=16, depth=2, num_heads=2, num_classes=0)
    model = TunedModel(vit.eval(), n_classes=3).eval()
    torch.nn.init.normal_(model.head.weight)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model.head(vit.forward_head(vit.forward_features(x)))
        torch.testing.assert_close(model(x), expected)
