"""Heads deeper than one linear layer, as other programs train them."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import nn

from vptft.errors import WeightsError


class MlpHead(nn.Module):
    """Hidden layers before the classifier: linear, ReLU, BatchNorm, dropout each (KMnP/vpt's ``head.projection``).

    Parameters
    ----------
    hidden
        The hidden layers, in order.
    last
        The classifier.
    """

    def __init__(self, hidden: nn.Sequential, last: nn.Linear) -> None:
        super().__init__()
        self.hidden = hidden
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, n_classes)`` of features ``(B, d)``."""
        return self.last(self.hidden(x))


def make_head(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Build a head from its tensors: ``weight``, ``bias``, and ``hidden.I.*`` for the hidden layers of an MLP.

    Hidden layer k is the linear layer ``hidden.4k``; the BatchNorm, where there is one, is ``hidden.4k+2``.

    Raises
    ------
    WeightsError
        The tensors do not go together.
    """
    n_classes, width = state["weight"].shape
    last = nn.Linear(width, n_classes)
    hidden = {name.removeprefix("hidden."): value for name, value in state.items() if name.startswith("hidden.")}
    head: nn.Module = last if not hidden else MlpHead(_hidden(hidden), last)
    named = {"weight": state["weight"], "bias": state["bias"]}
    if hidden:
        named = {f"last.{name}": value for name, value in named.items()}
        named |= {f"hidden.{name}": value for name, value in hidden.items()}
    try:
        head.load_state_dict(named)
    except RuntimeError as error:
        raise WeightsError(f"The head's tensors do not go together: {error}") from error
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    for before, after in pairwise(layers):
        if before.out_features != after.in_features:
            raise WeightsError(
                f"The head's layers do not go together: one gives {before.out_features} features, the next takes "
                f"{after.in_features}."
            )
    return head


def _hidden(state: Mapping[str, torch.Tensor]) -> nn.Sequential:
    numbers = {name.partition(".")[0] for name in state}
    if not all(number.isdecimal() and len(number) < 4 for number in numbers):
        raise WeightsError(f"The head's hidden layers are named {sorted(numbers)[:6]}; expected numbers.")
    layers: list[nn.Module] = []
    for first in range(0, 1 + max(map(int, numbers)), 4):
        weight = state.get(f"{first}.weight")
        if weight is None or weight.ndim != 2 or 0 in weight.shape:
            raise WeightsError(f"The head's hidden layer {first} has no weight of two dimensions.")
        layers += [nn.Linear(weight.shape[1], weight.shape[0], bias=f"{first}.bias" in state), nn.ReLU()]
        normed = f"{first + 2}.running_mean" in state
        layers += [nn.BatchNorm1d(weight.shape[0]) if normed else nn.Identity(), nn.Dropout(0.1)]
    return nn.Sequential(*layers)
