r"""How much the loss rises by one step of steepest ascent of a given length (SAM), raw and in relative steps.

Sharpness is :math:`\max_{\|D^{-1}\epsilon\| \le \rho} L(w + \epsilon) - L(w)`, to first order at

.. math:: \epsilon = \rho\, D^2 g / \|D g\|, \quad g = \nabla L(w)

(Foret et al. 2021, *Sharpness-aware minimization*, equation 2, for D = 1; Kwon et al. 2021, *ASAM*, equation 8, for
D = diag(abs(w))). With D of :mod:`.scaling` other than ``none`` it is the same for networks that differ by a rescaling
of their layers; raw it is not (Dinh et al. 2017), so the relative one comes first.
"""

from collections.abc import Sequence

import numpy as np
import torch

from vptft.errors import SettingsError
from vptft.why.landscape.curvature.function import Batch, LossFunction
from vptft.why.landscape.curvature.scaling import Scaling, sizes

RHO = {"element": 0.5, "filter": 0.5, "none": 0.05}
"""Length of the step: Foret et al.'s default raw, Kwon et al.'s relative."""


def sharpness(
    function: LossFunction, batches: Sequence[Batch], *, scaling: Scaling = "element", rho: float | None = None
) -> float:
    """Rise of the loss (nats) after one ascent step, the mean over batches that each take *their own* step.

    Foret et al.'s m-sharpness is this with batches of m images (:func:`of_size`): the smaller m, the better each step
    fits its images, and the larger the rise. So m belongs to the number.

    Parameters
    ----------
    function
        Loss of a space's parameters.
    batches
        The mean weighs each by its images.
    scaling, rho
        Units and length of the step; by default that of :data:`RHO`.

    Notes
    -----
    One ascent step finds less than the maximum. The length is over all parameters of the space: in a larger space the
    same length moves each weight less, so spaces, and models of different spaces, are not compared by it. Where the
    gradient is 0 the step is 0, and the rise too, whatever the curvature.
    """
    length = RHO[scaling] if rho is None else rho
    if not length > 0 or not batches:
        raise SettingsError(f"Sharpness needs a batch and a positive step length, got {length}.")
    size = function.flat(sizes(function.point(function.weights()), scaling))
    rises = [_rise(function, batch, size, length) for batch in batches]
    return float(np.average(rises, weights=[len(batch.labels) for batch in batches]))


def of_size(batch: Batch, m: int) -> list[Batch]:
    """The batch in parts of ``m`` images, the last with what is left."""
    if m < 1:
        raise SettingsError(f"A part needs one image at least, got {m}.")
    return [Batch(x, y) for x, y in zip(batch.images.split(m), batch.labels.split(m), strict=True)]


def _rise(function: LossFunction, batch: Batch, size: torch.Tensor, rho: float) -> float:
    loss, gradient = function.gradient(batch)
    uphill = size * gradient
    length = float(uphill.norm())
    if not length:
        return 0.0
    return function.at(batch, rho / length * size * uphill) - loss
