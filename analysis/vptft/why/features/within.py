"""Regression within settings: what differs between methods on one task and size, differences between tasks removed."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from vptft.errors import SettingsError
from vptft.evidence.statistics.paired import around
from vptft.evidence.statistics.resampling import Interval, no_interval

LEAST_TASKS = 3
"""Tasks that an interval is given for: with two, one degree of freedom says nothing."""


@dataclass(frozen=True, kw_only=True)
class Within:
    """Least squares with a level for each setting.

    Attributes
    ----------
    terms
        A coefficient with its interval over tasks for each column; NaN where it cannot be told.
    ps
        Two-sided, from the same t.
    partial_r
        Correlation of the first column with y, settings' levels and the other columns removed.
    n_tasks, n_settings, n_cells
        What entered. A setting with one cell says nothing and is left out.
    """

    terms: tuple[Interval, ...]
    ps: tuple[float, ...]
    partial_r: float
    n_tasks: int
    n_settings: int
    n_cells: int


def within(y: np.ndarray, columns: np.ndarray, *, settings: np.ndarray, tasks: np.ndarray) -> Within:
    """Regress y ``(n,)`` on columns ``(n, k)`` with a level for each setting ``(n,)``, tasks ``(n,)`` as the sample.

    Notes
    -----
    The levels take away all that a task and size have in common, FT's accuracy there too: accuracy and gap to FT give
    one and the same coefficients. Intervals leave each task out in turn (the delete-one-cluster jackknife, CV3 of
    MacKinnon, Nielsen and Webb 2023, with t of tasks - 1 degrees of freedom): methods and sizes of one task depend on
    each other in any way. With fewer than about ten tasks it is rough, and a single task with a wide range of
    columns decides much. None is given with fewer than three tasks, or where leaving one out leaves a coefficient
    undetermined.
    """
    y, columns = np.asarray(y, dtype=float), np.asarray(columns, dtype=float)
    if columns.shape[:1] != y.shape or not np.isfinite(columns).all() or not np.isfinite(y).all():
        raise SettingsError(f"A regression needs finite numbers in equally many rows: {y.shape}, {columns.shape}.")
    _, setting_of, counts = np.unique(settings, return_inverse=True, return_counts=True)
    kept = counts[setting_of] > 1
    y, columns, tasks, setting_of = y[kept], columns[kept], np.asarray(tasks)[kept], setting_of[kept]
    names = np.unique(tasks)
    counted = {"n_tasks": len(names), "n_settings": len(np.unique(setting_of)), "n_cells": len(y)}
    k = columns.shape[1]
    if not len(y):
        return Within(terms=(no_interval(),) * k, ps=(float("nan"),) * k, partial_r=float("nan"), **counted)
    y, columns = _centred(y[:, None], setting_of)[:, 0], _centred(columns, setting_of)
    value = _solve(y, columns)
    left_out = np.stack([_solve(y[tasks != name], columns[tasks != name]) for name in names])
    groups = len(names)
    se = np.sqrt((groups - 1) / groups * np.square(left_out - value).sum(axis=0))
    told = groups >= LEAST_TASKS
    terms = tuple(
        around(float(b), float(s), groups - 1) if told and np.isfinite(s) else no_interval(float(b))
        for b, s in zip(value, se, strict=True)
    )
    ps = tuple(
        float(2 * stats.t.sf(abs(b) / s, groups - 1)) if told and s > 0 else float("nan")
        for b, s in zip(value, se, strict=True)
    )
    return Within(terms=terms, ps=ps, partial_r=_partial_r(y, columns), **counted)


def _centred(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values ``(n, k)`` less the mean of their group."""
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
