"""Prompted networks at several places at once: points folded into the batch, and prompts behind a gate.

Where only deep prompts and the head move, all points share the backbone. Each point's prompts enter layer l as keys
and values, computed once a point and not once an image; what enters the first layer, and its queries, keys and values,
are the same for every point and are computed once. The result differs from a point at a time by rounding alone.
"""

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn
from torch.nn import functional as F

from vptft.errors import NotApplicable
from vptft.models.blocks import is_plain, queries_keys_values, require_plain
from vptft.models.prompts import Prompts
from vptft.models.tuned import TunedModel


def can_fold(model: nn.Module) -> bool:
    """Whether :func:`folded_logits` is exact: prompts before every layer, plain blocks, not pooled, a linear head."""
    if not isinstance(model, TunedModel) or model.training or not model.prefix_form:
        return False
    prompts, vit = model.prompts, model.backbone
    if type(prompts) is not Prompts or not isinstance(vit, VisionTransformer) or type(model.head) is not nn.Linear:
        return False
    deep = prompts.spec.layers == tuple(range(len(vit.blocks))) and not prompts.spec.pooled
    own_width = not prompts.spec.projection
    return deep and own_width and not (model.patches_too or model.probe_layers) and all(map(is_plain, vit.blocks))


def entering(model: TunedModel, images: torch.Tensor) -> torch.Tensor:
    """What enters the first layer, ``(n, K, d)``, without prompts."""
    vit = model.vit
    return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))


def folded_logits(
    model: TunedModel, tokens: torch.Tensor, *, prompts: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Logits ``(m, n, n_classes)`` of n images at m points.

    Parameters
    ----------
    model
        One that :func:`can_fold`; its own prompts and head are not used.
    tokens
        As :func:`entering` gives them, ``(n, K, d)``.
    prompts
        Of each point, ``(m, L, P, d)``; one layer's where they are shared.
    weight, bias
        The head of each point, ``(m, n_classes, d)`` and ``(m, n_classes)``.
    """
    vit = model.vit
    count, last = len(prompts), len(vit.blocks) - 1
    for layer, module in enumerate(vit.blocks):
        block = require_plain(module)
        own = prompts[:, layer if prompts.shape[1] > 1 else 0]
        _, *prefix = queries_keys_values(block.attn, block.norm1(own), before=None)
        rows = slice(0, 1) if layer == last and vit.global_pool == "token" else slice(None)
        tokens = _with_prefix(block, tokens, prefix, rows, repeat=count if layer == 0 else 1)
    features = vit.forward_head(vit.norm(tokens), pre_logits=True).unflatten(0, (count, -1))
    return torch.einsum("mnd,mcd->mnc", features, weight) + bias[:, None]


def gated_logits(model: TunedModel, images: torch.Tensor, gate: float) -> torch.Tensor:
    """Logits of a model whose prompts have ``gate`` times their weight in every attention, before it sums to 1.

    At 1 this is the model; at 0 no token sees a prompt, so it is the network without them, exactly. It is the path from
    a network that has no prompts to one that has: there is no straight line, for they have different parameters.

    Raises
    ------
    NotApplicable
        On blocks that are not plain, and where the prompts are pooled or other layers read.
    """
    prompts = model.prompts
    if not isinstance(prompts, Prompts) or prompts.spec.pooled or model.probe_layers:
        raise NotApplicable("A gate on the prompts needs prompts of one width that are not pooled.")
    if gate == 1:
        return model(images)
    vit, carried = model.vit, 0
    log_gate = torch.log(torch.tensor(float(gate), device=images.device))
    tokens = entering(model, images)
    for layer, module in enumerate(vit.blocks):
        block = require_plain(module)
        if layer in prompts.spec.layers:
            new = prompts.at(layer, len(images)).expand(len(images), -1, -1)
            tokens, carried = torch.cat([new, tokens[:, carried:]], dim=1), new.shape[1]
        normed = block.norm1(tokens)
        query, key, value = queries_keys_values(block.attn, normed, before=None)
        mask = torch.zeros(tokens.shape[1], device=tokens.device, dtype=tokens.dtype)
        mask[:carried] = log_gate
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask.expand(tokens.shape[1], -1))
        tokens = _after_attention(block, tokens, normed, mixed)
    kept = vit.norm(tokens[:, carried:])
    if model.patches_too:
        return model.head(torch.cat([kept[:, 0], kept[:, model.layout.n_prefix :].mean(dim=1)], dim=1))
    return model.head(vit.forward_head(kept, pre_logits=True))


def _with_prefix(
    block: Block, tokens: torch.Tensor, prefix: list[torch.Tensor], rows: slice, *, repeat: int
) -> torch.Tensor:
    """Apply a block to ``(n, K, d)``, or to ``(m n, K, d)``, under the m points' keys and values ``(m, heads, P, d')``.

    With ``repeat`` the tokens are the same for all points, and are repeated only once their projections are made.
    """
    normed = block.norm1(tokens)
    query, key, value = queries_keys_values(block.attn, normed, before=None, rows=rows)
    each = len(tokens) * repeat // len(prefix[0])
    keys, values = (
        torch.cat([own.repeat_interleave(each, dim=0), part.repeat(repeat, 1, 1, 1)], dim=2)
        for own, part in zip(prefix, (key, value), strict=True)
    )
    mixed = F.scaled_dot_product_attention(query.repeat(repeat, 1, 1, 1), keys, values)
    return _after_attention(block, tokens[:, rows].repeat(repeat, 1, 1), normed[:, rows].repeat(repeat, 1, 1), mixed)


def _after_attention(block: Block, tokens: torch.Tensor, normed: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
    """Give a block's output from what its heads mixed, ``(B, heads, n, d')``."""
    mixed = block.attn.norm(mixed.transpose(1, 2).flatten(2))
    if block.attn.gate is not None:
        mixed = mixed * block.attn.gate(normed).sigmoid()
    out = tokens + block.ls1(block.attn.proj(mixed))
    return out + block.ls2(block.mlp(block.norm2(out)))
