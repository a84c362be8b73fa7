"""Figures of examples: the package draws without pyplot, so sphinx-gallery's own scraper would not see them."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vptft.report.figures.style import WIDTH, to_png

PICTURE = """
.. container:: drawn

   .. image:: /{path}
      :alt: Figure {number} of the page {page}, made by the code above.
      :width: {width}%
"""


def figures(block: tuple[Any, ...], block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Write every figure that this block bound to a name, once, as wide as it would be printed."""
    drawn = block_vars["example_globals"].setdefault("_drawn", [])
    rst = ""
    for value in list(block_vars["example_globals"].values()):
        if not isinstance(value, Figure) or any(value is each for each in drawn):
            continue
        drawn.append(value)
        path = Path(next(block_vars["image_path_iterator"]))
        path.write_bytes(to_png(value))
        rst += PICTURE.format(
            path=path.relative_to(gallery_conf["src_dir"]).as_posix(), number=len(drawn),
            page=Path(block_vars["src_file"]).stem, width=min(100, round(100 * value.get_figwidth() / WIDTH)),
        )  # fmt: skip
    return rst
