"""Regression within settings: what differs between methods on one task and size, differences between tasks removed."""

import itertools
from dataclasses import dataclass

import numpy as np

from vptft.errors import SettingsError
from vptft.evidence.statistics.paired import around
from vptft.evidence.statistics.resampling import Interval, no_interval

LEAST_TASKS = 3
"""Tasks that an interval is given for: with two, one degree of freedom says nothing."""
LEAST_METHODS = 5
"""Methods that an interval and a p are given for: a line over fewer is a comparison of these methods."""
EVERY = 8
"""Methods up to which every permutation of them is taken; of more, :data:`DRAWN` at random."""
DRAWN = 40_000


@dataclass(frozen=True, kw_only=True)
class Within:
    """Least squares with a level for each setting.

    Attributes
    ----------
    terms
        A coefficient with its interval over tasks and methods for each column; NaN where it cannot be told.
    ps
        Two-sided, by permutation of methods; NaN where fewer than :data:`LEAST_METHODS` stand in every setting.
    partial_r
        Correlation of the first column with y, settings' levels and the other columns removed.
    n_tasks, n_settings, n_methods, n_cells
        What entered. A setting with one cell says nothing and is left out.
    """

    terms: tuple[Interval, ...]
    ps: tuple[float, ...]
    partial_r: float
    n_tasks: int
    n_settings: int
    n_methods: int
    n_cells: int


def within(
    y: np.ndarray, columns: np.ndarray, *, settings: np.ndarray, tasks: np.ndarray, methods: np.ndarray, seed: int = 0
) -> Within:
    """Regress y ``(n,)`` on columns ``(n, k)`` with a level for each setting; rows are cells, a method in a setting.

    Parameters
    ----------
    y, columns
        One row a cell.
    settings, tasks, methods
        Of each cell ``(n,)``; a setting belongs to one task.
    seed
        Of the permutations that are drawn where there are too many.

    Notes
    -----
    The levels take away all that a task and size have in common, FT's accuracy there too: accuracy and gap to FT give
    one and the same coefficients.

    Both tasks and methods are samples. A method that is better than another whatever it preserves is so on every task,
    and more tasks make it no less so: with tasks alone as the sample, offsets of methods as large as the noise let a
    line find in 24% of simulated nulls on 4 tasks, and 44% on 8, what is not there. Intervals therefore add the
    variances of two jackknives, one leaving out each task and one each method (the two-term estimator of Davezies,
    D'Haultfoeuille and Guyonvarch 2021, which errs on the wide side), with t of the fewer less one degrees of freedom.
    The p hands what the methods preserve to them in every other order, the same on all settings, and counts the share
    of orders that fit at least as well, over the methods that stand in every setting: exact for one column, where
    methods are exchangeable. Simulated with 6 methods, offsets of 0 to 2 times the noise, 4 and 8 tasks: 4 to 5% of
    nulls have p < .05 (a bend's 4 to 7%), and the intervals hold 95 to 100%.
    """
    y, columns = np.asarray(y, dtype=float), np.asarray(columns, dtype=float)
    if columns.shape[:1] != y.shape or not np.isfinite(columns).all() or not np.isfinite(y).all():
        raise SettingsError(f"A regression needs finite numbers in equally many rows: {y.shape}, {columns.shape}.")
    _, counted, counts = np.unique(settings, return_inverse=True, return_counts=True)
    kept = counts[counted] > 1
    y, columns = y[kept], columns[kept]
    settings, tasks, methods = (np.asarray(each)[kept] for each in (settings, tasks, methods))
    n_tasks, n_settings, n_methods = (len(np.unique(each)) for each in (tasks, settings, methods))
    found = {"n_tasks": n_tasks, "n_settings": n_settings, "n_methods": n_methods, "n_cells": len(y)}
    k = columns.shape[1]
    if not len(y):
        return Within(terms=(no_interval(),) * k, ps=(float("nan"),) * k, partial_r=float("nan"), **found)
    value = _fit(y, columns, settings)
    se = np.sqrt(sum(_jackknife(y, columns, settings, each, value) for each in (tasks, methods)))
    told = n_tasks >= LEAST_TASKS and n_methods >= LEAST_METHODS
    terms = tuple(
        around(float(b), float(s), min(n_tasks, n_methods) - 1) if told and np.isfinite(s) else no_interval(float(b))
        for b, s in zip(value, se, strict=True)
    )
    ps = _permuted(y, columns, settings, methods, seed) if told else np.full(k, np.nan)
    centred = _centred(np.column_stack([y, columns]), settings)
    return Within(terms=terms, ps=tuple(map(float, ps)), partial_r=_partial_r(centred[:, 0], centred[:, 1:]), **found)


