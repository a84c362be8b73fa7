"""Weight drift: how far tuning moved each part of a network, and in how many directions."""

import re

import numpy as np
import pandas as pd
import torch
from torch import nn

from vptft.errors import NotApplicable
from vptft.why.features.subspaces import effective_rank, singular_values, stable_rank

COLUMNS = ("part", "relative_norm", "stable_rank", "effective_rank", "full_rank", "parameters")
_BLOCK = re.compile(r"(?:(?:layers|stages)\.\d+\.)?blocks\.\d+")


def part_of(name: str) -> str:
    """Part of a backbone that a parameter belongs to: its block, or the module it is directly in.

    Examples
    --------
    >>> part_of("blocks.3.attn.qkv.weight"), part_of("pos_embed"), part_of("patch_embed.proj.weight")
    ('block 3', 'embedding', 'embedding')
    """
    if found := _BLOCK.match(name):
        return found[0].replace("blocks.", "block ").replace(".", " ")
    if name.split(".")[0] in ("cls_token", "pos_embed", "patch_embed", "reg_token"):
        return "embedding"
    return name.split(".")[0]


def weight_drift(before: nn.Module, after: nn.Module) -> pd.DataFrame:
    """Compare the weights of a backbone before and after tuning.

    Parameters
    ----------
    before, after
        Backbones of one architecture. Parameters that ``after`` has beside it (adapters) did not move from anywhere and
        are left out; low-rank updates must be merged.

    Returns
    -------
    DataFrame
        One row a part, in the network's order: part, relative_norm (Frobenius norm of the update over that of the
        weights), stable_rank and effective_rank of the update's matrices (means weighted by their squared norm; NaN
        where no matrix moved), full_rank (what the latter could be at most, with the same weights), parameters.

    Raises
    ------
    NotApplicable
        No weight moved, as with prompts or a linear probe.

    Notes
    -----
    Weights say little about the function: a small step along a steep direction changes features more than a large one
    along a flat one, and prompts change features while no weight moves.
    """
    start = dict(before.named_parameters())
    moved = {name: value for name, value in after.named_parameters() if name in start}
    if all(torch.equal(value, start[name]) for name, value in moved.items()):
        raise NotApplicable("This method moves no weight of the backbone.")
    rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for name, value in moved.items():
        old, new = (each.detach().cpu().double().numpy() for each in (start[name], value))
        rows.setdefault(part_of(name), []).append((old, new - old))
    return pd.DataFrame([_row(part, pairs) for part, pairs in rows.items()], columns=list(COLUMNS))


def _row(part: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, object]:
    size, step = (float(sum(np.square(pair[i]).sum() for pair in pairs)) for i in (0, 1))
    updates = [update.reshape(len(update), -1) for _, update in pairs if update.ndim > 1 and np.any(update)]
    updates = [update for update in updates if min(update.shape) > 1]
    spectra = [singular_values(update) for update in updates]
    weights = np.array([float(np.square(spectrum).sum()) for spectrum in spectra])

    def mean(values: list[float]) -> float:
        return float(np.average(values, weights=weights)) if values else float("nan")

    return {
        "part": part, "relative_norm": float(np.sqrt(step / size)) if size else float("nan"),
        "stable_rank": mean([stable_rank(each) for each in spectra]),
        "effective_rank": mean([effective_rank(each) for each in spectra]),
        "full_rank": mean([float(len(each)) for each in spectra]),
        "parameters": sum(old.size for old, _ in pairs),
    }  # fmt: skip
