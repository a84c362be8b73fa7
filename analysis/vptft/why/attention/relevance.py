r"""Attention weighted by what it does to the class: relevance, and rollout weighted by gradients.

Both take, for a class's logit (or its lead over another's) y and each layer's attention A,

.. math:: \bar A = E_h[(\partial y / \partial A \odot A)^+],

the derivative being that of the probabilities, after the softmax. *Relevance* (Chefer, Gur and Wolf 2021, *Generic
attention-model explainability*, equations 5 and 6) is :math:`R \leftarrow R + \bar A R` from R = I upwards, read at the
head's query: :math:`q^T (I + \bar A_L) \cdots (I + \bar A_1)`, here followed from q down as one vector an image, so a
batch costs what its images cost. Prompts that come in before a layer are leaves, as in rollout.

*Gradient rollout* puts :math:`\bar A` in the place of A in rollout, each row divided by its sum first: it says where
attention goes that speaks for the class, whatever the logit's scale.
"""

import torch

from vptft.models.layout import TokenLayout
from vptft.models.tuned import LayerAttention
from vptft.why.attention.explanation import Masses, Part
from vptft.why.attention.fusion import rows_to_one
from vptft.why.attention.rollout import descend, pooling_query, roll
from vptft.why.attention.source import Source


def relevance(source: Source) -> Part:
    """Relevance of one batch, in shares of all that reached any token by attention.

    What the query is to itself, the I of the rule, is left out: it is 1 whatever the logit's scale, and no patch's in a
    cls-pooled model. Images where no attention speaks for the class have zeros, and masses that are not numbers.
    """
    layout, pooling = source.model.layout, source.model.pooling
    query = pooling_query(layout, pooling)
    layers = weighted(*source.gradients())
    found = descend(layers, layout, query, mixed=1, skipped=1)
    patches = found.patches - query[layout.patches].view(layout.grid).to(found.patches)
    cls = found.cls - query[layout.cls].sum().to(found.cls)
    share = found.prompt_share - _own_share(layers, layout, query).to(found.prompt_share)
    total = patches.sum(dim=(1, 2)) + cls + found.registers + share.sum(dim=1)
    whole = total.where(total > 0, torch.nan)
    masses = Masses(cls / whole, found.registers / whole, share.sum(dim=1) / whole, share / whole[:, None])
    return Part((patches / whole[:, None, None]).nan_to_num(), masses)


def gradient_rollout(source: Source, *, residual: float = 0.5) -> Part:
    """Rollout of one batch with each layer's attention weighted by its gradient, rows summing to 1.

    A row without any attention that speaks for the class stays where it is. The peer whose idea this is adds I to the
    product itself, so that its map depends on the scale of the logits.
    """
    layout = source.model.layout
    layers = [
        layer._replace(probabilities=rows_to_one(layer.probabilities, layout))
        for layer in weighted(*source.gradients())
    ]
    return roll(layers, layout, pooling_query(layout, source.model.pooling), residual=residual).part()


def weighted(layers: list[LayerAttention], gradients: tuple[torch.Tensor, ...]) -> list[LayerAttention]:
    """Each layer's ``E_h[(dA * A)+]``, ``(B, rows, T)``."""
    return [
        layer._replace(probabilities=(layer.probabilities * gradient).clamp(min=0).mean(dim=1))
        for layer, gradient in zip(layers, gradients, strict=True)
    ]


def _own_share(layers: list[LayerAttention], layout: TokenLayout, query: torch.Tensor) -> torch.Tensor:
    """What the query is to itself among the prompts of each layer, ``(L,)``: the last that come in hold it."""
    share = torch.zeros(len(layers), dtype=query.dtype)
    inserted = [layer.layer for layer in layers if layer.inserted]
    if inserted:
        share[inserted[-1]] = query[layout.prompts].sum()
    return share
