"""A tuning method: gains and offsets of every normalisation, and the head."""

from typing import TYPE_CHECKING

from vptft.tuning.methods import Method
from vptft.tuning.settings import TrainSettings

if TYPE_CHECKING:
    from torch import nn


def norms(backbone: "nn.Module", settings: TrainSettings) -> set[str]:
    """Return the names of the backbone's parameters that move."""
    return {name for name, _ in backbone.named_parameters() if "norm" in name}


NORMS = Method(
    name="norms",
    about="gains and offsets of every normalisation, and the head",
    tunes=norms,
    learning_rates=(3e-4, 1e-3, 3e-3),
)
