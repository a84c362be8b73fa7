"""How every figure looks, and how it is written: one set of settings, no pyplot, the same bytes each time.

Settings start from matplotlib's defaults, never from the user's, and are left as they were found. Sizes are those of
the printed figure. Inside ``with venue("cvpr"):`` figures are drawn for that venue's page; elsewhere for a text 5.5
inches wide, with no letter smaller than 7 points.
"""

import io
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.gridspec import GridSpecBase
from matplotlib.layout_engine import ConstrainedLayoutEngine, PlaceHolderLayoutEngine
from matplotlib.textpath import text_to_path
from matplotlib.transforms import ScaledTranslation

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.storage import atomic_path
from vptft.tuning.methods import called

WIDTH = 5.5
"""Inches of a page's text where no venue is chosen; what is narrower is a column."""
SMALL = 7.0
"""Points; no letter is smaller."""
FONT = "DejaVu Sans"
"""Ships with matplotlib, so every machine draws the same letters."""

CROWDED = 5
"""Methods of a panel whose names still stand at their lines' ends; more are in the legend."""

INK, MUTED, FAINT = "#1f2328", "#5f6670", "#d5d9de"


@dataclass(frozen=True, kw_only=True)
class Venue:
    """A page: inches of one column and of the whole text, points of a caption's letters.

    Attributes
    ----------
    column, text
        The same where a page has one column.
    caption
        Letters in a figure are at most two points smaller.
    """

    column: float
    text: float
    caption: float


VENUES = {
    "neurips": Venue(column=5.5, text=5.5, caption=10.0),
    "iclr": Venue(column=5.5, text=5.5, caption=10.0),
    "icml": Venue(column=3.25, text=6.75, caption=9.0),
    "cvpr": Venue(column=3.28125, text=6.875, caption=9.0),
}
"""Read from the style files. ``neurips_2024.sty``: ``textwidth=5.5in``, captions in its 10 point ``normalsize``.
``iclr2026_conference.sty``: ``textwidth 5.5 true in``, the same letters. ``icml2024.sty``: ``textwidth`` 6.75in less
``columnsep`` 0.25in makes two columns, captions in ``small`` and ``footnotesize``, both 9 points. ``cvpr.sty`` of the
author kit: 6.875in less 0.3125in, captions with ``font=small``, 9 points beside 10 point text."""
PAGE = Venue(column=WIDTH, text=WIDTH, caption=SMALL + 2)
"""Where no venue is chosen."""
_page: ContextVar[Venue] = ContextVar("page", default=PAGE)


@contextmanager
def venue(name: str | None) -> Iterator[None]:
    """Draw everything inside for the page of that venue; None leaves the page as it is.

    Raises
    ------
    SettingsError
        When no venue has this name.
    """
    if name is not None and name not in VENUES:
        raise SettingsError(f"There is no venue {name!r}; known are {', '.join(VENUES)}.")
    before = _page.set(_page.get() if name is None else VENUES[name])
    try:
        yield
    finally:
        _page.reset(before)


def small() -> float:
    """Points of the smallest letter on this page."""
    return max(SMALL, _page.get().caption - 2)


def page_width() -> float:
    """Inches of the page's text."""
    return _page.get().text


def fitting(needed: float) -> float:
    """Inches of a column of this page where ``needed`` inches fit into it, else of its whole text."""
    page = _page.get()
    return page.column if needed <= page.column else page.text


