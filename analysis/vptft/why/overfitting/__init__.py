"""Overfitting: the test loss that rises while training goes on, and whether that explains who wins."""

from vptft.why.overfitting.curves import OverfittingCurves, measure

__all__ = ["OverfittingCurves", "measure"]
