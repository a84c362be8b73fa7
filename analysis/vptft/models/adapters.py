"""Adapters beside attention and MLP, attached to timm's blocks without renaming a weight.

An adapter is a child ``adapter`` of the module it works beside, and a forward hook adds what it says to what the
module says. Blocks whose attention has one are no longer plain: they run whole, never as a key/value prefix.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F

from vptft.errors import WeightsError

Kind = Literal["pfeiffer", "convpass"]


class Pfeiffer(nn.Module):
    """A bottleneck after the MLP, added to its output (Pfeiffer et al. 2021; KMnP/vpt's ``adapter``)."""

    takes_input = False

    def __init__(self, *, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, T, d)`` to ``(B, T, d)``."""
        return self.up(F.gelu(self.down(x)))


class Convpass(nn.Module):
    """A bottleneck with a 3x3 convolution over the patch grid, beside a module (Jie and Deng 2022, *Convpass*).

    The cls token passes through the same convolution as a grid of one.
    """

    takes_input = True

    def __init__(self, *, width: int, bottleneck: int, grid: tuple[int, int], scale: float) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.conv = nn.Conv2d(bottleneck, bottleneck, 3, padding=1)
        self.up = nn.Linear(bottleneck, width)
        self.grid, self.scale = grid, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, 1 + h w, d)`` to the same."""
        low = _quick_gelu(self.down(x)).transpose(1, 2)
        patches = self.conv(low[..., 1:].unflatten(-1, self.grid)).flatten(-2)
        cls = self.conv(low[..., :1].unsqueeze(-1)).flatten(-2)
        return self.scale * self.up(_quick_gelu(torch.cat([cls, patches], dim=-1)).transpose(1, 2))


def attach(vit: VisionTransformer, state: Mapping[str, torch.Tensor], *, kind: Kind, scale: float = 1.0) -> None:
    """Give a backbone the adapters whose tensors ``blocks.I.(attn|mlp).adapter.*`` are in ``state``.

    Raises
    ------
    WeightsError
        A tensor does not fit, or belongs to no adapter of this kind.
    """
    names = {tuple(name.split(".adapter.")[0].split(".")) for name in state if ".adapter." in name}
    if kind == "convpass" and names and vit.num_prefix_tokens != 1:
        raise WeightsError(
            f"Convpass adapters take one token before the patches; this backbone has {vit.num_prefix_tokens}."
        )
    for root, number, part in sorted(names, key=lambda item: (int(item[1]), item[2])):
        weight = state.get(f"{root}.{number}.{part}.adapter.down.weight")
        if int(number) >= len(vit.blocks) or weight is None or weight.ndim != 2 or 0 in weight.shape:
            raise WeightsError(
                f"The adapter of block {number} does not fit: the backbone has {len(vit.blocks)} blocks, the adapter's "
                f"first weight {'is missing' if weight is None else f'has shape {tuple(weight.shape)}'}."
            )
        module: Any = getattr(vit.blocks[int(number)], part)
        bottleneck = weight.shape[0]
        adapter: nn.Module
        if kind == "pfeiffer":
            adapter = Pfeiffer(width=vit.embed_dim, bottleneck=bottleneck)
        else:
            grid = vit.patch_embed.grid_size
            adapter = Convpass(width=vit.embed_dim, bottleneck=bottleneck, grid=grid, scale=scale)
        module.add_module("adapter", adapter)
        module.register_forward_hook(_add)
    try:
        missing = vit.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise WeightsError(f"The adapters do not fit: {error}") from error
    absent = [name for name in missing.missing_keys if ".adapter." in name]
    if absent or missing.unexpected_keys:
        raise WeightsError(f"The adapters do not fit: missing {absent}, left over {missing.unexpected_keys}.")


def fresh_pfeiffer(vit: VisionTransformer, *, bottleneck: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Tensors of new Pfeiffer adapters in every block, for :func:`attach`; they add nothing at first (``up`` is 0)."""
    state = {}
    for layer in range(len(vit.blocks)):
        name = f"blocks.{layer}.mlp.adapter"
        bound = vit.embed_dim**-0.5
        down = torch.rand(bottleneck, vit.embed_dim, generator=generator)
        state[f"{name}.down.weight"] = (2 * down - 1) * bound
        state[f"{name}.down.bias"] = torch.zeros(bottleneck)
        state[f"{name}.up.weight"] = torch.zeros(vit.embed_dim, bottleneck)
        state[f"{name}.up.bias"] = torch.zeros(vit.embed_dim)
    return state


def _add(module: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    return output + module.adapter(args[0] if module.adapter.takes_input else output)


def _quick_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(1.702 * x)
