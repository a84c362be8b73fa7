import numpy as np
import pytest
import torch

from oracles.vit import make_vit
from vptft.errors import NotApplicable, SettingsError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.methods import explain

TARGET = np.array([0, 2])


def build(kind="cls", layers=None, *, frozen=True, prefix_form=True, length=4):
    spec = None if layers is None else PromptSpec(length=length, layers=layers)
    model = TunedModel(make_vit(kind, depth=3), n_classes=3, prompts=spec, prefix_form=prefix_form)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model.double().eval().requires_grad_(not frozen)


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("layer", [0, 1, -1])
@pytest.mark.parametrize(
    ("kind", "layers"), [("cls", None), ("register", (0, 1, 2)), ("cls", (1, 2)), ("average", (0,))]
)
def test_grad_cam_is_its_definition_through_the_whole_graph(kind, layers, layer, images):
    model = build(kind, layers, frozen=False, prefix_form=False)  # concatenated, all in the graph
    seen = []
    handle = model.backbone.blocks[layer].norm1.register_forward_hook(lambda module, args, output: seen.append(output))
    logits = model(images)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[[0, 1], TARGET].sum(), seen)
    weights = gradient[:, -16:].mean(1)
    expected = (weights[:, None] * seen[0][:, -16:]).sum(-1).detach()
    for form in (True, False):
        found = explain(build(kind, layers, prefix_form=form), images, method="gradcam", target=TARGET, layer=layer)
        np.testing.assert_allclose(found.values.reshape(2, -1), expected.numpy(), rtol=1e-7, atol=1e-10)
        positive = expected.clamp(min=0).numpy()
        np.testing.assert_allclose(found.maps.reshape(2, -1), positive / positive.sum(1, keepdims=True), rtol=1e-7)


@pytest.mark.parametrize("length", [17, 40])
def test_more_prompts_than_tokens_are_not_taken_for_tokens(length, images):
    of = [build("cls", (0, 1, 2), prefix_form=form, length=length) for form in (True, False)]
    one, other = (explain(model, images, method="gradcam", target=TARGET) for model in of)
    assert np.abs(one.values).max() > 0
    np.testing.assert_allclose(one.values, other.values, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("layers", [None, (0, 1, 2)], ids=["ft", "deep"])
def test_grad_cam_is_pytorch_grad_cams_up_to_its_scaling(layers, images):
    peer = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = build("register", layers, frozen=False, prefix_form=False).float()
    with peer.GradCAM(
        model=model,
        target_layers=[model.backbone.blocks[-1].norm1],
        reshape_transform=lambda tokens: tokens[:, -16:].unflatten(1, (4, 4)).permute(0, 3, 1, 2),
    ) as cam:
        expected = cam(input_tensor=images.float(), targets=[ClassifierOutputTarget(t) for t in TARGET])
    model.zero_grad(set_to_none=True)
    found = explain(model, images.float(), method="gradcam", target=TARGET).maps
    coarse = expected[:, 4::8, 4::8]
    for ours, picture in zip(found, coarse, strict=True):
        assert np.corrcoef(ours.ravel(), picture.ravel())[0, 1] > 0.98


def test_the_last_layers_output_is_refused_where_only_the_cls_token_is_read(images):
    model = build("cls", (0, 1, 2), frozen=False, prefix_form=False)
    with pytest.raises(NotApplicable, match="reads the cls token alone, so no patch of the last layer's output"):
        explain(model, images, method="gradcam", target=TARGET, layer=3)
    tokens = model.entering(images, 3).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.logits_from(tokens, 3)[:, 0].sum(), tokens)
    assert (gradient[:, -16:] == 0).all()  # the reason given is true
    assert not explain(build("average"), images, method="gradcam", target=TARGET, layer=3).flat.any()
    with pytest.raises(SettingsError, match=r"layers 0 to 3, the last for the output, not at 4"):
        explain(model, images, method="gradcam", target=TARGET, layer=4)
