"""One self-contained page of a saved study: no network, one script of its own, the same bytes each time."""

import base64
import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from vptft.report.figures.style import save_figure, venue
from vptft.report.pages.shapes import OVERRIDES, shapes
from vptft.report.pages.study import Study, load_study
from vptft.report.sections.parts import Context, Picture
from vptft.storage import write_text

MOST_BYTES = 15 * 2**20
"""Up to so many a page holds all its figures whole; a larger one shows small ones that open the files beside it."""


def build_page(results: Path, out: Path, *, title: str, figures: Path | None = None, page: str | None = None) -> Path:
    """Write the page of the study saved in ``results``, and where it is large another with every figure whole in it.

    A page of more than :data:`MOST_BYTES` whose figures have files shows thumbnails that lead to these, and
    :func:`whole_page` holds what it would have been.

    Parameters
    ----------
    results
        Folder with ``study.json`` and the results, as the quickstart lays them out.
    out
        The HTML file; replaced whole or not at all.
    title
        Its heading.
    figures
        Folder that takes every figure as PDF, SVG and PNG too; None for the page alone.
    page
        Venue for whose page those are drawn (:data:`vptft.report.figures.style.VENUES`); None draws as on the screen.

    Returns
    -------
    Path
        ``out``.
    """
    study = load_study(results)
    drawn = pictures(study)
    if figures is not None:
        with venue(page):
            printed = pictures(study) if page else drawn
            for picture in (picture for each in printed.values() for picture in each):
                save_figure(picture.figure, figures / picture.name)
    text = _text(study, drawn, title, saved=None if page else figures)
    whole = whole_page(out)
    whole.unlink(missing_ok=True)
    if figures is not None and len(text.encode()) > MOST_BYTES:
        write_text(whole, text)
        text = _text(study, drawn, title, files=quote(Path(os.path.relpath(figures, out.parent)).as_posix()))
    write_text(out, text)
    return out


def whole_page(page: Path) -> Path:
    """Where the self-contained version of a large page lies; it is there for large ones alone."""
    return page.with_name(f"{page.stem}-whole{page.suffix}")


def _text(
    study: Study,
    drawn: Mapping[str, Sequence[Picture]],
    title: str,
    *,
    files: str | None = None,
    saved: Path | None = None,
) -> str:
    given = shapes(study, drawn, files=files, saved=saved)
    controls = {widget.kind for section in given["sections"] for widget in section.widgets}
    return template("page.html.j2", controls).render(title=title, **given)


def pictures(study: Study) -> dict[str, list[Picture]]:
    """Draw what there are results for, by the key of the analysis."""
    context = Context(facts=study.facts, others=study.found)
    return {
        each.key: list(each.pictures(study.of(each.key), context)) if study.of(each.key) else [] for each in study.shown
    }


def script(controls: Collection[str] = ()) -> str:
    """The one script of a page, which may run by its hash alone: what all pages need, and their controls."""
    names = ["page", "tables", *sorted(controls), "start"]
    files = [(Path(__file__).parent / "scripts" / f"{name}.js").read_text(encoding="utf-8") for name in names]
    return '\n"use strict";\n(() => {\n' + "\n".join(files) + "})();\n"


def _shown(value: object) -> object:
    return value.translate(OVERRIDES) if isinstance(value, str) else value


def template(name: str, controls: Collection[str] = ()) -> jinja2.Template:
    """Return one of the templates beside this module, with its controls; all text given to it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = script(controls)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    environment.globals |= {"script": Markup(text), "script_hash": f"sha256-{digest}"}
    return environment.get_template(name)
