"""KMnP/vpt (Jia et al. 2022) and VPT-or-FT (Han et al. 2024): ``last_model.pth``, for every kind of transfer.

Keys do not tell VPT-deep from Mixed, nor FT from a linear probe: the log beside the file does, or a comparison with
the pretrained weights. The number of attention heads is in no file of theirs but the pretrained ``.npz``.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F

from vptft.checkpoints.found import NORMALISATIONS, Asked, Found, FoundPrompts
from vptft.checkpoints.histories.kmnp import LOG, method_of, read_jobs
from vptft.checkpoints.naming import Naming
from vptft.checkpoints.readers import swin
from vptft.checkpoints.readers.settling import check_prompts, refuse_rest, settle_heads, take_head
from vptft.checkpoints.readers.source import Source
from vptft.errors import CheckpointError, VptftError
from vptft.models.prompts import PromptSpec
from vptft.models.shape import VitShape, shape_of
from vptft.models.swin_shape import SwinShape

PRODUCER = "KMnP/vpt or VPT-or-FT"

SUPERVISED = Naming(
    whole={
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings": "patch_embed.proj",
        "encoder.encoder_norm": "norm",
    },
    block="encoder.layer.{}.",
    within={
        "attention_norm": "norm1",
        "ffn_norm": "norm2",
        "attn.out": "attn.proj",
        "ffn.fc1": "mlp.fc1",
        "ffn.fc2": "mlp.fc2",
        "adapter_downsample": "mlp.adapter.down",
        "adapter_upsample": "mlp.adapter.up",
    },
    split=("attn.query", "attn.key", "attn.value"),
)
TIMM_WITHIN = ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
SELF_SUPERVISED = Naming(
    whole={name: name for name in ("cls_token", "pos_embed", "patch_embed.proj", "norm", "fc_norm")},
    block="blocks.{}.",
    within={
        **{name: name for name in TIMM_WITHIN},
        "adapter_downsample": "mlp.adapter.down",
        "adapter_upsample": "mlp.adapter.up",
    },
)

# What their FEATURE names say about heads (their vit_configs): B, L and H of Dosovitskiy et al. (2021).
_HEADS = {"b": 12, "l": 16, "h": 16}
KINDS = ("vpt_deep", "vpt_shallow", "mixed", "ft", "linear", "partial_k", "bias", "adapter")
"""Methods of theirs, in our words; others of their TRANSFER_TYPEs tune something else besides."""
_PRETRAINING = {"sup": "supervised", "mae": "masked", "mocov3": "contrastive"}
_FEATURE = re.compile(r"^(?:sup|mae|mocov3)_vit([blh])\d*", re.IGNORECASE)


def recognises(source: Source) -> bool:
    """Whether the names are theirs: a network ``enc`` under a head ``head``."""
    return any(name.startswith("enc.") for name in source.state)


def read(source: Source, asked: Asked, base: Found | None) -> Found:
    """Read any of their checkpoints of a ViT or a Swin; other networks are described, not built."""
    state = dict(source.state)
    head = _head(state, source)
    enc = {name.removeprefix("enc."): state.pop(name) for name in list(state) if name.startswith("enc.")}
    refuse_rest(state, path=source.path, producer=PRODUCER)
    if any(name.startswith("transformer.embeddings.") for name in enc):
        enc = {name.removeprefix("transformer."): value for name, value in enc.items()}
        return _vit(source, asked, base, enc, head, SUPERVISED, tried=True)
    if "cls_token" in enc and "blocks.0.norm1.weight" in enc:
        return _vit(source, asked, base, enc, head, SELF_SUPERVISED, tried=False)
    if swin.is_swin(enc):
        return _swin(source, asked, enc, head)
    return _another_network(source, enc, head)


def _vit(
    source: Source,
    asked: Asked,
    base: Found | None,
    enc: dict[str, torch.Tensor],
    head: dict[str, torch.Tensor],
    naming: Naming,
    *,
    tried: bool,
) -> Found:
    backbone, rest = naming.to_timm(enc)
    adapters = {name: backbone[name] for name in backbone if ".adapter." in name}
    plain = backbone.without(adapters)
    shape = shape_of(plain, source=source.path)
    prompts = _prompts(rest, shape, source)
    hint = ""
    if any("QKV_embeddings" in name or "mask_cls_token" in name for name in rest):
        hint = "These are E2VPT's key-value prompts and masks, which are not understood."
    refuse_rest(rest, path=source.path, producer=PRODUCER, hint=hint)
    sources: dict[str, str] = {
        "image size": f"position embedding: {shape.grid[0]} x {shape.grid[1]} patches of {shape.patch} px",
        "normalisation": "their program has ImageNet's mean and standard deviation for every task",
    }
    notes: list[str] = []
    job_config, place = _logged(source, notes)
    shape = settle_heads(shape, asked, base, {place: _heads_of(job_config)}, sources, notes)
    methods = _told(_methods(prompts, adapters), job_config, place, sources, notes)
    if prompts is not None:
        prompts = _pooled_as_told(prompts, job_config, place)
    return Found(
        path=source.path,
        producer=PRODUCER,
        tried=tried and not adapters and _as_tried(prompts, head),
        shape=shape,
        backbone=plain,
        head=head,
        methods=methods,
        prompts=prompts,
        adapters=adapters,
        adapter_kind="pfeiffer" if adapters else None,
        normalisation=NORMALISATIONS["imagenet"],
        pretraining=_PRETRAINING.get(_feature(job_config).partition("_")[0], "unknown"),
        sources=sources,
        notes=tuple(notes),
        parameters_added=sum(value.numel() for value in adapters.values()) + (prompts.parameters if prompts else 0),
    )


def _swin(source: Source, asked: Asked, enc: dict[str, torch.Tensor], head: dict[str, torch.Tensor]) -> Found:
    """Read a Swin: the head averages the last prompts with the patches, and merging takes prompts along."""
    backbone, shape, rest = swin.take_backbone(enc, source, asked)
    prompts = _stage_prompts(rest, shape, source)
    notes: list[str] = []
    unread = [rest.pop(name) for name in ("prompt_proj.weight", "prompt_proj.bias") if name in rest]
    if unread:
        notes.append("prompt_proj is left out: their Swin has it, and reads it nowhere.")
    refuse_rest(rest, path=source.path, producer=PRODUCER, hint="Of their Swin's prompts, prepended ones are read.")
    if prompts is not None and (len(prompts.spec.layers) == 1 or shape.windows_of(len(shape.depths) - 1) > 1):
        notes.append(
            "Their program mixes the prompt outputs of a batch's images where a block has several windows; this model "
            "gives what theirs gives of one image at a time."
        )
    sources = {**swin.SOURCES, "normalisation": "their program has ImageNet's mean and standard deviation"}
    job_config, place = _logged(source, notes)
    location = _of_prompt(job_config, "LOCATION", "prepend")
    if prompts is not None and location != "prepend":
        raise CheckpointError(f"{place}: prompts are at {location!r}; prepended ones are read.")
    if (
        prompts is not None
        and not job_config
        and prompts.spec == PromptSpec(length=1, layers=(0,), pooled=True, merged=True)
    ):
        notes.append("One prompt alone is taken as prepended; a file of their location add-1 looks the same.")
    feature = _feature(job_config)
    return Found(
        path=source.path,
        producer=f"{PRODUCER}, Swin",
        tried=False,
        shape=shape,
        backbone=backbone,
        head=head,
        methods=_told(_methods(prompts, {}), job_config, place, sources, notes),
        prompts=prompts,
        normalisation=NORMALISATIONS["imagenet"],
        pretraining="unknown" if not feature else "contrastive" if feature.endswith("_ssl") else "supervised",
        sources=sources,
        notes=tuple(notes),
        parameters_added=(prompts.parameters if prompts else 0) + sum(value.numel() for value in unread),
    )


def _stage_prompts(rest: dict[str, torch.Tensor], shape: SwinShape, source: Source) -> FoundPrompts | None:
    """Take a Swin's prompts out of what is left: those of the first block, and by stage those of all others."""
    first = rest.pop("prompt_embeddings", None)
    deep = [rest.pop(f"deep_prompt_embeddings_{stage}", None) for stage in range(len(shape.depths))]
    if first is None:
        if any(each is not None for each in deep):
            raise CheckpointError(f"{source.path} has deep prompts, but no prompt_embeddings.")
        return None
    tensors = {"stage0.tokens": check_prompts(first, "prompt_embeddings", width=shape.width, path=source.path)}
    length, layers = first.shape[1], range(1)
    if any(each is not None for each in deep):
        layers = range(shape.depth)
        for stage, (own, depth) in enumerate(zip(deep, shape.depths, strict=True)):
            name, expected = f"deep_prompt_embeddings_{stage}", (depth - (not stage), length, shape.width_of(stage))
            if own is None or tuple(own.shape) != expected:
                found = "is missing" if own is None else f"has shape {tuple(own.shape)}"
                raise CheckpointError(f"{source.path}: {name} {found}; expected {expected}.")
            tensors[f"stage{stage}.tokens"] = own if stage else torch.cat([first, own])
    if first.shape[0] != 1:
        raise CheckpointError(f"{source.path}: prompt_embeddings has shape {tuple(first.shape)}; expected (1, P, d).")
    return FoundPrompts(
        spec=PromptSpec(length=length, layers=tuple(layers), pooled=True, merged=True),
        tensors=tensors,
        parameters=sum(value.numel() for value in tensors.values()),
    )


