"""The whole Hessian, where parameters are few: the ground truth of every estimate."""

import numpy as np
import torch

from vptft.errors import NotApplicable
from vptft.why.landscape.curvature.hvp import Products

LIMIT = 4096
"""Rows above which the whole matrix is refused: 134 MB of float64, and as many products."""


def exact_matrix(products: Products, *, limit: int = LIMIT) -> np.ndarray:
    """All entries ``(n, n)`` float64, by one product with each unit vector, and made symmetric.

    Parameters
    ----------
    products
        The matrix.
    limit
        Rows at most.

    Raises
    ------
    NotApplicable
        More rows than ``limit``.
    """
    n = products.size
    if n > limit:
        raise NotApplicable(
            f"The exact matrix of {n:,} parameters would take as many products; {limit:,} are allowed.",
            "Take a smaller space, or the estimators: eigenvalues, trace, density.",
        )
    rows = np.empty((n, n))
    unit = torch.zeros(n, dtype=products.dtype, device=products.device)
    for i in range(n):
        unit[i] = 1
        rows[i] = products(unit).double().cpu().numpy()
        unit[i] = 0
    return (rows + rows.T) / 2
