"""``gallery``: one page that links every report of a folder."""

from pathlib import Path
from typing import Annotated

import typer

from vptft.cli.options import Json, say, write_json


def gallery(
    folder: Annotated[Path, typer.Argument(help="Folder that holds reports, each in a folder of its own.")] = Path(
        "reports"
    ),
    json: Json = False,
) -> None:
    """Write FOLDER/index.html: every report in it, with what it shows, its command and a picture.

    A report is a folder with an index.html or a README.md; its about.toml may give title, shows, command, picture (an
    SVG or PNG in it) and place, by which reports are ordered.

    Example: `vptft-analyze gallery reports`
    """
    from dataclasses import asdict

    from vptft.report.pages.gallery import build_gallery

    page, entries = build_gallery(folder)
    if json:
        write_json({"page": str(page), "reports": [asdict(entry) for entry in entries]})
    else:
        say(f"{len(entries)} reports")
        typer.echo(str(page))