RC: dict[str, Any] = {
    "pdf.fonttype": 42,  # TrueType: conferences refuse Type 3
    "ps.fonttype": 42,
    "svg.hashsalt": "vptft-analyze",
    "svg.fonttype": "path",
    "font.family": [FONT],
    "font.size": 8.0,
    "text.parse_math": False,  # a task's name may hold dollar signs
    "text.color": INK,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "savefig.dpi": 300,
    "savefig.facecolor": "white",
}
SMALL_LETTERS = ("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "figure.labelsize")


@contextmanager
def _settings() -> Iterator[None]:
    with matplotlib.style.context(RC | dict.fromkeys(SMALL_LETTERS, small()), after_reset=True):
        yield


styled = _settings()
"""Decorator: the function runs under these settings and leaves the caller's as they were."""

DATES_OFF: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one method is drawn with everywhere; the colours differ in lightness too, so a grey print can be read."""

    label: str
    colour: str
    marker: str
    linestyle: str = "-"


VPT = Look(label="VPT", colour="#0b3c7d", marker="o")
FT = Look(label="FT", colour="#e0700a", marker="s", linestyle="--")
UNCERTAIN = Look(label="uncertain", colour="#7a7f87", marker="D")

METHODS = {"vpt": VPT, "vpt_deep": VPT, "ft": FT}
SPARE = (("#2fa59e", "^"), ("#801c54", "v"), ("#4f5a08", "P"), ("#9472dd", "X"))
"""Colours of methods that are neither, and the markers they have first."""
ROUNDS = (("^vPX", "-"), ("D<*>", "-."), ("hdp8", ":"))
"""Markers of these colours, and the line that goes with them: more methods than colours are told apart by both."""
_OTHERS = (
    "linear", "mixed", "bias", "lora", "partial_k", "ft_then_pt", "multi_layer_probe", "adapter", "vpt_shallow",
    "pt_then_ft",
)  # fmt: skip
"""Methods in the order of their looks, which stay theirs whatever else is drawn."""


def looks_of(methods: Iterable[str]) -> dict[str, Look]:
    """Give each method its look, VPT first, then FT, then the others by name."""
    names = sorted(set(methods), key=lambda name: (name not in METHODS, name == "ft", name))
    others = [name for name in names if name not in METHODS]
    looks = [
        (colour, markers[i], linestyle) for markers, linestyle in ROUNDS for i, (colour, _) in enumerate(SPARE)
    ]  # fmt: skip
    kept = {name: looks[i] for i, name in enumerate(_OTHERS) if name in others}
    free = itertools.cycle([each for each in looks if each not in kept.values()])
    kept |= {name: next(free) for name in others if name not in kept}
    spare = {
        name: Look(label=printable(called(name)), colour=colour, marker=marker, linestyle=linestyle)
        for name, (colour, marker, linestyle) in kept.items()
    }
    return {name: METHODS.get(name) or spare[name] for name in names}


def new_figure(height: float, width: float | None = None) -> Figure:
    """Make an empty figure of that printed size in inches, as wide as the page's text where no width is given.

    Its layout keeps labels apart and inside.
    """
    return Figure(figsize=(width or page_width(), height), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))


def place(
    ax: Axes | None, *, rows: int, columns: int, height: float, width: float | None = None, **grid: Any
) -> tuple[Figure | SubFigure, GridSpecBase]:
    """Give the grid panels go on: a new figure's, or the place of ``ax`` divided.

    Raises
    ------
    SettingsError
        When ``ax`` stands on no grid and so has no place that could be divided.
    """
    if ax is None:
        figure = new_figure(height, width)
        return figure, figure.add_gridspec(rows, columns, **grid)
    spec = ax.get_subplotspec()
    if spec is None:
        raise SettingsError("This figure has several panels; give an ax made by add_subplot, not by add_axes.")
    ax.set_axis_off()
    return ax.figure, spec.subgridspec(rows, columns, **grid)


def root(figure: Figure | SubFigure) -> Figure:
    """Return the whole figure that ``figure`` is or is part of."""
    return figure.get_figure(root=True)


def table_of(result: Result, *names: str) -> pd.DataFrame:
    """Give a result's table, which must hold these columns and a row."""
    frame = result.frame()
    if missing := [name for name in names if name not in frame]:
        raise SettingsError(f"The table of {result.analysis} lacks the columns {missing}; it has {list(frame)}.")
    if frame.empty:
        raise SettingsError(f"The table of {result.analysis} has no rows, so there is nothing to draw.")
    return frame


@styled
def save_figure(figure: Figure, path: Path, formats: Sequence[str] = ("pdf", "svg", "png")) -> list[Path]:
    """Write ``path`` with each format's suffix added; equal figures give equal bytes.

    Parameters
    ----------
    path
        Without suffix; dots in the name are kept.
    """
    if unknown := sorted(set(formats) - DATES_OFF.keys()):
        raise SettingsError(f"Figures are written as {', '.join(DATES_OFF)}, not as {', '.join(unknown)}.")
    _settle(figure)
    targets = [path.with_name(f"{path.name}.{name}") for name in formats]
    for name, target in zip(formats, targets, strict=True):
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format=name, metadata=DATES_OFF[name])
    return targets


@styled
def to_svg(figure: Figure) -> str:
    """Return the figure as SVG text, letters as outlines."""
    _settle(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata=DATES_OFF["svg"])
    return buffer.getvalue().decode()


