"""One page that links every report of a folder: what it shows, how it is made, and a picture of it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vptft.errors import StorageError
from vptft.report.pages.page import template
from vptft.storage import read_json, write_text

ABOUT = "about.toml"
PAGES = ("index.html", "README.md")
"""What a report is read in; the first that is there."""
PROVENANCE = (("provenance.json", ()), ("results/provenance.json", ()), ("results/study.json", ("provenance",)))
"""Where a report says where it came from: file, and keys down to it."""
PICTURES = (".svg", ".png")
LAST = 10**6
"""Place of a report that names none."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One report of the gallery.

    Attributes
    ----------
    name
        Of its folder.
    title, shows, command
        As its ``about.toml`` says; the name of the folder, nothing, and the command of its provenance where it does
        not.
    page, picture
        Links from the gallery, quoted; ``picture`` is empty where there is none.
    made
        By which version, of which commit; empty where it says nothing of that.
    """

    name: str
    title: str
    shows: str
    command: str
    page: str
    picture: str
    made: str


def build_gallery(folder: Path) -> tuple[Path, list[Entry]]:
    """Write ``folder/index.html``, the same bytes each time; give it, and what it links.

    Raises
    ------
    StorageError
        When no folder in ``folder`` holds a report, or an ``about.toml`` cannot be read.
    """
    entries = find_entries(folder)
    if not entries:
        raise StorageError(
            f"No report in {folder}.", f"A report is a folder with {' or '.join(PAGES)}, such as quickstart makes."
        )
    page = folder / "index.html"
    write_text(page, template("gallery.html.j2").render(title="Reports of vptft-analyze", entries=entries))
    return page, entries


def find_entries(folder: Path) -> list[Entry]:
    """Look for reports in the folders of ``folder``: by the ``place`` in their ``about.toml``, then by name."""
    found = []
    for each in folder.iterdir() if folder.is_dir() else ():
        page = next((name for name in PAGES if (each / name).is_file()), None)
        if page and not each.name.startswith(".") and not each.is_symlink():
            about = _about(each / ABOUT)
            found.append((about.get("place", LAST), each.name, _entry(each, page, about)))
    return [entry for _, _, entry in sorted(found, key=lambda item: item[:2])]


def _about(path: Path) -> dict[str, Any]:
    """Read title, shows, command, picture (texts) and place (a number); all may be missing."""
    if not path.is_file():
        return {}
    try:
        about = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise StorageError(f"{path} could not be read as TOML: {error}") from error
    kinds = {"title": str, "shows": str, "command": str, "picture": str, "place": int}
    for key, value in about.items():
        if key not in kinds:
            raise StorageError(f"{path} has no {key!r}; it takes {', '.join(kinds)}.")
        if not isinstance(value, kinds[key]):
            raise StorageError(f"{path}: {key} must be a {kinds[key].__name__}, got {value!r}.")
    return about


def _entry(folder: Path, page: str, about: Mapping[str, Any]) -> Entry:
    came = _provenance(folder)
    picture = _picture(folder, about.get("picture"))
    return Entry(
        name=folder.name,
        title=about.get("title", folder.name),
        shows=about.get("shows", ""),
        command=about.get("command", str(came.get("command") or "")),
        page=f"{quote(folder.name)}/{page}",
        picture=f"{quote(folder.name)}/{quote(picture)}" if picture else "",
        made=_made(came),
    )


def _picture(folder: Path, named: str | None) -> str:
    """Path of the picture inside the folder; the first figure where none is named."""
    if named is None:
        figures = sorted(path for path in (folder / "figures").glob("*") if path.suffix in PICTURES)
        return f"figures/{figures[0].name}" if figures else ""
    path = folder / named
    if path.suffix not in PICTURES or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise StorageError(f"{folder / ABOUT}: {named!r} is no SVG or PNG in that folder.")
    return named


def _provenance(folder: Path) -> Mapping[str, Any]:
    for name, keys in PROVENANCE:
        if (folder / name).is_file():
            found = read_json(folder / name)
            for key in keys:
                found = found.get(key, {}) if isinstance(found, dict) else {}
            return found if isinstance(found, dict) else {}
    return {}


def _made(came: Mapping[str, Any]) -> str:
    versions = came.get("versions")
    version = versions.get("vptft-analyze") if isinstance(versions, dict) else None
    commit = f"commit {came['commit']}" if came.get("commit") else ""
    return ", ".join(filter(None, [f"vptft-analyze {version}" if version else "", commit]))
