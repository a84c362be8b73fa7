"""Features of every layer of a vision transformer, one vector an image and kind of token."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch

from vptft.models.layout import TokenLayout
from vptft.models.tuned import TunedModel

Kind = Literal["cls", "patches", "prompts"]
KINDS: tuple[Kind, ...] = ("cls", "patches", "prompts")
BATCH = 64


class Where(NamedTuple):
    """A layer, counted from 0, and a kind of token."""

    layer: int
    kind: Kind


LayerFeatures = dict[Where, np.ndarray]
"""``(n, d)`` float32 each: the cls token, or the mean of the patches or of the prompts."""


def layout_of(model: TunedModel, tokens: torch.Tensor) -> TokenLayout:
    """Layout of tokens ``(B, T, d)`` that :meth:`TunedModel.tokens` gave: with prompts, or without their outputs."""
    layout = model.layout
    return layout if tokens.shape[1] == layout.n_tokens else layout.without_prompts()


def kinds_in(layout: TokenLayout) -> dict[Kind, slice]:
    """Positions of each kind of token that is there."""
    found: dict[Kind, slice] = {"cls": layout.cls, "patches": layout.patches, "prompts": layout.prompts}
    return {kind: at for kind, at in found.items() if at.stop > at.start}


def read_kind(model: TunedModel) -> Kind:
    """Kind of token that the head reads: the cls token, or patches where they are averaged."""
    return "cls" if model.layout.n_cls and model.vit.global_pool == "token" else "patches"


@torch.inference_mode()
def layer_features(
    model: TunedModel,
    images: torch.Tensor,
    *,
    layers: tuple[int, ...] | None = None,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> LayerFeatures:
    """Give the features of each layer.

    Parameters
    ----------
    model
        A plain vision transformer with or without prompts, in evaluation mode.
    images
        Normalised, ``(n, 3, H, W)``.
    layers
        Which, counted from 0; None for all.
    on_batch
        Called with images done and in all.

    Raises
    ------
    NotApplicable
        The backbone is no plain vision transformer: no one set of tokens goes through its layers.

    Notes
    -----
    Tokens are those that leave a block, before any further norm. A mean over patches forgets where things are: two
    networks that differ in that alone look alike. Prompts have features in the layers that carry them along; the
    output of a deep prompt that the next layer replaces is used by nothing and is not computed.
    """
    parts: dict[Where, list[np.ndarray]] = {}
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        for layer, tokens in model.tokens(batch, layers).items():
            for kind, at in kinds_in(layout_of(model, tokens)).items():
                parts.setdefault(Where(layer, kind), []).append(tokens[:, at].mean(dim=1).float().cpu().numpy())
        on_batch(start + len(batch), len(images))
    return {where: np.concatenate(each) for where, each in parts.items()}
