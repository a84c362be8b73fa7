"""Each layer's heads by themselves: how far and how evenly they look, how much of it at prompts, and their cls rows."""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch

from vptft.models.layout import TokenLayout
from vptft.models.tuned import LayerAttention, TunedModel
from vptft.why.attention.methods import BATCH
from vptft.why.attention.raw import query_rows
from vptft.why.attention.rollout import pooling_query
from vptft.why.attention.source import evaluating, require_all_layers


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Attention of every head, ``(n, layers, heads)`` each, and the maps.

    Attributes
    ----------
    distance_patches
        Mean distance from a patch to the patches it attends to, in patch sides: attention-weighted over patches alone,
        then the mean of all patches (Dosovitskiy et al. 2021, appendix D.7). Shares on cls, registers and prompts have
        no place and are left out, so a head that looks at prompts alone has a distance as well: that of the rest.
    distance_pixels
        The same in pixels of the network's input.
    entropy_bits
        Entropy of a patch's attention over all tokens, mean of all patches, at most log2 of the tokens. More prompts,
        more tokens: compare with ``tokens`` in mind.
    prompt_share
        Share of a patch's attention on prompts, mean of all patches.
    query_entropy_bits, query_prompt_share
        The same of what the head reads, in one-layer rows: the cls row, or the mean row where patches are averaged.
    maps
        That row's patches, ``(n, layers, heads, h, w)``, not normalised; None unless asked for.
    tokens
        How many tokens are attended to in each layer, ``(layers,)``.
    """

    distance_patches: np.ndarray
    distance_pixels: np.ndarray
    entropy_bits: np.ndarray
    prompt_share: np.ndarray
    query_entropy_bits: np.ndarray
    query_prompt_share: np.ndarray
    tokens: np.ndarray
    maps: np.ndarray | None = None

    def frame(self) -> pd.DataFrame:
        """A row a layer and head: layer, head, tokens, and the mean of each number over the images."""
        names = [field.name for field in fields(self) if field.name not in ("maps", "tokens")]
        n_layers, n_heads = self.entropy_bits.shape[1:]
        layer, head = np.indices((n_layers, n_heads)).reshape(2, -1)
        means = {name: getattr(self, name).mean(axis=0).reshape(-1) for name in names}
        return pd.DataFrame({"layer": layer, "head": head, "tokens": self.tokens[layer], **means})


def measure_heads(
    model: TunedModel, images: torch.Tensor, *, with_maps: bool = False, batch_size: int = BATCH
) -> Heads:
    """Look at every head of every layer.

    Parameters
    ----------
    model
        A plain vision transformer with or without prompts; its modes are left as they are.
    images
        Normalised, ``(n, 3, H, W)``.
    with_maps
        Keep the rows of what the head reads: ``layers * heads`` maps an image.
    batch_size
        Images at once.

    Raises
    ------
    NotApplicable
        On backbones without global self-attention, and where the head reads several layers.
    """
    layout, query = model.layout, pooling_query(model.layout, model.pooling)
    away = distances(layout.grid, model.vit.patch_embed.patch_size).to(images)
    side = float(np.sqrt(np.prod(model.vit.patch_embed.patch_size)))
    batches = []
    with evaluating(model), torch.no_grad():
        for start in range(0, len(images), batch_size):
            layers, tokens = [], []
            for layer in model.attention(images[start : start + batch_size]):
                found = _of(layer, layout, query, away)
                layers.append({
                    name: value.double().cpu() for name, value in found.items() if with_maps or name != "maps"
                })  # fmt: skip
                tokens.append(layer.probabilities.shape[-1])
            require_all_layers(list(range(len(layers))), model)
            batches.append({name: torch.stack([layer[name] for layer in layers], dim=1) for name in layers[0]})
    joined = {name: torch.cat([batch[name] for batch in batches]).numpy() for name in batches[0]}
    return Heads(**joined, distance_patches=joined["distance_pixels"] / side, tokens=np.array(tokens))


def _of(layer: LayerAttention, layout: TokenLayout, query: torch.Tensor, away: torch.Tensor) -> dict[str, torch.Tensor]:
    """Numbers of one layer, ``(B, heads)``, and its maps ``(B, heads, h, w)``."""
    read = query_rows(layer, layout, query)
    rows = layer.probabilities[..., -layout.n_patches :, :]
    among = rows[..., -layout.n_patches :]
    prompts = layout.prompts if rows.shape[-1] == layout.n_tokens else slice(0, 0)
    return {
        "distance_pixels": ((among * away).sum(-1) / among.sum(-1)).mean(-1),
        "entropy_bits": torch.special.entr(rows).sum(-1).mean(-1) / np.log(2),
        "prompt_share": rows[..., prompts].sum(-1).mean(-1),
        "query_entropy_bits": torch.special.entr(read).sum(-1) / np.log(2),
        "query_prompt_share": read[..., layout.prompts].sum(-1),
        "maps": read[..., layout.patches].unflatten(-1, layout.grid),
    }


def distances(grid: tuple[int, int], patch_size: tuple[int, int]) -> torch.Tensor:
    """Distance between the centres of every two patches in pixels, ``(P, P)``, patches in row-major order."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows.flatten() * patch_size[0], columns.flatten() * patch_size[1]], dim=1).double()
    return torch.cdist(places, places)
