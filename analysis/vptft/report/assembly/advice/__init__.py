"""Advice, from disk: what is measured of a task, what runs and printed tables tell of others, and the result."""
