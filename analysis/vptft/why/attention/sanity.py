"""Whether a map depends on what the model learned, and on the class it is said to explain.

*Weights* (Adebayo et al. 2018, section 3.1, cascading randomisation): from the head downwards, block after block, each
tensor's entries are put in random order, which keeps its scale and destroys what it says. A map of the model should
become another map. *Class* (Sixt et al. 2020, random logit): a map for another class should be another map. *Labels*
(Adebayo et al., section 3.2): a model that was trained on labels in random order, where there is one, should give
another map.
"""

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from vptft.models.prompts import Prompts
from vptft.models.tuned import TunedModel
from vptft.why.attention.agreement import spearman

WEIGHTS_KEPT = 0.5
"""Mean rank correlation with itself, every weight at random, from which on a kind of map ignores the weights."""
CLASS_KEPT = 0.9
"""Mean rank correlation with the map of another class from which on a kind of map ignores the class."""
CHANGES = ("weights", "labels", "class")
"""What is changed that a map of this model should follow."""
RULE = (
    f"A kind of map fails where its mean rank correlation with the original is {WEIGHTS_KEPT:g} or more after all "
    f"weights are put in random order, or with that of a model trained on permuted labels where there is one; or "
    f"{CLASS_KEPT:g} or more with the map of another class."
)

Explain = Callable[[TunedModel, torch.Tensor, np.ndarray], Mapping[str, np.ndarray]]
"""Maps ``(n, h, w)`` by kind, of a model, images and the class of each that is explained."""


def check(
    model: TunedModel,
    images: torch.Tensor,
    target: np.ndarray,
    explain: Explain,
    *,
    n_classes: int,
    permuted: TunedModel | None = None,
    depths: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    seed: int = 0,
) -> pd.DataFrame:
    """Compare each kind of map with itself under random weights, and with itself for another class.

    Parameters
    ----------
    model, images, target
        As ``explain`` takes them; a sample of images is enough for a mean.
    explain
        Gives the maps.
    n_classes
        Classes another can be drawn from.
    permuted
        The same kind of model, trained on labels in random order; None where there is none.
    depths
        Shares of the blocks that are at random, from the top; the head always is, and at 1 the embedding too.
    seed
        Of the random orders and of the other class.

    Returns
    -------
    DataFrame
        A row a kind and comparison: map, changed (``weights``, ``labels`` or ``class``), depth (share of blocks;
        else NaN), similarity (mean rank correlation with the original; two flat maps are alike, a flat one and another
        are not), n (images).
    """
    original = explain(model, images, target)
    rows = []
    for depth in depths:
        changed = explain(randomised(model, depth, seed=seed), images, target)
        rows += [_row(kind, "weights", depth, original[kind], changed[kind]) for kind in original]
    if permuted is not None:
        of_noise = explain(permuted, images, target)
        rows += [_row(kind, "labels", float("nan"), original[kind], of_noise[kind]) for kind in original]
    if n_classes > 1:
        step = np.random.default_rng(seed).integers(1, n_classes, size=len(target))
        other = explain(model, images, (target + step) % n_classes)
        rows += [_row(kind, "class", float("nan"), original[kind], other[kind]) for kind in original]
    return pd.DataFrame(rows)


def failures(table: pd.DataFrame) -> dict[str, str]:
    """What each kind of map fails by :data:`RULE`, by kind: some of :data:`CHANGES` by commas, or empty."""
    out = {}
    for kind, rows in table.groupby("map", sort=False):
        last = rows[(rows["changed"] == "weights") & (rows["depth"] == rows["depth"].max())]["similarity"]
        labels, other = (rows[rows["changed"] == name]["similarity"] for name in ("labels", "class"))
        kept = {"weights": last >= WEIGHTS_KEPT, "labels": labels >= WEIGHTS_KEPT, "class": other >= CLASS_KEPT}
        failed = [name for name in CHANGES if kept[name].any()]
        out[str(kind)] = ", ".join(failed)
    return out


@torch.no_grad()
def randomised(model: TunedModel, depth: float, *, seed: int = 0) -> TunedModel:
    """Copy of the model whose head and top blocks have their entries in random order; prompts go with their block.

    Parameters
    ----------
    model
        A plain vision transformer with or without prompts.
    depth
        Share of the blocks, from the top; with 1 the patch and position embedding and all else goes too.
    seed
        Each tensor has an order of its own.
    """
    out = copy.deepcopy(model)
    blocks = list(out.vit.blocks)
    first = len(blocks) - round(depth * len(blocks))
    chosen = list(out.head.parameters())
    if depth >= 1:
        chosen = list(out.parameters())
    elif first < len(blocks):
        chosen += [*out.vit.norm.parameters(), *(p for block in blocks[first:] for p in block.parameters())]
    generator = torch.Generator().manual_seed(seed)
    for parameter in chosen:
        flat = parameter.flatten()
        parameter.copy_(flat[torch.randperm(len(flat), generator=generator)].view_as(parameter))
    if depth < 1 and isinstance(out.prompts, Prompts) and not out.prompts.spec.shared:
        for row, layer in enumerate(out.prompts.spec.layers):
            if layer >= first:
                values = out.prompts.tokens[row].flatten()
                shuffled = values[torch.randperm(len(values), generator=generator)]
                out.prompts.tokens[row].copy_(shuffled.view_as(out.prompts.tokens[row]))
    return out.eval()


def _row(kind: str, changed: str, depth: float, original: np.ndarray, new: np.ndarray) -> dict[str, object]:
    flat = [np.ptp(maps.reshape(len(maps), -1), axis=1) == 0 for maps in (original, new)]
    found = np.where(flat[0] & flat[1], 1.0, np.nan_to_num(spearman(original, new)))
    return {"map": kind, "changed": changed, "depth": depth, "similarity": float(found.mean()), "n": len(found)}
