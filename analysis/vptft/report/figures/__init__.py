"""Figures: a result in, a figure out; one module an analysis."""
