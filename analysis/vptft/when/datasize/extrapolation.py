"""Learning curves of both methods on each task, and what they say at twice and ten times the largest size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vptft.when.datasize.cells import Cell, sizes_of
from vptft.when.datasize.curves import LEAST_SIZES, Curve, fit_curve, meeting

CURVE_COLUMNS = {
    "task": "str", "method": "str", "limit": "float64", "drop": "float64", "exponent": "float64",
    "rmse_points": "float64", "at_bound": "bool", "meeting_n": "float64", "n_train": "float64", "accuracy": "float64",
    "low": "float64", "high": "float64",
}  # fmt: skip


def curves_of(by_task: Mapping[tuple[str, str], Sequence[Cell]]) -> pd.DataFrame:
    """Fit both methods on every task that has sizes enough; a row a method and extrapolated size.

    Columns: task, method, limit, drop, exponent (of :class:`Curve`), rmse_points, at_bound, meeting_n (where the two
    curves meet, up to ten times the largest size), n_train, and there accuracy with low and high (fractions).
    """
    rows: list[dict[str, Any]] = []
    for cells in by_task.values():
        if len(sizes_of(cells)) < LEAST_SIZES:
            continue
        n = np.array([cell.n_train for cell in cells], dtype=float)
        fitted = {
            side: fit_curve(n, np.array([getattr(cell, f"accuracy_{side}") for cell in cells]))
            for side in ("vpt", "ft")
        }
        meets = meeting(fitted["vpt"], fitted["ft"], most=10 * n.max())
        rows += [
            _curve_row(cells[0], side, curve, meets, n.max() * f) for side, curve in fitted.items() for f in (2, 10)
        ]
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS)).astype(CURVE_COLUMNS)


def _curve_row(cell: Cell, side: str, curve: Curve, meets: float, n: float) -> dict[str, Any]:
    low, high = curve.interval(n)
    return {
        "task": cell.task, "method": side, "limit": curve.limit, "drop": curve.drop, "exponent": curve.exponent,
        "rmse_points": 100 * curve.rmse, "at_bound": curve.at_bound, "meeting_n": meets, "n_train": n,
        "accuracy": curve.at(n), "low": low, "high": high,
    }  # fmt: skip


def no_curves() -> pd.DataFrame:
    """Return the table without rows."""
    return pd.DataFrame([], columns=list(CURVE_COLUMNS)).astype(CURVE_COLUMNS)
