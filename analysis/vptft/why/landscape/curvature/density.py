"""Spectral density of a symmetric matrix from its products, by stochastic Lanczos quadrature (SLQ)."""

from dataclasses import dataclass

import numpy as np
import torch

from vptft.errors import SettingsError
from vptft.why.landscape.curvature.hvp import Products
from vptft.why.landscape.curvature.lanczos import lanczos, random_signs


@dataclass(frozen=True, kw_only=True, eq=False)
class Density:
    """Quadrature nodes of each probe: a weighted stand-in for all n eigenvalues.

    Attributes
    ----------
    nodes, weights
        ``(probes, m)`` float64; a probe's weights sum to 1.
    size
        n: a weight of 1 stands for so many eigenvalues.
    products
        Products spent.
    """

    nodes: np.ndarray
    weights: np.ndarray
    size: int
    products: int

    def moments(self, power: int) -> np.ndarray:
        """Estimate ``tr H^power`` by each probe, ``(probes,)``: their mean is the estimate, their spread its error."""
        return self.size * (self.weights * self.nodes**power).sum(axis=1)

    def evaluate(self, at: np.ndarray, *, width: float) -> np.ndarray:
        """Density at ``at`` of each probe, ``(probes, len(at))``, nodes blurred to Gaussians of that width.

        It integrates to 1. A narrow peak of the picture is ``width`` wide, whatever the eigenvalues are.
        """
        if not width > 0:
            raise SettingsError(f"The width of a node must be positive, got {width}.")
        bells = np.exp(-0.5 * ((at - self.nodes[..., None]) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        return (self.weights[..., None] * bells).sum(axis=1)

    def below(self, value: float) -> np.ndarray:
        """Share of eigenvalues below a value by each probe, ``(probes,)``; within a bulk to about a node's weight."""
        return (self.weights * (self.nodes < value)).sum(axis=1)


def spectral_density(products: Products, *, probes: int = 3, steps: int = 30, seed: int = 0) -> Density:
    """Run Lanczos from several random sign vectors and read each tridiagonal matrix as a quadrature rule.

    Ubaru, Chen and Saad (2017, *Fast estimation of tr(f(A)) via stochastic Lanczos quadrature*, algorithm 1); for
    networks Ghorbani et al. (2019, *An investigation into neural net optimization via Hessian eigenvalue density*).
    A probe's nodes are the eigenvalues of a *symmetric* tridiagonal matrix, weighted by the squared first entries of
    its eigenvectors: real, with weights that sum to 1. They reproduce ``g' H^p g / n`` exactly for p < 2 ``steps``.

    Parameters
    ----------
    products
        The matrix.
    probes
        Random starts; their spread is the error.
    steps
        Products a probe, and nodes.
    seed
        Of the probes.

    Notes
    -----
    Outliers are resolved one by one, the bulk is not: of 21 million eigenvalues 30 nodes know the outline. The share
    in a spike near 0 is meaningful, its shape is the blur's.
    """
    if probes < 1:
        raise SettingsError(f"A density needs a probe, got {probes}.")
    before, generator = products.count, torch.Generator().manual_seed(seed)
    nodes, weights = [], []
    for _ in range(probes):
        krylov = lanczos(products, random_signs(products, generator), steps=steps, generator=generator)
        values, vectors, _ = krylov.ritz()
        nodes.append(values)
        weights.append(vectors[0] ** 2)
    return Density(
        nodes=np.stack(nodes), weights=np.stack(weights), size=products.size, products=products.count - before
    )  # fmt: skip
