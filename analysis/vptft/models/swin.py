"""Visual prompts on timm's Swin: in front of the tokens of every local window (Jia et al. 2022, section 3, appendix).

The same prompts enter each window of a block. No window has a place for them: the shift, the padding and patch merging
leave them out, the relative position bias between a prompt and anything is 0, and the mask of shifted windows hides
them from no token. A prompt that is carried to the next block has one output for each window, and takes their mean.

Prompts end with their stage: patch merging joins four neighbours, and a prompt has none. New prompts come in with the
next stage's width where the schedule says so, and VPT-shallow is at work in the first stage alone. KMnP/vpt does more,
which ``merged`` and ``pooled`` of a :class:`~vptft.models.prompts.PromptSpec` stand for: its merging repeats a prompt
four times along the width, then normalises and reduces it as if it were a patch; and its head averages the last block's
prompt outputs with the patches.

Besides, it numbers prompts by window first and windows by image first, so that the outputs of a block of several
windows mix the images of a batch; here no image knows of another, which is what it computes of one image alone.
"""

from itertools import chain
from typing import Any, cast

import torch
from timm.models.swin_transformer import (
    PatchMerging,
    SwinTransformer,
    SwinTransformerBlock,
    WindowAttention,
    window_partition,
    window_reverse,
)
from torch import nn
from torch.nn import functional as F

from vptft.errors import NotApplicable, SettingsError
from vptft.models.prompts import PromptSpec, StagePrompts


def stages_of(swin: SwinTransformer) -> tuple[int, ...]:
    """Give the stage of each block, blocks counted through all stages from the input on: ``(0, 0, 1, 1, ...)``."""
    return tuple(chain.from_iterable([index] * len(stage.blocks) for index, stage in enumerate(swin.layers)))


def make_prompts(swin: SwinTransformer, spec: PromptSpec, generator: torch.Generator) -> StagePrompts:
    """Make new prompts for a Swin, each of its stage's width.

    Raises
    ------
    NotApplicable
        Prompts that are shared or projected; blocks that are not timm's own.
    SettingsError
        A layer beyond the last block.
    """
    stages = stages_of(swin)
    if spec.layers[-1] >= len(stages):
        raise SettingsError(f"Prompt layer {spec.layers[-1]} is beyond the backbone's {len(stages)} layers.")
    for block in chain.from_iterable(stage.blocks for stage in swin.layers):
        _require_plain(block)
    widths = tuple(stage.blocks[0].dim for stage in swin.layers)
    return StagePrompts(spec, stages=stages, widths=widths, patch_size=swin.patch_embed.patch_size, generator=generator)


def prompted_features(
    swin: SwinTransformer, prompts: StagePrompts, x: torch.Tensor, *, prefix_form: bool = True
) -> torch.Tensor:
    """Give what the head sees, ``(B, d)``, of images ``(B, 3, H, W)``: the mean of the last stage's tokens.

    Parameters
    ----------
    swin
        Built with ``num_classes=0``.
    prompts
        What comes in before which block.
    x
        Normalised images.
    prefix_form
        Let prompts be keys and values only wherever their outputs are thrown away, which is exact; False computes
        their outputs everywhere.
    """
    spec, stages, carried, layer = prompts.spec, stages_of(swin), None, 0
    x = swin.patch_embed(x)
    for stage in swin.layers:
        carried = _merged(stage.downsample, carried) if spec.merged and carried is not None else None
        x = stage.downsample(x)
        for block in stage.blocks:
            if layer in spec.layers:
                carried = prompts.at(layer, len(x))
            wanted = not prefix_form or _goes_on(spec, stages, layer)
            x, carried = prompted_block(block, x, carried, outputs=wanted)
            layer += 1
    x = swin.norm(x)
    if carried is None or not spec.pooled:
        return swin.forward_head(x)
    return torch.cat([swin.norm(carried), x.flatten(1, 2)], dim=1).mean(dim=1)


