"""What a vision transformer answers when it is shown some of its patches only.

A patch that is left out is no token at all: nothing stands in for it, so no image is made that no camera would take,
and a shorter sequence costs less. The patches that stay keep their own position embedding. (Naseer et al. 2021, section
3.1, drop tokens to probe robustness; here a map says which.)
"""

from collections.abc import Iterable

import torch

from vptft.errors import NotApplicable
from vptft.models.blocks import block_rows, is_plain
from vptft.models.prompts import Prompts
from vptft.models.tuned import TunedModel


def logits_of_tokens(model: TunedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Logits ``(B, n_classes)`` from embedded tokens ``(B, n_prefix + k, d)`` of any number k of patches.

    Prompts come in as the model was trained with them. With every patch this is the model's own forward up to rounding.

    Raises
    ------
    NotApplicable
        When the head reads patches and there are none, or several layers.
    """
    vit, prompts, pooling = model.vit, model.prompts, model.pooling
    n_prefix = model.layout.n_prefix
    if pooling != "cls" and tokens.shape[1] == n_prefix:
        raise NotApplicable("The head averages over patches: without any it has no answer.")
    last = len(vit.blocks) - 1
    carried = 0
    for layer, block in enumerate(vit.blocks):
        prefix = None
        if isinstance(prompts, Prompts) and layer in prompts.spec.layers:
            tokens, carried = _without(tokens, n_prefix, carried), 0
            new = prompts.at(layer, len(tokens))
            if len(new) == 1 and model.replaced_after(layer) and is_plain(block):
                prefix = new
            else:
                new = new.expand(len(tokens), -1, -1)
                tokens = torch.cat([tokens[:, :n_prefix], new, tokens[:, n_prefix:]], dim=1)
                carried = new.shape[1]
        cls_only = layer == last and pooling == "cls" and is_plain(block)
        if prefix is not None or cls_only:
            tokens = block_rows(block, tokens, prefix=prefix, rows=slice(0, 1) if cls_only else slice(None))
        else:
            tokens = block(tokens)
    tokens = vit.norm(tokens)
    if pooling == "patches and prompts":
        return model.head(vit.head_drop(vit.fc_norm(tokens[:, n_prefix:].mean(dim=1))))
    if pooling == "cls":
        return model.head(vit.forward_head(tokens, pre_logits=True))
    kept = _without(tokens, n_prefix, carried)
    if pooling == "cls and patches":
        return model.head(torch.cat([kept[:, 0], kept[:, n_prefix:].mean(dim=1)], dim=1))
    return model.head(vit.forward_head(kept, pre_logits=True))


def logits_along(model: TunedModel, x: torch.Tensor, orders: torch.Tensor, keep: Iterable[slice]) -> torch.Tensor:
    """Logits for each slice of each image's own order of patches, ``(n_slices, B, n_classes)``.

    Parameters
    ----------
    model
        In evaluation mode.
    x
        Normalised images ``(B, 3, H, W)``.
    orders
        Patches of each image, ``(B, n_patches)`` int64.
    keep
        Which stretch of its order an image is shown.
    """
    tokens = model.entering(x, 0)
    n_prefix = model.layout.n_prefix
    prefix, patches = tokens[:, :n_prefix], tokens[:, n_prefix:]
    in_order = patches.gather(1, orders.to(patches.device)[..., None].expand_as(patches))
    return torch.stack([logits_of_tokens(model, torch.cat([prefix, in_order[:, part]], dim=1)) for part in keep])


def _without(tokens: torch.Tensor, n_prefix: int, carried: int) -> torch.Tensor:
    """Tokens without the prompts that were carried along."""
    if not carried:
        return tokens
    return torch.cat([tokens[:, :n_prefix], tokens[:, n_prefix + carried :]], dim=1)