def _prompts(rest: dict[str, torch.Tensor], shape: VitShape, source: Source) -> FoundPrompts | None:
    """Take the prompts out of what is left; projected ones come out as the model inserts them."""
    first = rest.pop("prompt_embeddings", None)
    deep = rest.pop("deep_prompt_embeddings", None)
    weight, bias = rest.pop("prompt_proj.weight", None), rest.pop("prompt_proj.bias", None)
    if first is None:
        if deep is not None or weight is not None:
            raise CheckpointError(f"{source.path} has deep prompts or a projection, but no prompt_embeddings.")
        return None
    width = shape.width
    if weight is not None:
        if weight.ndim != 2 or weight.shape[0] != shape.width or bias is None or tuple(bias.shape) != (shape.width,):
            raise CheckpointError(
                f"{source.path}: prompt_proj has shape {tuple(weight.shape)}; expected ({shape.width}, its prompts')."
            )
        width = weight.shape[1]
    parts = [check_prompts(first, "prompt_embeddings", width=width, path=source.path)]
    if first.shape[0] != 1:
        raise CheckpointError(f"{source.path}: prompt_embeddings has shape {tuple(first.shape)}; expected (1, P, d).")
    if deep is not None:
        parts.append(check_prompts(deep, "deep_prompt_embeddings", width=width, path=source.path))
        if deep.shape[1] != first.shape[1] or deep.shape[0] != shape.depth - 1:
            raise CheckpointError(
                f"{source.path}: deep_prompt_embeddings has shape {tuple(deep.shape)}; expected "
                f"({shape.depth - 1}, {first.shape[1]}, {width}): one row for each layer after the first.",
                "Prompts in some layers only, or shared ones, are not told apart by the file.",
            )
    tokens = torch.cat(parts)
    stored = tokens.numel()
    if weight is not None and bias is not None:
        tokens = F.linear(tokens.float(), weight.float(), bias.float())
        stored += weight.numel() + bias.numel()
    layers = tuple(range(tokens.shape[0]))
    pooled = shape.pooling == "avg"  # their MAE averages every token but cls, prompts among them
    return FoundPrompts(
        spec=PromptSpec(length=tokens.shape[1], layers=layers, pooled=pooled),
        tensors={"tokens": tokens},
        parameters=stored,
        projected_from=None if weight is None else width,
    )


