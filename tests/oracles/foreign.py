"""Vision transformers written out in float64 from raw matrices, for files of other programs; no timm, no package code.

``blocks`` are dicts: norm1, norm2, q, k, v, out, fc1, fc2, each a pair (weight, bias); optional ``scale1``, ``scale2``.
"""

import math

import torch


def linear(x, pair):
    weight, bias = pair
    return x @ weight.double().T + (0 if bias is None else bias.double())


def norm(x, pair, eps=1e-6):
    weight, bias = (part.double() for part in pair)
    x = x - x.mean(-1, keepdim=True)
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight + bias


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def embed(x, weight, bias):
    """Patches by explicit cutting: ``(B, 3, H, W)`` to ``(B, hw, d)``."""
    patch = weight.shape[-1]
    rows, columns = x.shape[2] // patch, x.shape[3] // patch
    tokens = [
        torch.einsum(
            "bchw,dchw->bd", x[:, :, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch].double(), weight.double()
        )
        + bias.double()
        for i in range(rows)
        for j in range(columns)
    ]
    return torch.stack(tokens, dim=1)


def attention(x, block, heads):
    q, k, v = (linear(x, block[name]) for name in "qkv")
    size = q.shape[-1] // heads
    parts = []
    for head in range(heads):
        one = slice(head * size, (head + 1) * size)
        weights = torch.softmax(q[..., one] @ k[..., one].transpose(1, 2) / math.sqrt(size), dim=-1)
        parts.append(weights @ v[..., one])
    return linear(torch.cat(parts, dim=-1), block["out"])


def run_blocks(tokens, blocks, heads, *, eps=1e-6, before=None, beside_attention=None, beside_mlp=None, after_mlp=None):
    """All blocks; ``before(i, tokens)`` may replace tokens, the others add to what attention and MLP say."""
    for i, block in enumerate(blocks):
        if before is not None:
            tokens = before(i, tokens)
        x = norm(tokens, block["norm1"], eps)
        said = attention(x, block, heads)
        if beside_attention is not None:
            said = said + beside_attention(i, x)
        tokens = tokens + said * block.get("scale1", torch.ones(())).double()
        x = norm(tokens, block["norm2"], eps)
        said = linear(gelu(linear(x, block["fc1"])), block["fc2"])
        if beside_mlp is not None:
            said = said + beside_mlp(i, x)
        if after_mlp is not None:
            said = said + after_mlp(i, said)
        tokens = tokens + said * block.get("scale2", torch.ones(())).double()
    return tokens
