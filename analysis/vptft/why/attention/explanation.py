"""Explanation: maps of one method over a set of images, in the form that scores, figures and reports take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch


class Masses(NamedTuple):
    """Where what the head reads comes from, by kind of token.

    Attributes
    ----------
    cls, registers, prompts
        ``(B,)`` each; with the patches they sum to 1.
    share
        Each layer's prompts, ``(B, L)``.
    """

    cls: torch.Tensor
    registers: torch.Tensor
    prompts: torch.Tensor
    share: torch.Tensor


class Part(NamedTuple):
    """What a method says of one batch.

    Attributes
    ----------
    values
        Of each patch, ``(B, h, w)``: masses, or numbers with a sign.
    masses
        Where values are masses.
    gap, change
        ``(B,)``, of Integrated Gradients.
    """

    values: torch.Tensor
    masses: Masses | None = None
    gap: torch.Tensor | None = None
    change: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Maps of one method over n images.

    Attributes
    ----------
    method
        Its name in :data:`vptft.why.attention.methods.METHODS`.
    target, against
        Explained classes ``(n,)``, and the classes whose logit is subtracted; None where no class is explained.
    maps
        ``(n, h, w)``, not negative, each summing to 1: the positive part of ``values`` over its sum. A map without any
        positive value is even, and ``flat`` says so.
    values
        ``(n, h, w)`` before that, with their sign: what ranks patches.
    flat
        ``(n,)`` bool.
    patch_mass, cls_mass, register_mass, prompt_mass
        ``(n,)``, together 1, where the method has masses. A model's maps say nothing of how much it looks at the image
        at all; these do.
    prompt_share
        Mass of each layer's prompts, ``(n, L)``; see the method for what it is a share of.
    gap
        Integrated Gradients' completeness gap ``(n,)`` in logits: sum of attributions minus ``change``.
    change
        Score of the image minus score of the baseline, ``(n,)`` in logits.
    n_layers
        Layers whose attention was captured, all of the model's; 0 for methods without attention.
    notes
        What a reader of the maps must know.
    """

    method: str
    target: np.ndarray | None
    against: np.ndarray | None
    maps: np.ndarray
    values: np.ndarray
    flat: np.ndarray
    patch_mass: np.ndarray | None
    cls_mass: np.ndarray | None
    register_mass: np.ndarray | None
    prompt_mass: np.ndarray | None
    prompt_share: np.ndarray | None
    gap: np.ndarray | None
    change: np.ndarray | None
    n_layers: int
    notes: tuple[str, ...]


def gathered(
    parts: Sequence[Part],
    *,
    method: str,
    target: np.ndarray | None,
    against: np.ndarray | None,
    n_layers: int,
    notes: tuple[str, ...],
) -> Explanation:
    """Put the batches together and normalise the maps."""
    values = _joined([part.values for part in parts])
    assert values is not None
    masses = [part.masses for part in parts if part.masses is not None]
    share = _joined([each.share for each in masses])
    maps, flat = normalised(values)
    cls_mass = _joined([each.cls for each in masses])
    return Explanation(
        method=method,
        target=target,
        against=against,
        maps=maps,
        values=values,
        flat=flat,
        # An image whose other masses are not known has an empty map, not one of mass 0.
        patch_mass=None if cls_mass is None else np.where(np.isfinite(cls_mass), values.sum(axis=(1, 2)), np.nan),
        cls_mass=cls_mass,
        register_mass=_joined([each.registers for each in masses]),
        prompt_mass=_joined([each.prompts for each in masses]),
        prompt_share=share,
        gap=_joined([part.gap for part in parts if part.gap is not None]),
        change=_joined([part.change for part in parts if part.change is not None]),
        n_layers=n_layers,
        notes=notes,
    )


def normalised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positive part of values ``(n, h, w)`` over its sum, even where there is none; and where not, ``(n,)`` bool."""
    positive = np.clip(values, 0, None)
    total = positive.sum(axis=(1, 2))
    flat = ~(total > 0)
    maps = np.divide(positive, total[:, None, None], out=np.zeros_like(positive), where=~flat[:, None, None])
    maps[flat] = 1 / maps[0].size
    return maps, flat


def _joined(parts: Sequence[torch.Tensor]) -> np.ndarray | None:
    return torch.cat([part.detach().double().cpu() for part in parts]).numpy() if parts else None
