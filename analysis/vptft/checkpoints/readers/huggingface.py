"""Hugging Face transformers: ``ViTForImageClassification`` and DINOv2, under the names of any release."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from vptft.checkpoints.found import Asked, Found, Normalisation
from vptft.checkpoints.naming import Naming
from vptft.checkpoints.readers.settling import refuse_rest, settle_heads, take_head
from vptft.checkpoints.readers.source import Source, finite, positive
from vptft.checkpoints.readers.timm_vit import fold_cls_position
from vptft.errors import CheckpointError
from vptft.models.shape import VitShape, shape_of

PRODUCER = "Hugging Face ViT"
DINOV2 = "Hugging Face DINOv2"
VIT_EPS, DINOV2_EPS = 1e-12, 1e-6
"""Their default epsilons of LayerNorm, which ``config.json`` overrides."""

EMBEDDINGS = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
VIT_OLD = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
VIT_NEW = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.o_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
DINO = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
SCALES = {"layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma"}
SPLIT_OLD = ("attention.attention.query", "attention.attention.key", "attention.attention.value")
SPLIT_NEW = ("attention.q_proj", "attention.k_proj", "attention.v_proj")
BLOCK_OLD, BLOCK_NEW = "encoder.layer.{}.", "layers.{}."


def recognises(source: Source) -> bool:
    """Whether the embeddings are named as theirs, with or without the name of the model before them."""
    return any(name.endswith("embeddings.patch_embeddings.projection.weight") for name in source.state)


def read(source: Source, asked: Asked, base: Found | None) -> Found:
    """Read a backbone and its classifier; sizes come from the tensors, what no tensor tells from ``config.json``."""
    state = {_bare(name): value for name, value in source.state.items()}
    notes: list[str] = []
    for name in list(state):
        if name.startswith("pooler.") or name == "embeddings.mask_token":
            state.pop(name)
            notes.append(f"{name} is left out: classification does not read it.")
    head = take_head(state, "classifier", path=source.path)
    dinov2 = any("layer_scale1" in name for name in state)
    naming = _naming(state, dinov2=dinov2)
    backbone, rest = naming.to_timm(state)
    hint = "SwiGLU blocks (DINOv2 giant) are not understood." if any("weights_in" in name for name in rest) else ""
    refuse_rest(rest, path=source.path, producer=DINOV2 if dinov2 else PRODUCER, hint=hint)
    shape = shape_of(backbone, source=source.path)
    if shape.registers:  # theirs have a position for the cls token and none for registers
        backbone, shape = fold_cls_position(backbone), replace(shape, prefix_positions=False)
    config = source.config("config.json")
    sources: dict[str, str] = {}
    shape = _configured(shape, config, dinov2=dinov2, asked=asked, base=base, sources=sources, notes=notes)
    if head and head["weight"].shape[1] == 2 * shape.width:
        shape = replace(shape, pooling="token and avg")
        sources["pooling"] = "the classifier's width: cls token and mean of the patches"
    normalisation = _normalisation(source, sources, notes)
    return Found(
        path=source.path,
        producer=DINOV2 if dinov2 else PRODUCER,
        tried=not dinov2,
        shape=shape,
        backbone=backbone,
        head=head,
        methods=("ft", "linear", "partial_k", "bias") if head else (),
        normalisation=normalisation,
        sources=sources,
        notes=tuple(notes),
    )


def module_of(name: str) -> tuple[str, int | None] | None:
    """Timm's module for one of theirs, and which third of it for queries, keys and values; None for any other.

    ``vit.layers.0.attention.q_proj`` is the first third of ``blocks.0.attn.qkv``.
    """
    bare = _bare(name)
    for block in (BLOCK_OLD, BLOCK_NEW):
        start = block.partition("{}")[0]
        number, _, inside = bare.removeprefix(start).partition(".")
        if not bare.startswith(start) or not (number.isdecimal() and len(number) < 5):
            continue
        for split in (SPLIT_OLD, SPLIT_NEW):
            if inside in split:
                return f"blocks.{int(number)}.attn.qkv", split.index(inside)
        for table in (VIT_OLD, VIT_NEW, DINO):
            if inside in table:
                return f"blocks.{int(number)}.{table[inside]}", None
    return None


def _bare(name: str) -> str:
    for prefix in ("base_model.model.", "vit.", "dinov2_with_registers.", "dinov2."):
        name = name.removeprefix(prefix)
    return name


def _naming(state: Mapping[str, torch.Tensor], *, dinov2: bool) -> Naming:
    new_block = any(name.startswith("layers.") for name in state)
    new_split = any(".attention.q_proj." in name for name in state)
    within = DINO if dinov2 else {**VIT_OLD, **VIT_NEW}
    return Naming(
        whole=EMBEDDINGS,
        block=BLOCK_NEW if new_block else BLOCK_OLD,
        within=within,
        split=SPLIT_NEW if new_split else SPLIT_OLD,
        parameters=SCALES if dinov2 else None,
    )


def _configured(
    shape: VitShape,
    config: Mapping[str, Any],
    *,
    dinov2: bool,
    asked: Asked,
    base: Found | None,
    sources: dict[str, str],
    notes: list[str],
) -> VitShape:
    """Take heads and epsilon from the settings; activation other than GELU is refused."""
    heads = config.get("num_attention_heads")
    heads = None if heads is None else positive(heads, "num_attention_heads", "config.json")
    shape = settle_heads(shape, asked, base, {"config.json": heads}, sources, notes)
    activation = config.get("hidden_act", "gelu")
    if activation != "gelu":
        raise CheckpointError(f"config.json: hidden_act is {activation!r}; only gelu is understood.")
    default = DINOV2_EPS if dinov2 else VIT_EPS
    if "layer_norm_eps" not in config:
        notes.append(f"LayerNorm's epsilon is taken as {default:g}, their default: no config.json tells it.")
    return replace(shape, norm_eps=finite(config.get("layer_norm_eps", default), "layer_norm_eps", "config.json"))


def _normalisation(source: Source, sources: dict[str, str], notes: list[str]) -> Normalisation | None:
    settings = source.config("preprocessor_config.json")
    if not settings:
        notes.append(
            "There is no preprocessor_config.json beside the weights: how images were normalised is not known."
        )
        return None
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if settings.get("do_normalize") is False:
        mean, std = [0.0] * 3, [1.0] * 3
    for values, name in ((mean, "image_mean"), (std, "image_std")):
        if not isinstance(values, list) or len(values) != 3:
            raise CheckpointError(f"preprocessor_config.json: {name} is {values!r}; expected three numbers.")
    sources["normalisation"] = "preprocessor_config.json"
    place = "preprocessor_config.json"
    return Normalisation(
        tuple(finite(value, "image_mean", place) for value in mean or ()),
        tuple(finite(value, "image_std", place) for value in std or ()),
    )
