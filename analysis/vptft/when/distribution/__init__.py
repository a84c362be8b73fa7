"""Distances between data distributions."""
