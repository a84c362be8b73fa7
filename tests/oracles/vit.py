"""Slow, explicit float64 references for prompted ViTs: nothing here is shared with the package."""

import torch
from timm.models.vision_transformer import VisionTransformer


def make_vit(kind: str, *, depth: int = 4, seed: int = 0) -> VisionTransformer:
    """Random ViT of 4x4 patches: ``cls``, ``register`` (cls + 3 registers) or ``average`` (no cls token)."""
    torch.manual_seed(seed)
    options = {
        "cls": {},
        "register": {"reg_tokens": 3, "init_values": 0.5},
        "average": {"class_token": False, "global_pool": "avg"},
    }[kind]
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=depth, num_heads=3, num_classes=0, **options)
    for parameter in vit.parameters():  # far from the near-zero initialisation, so that attention is not uniform
        torch.nn.init.normal_(parameter, std=0.3)
    return vit.eval()


def attention_and_output(block, tokens):
    """One block spelled out head by head: probabilities (B, H, T, T) and output tokens (B, T, d)."""
    attn = block.attn
    x = block.norm1(tokens)
    heads, probabilities = [], []
    for head in range(attn.num_heads):
        rows = slice(head * attn.head_dim, (head + 1) * attn.head_dim)
        q, k, v = (
            x @ attn.qkv.weight[part * attn.attn_dim :][rows].T + attn.qkv.bias[part * attn.attn_dim :][rows]
            for part in range(3)
        )
        weights = torch.softmax(q @ k.transpose(1, 2) / attn.head_dim**0.5, dim=-1)
        probabilities.append(weights)
        heads.append(weights @ v)
    tokens = tokens + block.ls1(attn.proj(torch.cat(heads, dim=-1)))
    tokens = tokens + block.ls2(block.mlp(block.norm2(tokens)))
    return torch.stack(probabilities, dim=1), tokens


def prompted_forward(vit, prompts, layers, x):
    """Concatenate, replace, pool: features, and the attention of every layer over ``cls | reg | prompts | patches``."""
    n_prefix = vit.num_prefix_tokens
    tokens = vit._pos_embed(vit.patch_embed(x))
    carried, attentions = 0, []
    for index, block in enumerate(vit.blocks):
        if index in layers:
            new = prompts[layers.index(index)].expand(len(x), -1, -1)
            tokens = torch.cat([tokens[:, :n_prefix], new, tokens[:, n_prefix + carried :]], dim=1)
            carried = new.shape[1]
        probabilities, tokens = attention_and_output(block, tokens)
        attentions.append(probabilities)
    tokens = vit.norm(tokens)
    pooled = tokens[:, 0] if vit.global_pool == "token" else tokens[:, n_prefix + carried :].mean(dim=1)
    return vit.fc_norm(pooled), attentions


def without_prompts_yet(attention, is_there):
    """Attention of a layer below the first prompts, among all tokens: places of prompts to come look at themselves."""
    whole = torch.eye(len(is_there), dtype=attention.dtype).repeat(len(attention), 1, 1)
    rows = whole[:, is_there]
    rows[:, :, is_there] = attention
    whole[:, is_there] = rows
    return whole


def rollout_by_leaves(attentions, layers, n_prefix, n_prompts, query):
    """Rollout as explicit matrix products over leaf columns: inputs of layer 0, then every layer's own prompts.

    Each token's content is a row over leaves; a prompt that comes in starts as its own leaf.
    """
    fused = [a.double().mean(dim=1) for a in attentions]
    batch, size = fused[-1].shape[0], fused[-1].shape[1]
    is_prompt = torch.zeros(size, dtype=torch.bool)
    is_prompt[n_prefix : n_prefix + n_prompts] = True
    fused = [a if a.shape[1] == size else without_prompts_yet(a, ~is_prompt) for a in fused]
    n_leaves = size + len(fused) * n_prompts
    content = torch.zeros(batch, size, n_leaves, dtype=torch.float64)
    content[:, torch.arange(size), torch.arange(size)] = 1
    content[:, is_prompt] = 0
    for index, attention in enumerate(fused):
        if index in layers:
            content[:, is_prompt] = 0
            first = size + index * n_prompts
            for j in range(n_prompts):
                content[:, n_prefix + j, first + j] = 1
        identity = torch.eye(size, dtype=torch.float64)
        content = ((attention + identity) / 2) @ content
    mass = torch.einsum("t,btl->bl", query.double(), content)
    share = (
        mass[:, size:].unflatten(1, (len(fused), n_prompts)).sum(-1) if n_prompts else torch.zeros(batch, len(fused))
    )
    return mass[:, :size], share
