"""Where a slice lies: lines and planes in weight space, and where a point lies in them.

Random directions follow Li et al. (2018, *Visualizing the Loss Landscape of Neural Nets*, section 4) with a rule that
knows transformers, :data:`RULE`. A prompt tensor is not one filter but one a token, and LayerNorm and LayerScale stay
where they are: a step as long as a gain of 1 would undo the norm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from vptft.errors import SettingsError
from vptft.why.landscape.parameters import Parameters, Vector

RULE = "per output row of matrices, per token of embeddings and prompts, zero for vectors"
"""How a random direction is scaled; kept with every result drawn along one."""

Point = Mapping[str, torch.Tensor]
"""One tensor a parameter: weights, or a direction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """A line or plane ``origin + a first + b second``.

    Attributes
    ----------
    name
        For the reader: ``random 0``, ``trajectory``.
    origin
        The point at (0, 0).
    first, second
        Directions of coordinate 1; no second for a line.
    unit
        What a coordinate of 1 is.
    explained
        Shares of the trajectory's variance along the directions, where it was made of one.
    """

    name: str
    origin: Point
    first: Point
    second: Point | None = None
    unit: str = "filter norms"
    explained: tuple[float, ...] = field(default=())

    def coordinates(self, point: Point) -> tuple[float, float, float]:
        """Least-squares coordinates (a, b) of a point, and its distance from the plane in units of weight.

        Directions need not be orthogonal or of length 1.
        """
        ways = [self.first] if self.second is None else [self.first, self.second]
        gap = subtract(point, self.origin)
        gram = np.array([[dot(u, v) for v in ways] for u in ways])
        right = np.array([dot(u, gap) for u in ways])
        found = np.linalg.lstsq(gram, right, rcond=None)[0]
        squared = dot(gap, gap) - 2 * found @ right + found @ gram @ found
        return float(found[0]), float(found[1]) if len(ways) > 1 else 0.0, float(np.sqrt(max(squared, 0.0)))


def random_plane(parameters: Parameters, *, seed: int, dimensions: int = 2) -> Plane:
    """Plane (or line, of one dimension) through the weights along filter-normalised Gaussian directions."""
    generator = torch.Generator().manual_seed(seed)
    ways = [random_direction(parameters, generator) for _ in range(dimensions)]
    return Plane(
        name=f"random {seed}", origin=weights_of(parameters), first=ways[0],
        second=ways[1] if dimensions > 1 else None,
    )  # fmt: skip


def random_direction(parameters: Parameters, generator: torch.Generator) -> Vector:
    """One Gaussian direction, each filter scaled to the norm of its weights; vectors stay where they are."""
    out = {}
    for name, parameter in parameters.items():
        weight = parameter.detach()
        if weight.ndim < 2:  # a bias, a norm or LayerScale
            out[name] = torch.zeros_like(weight)
            continue
        draw = torch.randn(weight.shape, generator=generator).to(weight)
        # Embeddings and prompts are (1 or L, tokens, d): a filter is a token; else it is an output row.
        within = (2,) if weight.ndim == 3 else tuple(range(1, weight.ndim))
        out[name] = draw * (_norm(weight, within) / _norm(draw, within))
    return out


def eigenvector_plane(parameters: Parameters, vectors: Sequence[Point]) -> Plane:
    """Plane through the weights along one or two eigenvectors of a Hessian, scaled to the weights' own norm.

    Along an eigenvector of eigenvalue k the loss is ``L + k s^2 / 2`` for a step of length s, near the centre; a
    coordinate of 1 is a step as long as all weights together, so extents are far smaller than along filters.
    """
    if not 1 <= len(vectors) <= 2:
        raise SettingsError(f"A plane goes along one or two eigenvectors, not {len(vectors)}.")
    origin = weights_of(parameters)
    size = norm(origin)
    ways = []
    for vector in vectors:
        if not (length := norm(vector)):
            raise SettingsError("An eigenvector of length 0 is no direction.")
        ways.append({name: vector[name].to(origin[name]) * (size / length) for name in origin})
    return Plane(
        name="eigenvectors", origin=origin, first=ways[0], second=ways[1] if len(ways) > 1 else None,
        unit="norms of the weights",
    )  # fmt: skip


def trajectory_plane(points: Sequence[Point]) -> Plane:
    """Plane of the first two principal components of a training trajectory, through its last point.

    The components are those of the differences to the last point (Li et al. 2018, section 7), not centred, so the
    plane holds the solution. Directions have length 1. Of a random walk the first component holds most of the variance
    too (Antognini and Sohl-Dickstein 2018): a large share is no sign of a valley.

    Raises
    ------
    SettingsError
        With fewer than three points, or all on one line.
    """
    if len(points) < 3:
        raise SettingsError(f"A trajectory's plane needs three points or more, and there are {len(points)}.")
    last = points[-1]
    steps = [subtract(point, last) for point in points[:-1]]
    gram = np.array([[dot(u, v) for v in steps] for u in steps])
    values, vectors = np.linalg.eigh(gram)
    if values[-2] <= 1e-12 * values[-1]:
        raise SettingsError("The trajectory lies on one line, so it has no plane.")
    ways = [combine(steps, vectors[:, -k] / np.sqrt(values[-k])) for k in (1, 2)]
    shares = tuple(float(values[-k] / values.sum()) for k in (1, 2))
    return Plane(name="trajectory", origin=last, first=ways[0], second=ways[1], unit="weight", explained=shares)


def plane_through(first: Point, second: Point, third: Point | None = None, *, name: str = "models") -> Plane:
    """Line through two models, or plane through three: (0, 0), (1, 0) and (0, 1) are the models themselves.

    The axes are not orthogonal: angles and lengths in its picture are not those of weight space.
    """
    return Plane(
        name=name, origin=first, first=subtract(second, first),
        second=None if third is None else subtract(third, first), unit="models",
    )  # fmt: skip


def weights_of(parameters: Mapping[str, torch.Tensor]) -> Vector:
    """Copies of the weights."""
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def subtract(first: Point, second: Point) -> Vector:
    """``first - second``; the second's names count."""
    return {name: first[name] - second[name] for name in second}


def combine(points: Sequence[Point], factors: Sequence[float] | np.ndarray) -> Vector:
    """Sum of points times factors."""
    pairs = list(zip(points, factors, strict=True))
    out = {}
    for name in points[0]:
        total = torch.zeros_like(points[0][name])
        for point, factor in pairs:
            total.add_(point[name], alpha=float(factor))
        out[name] = total
    return out


def dot(first: Point, second: Point) -> float:
    """Inner product over the first's names, in float64."""
    return sum(float(torch.dot(u.double().flatten(), second[name].double().flatten())) for name, u in first.items())


def norm(point: Point) -> float:
    """Euclidean norm over all parameters."""
    return float(np.sqrt(dot(point, point)))


def _norm(tensor: torch.Tensor, within: tuple[int, ...]) -> torch.Tensor:
    return tensor.square().sum(dim=within, keepdim=True).sqrt()
