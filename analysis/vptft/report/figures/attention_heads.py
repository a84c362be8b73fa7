"""What is read in each layer and attention head of one image, VPT beside FT, and how much of it on prompts."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from vptft.errors import SettingsError
from vptft.report.figures.attention import COLOURS
from vptft.report.figures.style import FT, VPT, fitted, place, root, small, styled, table_of
from vptft.why.attention.score_settings import SIDES
from vptft.why.attention.scores import AttentionScores

CELL = 0.34
"""Inches of one map."""
POWER = 0.5


@styled
def draw_attention_heads(result: AttentionScores, *, shown: int = 0, ax: Axes | None = None) -> Figure:
    """Draw one of the shown images: rows are layers, columns heads, one colour scale for all.

    Attention as it is, not divided by its sum: a dark map reads elsewhere. At the right of each row stands the mean
    share of the heads on the layer's prompts, over all images.

    Parameters
    ----------
    result
        Of :func:`vptft.why.attention.scores.measure`.
    shown
        Which of the images that are kept.
    ax
        Where to draw; a new figure where None.
    """
    table_of(result, "image", "outcome")
    if not 0 <= shown < len(result.head_maps):
        raise SettingsError(f"Of {len(result.head_maps)} images shown there is no number {shown}.")
    maps = result.head_maps[shown]
    _, layers, heads = maps.shape[:3]
    figure, grid = place(ax, rows=1, columns=2, height=min(7.5, 0.9 + layers * min(CELL, 2.2 / heads)))
    norm = PowerNorm(POWER, vmin=0, vmax=float(maps.max()))
    share = result.heads.groupby(["side", "layer"])["query_prompt_share"].mean()
    panels = []
    for i, (side, look) in enumerate(zip(SIDES, (VPT, FT), strict=True)):
        axes = figure.add_subplot(grid[i])
        panels.append(axes)
        image = axes.imshow(tiled(maps[i]), cmap=COLOURS, norm=norm, interpolation="nearest")
        tall, wide = maps.shape[3] + 1, maps.shape[4] + 1
        axes.set_xticks([wide * head + wide / 2 - 1 for head in range(heads)], [str(head + 1) for head in range(heads)])
        axes.set_yticks(
            [tall * layer + tall / 2 - 1 for layer in range(layers)], [str(layer + 1) for layer in range(layers)]
        )
        axes.tick_params(length=0, pad=1)
        axes.spines[:].set_visible(False)
        axes.set_title(look.label, color=look.colour, weight="bold", loc="left", pad=3)
        axes.set_xlabel("head", fontsize=small())
        if i == 0:
            axes.set_ylabel("layer (1 is nearest to the image)", fontsize=small())
        for layer in range(layers):
            axes.annotate(
                f"{share[side, layer]:.2f}", (wide * heads, tall * layer + tall / 2 - 1), va="center", fontsize=small(),
                annotation_clip=False,
            )  # fmt: skip
    bar = figure.colorbar(image, ax=panels, location="bottom", fraction=0.03, pad=0.02, aspect=40)
    bar.set_label("attention to a patch; at the right: share on the layer's prompts", fontsize=small())
    names = list(result.images()["image"])
    at = int(result.drawn[shown])
    said = f"{result.task}, {names[at]}: {result.outcome_of(at)}"
    figure.suptitle(fitted(said, 380), fontsize=small(), x=0.01, ha="left")
    return root(figure)


def tiled(maps: np.ndarray) -> np.ndarray:
    """Put maps ``(layers, heads, h, w)`` side by side in one array, NaN between two of them."""
    layers, heads, height, width = maps.shape
    out = np.full((layers, height + 1, heads, width + 1), np.nan)
    out[:, :height, :, :width] = maps.transpose(0, 2, 1, 3)
    return out.reshape(layers * (height + 1), heads * (width + 1))[:-1, :-1]
