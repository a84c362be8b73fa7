"""Several tests at once."""

from collections.abc import Sequence

import numpy as np


def holm(ps: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values (1979) of one family, in the order given: below 5%, a claim holds at 5% in the family.

    A NaN is no test: it stays NaN and does not make the family larger.
    """
    values = np.asarray(ps, dtype=float)
    out = np.full(values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    steps = values[order] * (len(order) - np.arange(len(order)))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return out
