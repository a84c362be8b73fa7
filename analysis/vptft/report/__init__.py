"""Results in, files out: figures and pages."""
