"""Where the escape test starts: a finetuned network, or the pretrained one under a head that has converged."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from vptft.errors import SettingsError
from vptft.models.tuned import TunedModel
from vptft.why.landscape.evaluation import Sample

FINETUNED, PRETRAINED = "finetuned", "pretrained"
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Penalties of a converged head that are tried: a few hundred images in as many channels can be told apart without an
error, and without a penalty such a head has no optimum to converge to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StartingPoint:
    """A network and the images that an escape from it is judged by.

    Attributes
    ----------
    task, pretraining, seed
        Whose it is; seeds pair it with other points of the task.
    start
        ``finetuned`` or ``pretrained``.
    model
        Without prompts; it is never changed.
    train
        What the budget is spent on.
    held_out
        What the learning rate is chosen by.
    fresh
        New images of the task, seen by no training and no choice; the same for all seeds of a task.
    """

    task: str
    pretraining: str
    start: str
    seed: int
    model: TunedModel
    train: Sample
    held_out: Sample
    fresh: Sample

    def __post_init__(self) -> None:
        if self.start not in (FINETUNED, PRETRAINED):
            raise SettingsError(f"A start is {FINETUNED} or {PRETRAINED}, not {self.start!r}.")


def with_converged_head(model: TunedModel, train: Sample, held_out: Sample) -> TunedModel:
    """Copy a network and put the optimal linear head on its features as they are.

    The mean cross-entropy plus ``ridge / 2`` times the squared weights is minimised by L-BFGS in float64; of
    :data:`RIDGES`, the one with the least loss on ``held_out`` is taken. At that head the gradient of the loss without
    the penalty is ``-ridge`` times the weights: small, not zero, and reported with the point's other gradients.
    """
    copied = copy.deepcopy(model).eval()
    x, other = _features(copied, train), _features(copied, held_out)
    heads = [_fitted(x, train.labels, copied.head, ridge) for ridge in RIDGES]
    losses = [F.cross_entropy(head(other), held_out.labels).item() for head in heads]
    best = heads[losses.index(min(losses))]
    copied.head.load_state_dict(best.state_dict())
    return copied


def _features(model: TunedModel, sample: Sample, batch_size: int = 128) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model.features(part) for part in sample.images.split(batch_size)]).double()


def _fitted(features: torch.Tensor, labels: torch.Tensor, head: nn.Module, ridge: float) -> nn.Linear:
    if not isinstance(head, nn.Linear):
        raise SettingsError(f"A converged head is linear; this one is {type(head).__name__}.")
    fitted = nn.Linear(head.in_features, head.out_features, dtype=torch.float64, device=features.device)
    nn.init.zeros_(fitted.weight)
    nn.init.zeros_(fitted.bias)
    optimiser = torch.optim.LBFGS(
        fitted.parameters(), max_iter=500, tolerance_grad=1e-6, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(fitted(features), labels) + ridge / 2 * fitted.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return fitted
