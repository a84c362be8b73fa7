"""State dicts of timm's vision transformers, and of programs that keep its names (DINOv2, DeiT, MAE)."""

from dataclasses import replace

import torch

from vptft.checkpoints.found import Asked, Found, Lazy
from vptft.checkpoints.naming import Naming
from vptft.checkpoints.readers.settling import refuse_rest, settle_heads, take_head
from vptft.checkpoints.readers.source import Source, positive
from vptft.errors import CheckpointError
from vptft.models.shape import shape_of

PRODUCER = "timm state dict"

NAMING = Naming(
    whole={name: name for name in ("cls_token", "reg_token", "pos_embed", "patch_embed.proj", "norm", "fc_norm")},
    block="blocks.{}.",
    within={name: name for name in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")},
    parameters={"ls1.gamma": "ls1.gamma", "ls2.gamma": "ls2.gamma"},
)
UNUSED = ("mask_token",)
"""Tensors of pretraining that no forward pass of the tuned model reads."""


def recognises(source: Source) -> bool:
    """Whether patches, positions and blocks are named as timm names them."""
    return {"patch_embed.proj.weight", "pos_embed", "blocks.0.norm1.weight"} <= source.state.keys()


def read(source: Source, asked: Asked, base: Found | None) -> Found:
    """Read a backbone with or without its head; timm's ``config.json`` beside it tells heads where it is there."""
    state = dict(source.state)
    notes: list[str] = []
    for name in UNUSED:
        if state.pop(name, None) is not None:
            notes.append(f"{name} is left out: only pretraining reads it.")
    if "register_tokens" in state:  # DINOv2's own name
        state["reg_token"] = state.pop("register_tokens")
    head = take_head(state, "head", path=source.path)
    backbone, rest = NAMING.to_timm(state)
    refuse_rest(rest, path=source.path, producer=PRODUCER)
    shape = shape_of(backbone, source=source.path)
    if shape.registers and backbone["pos_embed"].shape[1] == shape.grid[0] * shape.grid[1] + 1:
        backbone, shape = fold_cls_position(backbone), replace(shape, prefix_positions=False)
    sources: dict[str, str] = {}
    config = source.config("config.json")
    arguments = config.get("model_args")
    told = arguments.get("num_heads") if isinstance(arguments, dict) else None
    told = None if told is None else positive(told, "model_args.num_heads", "config.json")
    shape = settle_heads(shape, asked, base, {"config.json": told}, sources, notes)
    if asked.pooling is not None:
        shape = replace(shape, pooling=asked.pooling)
        sources["pooling"] = "--pooling"
    elif shape.class_token and not shape.pool_then_norm:
        sources["pooling"] = "a cls token, and the norm before pooling"
        notes.append("That the head reads the cls token is concluded from the names; --pooling says otherwise.")
    notes.append("Activation (GELU) and the norms' epsilon (1e-6) are timm's usual ones: no tensor tells them.")
    return Found(
        path=source.path,
        producer=PRODUCER,
        tried=True,
        shape=shape,
        backbone=backbone,
        head=head,
        methods=("ft", "linear", "partial_k", "bias") if head else (),
        sources=sources,
        notes=tuple(notes),
    )


def fold_cls_position(backbone: Lazy) -> Lazy:
    """Fold the cls token's position into the token, as timm has models with registers: they have no slot for it."""
    position: torch.Tensor = backbone["pos_embed"][:, :1]
    if "cls_token" not in backbone or backbone["cls_token"].shape != position.shape:
        found = tuple(backbone["cls_token"].shape) if "cls_token" in backbone else "missing"
        raise CheckpointError(f"The cls token is {found}; its position has shape {tuple(position.shape)}.")
    folded = backbone.changed("cls_token", lambda token: token + position)
    return folded.changed("pos_embed", lambda positions: positions[:, 1:])
