"""A curve of low loss between two solutions, found by training its bend (Garipov et al. 2018).

*Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs*, section 3: the quadratic Bezier curve
``w(t) = (1 - t)^2 w0 + 2 t (1 - t) bend + t^2 w1`` with the bend trained to make the mean loss over t small. A curve
that stays low shows the ends to be connected; one that does not may only have been trained too briefly.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from vptft.why.landscape.directions import Point, combine
from vptft.why.landscape.evaluation import Sample
from vptft.why.landscape.parameters import Parameters, Vector, put

BATCH = 32


def bezier(first: Point, bend: Point, second: Point, t: float) -> Vector:
    """Point of the curve; at 0 and 1 it is the ends, bit for bit."""
    if t in (0.0, 1.0):
        return dict(second if t else first)
    return combine([first, bend, second], [(1 - t) ** 2, 2 * t * (1 - t), t**2])


def find_bend(
    parameters: Parameters,
    logits: Callable[[torch.Tensor, float], torch.Tensor],
    first: Point,
    second: Point,
    *,
    sample: Sample,
    steps: int,
    lr: float = 1e-3,
    seed: int = 0,
) -> Vector:
    """Train the bend, which starts midway: then the curve is the line.

    Parameters
    ----------
    parameters
        The model's own, which this moves: hold :func:`.parameters.moved` around it.
    logits
        Logits of images at a place t, with the parameters as they stand.
    first, second
        The ends.
    sample
        Training images. A barrier measured on them afterwards is of what the curve was fitted to.
    steps, lr, seed
        Adam's steps on batches of 32 images, each at one t drawn evenly from (0, 1); the gradient with respect to the
        bend is ``2 t (1 - t)`` times that at the point. Learning rate falls to 0 along a half cosine. Part of the
        result: with fewer steps the barrier is higher.
    """
    first, second = ({name: end[name] for name in parameters} for end in (first, second))
    bend = combine([first, second], [0.5, 0.5])
    optimiser = torch.optim.Adam(bend.values(), lr=lr)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
    rng = np.random.default_rng(seed)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    size = min(BATCH, len(sample.labels))
    for _ in range(steps):
        t = float(rng.uniform())
        chosen = torch.from_numpy(rng.choice(len(sample.labels), size=size, replace=False)).to(sample.labels.device)
        put(parameters, bezier(first, bend, second, t))
        loss = F.cross_entropy(logits(sample.images[chosen], t), sample.labels[chosen])
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for tensor, gradient in zip(bend.values(), found, strict=True):
            tensor.grad = torch.zeros_like(tensor) if gradient is None else 2 * t * (1 - t) * gradient
        optimiser.step()
        fall.step()
    return {name: tensor.detach() for name, tensor in bend.items()}
