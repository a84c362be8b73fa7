"""The page as PDF, printed by a browser: the same content, with vector figures."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from vptft.errors import VptftError
from vptft.storage import atomic_path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 300


def browser() -> str | None:
    """Return the browser that prints: the one ``CHROMIUM`` names, or the first on the path."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


def print_page(page: Path, out: Path) -> Path:
    """Print an HTML file to ``out``; replaced whole or not at all. Nothing is fetched: the page holds everything.

    Raises
    ------
    VptftError
        There is no browser, or it failed.
    """
    program = browser()
    if program is None:
        raise VptftError(
            "There is no browser to print the page with.",
            "Install chromium, or name one: CHROMIUM=/path/to/chrome; or print index.html from yours.",
        )
    with tempfile.TemporaryDirectory() as profile, atomic_path(out) as target:
        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
            f"--user-data-dir={profile}", f"--print-to-pdf={target}", page.resolve().as_uri(),
        ]  # fmt: skip
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise VptftError(f"{program} could not print the page: {error}") from error
        if not target.is_file() or not target.stat().st_size:
            raise VptftError(f"{program} printed nothing.")
    return out
