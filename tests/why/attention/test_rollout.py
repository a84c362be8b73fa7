import pytest
import timm
import torch

from oracles.attention import fused_by_hand, rolled
from oracles.vit import make_vit, prompted_forward, rollout_by_leaves
from vptft.errors import NotApplicable, SettingsError
from vptft.models.layout import TokenLayout
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import LayerAttention, TunedModel
from vptft.why.attention.rollout import attention_rollout, pooling_query, roll

SCHEDULES = {
    "ft": None,
    "shallow": (0,),
    "deep": (0, 1, 2, 3),
    "first two": (0, 1),
    "first and third": (0, 2),
    "last two": (2, 3),
    "third": (2,),
}


def build(kind, layers, *, prefix_form=True, pooled=False):
    spec = None if layers is None else PromptSpec(length=5, layers=layers, pooled=pooled)
    generator = torch.Generator().manual_seed(2)
    return TunedModel(make_vit(kind), n_classes=2, prompts=spec, generator=generator, prefix_form=prefix_form).double()


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("prefix_form", [True, False], ids=["prefix", "concatenated"])
@pytest.mark.parametrize("layers", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("kind", ["cls", "register", "average"])
def test_rollout_equals_explicit_leaf_products_and_sums_to_one(kind, layers, prefix_form, images):
    model = build(kind, layers, prefix_form=prefix_form).eval()
    found = attention_rollout(model, images)
    tokens = torch.zeros(1, 0, 24) if layers is None else model.prompts.tokens
    with torch.no_grad():
        _, attentions = prompted_forward(model.backbone, tokens, layers or (), images)
    n_prefix = {"cls": 1, "register": 4, "average": 0}[kind]
    n_prompts = 0 if layers is None else 5
    query = torch.zeros(attentions[-1].shape[-1], dtype=torch.float64)
    query[slice(0, 1) if n_prefix else slice(n_prompts, None)] = 1
    mass, share = rollout_by_leaves(attentions, layers or (), n_prefix, n_prompts, query / query.sum())
    torch.testing.assert_close(found.patches.flatten(1), mass[:, n_prefix + n_prompts :], rtol=0, atol=1e-7)
    torch.testing.assert_close(found.prompt_share, share.double(), rtol=0, atol=1e-7)
    torch.testing.assert_close(found.cls + found.registers, mass[:, :n_prefix].sum(1), rtol=0, atol=1e-7)
    torch.testing.assert_close(found.total(), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-7)


def test_pooled_prompts_are_part_of_the_query_and_mass_is_kept(images):
    layers = (0, 1, 2, 3)
    model = build("average", layers, pooled=True).eval()
    found = attention_rollout(model, images)
    with torch.no_grad():
        _, attentions = prompted_forward(model.backbone, model.prompts.tokens, layers, images)
    query = torch.full((21,), 1 / 21, dtype=torch.float64)
    mass, share = rollout_by_leaves(attentions, layers, 0, 5, query)
    torch.testing.assert_close(found.patches.flatten(1), mass[:, 5:], rtol=0, atol=1e-7)
    torch.testing.assert_close(found.prompt_share, share, rtol=0, atol=1e-7)


def test_treating_deep_prompts_as_shallow_overstates_the_patches(images):
    model = build("cls", (0, 1, 2, 3), prefix_form=False).eval()
    layers = [layer._replace(probabilities=layer.probabilities.mean(1)) for layer in model.attention(images)]
    query = pooling_query(model.layout, "cls").double()
    naive = roll([layer._replace(inserted=layer.layer == 0) for layer in layers], model.layout, query)
    exact = roll(layers, model.layout, query)
    assert (naive.patches.sum((1, 2)) > 1.05 * exact.patches.sum((1, 2))).all()


def test_one_layer_by_hand():
    """Uniform attention over cls + 1 prompt + 4 patches: half stays with cls, half spreads over six tokens."""
    layout = TokenLayout(n_cls=1, n_registers=0, n_prompts=1, grid=(2, 2))
    uniform = LayerAttention(0, torch.full((1, 6, 6), 1 / 6), inserted=True)
    found = roll([uniform], layout, pooling_query(layout, "cls"))
    assert found.cls.item() == pytest.approx(0.5 + 0.5 / 6)
    assert found.prompt_share.item() == pytest.approx(0.5 / 6)
    assert found.patches.flatten().tolist() == pytest.approx([0.5 / 6] * 4)


def test_a_residual_of_one_sees_no_image_and_a_bad_one_is_refused(images):
    model = build("cls", (0,)).eval()
    assert attention_rollout(model, images, residual=1.0).cls.tolist() == [1, 1]
    with pytest.raises(SettingsError, match=r"\[0, 1\], got 1.5"):
        attention_rollout(model, images, residual=1.5)


def test_swin_is_not_applicable_with_the_reason():
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, img_size=64, window_size=2)
    with pytest.raises(NotApplicable, match="SwinTransformer"):
        attention_rollout(TunedModel(swin, n_classes=2), torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("discard", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("layers", [None, (0,), (0, 1, 2, 3), (2, 3)], ids=["ft", "shallow", "deep", "last two"])
@pytest.mark.parametrize("kind", ["register", "average"])
def test_fusion_discard_and_residual_are_those_of_one_row_at_a_time(kind, layers, fusion, discard, images):
    model = build(kind, layers).eval()
    found = attention_rollout(model, images, fusion=fusion, discard=discard, residual=0.2)
    tokens = torch.zeros(1, 0, 24) if layers is None else model.prompts.tokens
    with torch.no_grad():
        _, attentions = prompted_forward(model.backbone, tokens, layers or (), images)
    layout = model.layout
    matrices = [fused_by_hand(attention[1], fusion, discard, layout.n_cls) for attention in attentions]
    query = pooling_query(layout, model.pooling)
    mass, share = rolled(matrices, layers or (), layout.n_prefix, layout.n_prompts, query, residual=0.2)
    torch.testing.assert_close(found.patches[1].flatten(), mass[layout.patches], rtol=0, atol=1e-9)
    if layers:
        torch.testing.assert_close(found.prompt_share[1], share, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.total(), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-9)


def test_discarding_nearly_all_leaves_cls_and_the_token_itself(images):
    found = attention_rollout(build("cls", None).eval(), images, discard=0.999)
    assert found.cls.tolist() == pytest.approx([1, 1])


def test_bad_fusions_and_ratios_are_refused(images):
    model = build("cls", (0,)).eval()
    with pytest.raises(SettingsError, match="mean, max, min, not 'median'"):
        attention_rollout(model, images, fusion="median")
    with pytest.raises(SettingsError, match=r"\[0, 1\), got 1"):
        attention_rollout(model, images, discard=1.0)


def test_the_last_layer_gives_the_cls_row_alone_and_fused_attention_does_the_rest(images):
    model = build("cls", (0, 1, 2, 3)).eval()
    whole, read = (list(model.attention(images, read_rows_only=only)) for only in (False, True))
    assert [layer.probabilities.shape[2] for layer in read] == [17, 17, 17, 1]
    for one, other in zip(whole, read, strict=True):
        rows = slice(0, 1) if other.layer == 3 else slice(None)
        torch.testing.assert_close(one.probabilities[:, :, rows], other.probabilities, rtol=1e-9, atol=1e-12)
    assert [layer.layer for layer in model.attention(images, (1, 2))] == [1, 2]
    torch.testing.assert_close(next(model.attention(images, (2,))).probabilities, whole[2].probabilities)
