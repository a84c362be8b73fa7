"""Two-dimensional loss slices around a tuned model, along filter-normalised random directions.

Li et al. (2018, *Visualizing the Loss Landscape of Neural Nets*, section 4), with a rule that knows transformers
(:mod:`.directions`). A slice is a picture of two directions among millions, not evidence: other seeds give other
pictures (:mod:`.surfaces` takes several), and rescaling a network's weights changes them (Dinh et al. 2017).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.models.tuned import TunedModel
from vptft.why.landscape.directions import RULE, random_plane
from vptft.why.landscape.evaluation import PlaneLosses, Sample
from vptft.why.landscape.parameters import ALL, TUNED, moved, spaces


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
    coordinates = axis(points, extent)
    moving = dict(parameters) if parameters is not None else default_parameters(model)
    plane = random_plane(moving, seed=seed)
    with moved(model, moving):
        at = PlaneLosses(
            model, moving, plane, Sample(split="test", images=images, labels=labels), batch_size=batch_size
        )
        losses = [at.row(float(a), coordinates).loss.mean(axis=1) for a in coordinates]
    rows = [
        (float(a), float(b), float(loss))
        for a, row in zip(coordinates, losses, strict=True)
        for b, loss in zip(coordinates, row, strict=True)
    ]
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


def axis(points: int, extent: float) -> np.ndarray:
    """Coordinates of one side of a grid around 0, ``(points,)``.

    Raises
    ------
    SettingsError
        An even number of points, which would leave the model itself out, or no extent.
    """
    if points < 3 or points % 2 == 0:
        raise SettingsError(f"The points a side must be odd and at least 3, so that one is the model itself: {points}.")
    if not extent > 0:
        raise SettingsError(f"The extent must be positive, got {extent}.")
    return np.linspace(-extent, extent, points)


def default_parameters(model: TunedModel) -> dict[str, torch.nn.Parameter]:
    """What the method tunes: prompts and head where there are prompts, everything otherwise."""
    found = spaces(model)
    return found.get(TUNED, found[ALL])
