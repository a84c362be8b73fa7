"""Where an artefact came from: command, versions, commit, machine."""

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("vptft-analyze", "torch", "timm", "numpy", "scipy", "scikit-learn", "matplotlib", "pandas")


def provenance() -> dict[str, object]:
    """What a reader needs to make an artefact again. Holds no time of day: a second run gives the same bytes."""
    return {
        "command": command_line(),
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }


def command_line() -> str:
    """Return the command as typed, the program by its name alone."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def _commit() -> str | None:
    """Commit of the source tree, when the package runs from one; ``-dirty`` where files differ from it."""
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() if tracked.returncode == 0 else None
