"""Speed of prompted models: VPT-deep as a key/value prefix."""

import torch
from timm.models.vision_transformer import VisionTransformer

from bench.timing import Options, Rival, compare
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel

LENGTHS = (10, 100)


def prompted(length: int, *, prefix_form: bool) -> TunedModel:
    """ViT-Ti/16 at 224 px with deep prompts, backbone frozen."""
    torch.manual_seed(0)
    vit = VisionTransformer(embed_dim=192, num_heads=3, num_classes=0).requires_grad_(False)
    spec = PromptSpec(length=length, layers=tuple(range(12)))
    return TunedModel(vit, n_classes=10, prompts=spec, prefix_form=prefix_form)


def key_value_prefix(options: Options) -> None:
    """VPT-deep as a key/value prefix against concatenation: a forward pass, and a training step."""
    x = torch.randn(8, 3, 224, 224)
    for length in LENGTHS[:1] if options.quick else LENGTHS:
        ours, peer = (prompted(length, prefix_form=form) for form in (True, False))

        def forward(model: TunedModel) -> torch.Tensor:
            with torch.inference_mode():
                return model.eval()(x)

        def step(model: TunedModel) -> None:
            model.train()(x).square().sum().backward()

        for name, act in (("forward", forward), ("training step", step)):
            compare(
                f"VPT-deep {name}, ViT-Ti/16, batch 8, {length} prompts",
                lambda act=act, ours=ours: act(ours),
                [Rival("concatenation", lambda act=act, peer=peer: act(peer))],
                repetitions=options.repetitions,
            )
