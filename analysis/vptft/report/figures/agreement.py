"""Whether feature spaces agree on which sets are far: ranks side by side, a line a set."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vptft.errors import SettingsError
from vptft.report.figures.style import FAINT, INK, MUTED, fitted, page_width, place, root, small, styled, text_width
from vptft.when.distribution.agreement import EXACT, agreement_of, distances_by_set
from vptft.when.distribution.distance import SetDistance

ACCENTS = ("#801c54", "#2fa59e", "#7a7a10", "#7436bd")
"""In turn, for the sets that stand out, so that their lines can be told apart where they cross."""
ROW = 0.165
"""Inches a set takes."""
NAME = 88.0
"""Points a set's name may take, on each side."""
APART = 62.0
"""Points between two spaces at least."""
Bracket = tuple[int, int, str]


@styled
def draw_agreement(results: Sequence[SetDistance], *, reference: str | None = None, ax: Axes | None = None) -> Figure:
    """Draw each set's rank by debiased distance in every feature space, with rho and p of every two spaces below.

    Ranks are among the sets that were measured in all spaces. Sets that move by a quarter of the ranks or more, at
    least by two, stand out. More than four spaces make the figure wider than a page's text.

    Parameters
    ----------
    results
        Of one reference, in two spaces or more; of others none is drawn.
    reference
        The set distances are from; None for the first result's first set.
    ax
        Where to draw; a new figure where None.

    Raises
    ------
    SettingsError
        When there are fewer than two spaces, or fewer than two sets in all of them.
    """
    if not results:
        raise SettingsError("There is no distance to rank.")
    reference = results[0].first if reference is None else reference
    values = distances_by_set(results, reference)
    whole = values.dropna()
    if whole.shape[1] < 2 or len(whole) < 2:
        raise SettingsError(
            f"Agreement needs two sets or more in two spaces or more; in all of {list(values)} there are "
            f"{len(whole)} of {len(values)} sets."
        )
    ranks = whole.rank(method="first").astype(int)
    longest = max(text_width(fitted(name, NAME)) for name in whole.index)
    apart = max((72 * page_width() - 2 * longest - 30) / (ranks.shape[1] - 1), APART)
    levels = _levels(_brackets(whole, apart))
    lines = 1 + levels[0][0][2].count("\n")
    tall = 0.6 + 0.8 * lines  # ranks that a row of brackets takes
    figure, grid = place(
        ax, rows=1, columns=1, height=0.85 + ROW * (len(ranks) + tall * len(levels) + 0.6),
        width=max((apart * (ranks.shape[1] - 1) + 2 * longest + 30) / 72, page_width()),
    )  # fmt: skip
    axes = figure.add_subplot(grid[0])
    _frame(axes, ranks, len(ranks) + tall * len(levels) + 0.9)
    axes.set_xticks(range(ranks.shape[1]), [_column(str(name), apart - 6) for name in ranks])
    far = max(2, -(-len(ranks) // 4))
    stands_out = ranks.max(axis=1) - ranks.min(axis=1) >= far
    accents = cycle(ACCENTS)
    for name in ranks.index[np.argsort(ranks.iloc[:, 0])]:
        _line(axes, str(name), ranks.loc[name].to_numpy(), accent=next(accents) if stands_out[name] else None)
    for i, level in enumerate(levels):
        _draw_brackets(axes, level, len(ranks) + 1.1 + tall * i)
    axes.set_xlabel(_said(len(whole), len(values), reference, far=far if stands_out.any() else None))
    return root(figure)


def _column(measure_name: str, points: float) -> str:
    """Break a measure's name before what is in brackets, and fit both lines."""
    kind, _, rest = measure_name.partition(" ")
    return "\n".join(fitted(part, points) for part in (kind, rest) if part)


def _brackets(whole: pd.DataFrame, apart: float) -> list[Bracket]:
    """Give columns and text of every two spaces, the nearest first; the text in two lines where columns are close."""
    columns = list(whole)
    found = [
        (columns.index(row["first_space"]), columns.index(row["second_space"]), _rho(row["rho"]), _p(row["p"]))
        for row in agreement_of(whole).to_dict("records")
    ]
    fits = max(text_width(f"{rho}, {p}") for _, _, rho, p in found) <= apart - 8
    return sorted(
        ((i, j, f"{rho}, {p}" if fits else f"{rho}\n{p}") for i, j, rho, p in found), key=lambda b: (b[1] - b[0], b)
    )


def _levels(brackets: Sequence[Bracket]) -> list[list[Bracket]]:
    """Put brackets into rows, each into the first where it covers no other."""
    levels: list[list[Bracket]] = []
    for start, end, said in brackets:
        for level in levels:
            if all(end <= other_start or other_end <= start for other_start, other_end, _ in level):
                level.append((start, end, said))
                break
        else:
            levels.append([(start, end, said)])
    return levels


def _frame(axes: Axes, ranks: pd.DataFrame, bottom: float) -> None:
    """Name spaces on top and sets at both sides, each in its order there."""
    columns = np.arange(ranks.shape[1])
    axes.set_xlim(-0.03 * columns[-1], 1.03 * columns[-1])
    axes.set_ylim(bottom, 0.4)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_yticks([])
    axes.vlines(columns, 1, len(ranks), color=FAINT, linewidth=0.8, zorder=1)


def _line(axes: Axes, name: str, ranks: np.ndarray, *, accent: str | None) -> None:
    """Draw one set's ranks and its name at both ends."""
    axes.plot(
        np.arange(len(ranks)), ranks, "-o", color=accent or MUTED, linewidth=1.8 if accent else 0.8, markersize=4,
        markeredgecolor="white", markeredgewidth=0.6, zorder=3 if accent else 2, label=name, clip_on=False,
    )  # fmt: skip
    for x, y, side in ((-0.01, ranks[0], "right"), (1.01, ranks[-1], "left")):
        axes.text(
            x, y, fitted(name, NAME), ha=side, va="center", fontsize=small(), color=accent or INK,
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip


def _draw_brackets(axes: Axes, level: Sequence[Bracket], y: float) -> None:
    for start, end, said in level:
        left, right = start + 0.04, end - 0.04
        axes.plot([left, left, right, right], [y - 0.25, y, y, y - 0.25], color=MUTED, linewidth=0.7)
        axes.text((left + right) / 2, y + 0.15, said, ha="center", va="top", fontsize=small())


def _said(n: int, of: int, reference: str, *, far: int | None) -> str:
    """Say below what is ranked, what rho is over, and what stands out."""
    ranked = f"ranks by debiased distance to {fitted(reference, 120, 8)}, nearest on top"
    moved = "" if far is None else f"; coloured: moves by {far} or more"
    left_out = "" if n == of else f" that are in all spaces, of {of}"
    p = "by all permutations" if n <= EXACT else "by Student's t"
    return f"{ranked}{moved}\nSpearman's ρ over n = {n} sets{left_out}; two-sided p {p}"


def _rho(rho: float) -> str:
    return "ρ undefined" if np.isnan(rho) else f"ρ = {rho:.2f}".replace("-", "−")


def _p(p: float) -> str:
    if np.isnan(p):
        return "no p"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
