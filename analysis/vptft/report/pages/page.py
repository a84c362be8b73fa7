"""One self-contained page of a saved study: no network, no script, the same bytes each time."""

from pathlib import Path

import jinja2

from vptft.report.figures.style import save_figure
from vptft.report.pages.gallery import pictures
from vptft.report.pages.shapes import shapes
from vptft.report.pages.study import load_study
from vptft.storage import write_text


def build_page(results: Path, out: Path, *, title: str) -> Path:
    """Write the page of the study saved in ``results``.

    Parameters
    ----------
    results
        Folder with ``study.json`` and the results, as the quickstart lays them out.
    out
        The HTML file; replaced whole or not at all.
    title
        Its heading.

    Returns
    -------
    Path
        ``out``.
    """
    study = load_study(results)
    write_text(out, _template().render(title=title, **shapes(study)))
    return out


def save_figures(results: Path, out: Path) -> list[Path]:
    """Write every figure of the page as PDF, SVG and PNG into the folder ``out``; give the files."""
    return [
        path for picture in pictures(load_study(results)) for path in save_figure(picture.figure, out / picture.name)
    ]


OVERRIDES = dict.fromkeys((*range(0x202A, 0x202F), 0x2066, 0x2067))
"""Characters that force a direction on all that follows; a name must not reach beyond itself."""


def _shown(value: object) -> object:
    return value.translate(OVERRIDES) if isinstance(value, str) else value


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2")
