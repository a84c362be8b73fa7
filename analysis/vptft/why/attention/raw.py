"""Attention as one layer pays it: the row of the token that the head reads, before any layer is put on another.

What a token holds at a late layer is no longer what stood at its place in the image, so a late layer's row is no map of
the image; that is what rollout is for. It is shown because it is what one finds in papers.
"""

import torch

from vptft.errors import SettingsError
from vptft.models.layout import TokenLayout
from vptft.models.tuned import LayerAttention
from vptft.why.attention.explanation import Masses, Part
from vptft.why.attention.rollout import pooling_query
from vptft.why.attention.source import Source


def cls_attention(source: Source, *, layer: int = -1, head: int | None = None) -> Part:
    """The query's attention in one layer, its heads' mean or one of them.

    ``prompt_share`` is each layer's own: how much of the query's attention is on the prompts there. Its entries do not
    add up to anything.

    Parameters
    ----------
    source
        One batch.
    layer, head
        Which, from 0; a negative layer counts from the top.
    """
    model = source.model
    query = pooling_query(model.layout, model.pooling)
    depth = len(model.vit.blocks)
    if not -depth <= layer < depth:
        raise SettingsError(f"The model has {depth} layers: there is no layer {layer}.")

    def row(found: LayerAttention) -> torch.Tensor:
        rows = query_rows(found, model.layout, query)
        if head is None:
            return rows.mean(dim=1)
        if not 0 <= head < rows.shape[1]:
            raise SettingsError(f"Layer {found.layer} has {rows.shape[1]} heads: there is no head {head}.")
        return rows[:, head]

    rows = source.each_layer(row)
    shown = rows[layer]
    layout = model.layout
    masses = Masses(
        cls=shown[:, layout.cls].sum(dim=1),
        registers=shown[:, layout.registers].sum(dim=1),
        prompts=shown[:, layout.prompts].sum(dim=1),
        share=torch.stack([each[:, layout.prompts].sum(dim=1) for each in rows], dim=1),
    )
    return Part(shown[:, layout.patches].unflatten(1, layout.grid), masses)


def query_rows(layer: LayerAttention, layout: TokenLayout, query: torch.Tensor) -> torch.Tensor:
    """Attention of what the head reads, ``(B, heads, T)``: the cls row, or the mean of the rows it averages.

    Where the head reads prompts too and a layer's prompts have no rows, the others count.
    """
    kept = layout.kept.to(layer.probabilities.device)
    query = query.to(layer.probabilities)
    n_rows, n_columns = layer.probabilities.shape[2:]
    if n_rows != layout.n_tokens:
        query = query[kept] if n_rows == layout.n_kept else query[layout.cls]
    rows = torch.einsum("r,bhrt->bht", query / query.sum(), layer.probabilities)
    if n_columns == layout.n_tokens:
        return rows
    return rows.new_zeros(*rows.shape[:2], layout.n_tokens).index_copy(2, kept, rows)
