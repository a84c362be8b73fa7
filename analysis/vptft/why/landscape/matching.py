"""Attention heads of one network put in the order of another's: a barrier made by order alone is none.

A block computes the same whatever the order of its heads, so two equal functions can be far apart in weights, with a
high barrier on the line between them (Entezari et al. 2022). Networks tuned from one pretrained backbone are expected
to keep its order; the number of heads that move says whether they do.
"""

import re
from collections.abc import Mapping

import torch
from scipy.optimize import linear_sum_assignment

from vptft.why.landscape.directions import Point
from vptft.why.landscape.parameters import Vector

_QKV = re.compile(r"(.*\.attn)\.qkv\.weight")


def match_heads(first: Point, second: Point, heads: Mapping[str, int]) -> tuple[Vector, int]:
    """Reorder the heads of ``second`` to resemble ``first`` most; its function stays the same.

    Weight matching (Ainsworth et al. 2023, *Git Re-Basin*, section 3.2) of heads alone: within each attention, the
    permutation with the largest sum of inner products of queries', keys', values' and output weights. Nothing else is
    permuted: tokens keep their width's order along the residual stream, so the best order of each block is exact.

    Parameters
    ----------
    first, second
        Weights by name, of two networks of one shape.
    heads
        Number of heads of each attention, by its name (:func:`heads_of`).

    Returns
    -------
    tuple
        The weights of ``second`` in the new order, and how many heads have moved.
    """
    out, n_moved = dict(second), 0
    for weight_name in first:
        if (match := _QKV.fullmatch(weight_name)) is None or weight_name not in second:
            continue
        name = match[1]
        if (count := heads.get(name)) is None:
            continue
        mine, theirs = (_by_head(point, name, count) for point in (first, second))
        _, order = linear_sum_assignment((mine @ theirs.T).cpu().numpy(), maximize=True)
        n_moved += int((order != range(count)).sum())
        out |= _reordered(second, name, torch.from_numpy(order), count)
    return out, n_moved


def heads_of(model: torch.nn.Module) -> dict[str, int]:
    """Number of heads of every attention whose weights by head are its projections alone, by the name of the module.

    Where a head has more of its own (a table of relative positions, a gate, a norm over all heads), its place cannot be
    changed by the projections: such an attention is left out.
    """
    return {
        name: int(m.num_heads)
        for name, m in model.named_modules()
        if hasattr(m, "num_heads") and hasattr(m, "qkv") and not _has_more(m)
    }


def _has_more(attention: torch.nn.Module) -> bool:
    """Whether an attention has parameters besides its projections and the norms within a head."""
    names = {name.partition(".")[0] for name, _ in attention.named_parameters()}
    return not names <= {"qkv", "proj", "q_norm", "k_norm"}


def _by_head(point: Point, name: str, count: int) -> torch.Tensor:
    """Every weight of each head, ``(heads, n)`` float64."""
    inwards = point[f"{name}.qkv.weight"].unflatten(0, (3, count, -1)).transpose(0, 1).flatten(1)
    outwards = point[f"{name}.proj.weight"].unflatten(1, (count, -1)).transpose(0, 1).flatten(1)
    parts = [inwards, outwards]
    if (bias := point.get(f"{name}.qkv.bias")) is not None:
        parts.append(bias.unflatten(0, (3, count, -1)).transpose(0, 1).flatten(1))
    return torch.cat(parts, dim=1).double()


def _reordered(point: Point, name: str, order: torch.Tensor, count: int) -> Vector:
    out = {
        f"{name}.{kind}": point[f"{name}.{kind}"].unflatten(0, (3, count, -1))[:, order].flatten(0, 2)
        for kind in ("qkv.weight", "qkv.bias")
        if f"{name}.{kind}" in point
    }
    proj = f"{name}.proj.weight"
    return out | {proj: point[proj].unflatten(1, (count, -1))[:, order].flatten(1)}
