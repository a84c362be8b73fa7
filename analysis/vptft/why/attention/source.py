"""What the methods explain one batch from: its attention, captured once for all of them, and the explained score."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from vptft.errors import NotApplicable, SettingsError
from vptft.models.tuned import LayerAttention, TunedModel

T = TypeVar("T")


@contextmanager
def evaluating(model: TunedModel) -> Iterator[None]:
    """Every module in evaluation mode and gradients possible; afterwards each mode is as it was found."""
    found = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, training in found:
            module.training = training


@dataclass(frozen=True)
class Score:
    """The number that is explained: the logit of a class, or its lead over another class.

    Attributes
    ----------
    target, against
        Classes, ``(B,)`` int64; without ``against`` the logit alone.
    """

    target: torch.Tensor
    against: torch.Tensor | None = None

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Scores ``(B,)`` of logits ``(B, n_classes)``."""
        score = logits.gather(1, self.target[:, None])[:, 0]
        return score if self.against is None else score - logits.gather(1, self.against[:, None])[:, 0]


class Source:
    """One batch of images and the model that sees them.

    Parameters
    ----------
    model
        A plain vision transformer, with or without prompts, in evaluation mode.
    x
        Normalised images ``(B, 3, H, W)``.
    score
        What is explained; None for methods that explain no class.
    keep
        Keep every layer's attention for the next method: a pass over the model saved for ``heads T^2`` numbers a layer.
    """

    def __init__(self, model: TunedModel, x: torch.Tensor, score: Score | None = None, *, keep: bool = False) -> None:
        self.model = model
        self.x = x
        self.score = score
        self.keep = keep
        self._layers: list[LayerAttention] | None = None
        self._gradients: tuple[torch.Tensor, ...] | None = None

    def each_layer(self, read: Callable[[LayerAttention], T]) -> list[T]:
        """What ``read`` makes of every layer's attention, from the input upwards; of the last, the rows the head reads.

        Unless it is kept, one layer's attention is in memory at a time.
        """
        with torch.no_grad():
            layers: Iterable[LayerAttention] | None = self._layers
            if layers is None:
                layers = self.model.attention(self.x, read_rows_only=True)
                if self.keep:
                    layers = self._layers = list(layers)
            found = [(layer.layer, read(layer)) for layer in layers]
        require_all_layers([index for index, _ in found], self.model)
        return [value for _, value in found]

    def gradients(self) -> tuple[list[LayerAttention], tuple[torch.Tensor, ...]]:
        """Attention of every layer, and the score's gradient with respect to it, ``(B, heads, rows, T)`` each.

        With respect to the probabilities, after the softmax: a little more attention from here to there, all others
        left as they are.
        """
        if self._gradients is None:
            if self.score is None:
                raise SettingsError("A gradient is that of a class's score, and no class is given.")
            logits, layers = self.model.attended(self.x)
            require_all_layers([layer.layer for layer in layers], self.model)
            probabilities = [layer.probabilities for layer in layers]
            self._gradients = torch.autograd.grad(self.score(logits).sum(), probabilities)
            self._layers = [
                layer._replace(probabilities=value.detach()) for layer, value in zip(layers, probabilities, strict=True)
            ]
        assert self._layers is not None
        return self._layers, self._gradients


def require_all_layers(found: list[int], model: TunedModel) -> None:
    """Make sure that every layer's attention was captured, in order: a map of some layers looks like one of all."""
    depth = len(model.vit.blocks)
    if found != list(range(depth)):
        raise NotApplicable(f"The attention of all {depth} layers was to be captured, and that of layers {found} was.")
