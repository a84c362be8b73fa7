"""Slow, explicit references for attention maps: one image and one matrix product at a time, in float64."""

import numpy as np
import torch

from oracles.vit import without_prompts_yet
from vptft.models.tuned import TunedModel


def attended_logits(model: TunedModel, x: torch.Tensor):
    """Logits and probabilities of every layer, prompts concatenated, each softmax a leaf of its own.

    Each layer's probabilities are its softmax plus a zero that is a leaf, so ``autograd.grad`` of a logit with respect
    to the zero is the gradient of the probabilities.
    """
    vit, spec = model.backbone, None if model.prompts is None else model.prompts.spec
    n_prefix, carried = vit.num_prefix_tokens, 0
    tokens = vit._pos_embed(vit.patch_embed(x))
    probabilities, zeros = [], []
    for index, block in enumerate(vit.blocks):
        if spec is not None and index in spec.layers:
            new = model.prompts.tokens[spec.layers.index(index)].expand(len(x), -1, -1)
            tokens = torch.cat([tokens[:, :n_prefix], new, tokens[:, n_prefix + carried :]], dim=1)
            carried = new.shape[1]
        attn = block.attn
        q, k, v = (
            part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
            for part in attn.qkv(block.norm1(tokens)).chunk(3, -1)
        )
        zero = torch.zeros(len(x), attn.num_heads, q.shape[2], q.shape[2], dtype=x.dtype, requires_grad=True)
        weights = torch.softmax(q @ k.transpose(2, 3) / attn.head_dim**0.5, dim=-1)
        probabilities.append(weights.detach())
        zeros.append(zero)
        mixed = ((weights + zero) @ v).transpose(1, 2).flatten(2)
        tokens = tokens + block.ls1(attn.proj(mixed))
        tokens = tokens + block.ls2(block.mlp(block.norm2(tokens)))
    tokens = vit.norm(tokens)
    whole_mean = spec is not None and spec.pooled
    start = n_prefix + (0 if whole_mean else carried)
    pooled = tokens[:, 0] if vit.global_pool == "token" else tokens[:, start:].mean(dim=1)
    return model.head(vit.fc_norm(pooled)), probabilities, zeros


def relevance_of_one(attentions, gradients, layers, n_prefix, n_prompts):
    """Chefer's rule for one image, from the input upwards: ``R`` over tokens and, for each layer, that layer's prompts.

    Parameters
    ----------
    attentions, gradients
        Of each layer, ``(heads, T, T)``.
    layers
        Before which prompts come in.

    Returns
    -------
    ndarray
        ``(T, T + L * P)``: a row a token of the last layer; columns for the input tokens, then each layer's prompts.
    """
    size = attentions[-1].shape[-1]
    is_prompt = np.zeros(size, dtype=bool)
    is_prompt[n_prefix : n_prefix + n_prompts] = True
    R = np.zeros((size, size + len(attentions) * n_prompts))
    R[np.arange(size), np.arange(size)] = ~is_prompt
    for index, (attention, gradient) in enumerate(zip(attentions, gradients, strict=True)):
        if index in layers:
            R[is_prompt] = 0
            for j in range(n_prompts):
                R[n_prefix + j, size + index * n_prompts + j] = 1
        step = np.zeros((size, size))
        here = np.ones(size, dtype=bool) if attention.shape[-1] == size else ~is_prompt
        per_head = [np.maximum(a * g, 0) for a, g in zip(attention.numpy(), gradient.numpy(), strict=True)]
        step[np.ix_(here, here)] = sum(per_head) / len(per_head)
        R = R + step @ R
    return R


def fused_by_hand(attention, fusion, discard, n_cls):
    """One layer's heads ``(heads, T, T)`` fused, weak entries dropped row by row, every row summing to 1."""
    fused = {"mean": np.mean, "max": np.max, "min": np.min}[fusion](np.asarray(attention, dtype=np.float64), axis=0)
    out = np.zeros_like(fused)
    for i, row in enumerate(fused):
        free = [j for j in range(len(row)) if j >= n_cls and j != i]
        dropped = sorted(free, key=lambda j: row[j])[: int(discard * len(row))]
        out[i] = [0 if j in dropped else value for j, value in enumerate(row)]
        out[i] /= out[i].sum()
    return out


def rolled(matrices, layers, n_prefix, n_prompts, query, residual=0.5):
    """Rollout of row-stochastic ``(T, T)`` or ``(K, K)`` matrices by products over leaf columns.

    Returns mass at the input ``(T,)`` and of each layer's prompts ``(L,)``.
    """
    size = matrices[-1].shape[-1]
    is_prompt = torch.zeros(size, dtype=torch.bool)
    is_prompt[n_prefix : n_prefix + n_prompts] = True
    content = torch.zeros(size, size + len(matrices) * n_prompts, dtype=torch.float64)
    content[torch.arange(size), torch.arange(size)] = (~is_prompt).double()
    for index, matrix in enumerate(matrices):
        step = torch.as_tensor(matrix, dtype=torch.float64)
        if len(step) < size:
            step = without_prompts_yet(step[None], ~is_prompt)[0]
        if index in layers:
            content[is_prompt] = 0
            for j in range(n_prompts):
                content[n_prefix + j, size + index * n_prompts + j] = 1
        content = (1 - residual) * step @ content + residual * content
    mass = query.double() @ content
    return mass[:size], mass[size:].view(len(matrices), -1).sum(dim=1)
