"""Scores of VPT's and FT's maps of the same class on the same images, for every test image and every kind of map.

One pair of runs. :mod:`vptft.why.attention.comparison` puts the pairs of seeds and tasks together and judges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.models.tuned import TunedModel
from vptft.why.attention import sanity
from vptft.why.attention.maps import OUTCOMES, outcomes
from vptft.why.attention.methods import explain_each, strongest_other
from vptft.why.attention.score_parts import (
    Context,
    Made,
    agreement_of,
    among,
    between_kinds,
    checked_rows,
    follow,
    heads_of,
    logits_of,
    masses_of,
    scored_rows,
)
from vptft.why.attention.score_settings import (
    RANDOM,
    SIDES,
    SLOW,
    Explainer,
    ScoreSettings,
    SeenImages,
    Target,
    plain,
)


@dataclass(frozen=True, kw_only=True)
class AttentionScores(Result):
    """Maps and scores of one pair of runs.

    Attributes
    ----------
    task, pretraining, draw
        Of the pair; ``draw`` is its seed.
    kinds
        Kinds of map in the order of ``maps``; the last is :data:`~vptft.why.attention.score_settings.RANDOM`.
    table
        See :meth:`frame`.
    masses
        A row an image, side and map whose masses are known: image, side, map, patch_mass, cls_mass, register_mass,
        prompt_mass. They sum to 1.
    agreement
        A row an image and map: image, group, map, spearman, top_overlap of VPT's with FT's map.
    between
        A row a side and pair of kinds: side, map, other, spearman (mean over images).
    sanity
        As :func:`vptft.why.attention.sanity.check` gives it, with side.
    curves
        A row a side, map, way and share: deletion, insertion (mean probability over the sample), n.
    heads
        A row a side, layer and head: how far and how evenly each looks and how much of it at prompts, means over all
        images (:meth:`vptft.why.attention.heads.Heads.frame`).
    maps
        ``(n, 2, n_kinds, h, w)``, VPT then FT, each summing to 1; NaN where a slow kind was not made: it is made for
        the sample and for what is shown.
    drawn
        Indices of the images that are kept to be shown, ``(m,)``, by outcome and in test order.
    pixels
        Those images, ``(m, H, W, 3)`` uint8.
    head_maps
        What the head reads in each layer and attention head of those images, ``(m, 2, layers, heads, h, w)``, attention
        as it is.
    head_shares
        How much of that is read on prompts, ``(m, 2, layers, heads)``.
    """

    analysis: ClassVar[str] = "attention scores"
    task: str
    pretraining: str
    draw: int
    kinds: list[str]
    table: pd.DataFrame
    masses: pd.DataFrame
    agreement: pd.DataFrame
    between: pd.DataFrame
    sanity: pd.DataFrame
    curves: pd.DataFrame
    heads: pd.DataFrame
    maps: np.ndarray
    drawn: np.ndarray
    pixels: np.ndarray
    head_maps: np.ndarray
    head_shares: np.ndarray

    def frame(self) -> pd.DataFrame:
        """One row an image, side and map: image, group, label, target (explained class), side (``vpt``, ``ft``),
        predicted, outcome, map, sampled (whether curves were made), flat (a map without any positive value, taken as
        even), gap (completeness gap of integrated gradients as a share of what they should sum to, else NaN),
        object_area, and those of :data:`~vptft.why.attention.score_settings.SCORES`: shares on the object, overlaps,
        bits, patches, areas under curves of probability. Six digits. A slow kind has no scores outside the sample:
        other images that are shown were chosen by outcome, and a mean over them would be of no random draw.
        """  # noqa: D205
        return self.table

    def failed(self) -> dict[str, str]:
        """What each kind fails on either side, empty where it passes; kinds that were not checked are missing."""
        if self.sanity.empty:
            return {}
        sides = [sanity.failures(self.sanity[self.sanity["side"] == side]) for side in SIDES]
        return {
            kind: ", ".join(name for name in sanity.CHANGES if any(name in side.get(kind, "") for side in sides))
            for kind in sides[0]
        }

    def images(self) -> pd.DataFrame:
        """One row a test image in the order of ``maps``, with its name, group, label, outcome and what was sampled.

        Random maps are of every image, other kinds perhaps of few.
        """
        rows = self.table[(self.table["map"] == RANDOM) & (self.table["side"] == SIDES[0])]
        return rows[["image", "group", "label", "target", "outcome", "sampled"]].reset_index(drop=True)

    def outcome_of(self, image: int) -> str:
        """Outcome of the image at this place in the test."""
        return str(self.images()["outcome"].iloc[image])

    def outcome_counts(self) -> dict[str, int]:
        """How many images have each outcome."""
        per_image = self.images()["outcome"]
        return {outcome: int((per_image == outcome).sum()) for outcome in OUTCOMES}


def measure(
    vpt: TunedModel,
    ft: TunedModel,
    seen: SeenImages,
    *,
    task: str,
    pretraining: str,
    draw: int,
    options: ScoreSettings | None = None,
    permuted: Mapping[str, TunedModel] | None = None,
    explain: Explainer = explain_each,
    on_done: Callable[[int, int], None] = lambda done, total: None,
    settings: Mapping[str, Any] | None = None,
) -> AttentionScores:
    """Explain every image with both models, and score each map.

    Parameters
    ----------
    vpt, ft
        In evaluation mode, of one image size and grid, and of one task's classes.
    seen
        The images.
    task, pretraining, draw
        Names, for the reader; ``draw`` is the seed of the runs.
    options
        What is measured.
    permuted
        By side, a model of the same kind that was trained on labels in random order, for the sanity checks.
    explain
        Makes the maps.
    on_done
        Called with (parts done, parts in all).
    settings
        Kept with the result.

    Notes
    -----
    Both sides explain the same class, which at least one of them may not have chosen. A map without a positive value
    says nothing and is taken as even, so that it scores what chance does and no image is lost; ``flat`` counts them.
    Curves follow the values with their sign.
    """
    options = options or ScoreSettings()
    if vpt.layout.grid != ft.layout.grid:
        raise SettingsError(f"The models see grids {vpt.layout.grid} and {ft.layout.grid}; they must be equal.")
    models = dict(zip(SIDES, (vpt, ft), strict=True))
    logits = {side: logits_of(model, seen.images) for side, model in models.items()}
    target, against = targets(logits, seen.labels, options.target)
    right = {side: values.argmax(axis=1) == seen.labels for side, values in logits.items()}
    outcome = outcomes(right["vpt"], right["ft"])
    drawn = shown(outcome, options.shown, options.seed)
    order = np.random.default_rng(options.seed).permutation(len(target))
    sample = np.sort(order[: options.sample])
    few = np.union1d(sample, drawn) if options.score_slow else np.sort(drawn)
    total = 3 * len(SIDES)
    steps = iter(range(1, total + 1))
    made: dict[tuple[str, str], Made] = {}
    for side, model in models.items():
        for slow, chosen in ((False, np.arange(len(target))), (True, few)):
            asked = tuple(kind for kind in options.kinds if (kind in SLOW) == slow)
            if asked:
                of = None if against is None else against[chosen]
                found = explain(model, seen.images[chosen], methods=asked, target=target[chosen], against=of)
                scored = among(sample if slow and options.score_slow else [] if slow else chosen, len(target))
                made |= {(side, kind): Made.of(each, chosen, scored) for kind, each in found.items()}
        on_done(next(steps), total)
    random = Made.at_random(len(target), vpt.layout.grid, options.seed)
    made |= {(side, RANDOM): random for side in SIDES}
    kinds = [*options.kinds, RANDOM]
    maps = np.stack([np.stack([made[s, k].maps for k in kinds], axis=1) for s in SIDES], axis=1)
    context = Context(
        seen=seen, options=options, kinds=kinds, models=models, permuted=permuted or {},
        target=target, against=against, sample=sample,
        checked={
            slow: np.sort(order[:first])
            for slow, first in ((False, options.checked), (True, min(options.checked, options.checked_slow)))
        },
        maps=maps, made=made,
    )  # fmt: skip
    followed = {}
    for side in SIDES:
        followed[side] = follow(context, side)
        on_done(next(steps), total)
    predicted = {side: values.argmax(axis=1) for side, values in logits.items()}
    table = pd.concat(
        [
            scored_rows(context, side, i, followed[side][1]).assign(predicted=predicted[side], outcome=outcome)
            for side in SIDES
            for i in range(len(kinds))
        ],
        ignore_index=True,
    )
    there = np.isfinite(maps).all(axis=(3, 4)).transpose(1, 2, 0).ravel()
    heads, head_maps, head_shares = heads_of(context, drawn)
    checks = []
    for side in SIDES:
        checks.append(checked_rows(context, side, explain))
        on_done(next(steps), total)
    return AttentionScores(
        settings={**(settings or {}), "options": plain(options), "seed": options.seed},
        task=task,
        pretraining=pretraining,
        draw=draw,
        kinds=kinds,
        table=table[there].reset_index(drop=True),
        masses=masses_of(context),
        agreement=agreement_of(context),
        between=between_kinds(context),
        sanity=pd.concat(checks, ignore_index=True),
        curves=pd.concat([followed[side][0] for side in SIDES], ignore_index=True),
        heads=heads,
        maps=maps.astype(np.float32),
        drawn=drawn,
        head_maps=head_maps,
        head_shares=head_shares,
        pixels=seen.pixels[torch.from_numpy(drawn)].permute(0, 2, 3, 1).numpy(),
    )


def targets(
    logits: Mapping[str, np.ndarray], labels: np.ndarray, target: Target
) -> tuple[np.ndarray, np.ndarray | None]:
    """Class that both sides explain and, for a contrast, the class it is explained against; each ``(n,)``."""
    log_p = sum(torch.from_numpy(values).double().log_softmax(dim=1).numpy() for values in logits.values())
    together = np.asarray(log_p)
    if target == "predicted":
        return together.argmax(axis=1), None
    if target == "true":
        return labels, None
    return labels, strongest_other(together, labels)


def shown(outcome: Sequence[str], each: int, seed: int) -> np.ndarray:
    """Indices of up to ``each`` images of every outcome, drawn by ``seed``, in the order of the outcomes."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.flatnonzero(np.array(outcome) == name))[:each] for name in OUTCOMES]
    return np.concatenate([np.sort(order) for order in orders]).astype(np.int64)
