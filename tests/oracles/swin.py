"""Slow, explicit float64 reference for prompted Swins, window by window: nothing here is shared with the package."""

import math

import torch
from timm.models.swin_transformer import SwinTransformer

WINDOW = 4


def make_swin(image_size: int = 64, *, seed: int = 0, **options) -> SwinTransformer:
    """Random Swin of patches of 4, two stages of two blocks, 12 and 24 channels, windows of 4x4.

    At 64 px both stages shift their windows; at 40 px the grids, 10 and 5, have to be padded as well.
    """
    torch.manual_seed(seed)
    swin = SwinTransformer(
        **{
            "img_size": image_size, "patch_size": 4, "window_size": WINDOW, "embed_dim": 12, "depths": (2, 2),
            "num_heads": (2, 2), "num_classes": 0, **options,
        }
    )  # fmt: skip
    for parameter in swin.parameters():  # far from the near-zero initialisation, so that attention is not uniform
        torch.nn.init.normal_(parameter, std=0.3)
    return swin.eval()


def one_window(attn, tokens, n_prompts, inside, apart):
    """Attention of one window's prompts and tokens ``(P + n, d)``: bias and mask spelled out entry by entry."""
    n, size = len(inside), 2 * WINDOW - 1
    head_dim = tokens.shape[1] // attn.num_heads
    q, k, v = (tokens @ attn.qkv.weight.T + attn.qkv.bias).chunk(3, dim=1)
    heads = []
    for head in range(attn.num_heads):
        columns = slice(head * head_dim, (head + 1) * head_dim)
        added = torch.zeros(n_prompts + n, n_prompts + n, dtype=tokens.dtype)
        rows = [
            (a[0] - b[0] + WINDOW - 1) * size + a[1] - b[1] + WINDOW - 1 for a in inside for b in inside
        ]  # how far the query lies from the key
        added[n_prompts:, n_prompts:] = attn.relative_position_bias_table[rows, head].reshape(n, n)
        added[n_prompts:, n_prompts:] += torch.tensor([[-100.0 * (a != b) for b in apart] for a in apart])
        weights = torch.softmax(q[:, columns] @ k[:, columns].T / math.sqrt(head_dim) + added, dim=1)
        heads.append(weights @ v[:, columns])
    return attn.proj(torch.cat(heads, dim=1))


def all_windows(attn, grid, prompts, shift):
    """One image: patches ``(H, W, d)`` and prompts ``(P, d)`` after attention; a prompt's is the mean over windows."""
    height, width, dim = grid.shape
    high, wide = (-(-side // WINDOW) * WINDOW for side in (height, width))
    out, of_prompts = torch.zeros_like(grid), []
    for top in range(0, high, WINDOW):
        for left in range(0, wide, WINDOW):
            inside = [(a, b) for a in range(WINDOW) for b in range(WINDOW)]
            places = [(top + a, left + b) for a, b in inside]
            real = [row < height and column < width for row, column in places]
            origins = [((row + shift) % height, (column + shift) % width) for row, column in places]
            tokens = [grid[o] if r else torch.zeros(dim, dtype=grid.dtype) for o, r in zip(origins, real, strict=True)]
            apart = [(row >= high - shift, column >= wide - shift) for row, column in places]
            result = one_window(attn, torch.cat([prompts, torch.stack(tokens)]), len(prompts), inside, apart)
            of_prompts.append(result[: len(prompts)])
            for row, origin, r in zip(result[len(prompts) :], origins, real, strict=True):
                if r:
                    out[origin] = row
    return out, torch.stack(of_prompts).mean(dim=0)


def merged(merging, grid):
    """Two by two patches side by side, the lower one before the one to the right; an odd border gets zeros."""
    height, width, dim = grid.shape
    rows = []
    for i in range(0, height, 2):
        for j in range(0, width, 2):
            four = [(i, j), (i + 1, j), (i, j + 1), (i + 1, j + 1)]
            zero = torch.zeros(dim, dtype=grid.dtype)
            rows.append(torch.cat([grid[p] if p[0] < height and p[1] < width else zero for p in four]))
    return merging.reduction(merging.norm(torch.stack(rows))).reshape(-(-height // 2), -(-width // 2), -1)


def prompted_swin(swin, prompts, x, *, merges_prompts=False, pools_prompts=False):
    """Features ``(B, d)``; ``prompts`` maps the blocks they come in before, counted through the stages, to ``(P, d)``.

    They are carried to the next block, unless it has its own. With their stage they end, or each takes the place of
    all four neighbours; the head reads the patches, or the last prompts with them.
    """
    features = []
    for image in x:
        grid, layer = swin.patch_embed(image[None])[0], 0
        carried = grid.new_zeros(0, grid.shape[2])
        for index, stage in enumerate(swin.layers):
            if index:
                grid = merged(stage.downsample, grid)
                four = torch.cat([carried] * 4, dim=1)
                carried = stage.downsample.reduction(stage.downsample.norm(four))[: None if merges_prompts else 0]
            for odd, block in enumerate(stage.blocks):
                carried = prompts.get(layer, carried)
                shift = WINDOW // 2 if odd % 2 and min(grid.shape[:2]) > WINDOW else 0
                patches, outputs = all_windows(block.attn, block.norm1(grid), block.norm1(carried), shift)
                grid, carried = grid + patches, carried + outputs
                grid, carried = (t + block.mlp(block.norm2(t)) for t in (grid, carried))
                layer += 1
        tokens = [swin.norm(grid).flatten(0, 1), swin.norm(carried)[: None if pools_prompts else 0]]
        features.append(torch.cat(tokens).mean(dim=0))
    return torch.stack(features)
