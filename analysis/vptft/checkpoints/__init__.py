"""Runs on disk: our own format, and (one module each) readers of others'."""
