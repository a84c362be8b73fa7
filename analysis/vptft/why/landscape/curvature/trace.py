r"""Trace of a symmetric matrix from its products, with a standard error that means what it says.

All estimators here are one: for an orthonormal basis Q (rows) and P the projection on its complement,

.. math:: \operatorname{tr} H = \operatorname{tr} Q H Q^\top + \operatorname{tr} P H P,

the first term exactly, the second by Hutchinson's mean of :math:`g^\top P H P g` over random signs g. They differ in
where Q comes from. As Q does not depend on the probes g, the estimate is unbiased given Q, its error is that of the
second term alone, and the spread of the probes is its standard error.
"""

from dataclasses import dataclass

import numpy as np
import torch

from vptft.errors import SettingsError
from vptft.evidence.statistics.paired import around
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.why.landscape.curvature.hvp import Products
from vptft.why.landscape.curvature.lanczos import Krylov, random_signs


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An estimated trace.

    Attributes
    ----------
    value
        The estimate.
    se
        Standard error over the probes; 0 where the trace is exact, NaN of a single probe.
    probes
        Probes of the complement.
    products
        Products spent.
    """

    value: float
    se: float
    probes: int
    products: int

    @property
    def interval(self) -> Interval:
        """95% interval, Student's t over the probes. Covers the estimator's error, not another batch or training."""
        if not self.se:
            return Interval(value=self.value, low=self.value, high=self.value)
        return around(self.value, self.se, self.probes - 1) if self.probes > 1 else no_interval(self.value)


def hutchpp(products: Products, *, budget: int = 30, seed: int = 0) -> Trace:
    """Hutch++ (Meyer et al. 2021, algorithm 1): a third of the products each to find Q, for its trace, for the rest.

    Parameters
    ----------
    products
        The matrix.
    budget
        Products at most. With as many as rows the trace is exact.
    seed
        Of sketch and probes.

    Notes
    -----
    With plain Hutchinson the relative error is about ``sqrt(2 / m) |H|_F / tr H``: where eigenvalues of both signs
    cancel, no estimator of products is precise *relative to the trace*. Read the standard error.
    """
    if budget < 6:
        raise SettingsError(f"Hutch++ needs 6 products at least, two for each of its parts, got {budget}.")
    before, third = products.count, budget // 3
    if products.size <= budget:
        return _rest(products, torch.eye(products.size, dtype=products.dtype), None, 0, None, before)
    generator = torch.Generator().manual_seed(seed)
    sketch = torch.stack([products(random_signs(products, generator)) for _ in range(third)], dim=1)
    # QR in float64: a sketch of a matrix of low rank has columns that nearly repeat each other.
    basis = torch.linalg.qr(sketch.double())[0].T.to(sketch)
    return _rest(products, basis.contiguous(), None, budget - 2 * third, generator, before)


def beyond(products: Products, krylov: Krylov, *, probes: int = 10, seed: int = 0) -> Trace:
    """Trace from a Krylov space that is already there, as eigenvalues leave it, and ``probes`` products more.

    Within the space the trace is that of T, at no cost; a Krylov space holds the outliers of a spectrum better than a
    sketch of as many products (Chen and Hallman 2022, *Krylov-aware stochastic trace estimation*, section 3).

    Parameters
    ----------
    products
        The matrix the space is of.
    krylov
        Of :func:`.lanczos`; made with another seed than the probes.
    probes
        Products for the complement.
    seed
        Of the probes.
    """
    before = products.count
    generator = torch.Generator().manual_seed(1_000_003 + seed)  # not the stream that began the Krylov space
    left = products.size - len(krylov.basis)
    return _rest(
        products, krylov.basis, float(krylov.diagonal.sum()), probes if left else 0, generator, before
    )  # fmt: skip


def hutchinson(products: Products, *, probes: int = 30, seed: int = 0) -> Trace:
    """Hutchinson's estimator alone (1990): the plain mean over random signs; the baseline of the others."""
    before = products.count
    nothing = torch.zeros(0, products.size, dtype=products.dtype, device=products.device)
    return _rest(products, nothing, 0.0, probes, torch.Generator().manual_seed(seed), before)


def _rest(
    products: Products,
    basis: torch.Tensor,
    inside: float | None,
    probes: int,
    generator: torch.Generator | None,
    before: int,
) -> Trace:
    """Trace inside the basis, given or by one product a row, and the mean of the probes outside."""
    basis = basis.to(products.device)
    if inside is None:
        inside = float(sum(float(row @ products(row)) for row in basis))
    values = np.zeros(probes)
    for i in range(probes):
        assert generator is not None
        probe = random_signs(products, generator)
        probe -= basis.T @ (basis @ probe)
        values[i] = float(probe @ products(probe))
    se = 0.0 if not probes else float(values.std(ddof=1) / np.sqrt(probes)) if probes > 1 else float("nan")
    return Trace(
        value=inside + (float(values.mean()) if probes else 0.0), se=se, probes=probes,
        products=products.count - before,
    )  # fmt: skip
