"""Simulations of what the documentation claims."""
