r"""Whether the model depends on what its map marks: deletion and insertion curves (Petsiuk et al. 2018, section 3.3).

Patches are taken away from the most to the least marked (deletion) or brought in in that order (insertion), and the
probability of the explained class is followed. In a faithful map the first falls early and the second rises early, so

.. math:: \text{faithfulness} = \mathrm{AUC}_{\text{insertion}} - \mathrm{AUC}_{\text{deletion}}

is large. An order drawn at random scores 0 on average, whatever the model: what is left in after so many deletions and
what is in after so many insertions are then the same random sets.

Two ways to take a patch away: by *tokens*, a vision transformer is not shown it (:mod:`vptft.why.attention.dropping`);
by *pixels*, it is painted over. They are not the same quantity. Painted patches are seen, and look like no photograph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torchvision.transforms.functional import gaussian_blur

from vptft.errors import SettingsError
from vptft.models.tuned import TunedModel
from vptft.why.attention.dropping import logits_along

How = Literal["tokens", "pixels"]
Baseline = Literal["mean", "blur"]
STEPS = 16
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Probability of the explained class along both curves.

    Attributes
    ----------
    share
        Share of the patches taken away or brought in, ``(steps + 1,)`` from 0 to 1.
    deletion, insertion
        ``(n, steps + 1)``: what is left after deleting, what is there after inserting, that share.
    """

    share: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_auc(self) -> np.ndarray:
        """Area under the deletion curve, ``(n,)`` in [0, 1]: lower is more faithful, at equal confidence."""
        return np.asarray(np.trapezoid(self.deletion, self.share, axis=1))

    @property
    def insertion_auc(self) -> np.ndarray:
        """Area under the insertion curve, ``(n,)`` in [0, 1]: higher is more faithful, at equal confidence."""
        return np.asarray(np.trapezoid(self.insertion, self.share, axis=1))

    @property
    def faithfulness(self) -> np.ndarray:
        """Insertion minus deletion area, ``(n,)``: 0 on average for an order drawn at random."""
        return self.insertion_auc - self.deletion_auc


@torch.inference_mode()
def curves(
    model: TunedModel,
    images: torch.Tensor,
    orders: np.ndarray,
    target: np.ndarray,
    *,
    how: How = "tokens",
    steps: int = STEPS,
    baseline: Baseline = "mean",
    batch_size: int = BATCH,
) -> Curves:
    """Follow the explained class's probability along each image's order of patches.

    Parameters
    ----------
    model
        In evaluation mode; by tokens, with a plain vision transformer.
    images
        Normalised, ``(n, 3, H, W)``.
    orders
        Patches of each image, the most marked first, ``(n, n_patches)``: see :mod:`vptft.why.attention.ranking`.
    target
        Explained class of each image, ``(n,)``.
    how
        By tokens or by pixels.
    steps
        Points of a curve after the first; no more than there are patches.
    baseline
        What a patch is painted over with: its image's mean colour, or the image blurred by a patch's width.
    batch_size
        Images at once.

    Notes
    -----
    The area depends on how confident the model is of the whole image: a model that gives every class its base rate has
    no area to gain. So differences between two models mix confidence with faithfulness, which is why whole and empty
    probabilities are among the scores. By tokens, a model with average pooling keeps its least marked patch.
    """
    n_patches = orders.shape[1]
    if not 1 <= steps <= n_patches:
        raise SettingsError(f"A curve over {n_patches} patches has 1 to {n_patches} steps, not {steps}.")
    counts = np.rint(np.linspace(0, n_patches, steps + 1)).astype(int)
    least = 1 if how == "tokens" and model.pooling != "cls" else 0
    shown = [slice(min(count, n_patches - least), None) for count in counts]  # deletion
    shown += [slice(0, max(count, least)) for count in counts[1:-1]]  # insertion; its ends are those of deletion
    forward: Callable[..., torch.Tensor] = logits_along if how == "tokens" else _painted_along(baseline)
    found = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        logits = forward(model, images[part], torch.from_numpy(np.ascontiguousarray(orders[part])), shown)
        classes = torch.from_numpy(target[part].astype(np.int64)).to(logits.device)
        of_class = logits.softmax(dim=-1).gather(2, classes[None, :, None].expand(len(shown), -1, 1))
        found.append(of_class[..., 0].T.double().cpu().numpy())
    values = np.concatenate(found)
    deletion, between = values[:, : steps + 1], values[:, steps + 1 :]
    insertion = np.concatenate([deletion[:, -1:], between, deletion[:, :1]], axis=1)
    return Curves(share=counts / n_patches, deletion=deletion, insertion=insertion)


def _painted_along(baseline: Baseline) -> Callable[..., torch.Tensor]:
    def forward(model: TunedModel, x: torch.Tensor, orders: torch.Tensor, shown: list[slice]) -> torch.Tensor:
        height, width = model.layout.grid
        behind = painted(x, baseline, x.shape[2] // height)
        place = torch.empty_like(orders).scatter_(1, orders, torch.arange(orders.shape[1]).expand_as(orders))
        out = []
        for part in shown:
            start, stop, _ = part.indices(orders.shape[1])
            seen = ((place >= start) & (place < stop)).unflatten(1, (height, width))
            seen = seen.repeat_interleave(x.shape[2] // height, dim=1).repeat_interleave(x.shape[3] // width, dim=2)
            out.append(model(torch.where(seen[:, None].to(x.device), x, behind)))
        return torch.stack(out)

    return forward


def painted(x: torch.Tensor, baseline: Baseline, patch: int) -> torch.Tensor:
    """What patches of ``(B, 3, H, W)`` are painted over with: the mean colour, or the image blurred by a patch."""
    if baseline == "mean":
        return x.mean(dim=(2, 3), keepdim=True).expand_as(x)
    if baseline == "blur":
        reach = min(2 * patch, min(x.shape[2:]) - 1)  # reflection needs less than the image
        return gaussian_blur(x, [2 * reach + 1] * 2, [float(patch)] * 2)
    raise SettingsError(f"A patch is painted over with mean or blur, not {baseline!r}.")