def _pooled_as_told(prompts: FoundPrompts, config: Mapping[str, Any], place: str) -> FoundPrompts:
    """Leave the prompts out of the average where the log says so; another pooling than theirs by default is refused."""
    pooling = _of_prompt(config, "VIT_POOL_TYPE", "original")
    if pooling == "original" or (pooling == "imgprompt_pool" and prompts.spec.pooled):
        return prompts
    if pooling == "img_pool" and prompts.spec.pooled:
        return replace(prompts, spec=replace(prompts.spec, pooled=False))
    raise CheckpointError(f"{place}: PROMPT.VIT_POOL_TYPE is {pooling!r}, which is not understood for this network.")


def _head(state: dict[str, torch.Tensor], source: Source) -> dict[str, torch.Tensor]:
    """Their head: ``last_layer``, after hidden layers in ``projection`` where it is an MLP."""
    head = take_head(state, "head.last_layer", path=source.path)
    hidden = {name: state.pop(name) for name in list(state) if name.startswith("head.projection.")}
    head |= {f"hidden.{name.removeprefix('head.projection.')}": value for name, value in hidden.items()}
    if hidden and "weight" not in head:
        raise CheckpointError(f"{source.path} has a head.projection, but no head.last_layer.")
    return head


def _as_tried(prompts: FoundPrompts | None, head: Mapping[str, torch.Tensor]) -> bool:
    """Whether it is of the form of the files of theirs that were tried: deep prompts or none, under a linear head."""
    plain = prompts is None or (prompts.projected_from is None and len(prompts.spec.layers) > 1)
    return plain and not any(name.startswith("hidden.") for name in head)


