"""Largest and smallest eigenvalues of a symmetric matrix from its products, by Lanczos.

Not power iteration with deflation, which ranks by absolute value and spends products on each eigenvalue anew: one
Krylov space holds both ends of the spectrum. Not ``scipy.sparse.linalg.eigsh`` either (it is the tests' oracle): it
wants a run for each end, keeps float64 copies of the basis on the host, and decides how many products it makes itself.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from vptft.errors import SettingsError
from vptft.why.landscape.curvature.hvp import Products
from vptft.why.landscape.curvature.lanczos import Krylov, lanczos, random_signs

Ends = Literal["both", "largest", "smallest"]
TOLERANCE, SMALL = 1e-3, 0.1
"""Largest residual as a share of its eigenvalue, and the part of the largest that smaller eigenvalues count as."""
MAX_PRODUCTS = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Extremes:
    """Algebraically largest and smallest eigenvalues, fewer than asked for where the space has fewer.

    Attributes
    ----------
    largest, smallest
        Descending from the top, ascending from the bottom.
    largest_residuals, smallest_residuals
        ``|H v - theta v|`` of each: an eigenvalue of H lies within it.
    largest_converged, smallest_converged
        Whether all residuals of that end are within the tolerance, asked for or not.
    products
        Products made.
    krylov
        The space they come from.
    """

    largest: np.ndarray
    smallest: np.ndarray
    largest_residuals: np.ndarray
    smallest_residuals: np.ndarray
    largest_converged: bool
    smallest_converged: bool
    products: int
    krylov: Krylov

    def vectors(self, count: int, *, end: Literal["largest", "smallest"] = "largest") -> list[torch.Tensor]:
        """The first ``count`` eigenvectors from one end, each ``(n,)`` of length 1."""
        columns = self.krylov.ritz()[1]
        order = range(columns.shape[1] - 1, -1, -1) if end == "largest" else range(columns.shape[1])
        basis = self.krylov.basis
        return [basis.T @ torch.as_tensor(columns[:, i].copy()).to(basis) for i in list(order)[:count]]


def extreme_eigenvalues(
    products: Products,
    *,
    k: int = 5,
    ends: Ends = "both",
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    seed: int = 0,
) -> Extremes:
    """Find ``k`` eigenvalues at each end asked for, with as few products as their residuals allow.

    Parameters
    ----------
    products
        The matrix.
    k
        How many at each end.
    ends
        Which ends must converge before it stops; both are reported.
    tolerance
        Largest residual as a share of the eigenvalue's size; sizes below a tenth of the largest count as that, so that
        eigenvalues next to 0 need not be known to many digits of themselves. The error is at most the residual, and of
        an isolated eigenvalue about its *square* over the gap to the next. Where eigenvalues lie close together a
        residual cannot tell that one among them was missed: 1e-2 did miss one, 1e-3 did not.
    max_products
        Products at most; what has not converged by then says so.
    seed
        Of the start vector. Another seed tests the answer; it does not change what is estimated.

    Notes
    -----
    The smallest eigenvalues of a trained network lie in a dense bulk next to 0 and converge last. Raw values depend on
    the scale of the weights: see :mod:`.scaling`. An eigenvalue with several eigenvectors shows once.
    """
    if k < 1 or not 0 < tolerance < 1:
        raise SettingsError(f"Eigenvalues need a count of 1 or more and a tolerance in (0, 1): {k}, {tolerance}.")
    generator = torch.Generator().manual_seed(seed)
    before = products.count

    def reached(krylov: Krylov) -> tuple[bool, bool]:
        values, _, residuals = krylov.ritz()
        within = residuals <= tolerance * np.maximum(np.abs(values), SMALL * np.abs(values).max())
        known = len(values) >= min(k, products.size)
        return known and bool(within[-k:].all()), known and bool(within[:k].all())

    def done(krylov: Krylov) -> bool:
        largest, smallest = reached(krylov)
        if ends == "both":
            # Of fewer than 2 k values both ends would be the same ones.
            return largest and smallest and len(krylov.diagonal) >= min(2 * k, products.size)
        return largest if ends == "largest" else smallest

    start = random_signs(products, generator)
    krylov = lanczos(products, start, steps=max_products, generator=generator, enough=done)
    values, _, residuals = krylov.ritz()
    return Extremes(
        largest=values[::-1][:k], smallest=values[:k],
        largest_residuals=residuals[::-1][:k], smallest_residuals=residuals[:k],
        largest_converged=reached(krylov)[0], smallest_converged=reached(krylov)[1],
        products=products.count - before, krylov=krylov,
    )  # fmt: skip
