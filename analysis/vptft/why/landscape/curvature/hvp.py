"""Products of a vector with the Hessian of the mean loss, or with its Gauss-Newton part.

Both are exact to rounding. The gradient's graph is built once and kept, so a product costs one backward pass through
it: 2.4 gradients in a ViT-S and 2.9 in a ViT of width 64, where building it anew each time costs 1.5 times as much and
forward over reverse 1.8 to 2.1 times (one core of a CPU).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from vptft.errors import SettingsError
from vptft.why.landscape.curvature.function import Batch, Loss, LossFunction, differentiated, twice_differentiable
from vptft.why.landscape.parameters import Parameters


class Products(ABC):
    """A symmetric matrix that is known by its products with vectors.

    Attributes
    ----------
    size
        Rows and columns, n.
    dtype, device
        Of the vectors it takes and gives.
    count
        Products made so far: what an estimate cost.
    """

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.size, self.dtype, self.device = size, dtype, device
        self.count = 0

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """Product with a vector ``(n,)``, detached, ``(n,)``."""
        if vector.shape != (self.size,):
            raise SettingsError(f"This matrix takes vectors of shape ({self.size},), not {tuple(vector.shape)}.")
        self.count += 1
        return self._product(vector.detach().to(dtype=self.dtype, device=self.device))

    @abstractmethod
    def _product(self, vector: torch.Tensor) -> torch.Tensor: ...


class _OfLoss(Products):
    """What Hessian and Gauss-Newton products share: the function, its probe, the weighted mean over batches."""

    def __init__(
        self,
        model: nn.Module,
        parameters: Parameters,
        batches: Sequence[Batch],
        *,
        loss: Loss = F.cross_entropy,
        keep_graph: bool = True,
    ) -> None:
        if not batches:
            raise SettingsError("Curvature needs a batch of images.")
        self.function = LossFunction(model, parameters, loss=loss)
        self.function.require_deterministic(batches[0])
        super().__init__(self.function.size, self.function.dtype, self.function.device)
        self.batches = list(batches)
        total = sum(len(batch.labels) for batch in batches)
        self._shares = [len(batch.labels) / total for batch in batches]
        self._graphs = [self._graph(batch) for batch in batches] if keep_graph else None

    def _product(self, vector: torch.Tensor) -> torch.Tensor:
        parts = []
        for i, share in enumerate(self._shares):
            graph = self._graphs[i] if self._graphs is not None else self._graph(self.batches[i])
            parts.append(self.function.flat(self._along(graph, vector)).mul_(share))
        return sum(parts[1:], parts[0])

    @abstractmethod
    def _graph(self, batch: Batch) -> dict[str, list[torch.Tensor]]: ...

    @abstractmethod
    def _along(self, graph: dict[str, list[torch.Tensor]], vector: torch.Tensor) -> list[torch.Tensor]: ...


class HessianProducts(_OfLoss):
    r"""Products :math:`H v`, :math:`H = \nabla^2 L` of the mean loss over all images of all batches.

    By differentiating :math:`\nabla L \cdot v` once more (Pearlmutter 1994, *Fast exact multiplication by the
    Hessian*), in reverse mode both times.

    Parameters
    ----------
    model
        Deterministic: two evaluations of the first batch must agree. It comes back untouched.
    parameters
        The space (:mod:`vptft.why.landscape.parameters`); H is of these alone, all others are constants.
    batches
        Batches of images; of several, the Hessian of the mean over their images.
    loss
        Cross-entropy (nats) by default.
    keep_graph
        Keep each batch's gradient graph, which takes about 20 MB an image of 17 tokens in a ViT-S; False builds it
        for every product.

    Raises
    ------
    NotApplicable
        The model is not deterministic.

    Notes
    -----
    Weight decay and other terms outside the loss are not in it. A prompt-tuned network's Hessian with respect to its
    *backbone* is not at an optimum of the backbone.
    """

    def _graph(self, batch: Batch) -> dict[str, list[torch.Tensor]]:
        with twice_differentiable():
            leaves = self.function.leaves()
            loss = self.function.loss_of(self.function.logits(leaves, batch), batch)
            inputs = list(leaves.values())
            gradients = differentiated([loss], inputs, [torch.ones_like(loss)], create_graph=True)
        return {"inputs": inputs, "gradients": gradients}

    def _along(self, graph: dict[str, list[torch.Tensor]], vector: torch.Tensor) -> list[torch.Tensor]:
        along = list(self.function.point(vector).values())
        return differentiated(graph["gradients"], graph["inputs"], along)


class GaussNewtonProducts(_OfLoss):
    r"""Products :math:`G v`, :math:`G = J^\top H_L J`: J the Jacobian of the logits, :math:`H_L` the loss' own Hessian.

    The part of the Hessian that remains where every logit is linear in the parameters. It has no negative eigenvalue,
    and equals the Fisher information for cross-entropy (Martens 2020, *New insights and perspectives on the natural
    gradient method*, section 9). Where H and G differ much, the network is not near a fit of its labels.

    ``J v`` is the derivative of :math:`J^\top u` with respect to u, so reverse mode suffices. Parameters as for
    :class:`HessianProducts`; a product costs about 0.7 of a Hessian's.
    """

    def _graph(self, batch: Batch) -> dict[str, list[torch.Tensor]]:
        with twice_differentiable():
            leaves = self.function.leaves()
            inputs = list(leaves.values())
            logits = self.function.logits(leaves, batch)
            dual = torch.zeros_like(logits, requires_grad=True)
            pulled = differentiated([logits], inputs, [dual], create_graph=True)
            outputs = logits.detach().requires_grad_()
            loss = self.function.loss_of(outputs, batch)
            slopes = differentiated([loss], [outputs], [torch.ones_like(loss)], create_graph=True)
        return {
            "inputs": inputs, "logits": [logits], "dual": [dual], "pulled": pulled, "outputs": [outputs],
            "slopes": slopes,
        }  # fmt: skip

    def _along(self, graph: dict[str, list[torch.Tensor]], vector: torch.Tensor) -> list[torch.Tensor]:
        along = list(self.function.point(vector).values())
        pushed = differentiated(graph["pulled"], graph["dual"], along)
        return differentiated(
            graph["logits"], graph["inputs"], differentiated(graph["slopes"], graph["outputs"], pushed)
        )