def _methods(prompts: FoundPrompts | None, adapters: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Methods whose checkpoints have these tensors."""
    if adapters:
        return ("adapter",)
    if prompts is None:
        return ("ft", "linear", "partial_k", "bias")
    return ("vpt_deep" if len(prompts.spec.layers) > 1 else "vpt_shallow", "mixed")


def _told(
    methods: tuple[str, ...], config: Mapping[str, Any], place: str, sources: dict[str, str], notes: list[str]
) -> tuple[str, ...]:
    """Of the methods that the tensors allow, the one that the log names, where it names one of them."""
    logged = method_of(config)
    if logged is None:
        return methods
    if logged not in KINDS:
        notes.append(f"{place}: TRANSFER_TYPE is {logged}, which is none of the methods known here.")
        return ()
    if logged not in methods:
        notes.append(f"{place} says {logged}, but the tensors are those of {' or '.join(methods)}.")
        return methods
    sources["method"] = f"{place}: TRANSFER_TYPE and PROMPT"
    return (logged,)


def _logged(source: Source, notes: list[str]) -> tuple[Mapping[str, Any], str]:
    """Configuration of the last job in the log beside the weights, and where it stands; empty without one."""
    path = source.beside(LOG)
    if path is None:
        notes.append(f"There is no {LOG} beside the weights: method, recipe and heads are not told by a log.")
        return {}, LOG
    try:
        jobs = read_jobs(path)
    except VptftError as error:
        notes.append(f"The log beside the weights was not used: {error.problem}")
        return {}, LOG
    if len(jobs) > 1:
        notes.append(
            f"{LOG} holds {len(jobs)} jobs; the last one, from line {jobs[-1].line}, is taken for this file's."
        )
    return (jobs[-1].config, f"{LOG} line {jobs[-1].config_line}") if jobs else ({}, LOG)


def _feature(config: Mapping[str, Any]) -> str:
    data = config.get("DATA")
    feature = data.get("FEATURE") if isinstance(data, Mapping) else None
    return feature if isinstance(feature, str) else ""


def _of_prompt(config: Mapping[str, Any], name: str, default: str) -> object:
    """A setting of their prompts as the log tells it; their default where it says nothing."""
    model = config.get("MODEL")
    prompt = model.get("PROMPT") if isinstance(model, Mapping) else None
    return prompt.get(name, default) if isinstance(prompt, Mapping) else default


def _heads_of(config: Mapping[str, Any]) -> int | None:
    found = _FEATURE.match(_feature(config))
    return None if found is None else _HEADS[found[1].lower()]


def _another_network(source: Source, enc: dict[str, torch.Tensor], head: dict[str, torch.Tensor]) -> Found:
    network = "no vision transformer that is known"
    prompts = {name: value for name, value in enc.items() if "prompt" in name}
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in sorted(prompts.items()))
    return Found(
        path=source.path,
        producer=f"{PRODUCER}, {network}",
        tried=False,
        shape=None,
        backbone={name: value for name, value in enc.items() if name not in prompts},
        head=head,
        methods=("vpt_deep", "vpt_shallow", "mixed") if prompts else ("ft", "linear", "partial_k", "bias"),
        normalisation=NORMALISATIONS["imagenet"],
        notes=(f"Prompts: {shapes}.",) if prompts else (),
        parameters_added=sum(value.numel() for value in prompts.values()),
        not_applicable=f"It holds {network}: of {PRODUCER} files, plain vision transformers and Swins are built.",
    )
