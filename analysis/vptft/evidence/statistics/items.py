"""Two methods on the same items of one task: images that are independent, or groups of images that are."""

import numpy as np
from scipy import stats

from vptft.evidence.statistics.paired import Test, sign_flip


def mcnemar(only_first: int, only_second: int) -> Test:
    """Test that two methods are right equally often on the same independent items, by McNemar's mid-p.

    Parameters
    ----------
    only_first, only_second
        Items that one is right on and the other wrong. Items on which both agree tell nothing.

    Notes
    -----
    Mid-p counts the observed outcome half: closer to 5% than the exact test, rarely above it (Fagerland, Lydersen and
    Laake 2013). Wrong where items depend on each other, as crops of one photograph do: see :func:`grouped_sign_flip`.
    """
    n = only_first + only_second
    if n == 0:
        return Test(statistic=0.0, p=1.0, n=0, method="McNemar, mid-p")
    fewer = min(only_first, only_second)
    exact = 2 * stats.binom.cdf(fewer, n, 0.5) - stats.binom.pmf(fewer, n, 0.5)
    return Test(statistic=float(only_first - only_second), p=float(min(1, exact)), n=n, method="McNemar, mid-p")


def grouped_sign_flip(differences: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> Test:
    """Test paired differences ``(n,)`` of items whose groups ``(n,)`` are independent: whole groups change sign.

    Groups whose items cancel tell nothing and are left out, which changes no p.
    """
    _, member_of = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(member_of, weights=np.asarray(differences, dtype=float))
    kept = sums[sums != 0]
    if not len(kept):
        return Test(statistic=0.0, p=1.0, n=0, method="sign-flip permutation of groups, exact")
    found = sign_flip(kept, seed=seed)
    method = found.method.replace("permutation", "permutation of groups")
    return Test(statistic=float(np.mean(differences)), p=found.p, n=found.n, method=method)