def prompted_block(
    block: nn.Module, x: torch.Tensor, prompts: torch.Tensor | None, *, outputs: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Apply one block to patches ``(B, H, W, d)`` that may attend to prompts.

    Parameters
    ----------
    block
        A plain timm block; without prompts it runs as it is.
    x
        Patches.
    prompts
        ``(1, P, d)``, or ``(B, P, d)`` where they differ by image; or None.
    outputs
        Whether the prompts' own outputs are wanted, ``(B, P, d)``; None is given in their place otherwise.
    """
    if prompts is None:
        return block(x), None
    plain = _require_plain(block)
    tokens, count = x.flatten(1, 2), 0
    if outputs:
        # Side by side, so that stochastic depth drops an image's prompts and patches together.
        tokens, count = torch.cat([prompts.expand(len(x), -1, -1), tokens], dim=1), prompts.shape[1]
    mixed = _attend(plain, plain.norm1(x), plain.norm1(prompts), outputs=outputs)
    tokens = tokens + plain.drop_path1(mixed)
    tokens = tokens + plain.drop_path2(plain.mlp(plain.norm2(tokens)))
    return tokens[:, count:].unflatten(1, x.shape[1:3]), tokens[:, :count] if outputs else None


def _goes_on(spec: PromptSpec, stages: tuple[int, ...], layer: int) -> bool:
    """Whether anything reads the prompts' outputs of a block."""
    if layer + 1 == len(stages):
        return spec.pooled
    return layer + 1 not in spec.layers and (stages[layer] == stages[layer + 1] or spec.merged)


def _merged(merging: nn.Module, prompts: torch.Tensor) -> torch.Tensor:
    """Prompts ``(B, P, d)`` taken to the next stage's width, each in the place of four neighbours."""
    plain = cast(PatchMerging, merging)
    return plain.reduction(plain.norm(prompts.repeat(1, 1, 4)))


def _attend(block: SwinTransformerBlock, normed: torch.Tensor, before: torch.Tensor, *, outputs: bool) -> torch.Tensor:
    """Attention's output for patches ``(B, H, W, d)``: ``(B, HW, d)``, or ``(B, P + HW, d)`` with the prompts'."""
    attn, count = block.attn, before.shape[1]
    windows, mask = _windows(block, normed)
    batch, number = windows.shape[:2]
    query, key, value = _heads(attn, windows)
    theirs = [part.expand(batch, number, -1, -1, -1) for part in _heads(attn, before.unsqueeze(1))]
    query = torch.cat([theirs[0], query], dim=3) if outputs else query
    key, value = torch.cat([theirs[1], key], dim=3), torch.cat([theirs[2], value], dim=3)
    bias = attn._get_rel_pos_bias() if mask is None else attn._get_rel_pos_bias() + mask.unsqueeze(1)
    bias = F.pad(bias, (count, 0, count if outputs else 0, 0)).expand(number, -1, -1, -1)
    # Windows beside heads: four dimensions and one mask for all images, as fused kernels want them.
    mixed = F.scaled_dot_product_attention(
        query.flatten(1, 2),
        key.flatten(1, 2),
        value.flatten(1, 2),
        attn_mask=bias.flatten(0, 1).unsqueeze(0).to(query.dtype),
        dropout_p=attn.attn_drop.p if attn.training else 0.0,
    )
    mixed = attn.proj_drop(attn.proj(mixed.unflatten(1, (number, -1)).transpose(2, 3).flatten(3)))
    if not outputs:
        return _patches(block, mixed, normed.shape)
    return torch.cat([mixed[:, :, :count].mean(dim=1), _patches(block, mixed[:, :, count:], normed.shape)], dim=1)


def _heads(attn: WindowAttention, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values of tokens ``(b, windows, n, d)``, each ``(b, windows, heads, n, head_dim)``."""
    return attn.qkv(tokens).unflatten(-1, (3, attn.num_heads, -1)).transpose(2, 4).unbind(3)


def _windows(block: SwinTransformerBlock, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Tokens by window ``(B, windows, n, d)``, shifted and padded; the shift's mask ``(windows, n, n)``, or None."""
    (rows, columns), (high, wide) = x.shape[1:3], block.window_size
    if any(block.shift_size):
        x = torch.roll(x, shifts=(-block.shift_size[0], -block.shift_size[1]), dims=(1, 2))
    x = F.pad(x, (0, 0, 0, -columns % wide, 0, -rows % high))
    mask = block.get_attn_mask(x) if block.dynamic_mask else block.attn_mask
    return window_partition(x, block.window_size).view(len(x), -1, high * wide, x.shape[3]), mask


def _patches(block: SwinTransformerBlock, windows: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Put windows back in their place: the inverse of :func:`_windows`, as ``(B, HW, d)``."""
    (rows, columns), (high, wide) = shape[1:3], block.window_size
    single = windows.reshape(-1, high, wide, shape[3])
    x = window_reverse(single, block.window_size, rows + -rows % high, columns + -columns % wide)[:, :rows, :columns]
    return torch.roll(x, shifts=tuple(block.shift_size), dims=(1, 2)).flatten(1, 2)


def _require_plain(block: nn.Module) -> SwinTransformerBlock:
    """Return the block, unless it is of another class or something is added to its attention, which would be lost."""
    attn: Any = getattr(block, "attn", None)
    plain = type(block) is SwinTransformerBlock and type(attn) is WindowAttention
    if not plain or attn._forward_hooks or type(attn.qkv) is not nn.Linear:
        raise NotApplicable(
            f"Prompts are not applicable to this {type(block).__name__}: only timm's own Swin block is understood, "
            "with nothing added to its attention."
        )
    return cast(SwinTransformerBlock, block)
