"""Statistics of paired and dependent outcomes: each question one module, used by every analysis."""
