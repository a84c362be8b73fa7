"""From one attention matrix a head to one a layer: mean, maximum or minimum of the heads; weak entries dropped.

All of it row by row, and each row sums to 1 afterwards. Peers drop the smallest entries of the whole matrix, which
empties the rows of tokens that attend evenly, and divide columns by the sums of rows.
"""

from typing import Literal, get_args

import torch

from vptft.errors import SettingsError
from vptft.models.layout import TokenLayout

Fusion = Literal["mean", "max", "min"]


def fuse_heads(probabilities: torch.Tensor, layout: TokenLayout, fusion: Fusion = "mean") -> torch.Tensor:
    """Fuse attention ``(B, heads, rows, T)`` to ``(B, rows, T)`` with rows that sum to 1.

    The mean does by itself. The largest or smallest head of each entry is divided by its row's sum: a step of a walk
    that follows whichever head cares most, or goes only where all heads go. A row without any entry stays where it is.

    Raises
    ------
    SettingsError
        Another word for ``fusion``.
    """
    if fusion == "mean":
        return probabilities.mean(dim=1)
    if fusion not in get_args(Fusion):
        raise SettingsError(f"Heads are fused by {', '.join(get_args(Fusion))}, not {fusion!r}.")
    most = probabilities.amax(dim=1) if fusion == "max" else probabilities.amin(dim=1)
    return rows_to_one(most, layout)


def discarded(rows: torch.Tensor, layout: TokenLayout, ratio: float) -> torch.Tensor:
    """Drop the smallest entries of each row of ``(B, rows, T)``, and divide the others by their sum.

    Parameters
    ----------
    rows
        Fused attention.
    layout
        Token positions.
    ratio
        Share of a row's entries that go, rounded down. The cls token's and the row's own never do, so with a ratio
        near 1 they are all that is left.
    """
    if not 0 <= ratio < 1:
        raise SettingsError(f"The discard ratio must lie in [0, 1), got {ratio}.")
    if not ratio:
        return rows
    guarded = rows.clone()
    guarded[..., layout.cls] = torch.inf
    own = own_columns(rows, layout)
    guarded[:, torch.arange(len(own)), own] = torch.inf
    count = int(ratio * rows.shape[-1])
    if not count:
        return rows
    smallest = guarded.topk(count, dim=-1, largest=False).indices
    left = torch.where(guarded.isinf(), rows, rows.scatter(-1, smallest, 0))
    return rows_to_one(left, layout)


def rows_to_one(rows: torch.Tensor, layout: TokenLayout) -> torch.Tensor:
    """Divide rows ``(B, rows, T)`` of entries not below 0 by their sum; a row of zeros becomes 1 at its own token."""
    total = rows.sum(dim=-1, keepdim=True)
    own = torch.zeros_like(rows[0])
    own[torch.arange(rows.shape[1]), own_columns(rows, layout)] = 1
    return torch.where(total > 0, rows / total.where(total > 0, 1), own)


def own_columns(rows: torch.Tensor, layout: TokenLayout) -> torch.Tensor:
    """Column of each row's own token, ``(rows,)``, in attention among all tokens or the kept ones."""
    n_rows, n_columns = rows.shape[-2:]
    own = layout.kept if n_rows == layout.n_kept and n_columns == layout.n_tokens else torch.arange(n_rows)
    return own.to(rows.device)
