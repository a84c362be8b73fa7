r"""Curvature in units of the weights: what remains when layers are rescaled without changing the function.

Dinh et al. (2017, *Sharp minima can generalize for deep nets*, section 4): in a ReLU network, multiplying one layer by
a and dividing the next by a leaves the function as it is and multiplies entries of the Hessian by anything from
:math:`a^{-2}` to :math:`a^2`. So raw eigenvalues, traces and sharpness say nothing of a *function*, and nothing when
two trainings differ in the scale of their weights, as FT and prompt tuning do. With D the diagonal matrix of weight
sizes, :math:`D H D` does not move: a step of one unit is a relative step.
"""

from typing import Literal, get_args

import torch

from vptft.errors import SettingsError
from vptft.why.landscape.curvature.function import LossFunction
from vptft.why.landscape.curvature.hvp import Products
from vptft.why.landscape.parameters import Vector

Scaling = Literal["element", "filter", "none"]
"""What a step is measured in; scale-invariant ones first."""
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)


def sizes(weights: Vector, scaling: Scaling) -> Vector:
    """Size of every weight, the diagonal of D.

    Parameters
    ----------
    weights
        Tensors by name.
    scaling
        ``element``: ``|w|`` (Kwon et al. 2021, *ASAM*, section 3). Invariant to any rescaling of single units; a
        weight of exactly 0 cannot move.
        ``filter``: the root mean square of the weight's output row (matrices), kernel (convolutions) or token
        (prompts, embeddings), and ``|w|`` of vectors. Invariant to rescaling whole units (Li et al. 2018 scale
        their directions so).
        ``none``: 1, the raw Hessian. Not invariant to anything.
    """
    if scaling not in SCALINGS:
        raise SettingsError(f"A scaling is one of {', '.join(SCALINGS)}, not {scaling!r}.")
    return {name: _size(weight.detach(), scaling) for name, weight in weights.items()}


class ScaledProducts(Products):
    r"""Products with :math:`D H D`, D the diagonal of :func:`sizes`.

    Its trace is :math:`\sum_i d_i^2 H_{ii}`, twice the mean rise of the loss over random relative steps
    (Andriushchenko et al. 2023, *A modern look at the relationship between sharpness and generalization*, section 2);
    its largest eigenvalue is twice the steepest, both to second order.
    """

    def __init__(self, products: Products, size: torch.Tensor) -> None:
        super().__init__(products.size, products.dtype, products.device)
        self._inner, self._sizes = products, size.to(dtype=products.dtype, device=products.device)

    def _product(self, vector: torch.Tensor) -> torch.Tensor:
        return self._sizes * self._inner(self._sizes * vector)


def scaled(products: Products, function: LossFunction, scaling: Scaling) -> Products:
    """The same matrix in units of the weights."""
    if scaling == "none":
        return products
    return ScaledProducts(products, function.flat(sizes(function.point(function.weights()), scaling)))


def _size(weight: torch.Tensor, scaling: Scaling) -> torch.Tensor:
    if scaling == "none":
        return torch.ones_like(weight)
    if scaling == "element" or weight.ndim < 2:
        return weight.abs()
    # Embeddings and prompts are (1 or L, tokens, d): a filter is a token; else it is an output row.
    within = (2,) if weight.ndim == 3 else tuple(range(1, weight.ndim))
    return weight.square().mean(dim=within, keepdim=True).sqrt().expand_as(weight)
