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
    return _finish(block, tokens[:, rows], normed[:, rows], mixed)


def block_and_attention(
    block: Block, tokens: torch.Tensor, *, prefix: torch.Tensor | None = None, at: int = 0, rows: slice = slice(None)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give what :func:`block_rows` gives, and the attention ``(B, heads, rows, P + K)`` it was made with.

    The fused kernel forms no probabilities, so this takes the explicit softmax. While gradients are on, the output
    depends on these very probabilities, in a frozen network too: ``autograd.grad`` with respect to them works.

    Parameters
    ----------
    block, tokens, prefix, rows
        As for :func:`block_rows`.
    at
        How many tokens stand before the prompts' columns.
    """
    normed = block.norm1(tokens)
    before = None if prefix is None else block.norm1(prefix)
    query, key, value = queries_keys_values(block.attn, normed, before=before, at=at, rows=rows)
    probabilities = _softmax(query * block.attn.scale @ key.transpose(-2, -1))
    if torch.is_grad_enabled():
        probabilities.requires_grad_()
    mixed = block.attn.attn_drop(probabilities) @ value
    return _finish(block, tokens[:, rows], normed[:, rows], mixed), probabilities


def attention_probabilities(
    block: Block, tokens: torch.Tensor, *, prefix: torch.Tensor | None = None, at: int = 0, rows: slice = slice(None)
) -> torch.Tensor:
    """Softmax attention ``(B, heads, rows, P + K)`` alone, the prompts' columns after the first ``at`` tokens."""
    attn, normed = block.attn, block.norm1(tokens)
    query = attn.q_norm(_heads(attn, _project(attn, normed[:, rows], 0, 1)))
    key = attn.k_norm(_heads(attn, _project(attn, normed, 1, 2)))
    if prefix is not None:
        key = _inserted(attn.k_norm(_heads(attn, _project(attn, block.norm1(prefix), 1, 2))), key, at)
    return _softmax(query * attn.scale @ key.transpose(-2, -1))


def queries_keys_values(
    attn: Attention, normed: torch.Tensor, *, before: torch.Tensor | None, at: int = 0, rows: slice = slice(None)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries of ``rows``, keys and values of all tokens, ``before`` in their midst; each ``(B, heads, n, head_dim)``.

    ``at`` tokens come before the prefix. No output depends on it; the order of the attention's columns does.
    """
    width = attn.attn_dim
    if rows == slice(None):
        query, key, value = (_heads(attn, part) for part in attn.qkv(normed).split(width, dim=-1))
    else:
        query = _heads(attn, _project(attn, normed[:, rows], 0, 1))
        key, value = _keys_values(attn, normed)
    query, key = attn.q_norm(query), attn.k_norm(key)
    if before is not None:
        prefix_key, prefix_value = _keys_values(attn, before)
        key = _inserted(attn.k_norm(prefix_key), key, at)
        value = _inserted(prefix_value, value, at)
    return query, key, value


def _inserted(prefix: torch.Tensor, whole: torch.Tensor, at: int) -> torch.Tensor:
    prefix = prefix.expand(len(whole), -1, -1, -1)
    return torch.cat([whole[:, :, :at], prefix, whole[:, :, at:]] if at else [prefix, whole], dim=2)


def _finish(block: Block, tokens: torch.Tensor, normed: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
    """All of the block after the values are mixed, ``(B, heads, n, head_dim)``, for the tokens that want it."""
    mixed = block.attn.norm(mixed.transpose(1, 2).flatten(2))
    if block.attn.gate is not None:
        mixed = mixed * block.attn.gate(normed).sigmoid()
    mixed = block.attn.proj_drop(block.attn.proj(mixed))
    out = tokens + block.drop_path1(block.ls1(mixed))
    return out + block.drop_path2(block.ls2(block.mlp(block.norm2(out))))


def _keys_values(attn: Attention, normed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    key, value = _project(attn, normed, 1, 3).split(attn.attn_dim, dim=-1)
    return _heads(attn, key), _heads(attn, value)


def _project(attn: Attention, normed: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Parts ``first`` to ``last`` (exclusive) of query, key and value, ``(B, n, parts * attn_dim)``."""
    part = slice(first * attn.attn_dim, last * attn.attn_dim)
    return F.linear(normed, attn.qkv.weight[part], None if attn.qkv.bias is None else attn.qkv.bias[part])


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    """Softmax over the keys; into the scores' own memory where no gradient wants them.

    A second buffer of ``B heads T^2`` numbers costs more in fresh pages than the softmax itself.
    """
    return scores.softmax(dim=-1) if torch.is_grad_enabled() else torch.softmax(scores, dim=-1, out=scores)


def _heads(attn: Attention, x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (attn.num_heads, attn.head_dim)).transpose(1, 2)
