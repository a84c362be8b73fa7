"""Loss and hit of every image at places of a line or plane, in the cheapest form that is exact."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vptft.errors import SettingsError
from vptft.models.tuned import TunedModel
from vptft.why.landscape.directions import Plane, Point
from vptft.why.landscape.folded import can_fold, entering, folded_logits
from vptft.why.landscape.parameters import Parameters

Logits = Callable[[torch.Tensor], torch.Tensor]
FOLDED = 64
"""Images times points in one forward pass of folded points."""
_PROMPTS, _WEIGHT, _BIAS = "prompts.tokens", "head.weight", "head.bias"


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Images that a landscape is of, the same for all models compared.

    Attributes
    ----------
    split
        ``train`` or ``test``.
    images, labels
        Normalised ``(n, 3, H, W)`` and classes ``(n,)`` int64.
    groups
        Dependence groups ``(n,)``; None where every image is its own.
    """

    split: str
    images: torch.Tensor
    labels: torch.Tensor
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.labels), *([] if self.groups is None else [len(self.groups)])}
        if len(counts) > 1 or 0 in counts:
            raise SettingsError(f"Images, labels and groups must be equally many and not none: {sorted(counts)}.")

    @property
    def group_ids(self) -> np.ndarray:
        """Groups as numbers from 0, ``(n,)`` int64."""
        if self.groups is None:
            return np.arange(len(self.labels))
        return np.unique(self.groups, return_inverse=True)[1]

    def batches(self, count: int) -> np.ndarray:
        """Batch of each image, ``(n,)`` int64 in 0 ... count - 1; whole groups go round, so batches are independent."""
        return self.group_ids % count


class Losses(NamedTuple):
    """Cross-entropy (nats) ``(points, n)`` float64, and whether each image is classified rightly, ``(points, n)``."""

    loss: np.ndarray
    correct: np.ndarray


@torch.no_grad()
def losses_of(logits: Logits, sample: Sample, *, batch_size: int = 128) -> Losses:
    """Losses of one function, ``(1, n)``."""
    parts = [
        _measured(logits(x), y)
        for x, y in zip(sample.images.split(batch_size), sample.labels.split(batch_size), strict=True)
    ]
    return Losses(*(np.concatenate(part)[None] for part in zip(*parts, strict=True)))


class PlaneLosses:
    """Losses at places ``origin + a first + b second`` of a plane.

    It moves the parameters; whoever makes one holds :func:`.parameters.moved` around it.

    Parameters
    ----------
    model
        In evaluation mode.
    parameters
        What moves: the names of the plane's points.
    plane, sample
        Where, and of which images.
    batch_size
        Images a forward pass.
    fold
        Fold points into the batch where that is exact: deep prompts and a linear head, and nothing else moves.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Parameters,
        plane: Plane,
        sample: Sample,
        *,
        batch_size: int = 128,
        fold: bool = True,
    ) -> None:
        self.model, self.parameters, self.plane, self.sample = model, parameters, plane, sample
        self.batch_size = batch_size
        self.folds = fold and set(parameters) <= {_PROMPTS, _WEIGHT, _BIAS} and can_fold(model)
        self._tokens: torch.Tensor | None = None

    @torch.no_grad()
    def row(self, a: float, bs: Sequence[float] | np.ndarray) -> Losses:
        """Losses at one ``a`` and every ``b``, ``(len(bs), n)``."""
        base = {name: _moved(self.plane.origin[name], self.plane.first[name], a) for name in self.parameters}
        if self.folds:
            return self._folded(base, bs)
        rows = []
        for b in bs:
            for name, parameter in self.parameters.items():
                if self.plane.second is None:
                    parameter.copy_(base[name])
                else:
                    torch.add(base[name], self.plane.second[name], alpha=float(b), out=parameter)
            rows.append(losses_of(self.model, self.sample, batch_size=self.batch_size))
        return Losses(*(np.concatenate(part) for part in zip(*rows, strict=True)))

    def _folded(self, base: Point, bs: Sequence[float] | np.ndarray) -> Losses:
        model = self.model
        assert isinstance(model, TunedModel)
        if self._tokens is None:
            batches = self.sample.images.split(self.batch_size)
            self._tokens = torch.cat([entering(model, images) for images in batches])
        size = min(len(self._tokens), FOLDED)
        values = {name: p.detach() for name, p in model.named_parameters() if name in (_PROMPTS, _WEIGHT, _BIAS)}
        if _BIAS not in values:
            values[_BIAS] = values[_WEIGHT].new_zeros(len(values[_WEIGHT]))
        points = list(np.array_split(np.asarray(bs, dtype=float), -(-len(bs) // max(1, FOLDED // size))))
        rows = []
        for some in points:
            stacked = {name: self._stack(name, value, base, some) for name, value in values.items()}
            parts = [
                _measured(
                    folded_logits(
                        model, tokens, prompts=stacked[_PROMPTS], weight=stacked[_WEIGHT], bias=stacked[_BIAS]
                    ),
                    labels.expand(len(some), -1),
                )
                for tokens, labels in zip(self._tokens.split(size), self.sample.labels.split(size), strict=True)
            ]
            rows.append([np.concatenate(part, axis=1) for part in zip(*parts, strict=True)])
        return Losses(*(np.concatenate(part) for part in zip(*rows, strict=True)))

    def _stack(self, name: str, value: torch.Tensor, base: Point, bs: np.ndarray) -> torch.Tensor:
        """Values of one parameter at every b, ``(m, ...)``; what does not move is the model's."""
        if name not in self.parameters:
            return value.expand(len(bs), *value.shape)
        second = self.plane.second
        if second is None:
            return base[name].expand(len(bs), *value.shape)
        return torch.stack([_moved(base[name], second[name], float(b)) for b in bs])


def _moved(start: torch.Tensor, direction: torch.Tensor, step: float) -> torch.Tensor:
    return torch.add(start, direction, alpha=float(step))


def _measured(logits: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy and hit of logits ``(..., n_classes)`` for labels ``(...)``."""
    loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").view(labels.shape)
    return loss.double().cpu().numpy(), (logits.argmax(dim=-1) == labels).cpu().numpy()
