"""A model's loss as a function of some of its parameters, without ever touching the model.

Everything of curvature is computed at *copies* of the weights that are put in the model's place for one forward pass
(:func:`torch.func.functional_call`). So the caller's weights, buffers, ``.grad``, ``requires_grad`` and modes have
nothing to be restored from, also after an interrupt.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from vptft.errors import NotApplicable, SettingsError, UnknownNameError
from vptft.why.landscape.parameters import Parameters, Vector

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Mean loss of logits ``(n, n_classes)`` and labels ``(n,)``."""


class Batch(NamedTuple):
    """Normalised images ``(n, 3, H, W)`` and classes ``(n,)`` int64."""

    images: torch.Tensor
    labels: torch.Tensor


class LossFunction:
    """The mean loss of a batch, as a function of the parameters of one space, at the weights as they are now.

    Training the model later does not move it.

    Parameters
    ----------
    model
        Any module that maps a batch to logits. It runs in the mode it is in.
    parameters
        The space: the model's own parameters by their names. All others are constants.
    loss
        Mean over the batch; cross-entropy (nats) by default.

    Raises
    ------
    SettingsError
        The space is empty or its parameters differ in precision or place.
    UnknownNameError
        A name that is no parameter of the model.
    """

    def __init__(self, model: nn.Module, parameters: Parameters, *, loss: Loss = F.cross_entropy) -> None:
        own = dict(model.named_parameters())
        if not parameters:
            raise SettingsError("A space without parameters has no curvature.")
        for name in parameters:
            if name not in own:
                raise UnknownNameError("parameter of this model", name, own)
        kinds = {(parameter.dtype, parameter.device) for parameter in parameters.values()}
        if len(kinds) > 1:
            raise SettingsError(f"The parameters of a space must be of one precision and in one place: {kinds}.")
        ((self.dtype, self.device),) = kinds
        self._model, self._loss = model, loss
        held = {name: parameter.detach().clone() for name, parameter in own.items()}
        self._start = {name: held[name] for name in parameters}
        self._fixed = {name: value for name, value in held.items() if name not in parameters}
        self.size = sum(parameter.numel() for parameter in parameters.values())

    def leaves(self, step: torch.Tensor | None = None) -> Vector:
        """Copies of the weights, moved by ``step`` ``(n,)``, that gradients can be taken with respect to."""
        steps = {} if step is None else self.point(step)
        return {
            name: (weight.clone() if step is None else weight + steps[name]).requires_grad_()
            for name, weight in self._start.items()
        }

    def logits(self, leaves: Vector, batch: Batch) -> torch.Tensor:
        """Logits ``(n, n_classes)``; buffers that the forward pass moves are copies."""
        buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        return functional_call(self._model, {**self._fixed, **buffers, **leaves}, (batch.images,))

    def loss_of(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean loss, a scalar."""
        return self._loss(logits, batch.labels)

    def at(self, batch: Batch, step: torch.Tensor | None = None) -> float:
        """Mean loss at the weights, or a step away."""
        with torch.no_grad():
            leaves = {name: leaf.detach() for name, leaf in self.leaves(step).items()}
            return float(self.loss_of(self.logits(leaves, batch), batch))

    def gradient(self, batch: Batch, step: torch.Tensor | None = None) -> tuple[float, torch.Tensor]:
        """Mean loss, and its gradient ``(n,)``: 0 for parameters that it does not depend on."""
        with torch.enable_grad():
            leaves = self.leaves(step)
            loss = self.loss_of(self.logits(leaves, batch), batch)
            found = differentiated([loss], list(leaves.values()), [torch.ones_like(loss)])
        return float(loss.detach()), self.flat(found)

    def point(self, vector: torch.Tensor) -> Vector:
        """The tensors of a flat vector ``(n,)``, by name: a direction that slices can be drawn along."""
        parts = vector.split([weight.numel() for weight in self._start.values()])
        return {name: part.view_as(weight) for (name, weight), part in zip(self._start.items(), parts, strict=True)}

    def flat(self, tensors: Vector | list[torch.Tensor]) -> torch.Tensor:
        """One vector ``(n,)`` of all tensors, in the order of the space."""
        values = tensors if isinstance(tensors, list) else [tensors[name] for name in self._start]
        return torch.cat([value.detach().reshape(-1).to(self.dtype) for value in values])

    def weights(self) -> torch.Tensor:
        """The weights as one vector ``(n,)``."""
        return self.flat(self._start)

    def require_deterministic(self, batch: Batch) -> None:
        """Evaluate loss and gradient twice, and refuse a function that does not repeat itself.

        A product with the Hessian of a function that changes between evaluations is of no one matrix: Lanczos and all
        that follows would give numbers without meaning. Differences up to the root of the machine's precision pass,
        as accelerators add in changing order.

        Raises
        ------
        NotApplicable
            With what differed, and by how much.
        """
        allowed = torch.finfo(self.dtype).eps ** 0.5
        (loss, gradient), (again, gradient_again) = self.gradient(batch), self.gradient(batch)
        apart = float((gradient - gradient_again).norm()) / max(float(gradient.norm()), torch.finfo(self.dtype).tiny)
        moved = abs(loss - again) / max(abs(loss), 1e-8)
        if max(moved, apart) <= allowed:
            return
        mode = " It is in training mode." if self._model.training else ""
        raise NotApplicable(
            "Curvature needs a deterministic model: two evaluations of one batch differ by "
            f"{moved:.1e} of the loss and {apart:.1e} of its gradient.{mode}",
            "Turn dropout and random augmentation off: model.eval().",
        )


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Run attention by its plain formula inside the block, with gradients on; flags come back as they were.

    Fused attention has no second derivative: torch says that one "is not implemented".
    """
    with torch.enable_grad(), sdpa_kernel([SDPBackend.MATH]):
        yield


def differentiated(
    outputs: list[torch.Tensor], inputs: list[torch.Tensor], along: list[torch.Tensor], *, create_graph: bool = False
) -> list[torch.Tensor]:
    """Vector-Jacobian product, 0 where nothing depends on an input; the graph stays for the next one.

    Never ``.backward()``, which would leave ``.grad`` behind and, with ``create_graph``, a cycle that is not freed.
    """
    pairs = [(output, way) for output, way in zip(outputs, along, strict=True) if output.requires_grad]
    if not pairs:
        return [torch.zeros_like(each) for each in inputs]
    found = torch.autograd.grad(
        [output for output, _ in pairs], inputs, [way for _, way in pairs],
        retain_graph=True, create_graph=create_graph, allow_unused=True,
    )  # fmt: skip
    return [torch.zeros_like(each) if part is None else part for each, part in zip(inputs, found, strict=True)]
