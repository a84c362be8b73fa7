"""Accuracy of a checkpoint on a task's images, under one normalisation or each that programs use."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

from vptft.checkpoints.found import NORMALISATIONS, Normalisation
from vptft.checkpoints.native import Predictions
from vptft.data.images import ImageSet
from vptft.data.transforms import normalise
from vptft.errors import CheckpointError
from vptft.models.tuned import TunedModel

BATCH = 64


def evaluate(
    model: TunedModel,
    images: ImageSet,
    *,
    image_size: int,
    normalisation: Normalisation,
    device: str = "cpu",
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Logits of labelled images.

    Parameters
    ----------
    model, image_size, normalisation
        The network and its input.
    images
        With labels; the classes' order must be that of training.
    device
        A torch device.
    on_batch
        Called with (images done, images in all).

    Raises
    ------
    CheckpointError
        No labels, or a label beyond the head's classes.
    """
    if images.labels is None:
        raise CheckpointError(f"{images.name} has no labels: accuracy needs them.")
    model = model.to(device).eval()
    pixels = images.pixels(image_size)
    parts = []
    with torch.inference_mode():
        for batch in pixels.split(BATCH):
            parts.append(model(normalise(batch.to(device), normalisation.mean, normalisation.std)).cpu())
            on_batch(sum(map(len, parts)), len(pixels))
    logits = torch.cat(parts).numpy()
    labels = np.asarray(images.labels, dtype=np.int64)
    if labels.max() >= logits.shape[1]:
        raise CheckpointError(
            f"{images.name} has {labels.max() + 1} classes, the head {logits.shape[1]}: another task's."
        )
    return Predictions(ids=np.array(images.ids), groups=np.array(images.groups), labels=labels, logits=logits)


def accuracy_row(name: str, predictions: Predictions) -> dict[str, Any]:
    """Accuracy with its 95% Wilson interval; images of one group count as if independent, which narrows it."""
    correct, n = int(predictions.correct.sum()), len(predictions.labels)
    interval = binomtest(correct, n).proportion_ci(method="wilson")
    return {
        "normalisation": name, "accuracy": correct / n, "low": interval.low, "high": interval.high,
        "n": n,
        "groups": len(np.unique(predictions.groups)),
    }  # fmt: skip


def candidates(known: Normalisation | None) -> Mapping[str, Normalisation]:
    """Normalisations to try: the known one alone, or every one that programs use."""
    return NORMALISATIONS if known is None else {"as recorded": known}
