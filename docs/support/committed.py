"""Where the repository keeps runs and results."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
CHECKPOINTS = PROJECT / "checkpoints"
REPORTS = PROJECT / "reports"
