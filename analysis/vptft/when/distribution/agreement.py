"""Whether feature spaces put sets in the same order of distance from a reference."""

from collections.abc import Sequence
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from vptft.errors import SettingsError
from vptft.when.distribution.distance import SetDistance

EXACT = 8
"""Sets up to which every order is tried: 8! is 40,320."""


class Rank(NamedTuple):
    """Spearman's rho and its two-sided p."""

    rho: float
    p: float


def rank_agreement(results: Sequence[SetDistance], *, reference: str | None = None) -> pd.DataFrame:
    """Compare every two feature spaces by the ranks of their debiased distances from one reference.

    Parameters
    ----------
    results
        Of one reference and several sets, each in two spaces or more.
    reference
        The set distances are from, as in :func:`distances_by_set`.

    Returns
    -------
    DataFrame
        A row a pair of spaces, as :func:`agreement_of`.

    Notes
    -----
    Ranks know nothing of intervals: sets at the noise floor are in an order of chance, and low agreement among them
    means nothing. The p holds for sets that are independent of each other; tasks that share scenes are not quite.
    """
    return agreement_of(distances_by_set(results, reference))


def agreement_of(values: pd.DataFrame) -> pd.DataFrame:
    """Compare every two columns of a table of :func:`distances_by_set`.

    Returns
    -------
    DataFrame
        Columns: first_space and second_space (names of the measures), rho and p of :func:`spearman`, and n, the sets
        that are in both.
    """
    rows = []
    for first, second in combinations(values.columns, 2):
        both = values[[first, second]].dropna()
        found = spearman(both[first].to_numpy(), both[second].to_numpy())
        rows.append((first, second, found.rho, found.p, len(both)))
    kinds = {"first_space": "str", "second_space": "str", "rho": "float64", "p": "float64", "n": "int64"}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def distances_by_set(results: Sequence[SetDistance], reference: str | None = None) -> pd.DataFrame:
    """Return debiased distances from the reference: a row a set, a column a measure, in the order given.

    NaN where a set was not measured in a space. Results that are not about the reference are left out.

    Parameters
    ----------
    results
        In any number of spaces.
    reference
        One of either set's names; None for the set that all results share.

    Raises
    ------
    SettingsError
        When no result is about the reference, none is shared, or one set has two distances in one space.
    """
    reference = _shared(results) if reference is None else reference
    about = [result for result in results if reference in (result.first, result.second)]
    if not about:
        known = sorted({name for result in results for name in (result.first, result.second)})
        raise SettingsError(f"No distance is from {reference!r}; there are distances of {known}.")
    cells: dict[tuple[str, str], float] = {}
    for result in about:
        other = result.second if result.first == reference else result.first
        value = cells.setdefault((other, result.measure_name), result.debiased)
        if value != result.debiased:
            raise SettingsError(
                f"{other} has two distances from {reference} in {result.measure_name}: {value:g} and "
                f"{result.debiased:g}; give one."
            )
    sets, measures = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    return pd.DataFrame({m: [cells.get((s, m), np.nan) for s in sets] for m in measures}, index=sets)


def spearman(first: np.ndarray, second: np.ndarray) -> Rank:
    """Rank correlation of ``(n,)`` and ``(n,)``; NaN where n < 2 or one side is constant.

    With n <= 8 the p is the share of all n! orders whose rho is at least as far from 0; with more it is Student's t
    with n - 2 degrees of freedom for rho sqrt((n - 2) / (1 - rho^2)), and 0 where rho is 1 or -1.
    """
    if len(first) < 2 or min(np.ptp(first), np.ptp(second)) == 0:
        return Rank(float("nan"), float("nan"))
    if len(first) > EXACT:
        found = stats.spearmanr(first, second)
        return Rank(float(found.statistic), float(found.pvalue))
    ours, theirs = _unit_ranks(first), _unit_ranks(second)
    rho = float(ours @ theirs)
    orders = np.array(list(permutations(range(len(ours)))))
    every = theirs[orders] @ ours
    return Rank(rho, float(np.mean(np.abs(every) >= abs(rho) - 1e-9)))


def _unit_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, the mean one for ties, centred and of unit length: their dot product is the correlation."""
    ranks = stats.rankdata(values)
    centred = ranks - ranks.mean()
    return np.asarray(centred / np.linalg.norm(centred))


def _shared(results: Sequence[SetDistance]) -> str:
    """Return the set that all results are about."""
    if not results:
        raise SettingsError("There is no distance to rank.")
    for name in (results[0].first, results[0].second):
        if all(name in (result.first, result.second) for result in results):
            return name
    firsts = sorted({result.first for result in results})
    raise SettingsError(f"Distances are ranked from one reference; these are from {firsts}.", "Name one of them.")
