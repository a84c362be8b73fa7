"""Speed of attention maps on ViT-S/14: what each costs beside the forward pass that one makes anyway."""

from importlib.util import find_spec

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer

from bench.timing import Options, Rival, compare, within
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.faithfulness import STEPS, curves
from vptft.why.attention.heads import measure_heads
from vptft.why.attention.methods import METHODS, explain, explain_each
from vptft.why.attention.rollout import attention_rollout

BARS = {10: 1.05, 50: 0.95, 100: 0.85}
"""Prompts, and what exact rollout may cost of a plain forward pass with as many."""
IMAGES = 1000
SECONDS = 300.0
"""For this many test images, two models, every kind of map but Integrated Gradients."""


def small(side: int = 224, *, prompts: int = 0, prefix_form: bool = True, frozen: bool = True) -> TunedModel:
    """ViT-S/14 as DINOv2's, with deep prompts where asked for."""
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=side, patch_size=14, embed_dim=384, num_heads=6, init_values=1.0, num_classes=0
    ).requires_grad_(not frozen)
    spec = PromptSpec(length=prompts, layers=tuple(range(12))) if prompts else None
    model = TunedModel(vit, n_classes=10, prompts=spec, prefix_form=prefix_form).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def forward(model: TunedModel, x: torch.Tensor) -> torch.Tensor:
    """One forward pass, fused attention, no gradients."""
    with torch.inference_mode():
        return model(x)


def matrix_rollout(model: TunedModel, x: torch.Tensor) -> torch.Tensor:
    """Rollout as products of whole matrices, as the peers do it; wrong where prompts are replaced."""
    with torch.inference_mode():
        rolled = None
        for layer in model.attention(x):
            fused = (layer.probabilities.mean(1) + torch.eye(layer.probabilities.shape[-1])) / 2
            rolled = fused if rolled is None else fused @ rolled
        return rolled[:, 0, model.layout.patches]


def rollout(options: Options) -> None:
    """Exact rollout, of VPT-deep and of FT, against one forward pass."""
    x = torch.randn(8, 3, 224, 224)
    for length in list(BARS)[:1] if options.quick else BARS:
        ours, peer = (small(prompts=length, prefix_form=form) for form in (True, False))
        compare(
            f"Exact VPT-deep rollout, ViT-S/14, batch 8, {length} prompts",
            lambda ours=ours: attention_rollout(ours, x),
            [
                Rival("one concatenated forward pass", lambda peer=peer: forward(peer, x), bar=1 / BARS[length]),
                Rival("concatenated, products of matrices (wrong)", lambda peer=peer: matrix_rollout(peer, x)),
            ],
            repetitions=options.repetitions,
        )
    model = small()
    compare(
        "Rollout of FT, ViT-S/14, batch 8",
        lambda: attention_rollout(model, x),
        [
            Rival("one fused forward pass", lambda: forward(model, x), bar=1 / 1.2),
            Rival("products of matrices", lambda: matrix_rollout(model, x)),
        ],
        repetitions=options.repetitions,
    )


def vector_form(options: Options) -> None:
    """Rollout as one vector an image against products of matrices where there are many tokens."""
    side = 98 if options.quick else 518
    model, x = small(side), torch.randn(1, 3, side, side)
    ours, theirs = compare(
        f"Rollout as a vector, ViT-S/14 at {side} px",
        lambda: attention_rollout(model, x),
        [Rival("products of matrices", lambda: matrix_rollout(model, x), bar=1.3)],
        repetitions=options.repetitions,
    )
    torch.testing.assert_close(ours.patches.flatten(1), theirs, rtol=1e-4, atol=1e-7)


def grad_cam(options: Options) -> None:
    """Grad-CAM against one forward pass, and against pytorch-grad-cam where it is installed."""
    x, target = torch.randn(8, 3, 224, 224), np.arange(8)
    model = small(frozen=False)
    rivals = [Rival("one fused forward pass", lambda: forward(model, x), bar=1 / 1.2)]
    if find_spec("pytorch_grad_cam"):
        rivals.append(Rival("pytorch-grad-cam", lambda: _theirs(model, x, target)))
    compare(
        "Grad-CAM, ViT-S/14, batch 8",
        lambda: explain(model, x, method="gradcam", target=target),
        rivals,
        repetitions=options.repetitions,
    )


def deletion(options: Options) -> None:
    """Deletion and insertion by dropping tokens against as many whole forward passes."""
    n, side = (2, 98) if options.quick else (8, 224)
    model, x, target = small(side), torch.randn(n, 3, side, side), np.arange(n)
    orders = np.stack([np.random.default_rng(i).permutation(model.layout.n_patches) for i in range(n)])
    points, timed = 2 * STEPS, 4
    compare(
        f"Deletion and insertion curves of {STEPS} steps, ViT-S/14 at {side} px, batch {n}",
        lambda: curves(model, x, orders, target),
        [
            Rival(
                f"{points} whole forward passes", lambda: [forward(model, x) for _ in range(timed)], bar=2,
                stands_for=points // timed,
            ),
        ],
        repetitions=options.repetitions,
    )  # fmt: skip


def all_maps(options: Options) -> None:
    """Every kind of map but Integrated Gradients, and every head's numbers, of VPT and FT at 98 px on one thread."""
    n = 16 if options.quick else 64
    x, target = torch.randn(n, 3, 98, 98), np.arange(n) % 10
    kinds = [name for name in METHODS if name != "integrated_gradients"]
    models = [small(98, prompts=10), small(98, frozen=False)]

    def make() -> None:
        for model in models:
            explain_each(model, x, methods=kinds, target=target)
            measure_heads(model, x)

    make()
    within(
        f"All maps of {n} images by 2 models, 98 px, so {IMAGES} in {SECONDS:g} s on one thread",
        make,
        SECONDS * n / IMAGES,
        repetitions=options.repetitions,
    )


def _theirs(model: TunedModel, x: torch.Tensor, target: np.ndarray) -> np.ndarray:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    side = model.layout.grid
    with GradCAM(
        model=model,
        target_layers=[model.backbone.blocks[-1].norm1],
        reshape_transform=lambda tokens: tokens[:, -model.layout.n_patches :].unflatten(1, side).permute(0, 3, 1, 2),
    ) as cam:
        maps = cam(input_tensor=x, targets=[ClassifierOutputTarget(int(label)) for label in target])
    model.zero_grad(set_to_none=True)
    return maps