def _fit(y: np.ndarray, columns: np.ndarray, settings: np.ndarray) -> np.ndarray:
    """Coefficients with a level for each setting."""
    centred = _centred(np.column_stack([y, columns]), settings)
    return _solve(centred[:, 0], centred[:, 1:])


def _jackknife(
    y: np.ndarray, columns: np.ndarray, settings: np.ndarray, clusters: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """Variances of the coefficients from leaving out each cluster in turn (CV3 of MacKinnon et al. 2023)."""
    names = np.unique(clusters)
    left_out = np.stack([_fit(*(each[clusters != name] for each in (y, columns, settings))) for name in names])
    return np.asarray((len(names) - 1) / len(names) * np.square(left_out - value).sum(axis=0))


def _permuted(y: np.ndarray, columns: np.ndarray, settings: np.ndarray, methods: np.ndarray, seed: int) -> np.ndarray:
    """Two-sided ps by permutation of the methods that stand in every setting."""
    rows: dict[object, dict[object, int]] = {}
    for row, (setting, method) in enumerate(zip(settings, methods, strict=True)):
        rows.setdefault(setting, {})[method] = row
    common = sorted(set.intersection(*(set(each) for each in rows.values())), key=str)
    m, k = len(common), columns.shape[1]
    if m < LEAST_METHODS:
        return np.full(k, np.nan)
    block = np.array([[each[method] for method in common] for each in rows.values()])
    x, z = columns[block], y[block]
    x, z = x - x.mean(axis=1, keepdims=True), z - z.mean(axis=1, keepdims=True)
    orders = _orders(m, seed)
    return np.array([_of_column(x, z, column, orders) for column in range(k)])


def _of_column(x: np.ndarray, z: np.ndarray, column: int, orders: np.ndarray) -> float:
    """The p of one column of ``x`` ``(settings, methods, k)`` for ``z`` ``(settings, methods)``, both centred.

    What the other columns leave of ``z`` changes hands between methods (Freedman and Lane 1983). Compared are
    coefficients over what the fit leaves: a large one of a bad fit is no evidence.
    """
    flat = x.reshape(-1, x.shape[2])
    scale = np.linalg.norm(flat, axis=0)
    if not (scale > 0).all() or np.linalg.matrix_rank(flat / scale) < len(scale):
        return float("nan")
    x = x / scale
    others = np.delete(x, column, axis=2).reshape(len(flat), -1)
    left = (z.ravel() - others @ (np.linalg.pinv(others) @ z.ravel())).reshape(z.shape)
    # Columns stay, and so do their products; an order changes what is on the right of the normal equations alone.
    inner = np.linalg.inv(np.einsum("smk,sml->kl", x, x))
    products = np.einsum("sak,sm->amk", x, left)
    right = products[orders, np.arange(x.shape[1])].sum(axis=1)
    slopes = right @ inner
    rest = np.square(left).sum() - (slopes * right).sum(axis=1)
    size = np.abs(slopes[:, column]) / np.sqrt(np.maximum(rest, 1e-12 * np.square(left).sum() + 1e-300))
    return float((size >= size[0] * (1 - 1e-9)).mean())


def _orders(m: int, seed: int) -> np.ndarray:
    """Orders of ``m`` things ``(n, m)``, the one they are in first: all of them, or as many drawn as make a p."""
    if m <= EVERY:
        return np.array(list(itertools.permutations(range(m))))
    drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(m), (DRAWN, 1)), axis=1)
    return np.concatenate([np.arange(m)[None], drawn])


def _centred(values: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Values ``(n, k)`` less the mean of their group ``(n,)``."""
    _, groups = np.unique(names, return_inverse=True)
    counts = np.bincount(groups)
    sums = np.stack([np.bincount(groups, weights=column) for column in values.T], axis=1)
    return np.asarray(values - (sums / np.maximum(counts, 1)[:, None])[groups])


def _solve(y: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Coefficients; NaN where the columns do not determine them."""
    scale = np.linalg.norm(columns, axis=0)
    if not (scale > 0).all() or np.linalg.matrix_rank(columns / scale) < columns.shape[1]:
        return np.full(columns.shape[1], np.nan)
    return np.asarray(np.linalg.lstsq(columns / scale, y, rcond=None)[0] / scale)


def _partial_r(y: np.ndarray, columns: np.ndarray) -> float:
    others = columns[:, 1:]
    left = [values - others @ np.linalg.pinv(others) @ values for values in (columns[:, 0], y)]
    norms = [float(np.linalg.norm(values)) for values in left]
    if min(norms) <= 1e-12 * max(1.0, float(np.linalg.norm(columns)), float(np.linalg.norm(y))):
        return float("nan")
    return float(left[0] @ left[1]) / (norms[0] * norms[1])
