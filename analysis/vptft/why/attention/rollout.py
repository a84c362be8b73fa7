r"""Attention rollout that knows prompts: exact for shallow, deep and partly deep schedules and any pooling.

Rollout (Abnar and Zuidema 2020, section 3) treats row i of a layer's output as
:math:`\sum_j \hat A_{ij} x_j`, with :math:`\hat A = (A + I)/2` and A the attention averaged over heads. Followed
from the head's query q down to the input, one vector a layer:

.. math:: u = \hat A_l^T v, \qquad g_l = u_\pi, \qquad v \leftarrow u \text{ without } g_l

where prompts that come in before layer l are leaves: their credit :math:`g_l` stays with them (the layer's *prompt
share*) and does not flow on. In VPT-deep that is every layer; in VPT-shallow the first alone. Everything sums to 1.

Heads may be fused otherwise than by their mean, and weak entries dropped (:mod:`vptft.why.attention.fusion`): the rows
still sum to 1, and so do the masses, but they are masses of another walk and compare with their own kind alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vptft.errors import SettingsError
from vptft.models.layout import TokenLayout
from vptft.models.tuned import LayerAttention, Pooling, TunedModel
from vptft.why.attention.explanation import Masses, Part
from vptft.why.attention.fusion import Fusion, discarded, fuse_heads
from vptft.why.attention.source import Source


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Where the head's query gets its content from.

    Attributes
    ----------
    patches
        Mass of each patch, ``(B, h, w)``. Not normalised: compare maps after dividing by their sum, masses before.
    cls, registers
        Mass that stays with the learned input tokens, ``(B,)``.
    prompt_share
        Mass that ends in the prompts inserted before each layer, ``(B, L)``; zero where none are.
    """

    patches: torch.Tensor
    cls: torch.Tensor
    registers: torch.Tensor
    prompt_share: torch.Tensor

    def total(self) -> torch.Tensor:
        """All mass, ``(B,)``: 1 up to rounding, always."""
        return self.patches.sum(dim=(1, 2)) + self.cls + self.registers + self.prompt_share.sum(dim=1)

    def part(self) -> Part:
        """The same, as one batch of an explanation."""
        masses = Masses(self.cls, self.registers, self.prompt_share.sum(dim=1), self.prompt_share)
        return Part(self.patches, masses)


@torch.inference_mode()
def attention_rollout(
    model: TunedModel, x: torch.Tensor, *, residual: float = 0.5, fusion: Fusion = "mean", discard: float = 0.0
) -> Rollout:
    """Roll the model's attention out for normalised images ``(B, 3, H, W)``.

    Parameters
    ----------
    model, x
        In evaluation mode; normalised images ``(B, 3, H, W)``.
    residual
        Weight of the skip connection: ``A_hat = (1 - residual) A + residual I``.
    fusion, discard
        See :mod:`vptft.why.attention.fusion`.

    Raises
    ------
    NotApplicable
        On backbones without global self-attention, or with pooling whose query is not known.
    """
    return _rolled(Source(model, x), residual, fusion, discard)


def rollout(source: Source, *, residual: float = 0.5, fusion: Fusion = "mean", discard: float = 0.0) -> Part:
    """Rollout of one batch; settings as for :func:`attention_rollout`."""
    return _rolled(source, residual, fusion, discard).part()


def _rolled(source: Source, residual: float, fusion: Fusion, discard: float) -> Rollout:
    layout = source.model.layout
    query = pooling_query(layout, source.model.pooling)

    def fused(layer: LayerAttention) -> LayerAttention:
        rows = fuse_heads(layer.probabilities, layout, fusion)
        return layer._replace(probabilities=discarded(rows, layout, discard))

    return roll(source.each_layer(fused), layout, query, residual=residual)


def roll(
    layers: Sequence[LayerAttention], layout: TokenLayout, query: torch.Tensor, *, residual: float = 0.5
) -> Rollout:
    """Roll out head-fused attention, the last layer first; O(L T^2) an image.

    Parameters
    ----------
    layers
        From the input upwards; ``probabilities`` fused to ``(B, rows, T)``, rows all tokens, or the kept ones, or the
        cls token. Layers below the first prompts have the kept tokens' columns alone.
    layout
        Token positions.
    query
        What the head reads, ``(T,)``, summing to 1.
    residual
        Weight of the skip connection in ``A_hat = (1 - r) A + r I``.

    Notes
    -----
    Rollout ignores the values, the MLPs and the signs of what is mixed: a large mass says where content could have
    come from, not that it decided the class.
    """
    if not 0 <= residual <= 1:
        raise SettingsError(f"The residual weight must lie in [0, 1], got {residual}.")
    return descend(layers, layout, query, mixed=1 - residual, skipped=residual)


def descend(
    layers: Sequence[LayerAttention], layout: TokenLayout, query: torch.Tensor, *, mixed: float, skipped: float
) -> Rollout:
    """Follow ``v <- mixed A^T v + skipped v`` from the query down; prompts that come in before a layer are leaves.

    Rollout and relevance are both of this form. The whole row v stands for ``q^T (mixed A_L + skipped I) ... ``; no
    product of matrices is formed.
    """
    first = layers[0].probabilities
    kept = layout.kept.to(first.device)
    mass = query.to(first).expand(len(first), -1)
    shares = []
    for layer in reversed(layers):
        rows, n_tokens = layer.probabilities.shape[1:]
        read = mass if rows == layout.n_tokens else mass[:, kept] if rows == layout.n_kept else mass[:, layout.cls]
        came = torch.einsum("br,brt->bt", read, layer.probabilities)
        if n_tokens < layout.n_tokens:
            came = torch.zeros_like(mass).index_copy(1, kept, came)
        mass = mixed * came + skipped * mass
        share = torch.zeros_like(mass[:, 0])
        if layer.inserted:
            share = mass[:, layout.prompts].sum(dim=1)
            mass[:, layout.prompts] = 0
        shares.append(share)
    return Rollout(
        patches=mass[:, layout.patches].unflatten(1, layout.grid),
        cls=mass[:, layout.cls].sum(dim=1),
        registers=mass[:, layout.registers].sum(dim=1),
        prompt_share=torch.stack(shares[::-1], dim=1),
    )


def pooling_query(layout: TokenLayout, pooling: Pooling) -> torch.Tensor:
    """Which tokens of the last layer the head reads, ``(T,)`` summing to 1."""
    query = torch.zeros(layout.n_tokens, dtype=torch.float64)
    if pooling == "cls":
        query[layout.cls] = 1
    else:
        query[layout.patches] = 1
        if pooling == "patches and prompts":
            query[layout.prompts] = 1
        elif pooling == "cls and patches":  # the head reads one beside the other: half of the query each
            query[layout.cls] = layout.n_patches
    return query / query.sum()
