"""One self-contained page of a saved study: no network, no script, the same bytes each time."""

from pathlib import Path

import jinja2

from vptft.report.figures.style import save_figure
from vptft.report.pages.shapes import shapes
from vptft.report.pages.study import Study, load_study
from vptft.report.sections.parts import Context, Picture
from vptft.storage import write_text


def build_page(results: Path, out: Path, *, title: str, figures: Path | None = None) -> Path:
    """Write the page of the study saved in ``results``.

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

    Returns
    -------
    Path
        ``out``.
    """
    study = load_study(results)
    drawn = pictures(study)
    if figures is not None:
        for picture in (picture for each in drawn.values() for picture in each):
            save_figure(picture.figure, figures / picture.name)
    write_text(out, template("page.html.j2").render(title=title, **shapes(study, drawn)))
    return out


def pictures(study: Study) -> dict[str, list[Picture]]:
    """Draw what there are results for, by the key of the analysis."""
    context = Context(facts=study.facts, others=study.found)
    return {
        each.key: list(each.pictures(study.of(each.key), context)) if study.of(each.key) else [] for each in study.shown
    }


OVERRIDES = dict.fromkeys((*range(0x202A, 0x202F), 0x2066, 0x2067))
"""Characters that force a direction on all that follows; a name must not reach beyond itself."""


def _shown(value: object) -> object:
    return value.translate(OVERRIDES) if isinstance(value, str) else value


def template(name: str) -> jinja2.Template:
    """Return one of the templates beside this module; all text given to it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
