"""What prompts write into the other tokens: the difference that they make, layer by layer."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from vptft.errors import NotApplicable
from vptft.features.layers import BATCH, Where, kinds_in, layout_of
from vptft.models.tuned import TunedModel
from vptft.why.features.collapse import class_means

COLUMNS = (
    "layer", "kind", "relative_norm", "common_share", "on_classes", "on_classes_by_chance", "on_classes_of_tokens",
)  # fmt: skip
PERMUTATIONS = 5


class _Sums(NamedTuple):
    """Squared norms of tokens and differences, summed over images and positions; both averaged over positions."""

    tokens: float
    difference: float
    plain: np.ndarray
    written: np.ndarray


def written_by_prompts(
    model: TunedModel, images: torch.Tensor, labels: np.ndarray, groups: np.ndarray, *, seed: int = 0
) -> pd.DataFrame:
    """Compare tokens with and without the prompts, all other weights being the same.

    Parameters
    ----------
    model
        With prompts, in evaluation mode.
    images
        Normalised, ``(n, 3, H, W)``.
    labels, groups
        Classes and dependence groups ``(n,)``: class directions come from half of the groups, and what is written is
        held against them on the other half.
    seed
        Of the halves and permutations.

    Returns
    -------
    DataFrame
        One row a layer and kind (cls, patches): layer, kind; relative_norm (root mean square of the difference over
        that of the tokens without prompts, over images and positions); common_share (share of the squared difference
        that is the same for every image: an offset rather than an answer); on_classes (share of the rest that lies in
        the subspace of the class means of the tokens without prompts), on_classes_by_chance (the same with labels
        permuted), on_classes_of_tokens (the same share of the tokens themselves).

    Raises
    ------
    NotApplicable
        The model has no prompts, or is no plain vision transformer.

    Notes
    -----
    The difference in layer l is what all prompts up to there did, by way of the layers between. Means over patches
    stand for patches where classes are concerned. A share on classes above chance says that prompts act along
    directions in which pretrained tokens of these classes differ already; directions that prompts made new are not
    among them, so a low share is no sign of uselessness.
    """
    if model.prompts is None:
        raise NotApplicable("This model has no prompts, so they write nothing.")
    plain = TunedModel(model.backbone, n_classes=1).eval()
    if len(np.unique(groups)) < 2:
        raise NotApplicable("All images are of one group, so no half can judge directions that the other tells.")
    rng = np.random.default_rng(seed)
    learnt = _half(groups, rng)
    rows = []
    for where, sums in _differences(model, plain, images).items():
        size = np.square(sums.written).sum(axis=1).mean()
        common = np.square(sums.written.mean(axis=0)).sum() / size if size else np.nan
        basis = _class_directions(sums.plain[learnt], labels[learnt])
        chance = [
            _share(sums.written[~learnt], _class_directions(sums.plain[learnt], rng.permutation(labels[learnt])))
            for _ in range(PERMUTATIONS)
        ]
        rows.append((
            where.layer, where.kind, float(np.sqrt(sums.difference / sums.tokens)), float(common),
            _share(sums.written[~learnt], basis), float(np.mean(chance)), _share(sums.plain[~learnt], basis),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


@torch.inference_mode()
def _differences(model: TunedModel, plain: TunedModel, images: torch.Tensor) -> dict[Where, _Sums]:
    parts: dict[Where, list[_Sums]] = {}
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        without = plain.tokens(batch)
        for layer, tokens in model.tokens(batch).items():
            here = layout_of(model, tokens)
            base = without[layer].double()
            kept = (here.split(tokens) if here.n_prompts else tokens).double() - base
            for kind, at in kinds_in(here.without_prompts()).items():
                parts.setdefault(Where(layer, kind), []).append(
                    _Sums(
                        tokens=float(base[:, at].square().sum()), difference=float(kept[:, at].square().sum()),
                        plain=base[:, at].mean(dim=1).numpy(), written=kept[:, at].mean(dim=1).numpy(),
                    )
                )  # fmt: skip
    return {
        where: _Sums(
            tokens=sum(part.tokens for part in each), difference=sum(part.difference for part in each),
            plain=np.concatenate([part.plain for part in each]),
            written=np.concatenate([part.written for part in each]),
        )
        for where, each in parts.items()
    }  # fmt: skip


def _half(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """About half of the groups, ``(n,)`` bool."""
    names = np.unique(groups)
    return np.isin(groups, rng.permutation(names)[: len(names) // 2])


def _class_directions(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Orthonormal basis ``(C - 1, d)`` of the span of the class means about their centre."""
    means = np.stack(list(class_means(x, labels).values()))
    return np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2][: len(means) - 1]


def _share(x: np.ndarray, basis: np.ndarray) -> float:
    """Share of the variance of ``x`` in the span of a basis; NaN where there is none of either."""
    if not len(basis):
        return float("nan")
    centred = x - x.mean(axis=0)
    total = float(np.square(centred).sum())
    return float(np.square(centred @ basis.T).sum()) / total if total else float("nan")
