"""From a method, a backbone and settings to the model whose trainable parameters are exactly what the method tunes."""

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from vptft.errors import NotApplicable, SettingsError
from vptft.models.adapters import attach, fresh_pfeiffer
from vptft.models.backbones import Backbone
from vptft.models.lora import inject
from vptft.models.prompts import PromptSpec
from vptft.models.swin import stages_of
from vptft.models.tuned import TunedModel
from vptft.tuning.methods import Method
from vptft.tuning.settings import TrainSettings


def build_model(
    method: Method, backbone: Backbone, settings: TrainSettings, *, n_classes: int, base: TunedModel | None = None
) -> TunedModel:
    """Model whose trainable parameters are exactly what the method tunes.

    The backbone's module is used, not copied: load a fresh one for each run.

    Parameters
    ----------
    method, backbone, settings
        What is tuned, of what, and how.
    n_classes
        Outputs of the head.
    base
        The finished model that a method with ``after`` starts from, on this backbone's architecture; its modules are
        used, and its prompts where it has any.

    Raises
    ------
    NotApplicable
        The method needs a plain vision transformer (prompts: that or a Swin), and the backbone is none.
    """
    if (base is None) != (method.after is None):
        raise SettingsError(f"{method.name} starts from {method.after or 'the pretrained backbone'}.")
    module = backbone.module if base is None else base.backbone
    tuned = method.tunes(module, settings)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in tuned)
    _drop(module, settings.backbone_dropout)
    if method.adds is not None:
        _add(method, module, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    model = TunedModel(
        module,
        n_classes=n_classes,
        prompts=prompt_spec(method, module, settings),
        generator=generator,
        head=None if base is None else base.head,
        probe_layers=_probed(method, module, settings),
    )
    if base is not None and base.prompts is not None:
        model.prompts = base.prompts
    if settings.head_init == "kaiming" and base is None:
        _kaiming(model.head, generator)
    return model


def prompt_spec(method: Method, module: nn.Module, settings: TrainSettings) -> PromptSpec | None:
    """Return what prompts a method inserts into a backbone; None for none."""
    if method.prompts is None:
        return None
    return PromptSpec(
        length=settings.prompt_length,
        layers=(0,) if method.prompts == "shallow" else _layers(settings.prompt_layers, _depth(module)),
        dropout=settings.prompt_dropout,
        dropout_per_sample=settings.prompt_dropout_per_sample,
        projection=settings.prompt_projection,
        shared=settings.prompt_shared,
    )


def _layers(which: str, depth: int) -> tuple[int, ...]:
    side, _, count = which.partition(":")
    if side == "all":
        return tuple(range(depth))
    if int(count) > depth:
        raise SettingsError(f"prompt_layers is {which}; the backbone has {depth} layers.")
    return tuple(range(int(count))) if side == "first" else tuple(range(depth - int(count), depth))


def _probed(method: Method, module: nn.Module, settings: TrainSettings) -> tuple[int, ...]:
    if not method.probes_layers:
        return ()
    depth = _depth(module)
    if settings.probe_layers > depth:
        raise SettingsError(f"probe_layers is {settings.probe_layers}; the backbone has {depth} layers.")
    return tuple(range(depth - settings.probe_layers, depth))


def _depth(module: nn.Module) -> int:
    if isinstance(module, SwinTransformer):
        return len(stages_of(module))
    return len(TunedModel(module, n_classes=1).vit.blocks)


def _add(method: Method, module: nn.Module, settings: TrainSettings) -> None:
    """Put the method's own trainable modules beside those of a vision transformer."""
    vit = TunedModel(module, n_classes=1).vit
    if method.adds == "lora":
        inject(vit, rank=settings.lora_rank, alpha=settings.lora_alpha, seed=settings.seed)
    else:
        generator = torch.Generator().manual_seed(settings.seed)
        attach(vit, fresh_pfeiffer(vit, bottleneck=settings.adapter_width, generator=generator), kind="pfeiffer")
    for name, parameter in vit.named_parameters():
        if ".lora_" in name or ".adapter." in name:
            parameter.requires_grad_(True)


def _drop(module: nn.Module, probability: float) -> None:
    """Set dropout where KMnP/vpt has it: after the position embedding and in every MLP, not in attention."""
    if not probability:
        return
    if not hasattr(module, "pos_drop"):
        raise NotApplicable(f"backbone_dropout is not applicable to {type(module).__name__}.")
    names = ("pos_drop", "mlp.drop1", "mlp.drop2")
    for name, part in module.named_modules():
        if isinstance(part, nn.Dropout) and name.endswith(names):
            part.p = probability


@torch.no_grad()
def _kaiming(head: nn.Module, generator: torch.Generator) -> None:
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=0, mode="fan_out", generator=generator)
            nn.init.constant_(layer.bias, -4.59511985013459)  # -log((1 - 0.01) / 0.01), as focal loss starts
