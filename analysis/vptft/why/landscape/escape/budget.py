"""The budget: the same optimiser, steps and batches for every extension, from the same point."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from vptft.errors import SettingsError, TrainingError
from vptft.tuning.optimisation import schedule
from vptft.why.landscape.escape.extensions import Extended
from vptft.why.landscape.evaluation import Sample
from vptft.why.landscape.parameters import spaces


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every extension may spend, however good it is.

    Attributes
    ----------
    steps, batch_size
        AdamW steps without decay, warm-up then cosine, and images in each.
    rates
        Learning rates of the extension, tried one after the other.
    network_rates
        Learning rate of the network where it moves too, one for each of ``rates``: every extension, and the control
        that has none, is tried as often as the others.
    """

    steps: int = 19
    batch_size: int = 16
    rates: tuple[float, ...] = (1e-3, 1e-2)
    network_rates: tuple[float, ...] = (3e-6, 1e-5)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise SettingsError(f"A budget has at least one step of one image: {self.steps}, {self.batch_size}.")
        if len(self.rates) != len(self.network_rates) or not self.rates:
            raise SettingsError(f"Each rate needs a network rate: {self.rates} and {self.network_rates}.")
        if min(*self.rates, *self.network_rates) <= 0:
            raise SettingsError(f"Learning rates are positive: {self.rates}, {self.network_rates}.")


DEFAULT = Budget()

MOVES = {"alone": (), "with head": ("head",), "joint": ("backbone", "head")}
"""What moves besides the extension, by variant. Prompt tuning is ``with head``, from the pretrained point."""


def moving(extended: Extended, variant: str) -> list[nn.Parameter]:
    """Give the network's own parameters that move in a variant."""
    added = set(map(id, extended.added))
    found = spaces(extended.model)
    return [p for name in MOVES[variant] for p in found[name].values() if id(p) not in added]


def spend(extended: Extended, sample: Sample, budget: Budget, *, variant: str, trial: int, seed: int) -> None:
    """Train a point with one of the budget's rates, in place and in evaluation mode.

    Batches go through permutations of the sample that ``seed`` alone fixes: every extension sees the same images in
    the same order.

    Raises
    ------
    TrainingError
        The loss is no longer a number.
    """
    own = moving(extended, variant)
    extended.model.requires_grad_(False)
    for parameter in (*extended.added, *own):
        parameter.requires_grad_(True)
    groups = [(list(extended.added), budget.rates[trial]), (own, budget.network_rates[trial])]
    optimiser = torch.optim.AdamW(
        [{"params": params, "peak": peak} for params, peak in groups if params], lr=0.0, weight_decay=0.0
    )
    for step, batch in enumerate(batches(len(sample.labels), budget, seed)):
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * schedule(step, budget.steps, warmup_fraction=0.1)
        loss = F.cross_entropy(extended.model(sample.images[batch]), sample.labels[batch])
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss.item()} in step {step + 1}, at rate {budget.rates[trial]:g}.",
                "Lower the rates of the budget.",
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        extended.project()


def batches(count: int, budget: Budget, seed: int) -> list[torch.Tensor]:
    """Indices of each step's batch: one permutation of the images after the other, cut into whole batches."""
    generator = torch.Generator().manual_seed(seed)
    needed = budget.steps * budget.batch_size
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(-(-needed // count))])
    return list(order[:needed].split(budget.batch_size))


def gradient_norm(
    extended: Extended, sample: Sample, parameters: Sequence[nn.Parameter], *, batch_size: int = 64
) -> float:
    """Length of the gradient of the mean loss in these parameters, nats a unit.

    Of a gate at zero only what leads inwards counts: where the loss grows with it, it is at rest.

    Notes
    -----
    Lengths in spaces of different units do not compare: a rescaled parameter has another gradient and is the same
    function. They say whether the point is at rest in a space, not which space is steeper. That of gates is large where
    a prompt as drawn would outweigh the tokens: in two heads of DINOv2's first layers by exp(18), which a gate of 1e-6
    uses up.
    """
    if not parameters:
        return 0.0
    extended.model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for x, y in zip(sample.images.split(batch_size), sample.labels.split(batch_size), strict=True):
        loss = F.cross_entropy(extended.model(x), y, reduction="sum") / len(sample.labels)
        for total, part in zip(sums, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            if part is not None:
                total += part
    closed = {id(gate) for gate in extended.gates}
    inward = [
        torch.where((p.detach() <= 0) & (g > 0), 0.0, g) if id(p) in closed else g
        for p, g in zip(parameters, sums, strict=True)
    ]
    return float(torch.cat([g.flatten() for g in inward]).double().norm())
