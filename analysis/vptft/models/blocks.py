"""One timm ViT block, taken apart: attention with a key/value prefix, for chosen rows, or as probabilities.

A deep prompt's output is thrown away, so layer l needs only its keys and values, ``K_p, V_p = W_kv LN(p_l)``, once
per batch: no prompt queries, no prompt MLP. The result differs from concatenation by rounding alone (about 2e-6).
"""

from typing import Any, cast

import torch
from timm.models.vision_transformer import Attention, Block
from torch import nn
from torch.nn import functional as F

from vptft.errors import NotApplicable


def is_plain(block: nn.Module) -> bool:
    """Whether this is timm's standard pre-norm block with standard attention, which the functions below take apart.

    Attention with a hook is not, nor with an adapted projection (LoRA): what they add would be lost.
    """
    attn: Any = getattr(block, "attn", None)
    if type(block) is not Block or type(attn) is not Attention or attn._forward_hooks:
        return False
    return type(attn.qkv) is nn.Linear


def require_plain(block: nn.Module) -> Block:
    """Return the block, or say why its attention cannot be read."""
    if not is_plain(block):
        inner = f" with {type(block.attn).__name__}" if hasattr(block, "attn") else ""
        inner += " and an adapter beside it" if hasattr(block, "attn") and hasattr(block.attn, "adapter") else ""
        raise NotApplicable(
            f"Attention analysis is not applicable to {type(block).__name__}{inner}: "
            "only timm's standard ViT block (global self-attention, pre-norm) is understood."
        )
    return cast(Block, block)


def block_rows(
    block: Block, tokens: torch.Tensor, *, prefix: torch.Tensor | None = None, rows: slice = slice(None)
) -> torch.Tensor:
    """Apply the block to ``tokens`` (B, K, d), give the outputs of ``rows`` only, with ``prefix`` as extra keys.

    Parameters
    ----------
    block
        A plain timm block.
    tokens
        What is carried through, ``(B, K, d)``.
    prefix
        Prompts ``(1, P, d)`` that every token may attend to and whose own outputs are not wanted.
    rows
        Which tokens' outputs are wanted; the last layer of a cls-pooled model needs one.
    """
    normed = block.norm1(tokens)
    before = None if prefix is None else block.norm1(prefix)
    query, key, value = queries_keys_values(block.attn, normed, before=before, rows=rows)
    drop = block.attn.attn_drop.p if block.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=drop)
    mixed = mixed.transpose(1, 2).flatten(2)
    mixed = block.attn.norm(mixed)
    if block.attn.gate is not None:
        mixed = mixed * block.attn.gate(normed[:, rows]).sigmoid()
    mixed = block.attn.proj_drop(block.attn.proj(mixed))
    out = tokens[:, rows] + block.drop_path1(block.ls1(mixed))
    return out + block.drop_path2(block.ls2(block.mlp(block.norm2(out))))


def attention_probabilities(
    block: Block, tokens: torch.Tensor, *, prefix: torch.Tensor | None = None, rows: slice = slice(None)
) -> torch.Tensor:
    """Softmax attention ``(B, heads, rows, P + K)``: prompt columns first where there is a prefix."""
    before = None if prefix is None else block.norm1(prefix)
    query, key, _ = queries_keys_values(block.attn, block.norm1(tokens), before=before, rows=rows)
    return (query * block.attn.scale @ key.transpose(-2, -1)).softmax(dim=-1)


def queries_keys_values(
    attn: Attention, normed: torch.Tensor, *, before: torch.Tensor | None, rows: slice = slice(None)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries of ``rows``, keys and values of ``before`` and all tokens; each ``(B, heads, n, head_dim)``."""
    width = attn.attn_dim
    if rows == slice(None):
        query, key, value = (_heads(attn, part) for part in attn.qkv(normed).split(width, dim=-1))
    else:
        weight, bias = attn.qkv.weight, attn.qkv.bias
        query = _heads(attn, F.linear(normed[:, rows], weight[:width], None if bias is None else bias[:width]))
        key, value = _keys_values(attn, normed)
    query, key = attn.q_norm(query), attn.k_norm(key)
    if before is not None:
        prefix_key, prefix_value = _keys_values(attn, before)
        batch = normed.shape[0]
        key = torch.cat([attn.k_norm(prefix_key).expand(batch, -1, -1, -1), key], dim=2)
        value = torch.cat([prefix_value.expand(batch, -1, -1, -1), value], dim=2)
    return query, key, value


def _keys_values(attn: Attention, normed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weight, bias = attn.qkv.weight, attn.qkv.bias
    width = attn.attn_dim
    both = F.linear(normed, weight[width:], None if bias is None else bias[width:])
    key, value = both.split(width, dim=-1)
    return _heads(attn, key), _heads(attn, value)


def _heads(attn: Attention, x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (attn.num_heads, attn.head_dim)).transpose(1, 2)