@styled
def to_png(figure: Figure, dpi: float = 200) -> bytes:
    """Return the figure as PNG bytes."""
    _settle(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata=DATES_OFF["png"])
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Lay the figure out and keep it so: a layout made anew for each file would differ in the last digits."""
    engine = figure.get_layout_engine()
    # What stands in for an engine that was taken off lays nothing out.
    if not isinstance(engine, PlaceHolderLayoutEngine | None):
        engine.execute(figure)
        engine.execute(figure)  # the second time from where the first left the axes, as two drawings would
        figure.set_layout_engine("none")
        for axes in figure.axes:  # the solver's last digits differ between runs, and names in SVG hang on them
            x, y, width, height = (round(value, 7) for value in axes.get_position(original=True).bounds)
            axes.set_position((x, y, width, height))


def printable(text: str) -> str:
    """Return the text on one line, with what the font cannot show replaced and direction overrides removed.

    A text with letters that run from right to left is marked at both ends, so that it leaves its neighbours in order.
    """
    known = _glyphs()
    plain = " ".join(text.split())
    seen = (character for character in plain if unicodedata.category(character) not in ("Cc", "Cf"))
    shown = "".join(character if ord(character) in known else "\N{REPLACEMENT CHARACTER}" for character in seen)
    if any(unicodedata.bidirectional(character) in ("R", "AL") for character in shown):
        return f"\N{LEFT-TO-RIGHT MARK}{shown}\N{LEFT-TO-RIGHT MARK}"
    return shown


def fitted(text: str, points: float, size: float | None = None) -> str:
    """Return the text as :func:`printable`, its middle left out where it would be wider than ``points``."""
    whole = printable(text)
    if text_width(whole, size) <= points:
        return whole
    for kept in range(min(len(whole), 200), 3, -1):
        short = f"{whole[: kept - kept // 2]}…{whole[-(kept // 2) :]}"
        if text_width(short, size) <= points:
            return short
    return "…"


def text_width(text: str, size: float | None = None) -> float:
    """Width in points of one line, of the smallest letters where no size is given."""
    font = FontProperties(family=FONT, size=size or small())
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width)


def signed(value: float, digits: int = 1) -> str:
    """Return the number with its sign, zero without: ``+3.2``, ``−0.4``, ``0.0``."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def with_interval(value: float, low: float, high: float) -> str:
    """Return ``+3.2 [+1.0, +5.4]``, or ``+3.2`` where there is no interval."""
    return signed(value) if np.isnan([low, high]).any() else f"{signed(value)} [{signed(low)}, {signed(high)}]"


def legend_below(axes: Axes, handles: Sequence[Artist], points: float = 28, columns: int | None = None) -> None:
    """Put a legend that many points below the axes, under tick labels and axis label; one row without ``columns``."""
    offset = ScaledTranslation(0, -points / 72, root(axes.figure).dpi_scale_trans)
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=axes.transAxes + offset,
        ncols=columns or len(handles),
        borderpad=0,
    )


def legend_above(figure: Figure | SubFigure, handles: Sequence[Artist], width: float) -> None:
    """Put a legend above all panels of a figure ``width`` inches wide, in as many columns as fit."""
    figure.legend(
        handles=handles, loc="outside upper center", ncols=legend_columns(handles, width), handlelength=2,
        columnspacing=1.2, borderpad=0.1,
    )  # fmt: skip


def legend_columns(handles: Sequence[Artist], width: float) -> int:
    """How many columns of a legend fit into so many inches."""
    widest = max(text_width(str(handle.get_label())) for handle in handles) + 34
    return max(1, min(len(handles), int(72 * width / widest)))


def dodge(positions: Sequence[float], gap: float, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Move positions apart by at least ``gap``, inside ``[low, high]`` while they fit, keeping their order."""
    order = np.argsort(positions, kind="stable")
    moved = np.asarray(positions, dtype=float)[order]
    steps = gap * np.arange(len(moved))
    upwards = np.maximum.accumulate(moved - steps) + steps
    top = max(high, low + (steps[-1] if len(steps) else 0.0))
    downwards = np.minimum.accumulate((np.minimum(upwards, top) - steps)[::-1])[::-1] + steps
    out = np.empty_like(moved)
    out[order] = np.maximum(downwards, low + steps)
    return out


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap())
