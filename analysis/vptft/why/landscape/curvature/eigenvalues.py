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
TOLERANCE = 1e-2
"""Largest residual as a share of its eigenvalue; an eigenvalue below this share of the largest counts as so large."""
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
    converged
        Whether every residual asked for is within the tolerance.
    products
        Products made.
    krylov
        The space they come from.
    """

    largest: np.ndarray
    smallest: np.ndarray
    largest_residuals: np.ndarray
    smallest_residuals: np.ndarray
    converged: bool
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
        Which ends must converge; both are reported.
    tolerance
        Largest residual as a share of the eigenvalue's size; sizes below ``tolerance`` times the largest count as that,
        so that eigenvalues next to 0 need not be known to many digits of themselves. The error is at most the residual,
        and of an isolated eigenvalue about its *square* over the gap to the next: 1e-2 gives four digits at the top.
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
    wanted = {"both": [*range(k), *range(-k, 0)], "largest": [*range(-k, 0)], "smallest": [*range(k)]}[ends]

    def done(krylov: Krylov) -> bool:
        if len(krylov.diagonal) < min((2 if ends == "both" else 1) * k, products.size):
            return False
        values, _, residuals = krylov.ritz()
        allowed = tolerance * np.maximum(np.abs(values), tolerance * np.abs(values).max())
        return all(residuals[i] <= allowed[i] for i in wanted if -len(values) <= i < len(values))

    start = random_signs(products, generator)
    krylov = lanczos(products, start, steps=max_products, generator=generator, enough=done)
    values, _, residuals = krylov.ritz()
    return Extremes(
        largest=values[::-1][:k], smallest=values[:k],
        largest_residuals=residuals[::-1][:k], smallest_residuals=residuals[:k],
        converged=done(krylov), products=products.count - before, krylov=krylov,
    )  # fmt: skip
