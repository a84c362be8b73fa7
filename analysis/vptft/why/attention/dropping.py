"""What a vision transformer answers when it is shown some of its patches only.

A patch that is left out is no token at all: nothing stands in for it, so no image is made that no camera would take,
and a shorter sequence costs less. The patches that stay keep their own position embedding. (Naseer et al. 2021, section
3.1, drop tokens to probe robustness; here a map says which.)
"""

from collections.abc import Iterable

import torch

from vptft.models.tuned import TunedModel


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

    Raises
    ------
    NotApplicable
        The head reads patches and a stretch holds none, or it reads several layers.
    """
    tokens = model.entering(x, 0)
    n_prefix = model.layout.n_prefix
    prefix, patches = tokens[:, :n_prefix], tokens[:, n_prefix:]
    in_order = patches.gather(1, orders.to(patches.device)[..., None].expand_as(patches))
    shown = [in_order[:, part] for part in keep]
    return torch.stack(
        [model.logits_from(torch.cat([prefix, part], dim=1), 0, n_patches=part.shape[1]) for part in shown]
    )
