"""What the networks of this folder share: reading a weights file safely, and the classifier on top of features."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from vptft.errors import WeightsError

ROWS = 4096
"""Features classified at once: 16 MB of logits for 1008 classes, whatever the number of images."""


def read_state(path: Path, what: str) -> Any:
    """Read a file of tensors, which is never unpickled beyond tensors; ``what`` names the weights in an error."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A missing, damaged or hostile file: torch has another error for each.
        raise WeightsError(f"{path} could not be read as {what}: {error}") from error
    return state


def classifier(weight: torch.Tensor, bias: torch.Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """Give the function from features ``(n, d)`` to the class ``argmax(features @ weight.T + bias)``, ``(n,)`` int64.

    Parameters
    ----------
    weight, bias
        ``(classes, d)`` and ``(classes,)`` of the network's last linear layer.
    """
    transposed, offset = weight.detach().float().numpy().T, bias.detach().float().numpy()

    def top_1(features: np.ndarray) -> np.ndarray:
        classes = np.empty(len(features), dtype=np.int64)
        for start in range(0, len(features), ROWS):
            rows = slice(start, start + ROWS)
            classes[rows] = np.argmax(features[rows] @ transposed + offset, axis=1)
        return classes

    return top_1


def soft_classifier(weight: torch.Tensor, bias: torch.Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """Give the function from features ``(n, d)`` to class probabilities ``(n, classes)`` float64; see `classifier`."""
    transposed, offset = weight.detach().double().numpy().T, bias.detach().double().numpy()

    def probabilities(features: np.ndarray) -> np.ndarray:
        return np.asarray(softmax(features @ transposed + offset, axis=1))

    return probabilities
