"""NOAH (Zhang et al. 2022): visual prompts of a supernet, at the end of the sequence.

A prompt's place among the tokens does not change what attention gives, since prompts have no position embedding: they
are read into our order, cls | prompts | patches. Prompts of block i replace those before it; the ones at the input
(with an embedding of their own) count only where the first block has none.
"""

import re

import torch

from vptft.checkpoints.found import Asked, Found, FoundPrompts
from vptft.checkpoints.naming import Naming
from vptft.checkpoints.readers.settling import check_prompts, refuse_rest, settle_heads, take_head
from vptft.checkpoints.readers.source import Source
from vptft.errors import CheckpointError
from vptft.models.prompts import PromptSpec
from vptft.models.shape import VitShape, shape_of

PRODUCER = "NOAH"

NAMING = Naming(
    whole={
        "cls_token": "cls_token",
        "pos_embed": "pos_embed",
        "patch_embed_super.proj": "patch_embed.proj",
        "patch_embed.proj": "patch_embed.proj",
        "norm": "norm",
    },
    block="blocks.{}.",
    within={
        "attn_layer_norm": "norm1",
        "norm1": "norm1",
        "ffn_layer_norm": "norm2",
        "norm2": "norm2",
        "attn.qkv": "attn.qkv",
        "attn.proj": "attn.proj",
        "fc1": "mlp.fc1",
        "mlp.fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
        "mlp.fc2": "mlp.fc2",
    },
)
INPUT, POSITION = "visual_prompt_token", "visual_prompt_token_pos_embed"


def recognises(source: Source) -> bool:
    """Whether there are visual prompts under NOAH's name."""
    return any(name.endswith(INPUT) for name in source.state)


def read(source: Source, asked: Asked, base: Found | None) -> Found:
    """Read a supernet or subnet that tunes prompts; one that tunes adapters or LoRA too is refused by name."""
    # A supernet has every module; those it does not use have no rows.
    state = {name: value for name, value in source.state.items() if value.numel()}
    notes: list[str] = []
    head = take_head(state, "head", path=source.path)
    first, position = state.pop(INPUT, None), state.pop(POSITION, None)
    by_block = {
        int(name.split(".")[1]): state.pop(name)
        for name in list(state)
        if name.startswith("blocks.") and name.endswith(f".{INPUT}") and re.fullmatch(r"\d{1,4}", name.split(".")[1])
    }
    backbone, rest = NAMING.to_timm(state)
    refuse_rest(
        rest, path=source.path, producer=PRODUCER,
        hint="Only its prompts are understood: adapters and LoRA of a searched subnet are not.",
    )  # fmt: skip
    shape = shape_of(backbone, source=source.path)
    prompts = _prompts(first, position, by_block, shape, asked, source, notes)
    sources: dict[str, str] = {}
    shape = settle_heads(shape, asked, base, {}, sources, notes)
    inception = _argument(source, "inception")
    notes.append(
        "NOAH's VPT recipes normalise by 0.5 and 0.5 (--inception), its others by ImageNet's mean and deviation"
        + ("." if inception is None else f"; this file's arguments say inception={inception}.")
    )
    return Found(
        path=source.path,
        producer=PRODUCER,
        tried=False,
        shape=shape,
        backbone=backbone,
        head=head,
        methods=("vpt_deep" if len(prompts.spec.layers) > 1 else "vpt_shallow",),
        prompts=prompts,
        sources={**sources, "method": "its program freezes everything but prompts and head"},
        notes=tuple(notes),
        parameters_added=prompts.parameters,
    )


def _prompts(
    first: torch.Tensor | None,
    position: torch.Tensor | None,
    by_block: dict[int, torch.Tensor],
    shape: VitShape,
    asked: Asked,
    source: Source,
    notes: list[str],
) -> FoundPrompts:
    """Prompts by layer, in the length that is used."""
    tokens: dict[int, torch.Tensor] = {}
    if first is not None:
        tokens[0] = check_prompts(first, INPUT, width=shape.width, path=source.path)
        if position is not None:
            if position.shape != first.shape:
                raise CheckpointError(f"{source.path}: {INPUT} and {POSITION} have different shapes.")
            tokens[0] = first + position
    if 0 in by_block and first is not None:
        notes.append(f"{INPUT} at the input is read by nothing: the first block's prompts take its place.")
    tokens |= {
        i: check_prompts(v, f"blocks.{i}.{INPUT}", width=shape.width, path=source.path) for i, v in by_block.items()
    }
    layers = tuple(sorted(tokens))
    if not layers or layers[0] != 0 or any(tokens[layer].shape[0] != 1 for layer in layers):
        raise CheckpointError(
            f"{source.path} has prompts before layers {list(layers)}; expected them from the first on."
        )
    lengths = {layer: tokens[layer].shape[1] for layer in layers}
    length = asked.prompt_length or min(lengths.values())
    if (asked.prompt_length is None and len(set(lengths.values())) > 1) or length > min(lengths.values()):
        raise CheckpointError(
            f"{source.path} has prompts of lengths {sorted(set(lengths.values()))}; one length for all layers is read.",
            "Give the length its configuration used with --prompt-length.",
        )
    if asked.prompt_length is None:
        notes.append(
            f"All {length} prompts a layer are taken as in use; a supernet trains more than a subnet uses: "
            "--prompt-length gives the number of its configuration."
        )
    stacked = torch.cat([tokens[layer][:, :length] for layer in layers])
    return FoundPrompts(
        spec=PromptSpec(length=length, layers=layers), tensors={"tokens": stacked}, parameters=stacked.numel()
    )


def _argument(source: Source, name: str) -> bool | None:
    """A switch among the arguments the program was started with, kept in the checkpoint; None where it is not."""
    arguments = source.content.get("args") if isinstance(source.content, dict) else None
    found = getattr(arguments, name, None)
    return found if isinstance(found, bool) else None
