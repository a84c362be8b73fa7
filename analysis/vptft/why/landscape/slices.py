"""Two-dimensional loss slices around a tuned model, along filter-normalised random directions.

Li et al. (2018, *Visualizing the Loss Landscape of Neural Nets*, section 4), with a rule that knows transformers: a
direction is scaled to the weight's norm per output row of a matrix and per token of an embedding or prompt, and is
zero for biases, norms and LayerScale. A slice is a picture of two directions among millions, not evidence: other
seeds give other pictures, and rescaling a network's weights changes them (Dinh et al. 2017).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.models.tuned import TunedModel

RULE = "per output row of matrices, per token of embeddings and prompts, zero for vectors"


@dataclass(frozen=True, kw_only=True)
class LossSlice(Result):
    """Mean cross-entropy (nats) on a square grid around one model; ``table`` as in :meth:`frame`."""

    analysis: ClassVar[str] = "landscape"
    label: str
    task: str
    method: str
    table: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: a, b (coordinates along the two directions, in units of the filter norm), loss (nats)."""
        return self.table


def measure(
    model: TunedModel,
    *,
    images: torch.Tensor,
    labels: torch.Tensor,
    label: str,
    task: str,
    method: str,
    parameters: Mapping[str, torch.nn.Parameter] | None = None,
    points: int = 9,
    extent: float = 1.0,
    seed: int = 0,
    batch_size: int = 128,
    settings: Mapping[str, Any] | None = None,
) -> LossSlice:
    """Evaluate the loss at ``points`` x ``points`` places around the model's weights.

    Parameters
    ----------
    model
        In evaluation mode; its weights, gradients and flags come back unchanged.
    images, labels
        Normalised images ``(n, 3, H, W)`` and classes ``(n,)``: a fixed sample, the same for models compared.
    label, task, method
        Who this is, for the reader.
    parameters
        The parameters that move; by default the prompts and head where there are prompts, all otherwise.
    points, extent
        Odd number of points a side, and the largest coordinate: 1 is a step as long as each filter.
    seed
        Of the two directions.
    """
    if points < 3 or points % 2 == 0:
        raise SettingsError(f"The points a side must be odd and at least 3, so that one is the model itself: {points}.")
    if not extent > 0:
        raise SettingsError(f"The extent must be positive, got {extent}.")
    moving = dict(parameters) if parameters is not None else default_parameters(model)
    generator = torch.Generator().manual_seed(seed)
    first, second = (direction(moving, generator) for _ in range(2))
    axis = np.linspace(-extent, extent, points)
    rows = []
    with torch.no_grad(), _restored(moving) as start:
        for a in axis:
            for b in axis:
                for name, parameter in moving.items():
                    parameter.copy_(start[name] + float(a) * first[name] + float(b) * second[name])
                rows.append((float(a), float(b), _loss(model, images, labels, batch_size)))
    return LossSlice(
        settings={
            **(settings or {}),
            "points": points,
            "extent": extent,
            "seed": seed,
            "n_images": len(labels),
            "normalisation": RULE,
            "parameters": sum(p.numel() for p in moving.values()),
        },
        label=label,
        task=task,
        method=method,
        table=pd.DataFrame(rows, columns=["a", "b", "loss"]),
    )


def default_parameters(model: TunedModel) -> dict[str, torch.nn.Parameter]:
    """What the method tunes: prompts and head where there are prompts, everything otherwise."""
    named = dict(model.named_parameters())
    if model.prompts is None:
        return named
    return {name: p for name, p in named.items() if not name.startswith("backbone.")}


def direction(parameters: Mapping[str, torch.nn.Parameter], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """One Gaussian direction, each filter scaled to the norm of its weights; vectors stay where they are."""
    out = {}
    for name, parameter in parameters.items():
        weight = parameter.detach()
        if weight.ndim < 2:  # a bias, a norm or LayerScale
            out[name] = torch.zeros_like(weight)
            continue
        draw = torch.randn(weight.shape, generator=generator).to(weight)
        # Embeddings and prompts are (1 or L, tokens, d): a filter is a token; else it is an output row.
        within = (2,) if weight.ndim == 3 else tuple(range(1, weight.ndim))
        out[name] = draw * (_norm(weight, within) / _norm(draw, within))
    return out


def _norm(tensor: torch.Tensor, within: tuple[int, ...]) -> torch.Tensor:
    return tensor.square().sum(dim=within, keepdim=True).sqrt()


@contextmanager
def _restored(parameters: Mapping[str, torch.nn.Parameter]) -> Iterator[dict[str, torch.Tensor]]:
    """Give copies of the weights, and put them back bit for bit at the end."""
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        yield start
    finally:
        for name, parameter in parameters.items():
            parameter.data.copy_(start[name])


def _loss(model: TunedModel, images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> float:
    parts = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    total = sum(F.cross_entropy(model(x), y, reduction="sum").item() for x, y in parts)
    return total / len(labels)
