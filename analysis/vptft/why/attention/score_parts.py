"""Parts of attention scores: what is measured once the maps of both sides are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from vptft.models.tuned import TunedModel
from vptft.why.attention import sanity
from vptft.why.attention.agreement import spearman, top_overlap
from vptft.why.attention.explanation import Explanation
from vptft.why.attention.faithfulness import How, curves
from vptft.why.attention.focus import focus
from vptft.why.attention.heads import measure_heads
from vptft.why.attention.localisation import localisation
from vptft.why.attention.ranking import ranked
from vptft.why.attention.score_settings import (
    FAITHFUL,
    MASSES,
    SCORES,
    SIDES,
    SLOW,
    Explainer,
    ScoreSettings,
    SeenImages,
)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What one measurement has in hand once the maps are made."""

    seen: SeenImages
    options: ScoreSettings
    kinds: list[str]
    models: Mapping[str, TunedModel]
    permuted: Mapping[str, TunedModel]
    target: np.ndarray
    against: np.ndarray | None
    sample: np.ndarray
    checked: Mapping[bool, np.ndarray]  # images of the sanity checks, by whether the kind of map is slow
    maps: np.ndarray
    made: Mapping[tuple[str, str], "Made"]


@dataclass(frozen=True, kw_only=True)
class Made:
    """Maps of one side and kind for all images, NaN where it was not made; scores are of those in ``scored``."""

    maps: np.ndarray
    scored: np.ndarray
    values: np.ndarray
    flat: np.ndarray
    gap: np.ndarray
    masses: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, found: Explanation, chosen: np.ndarray, scored: np.ndarray) -> "Made":
        """Place what was found for the images ``chosen`` among all."""
        n = len(scored)

        def among(values: np.ndarray) -> np.ndarray:
            out = np.full((n, *values.shape[1:]), np.nan)
            out[chosen] = values
            return out

        masses = {name: getattr(found, name) for name in MASSES}
        gap = np.full(n, np.nan)
        if found.gap is not None and found.change is not None:
            # An image whose score does not change has nothing that the gap were a share of.
            gap = among(found.gap / np.where(found.change == 0, np.nan, found.change))
        return cls(
            maps=among(found.maps), scored=scored, values=among(found.values), flat=among(found.flat) == 1, gap=gap,
            masses={name: among(values) for name, values in masses.items() if values is not None},
        )  # fmt: skip

    @classmethod
    def at_random(cls, n: int, grid: tuple[int, int], seed: int) -> "Made":
        """Maps that know nothing of any image."""
        values = np.random.default_rng(seed).exponential(size=(n, *grid))
        maps = values / values.sum(axis=(1, 2), keepdims=True)
        nothing = np.full(n, np.nan)
        return cls(
            maps=maps, scored=np.full(n, True), values=values, flat=np.zeros(n, dtype=bool), gap=nothing, masses={}
        )


def among(chosen: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    """Which of n places are among those chosen, ``(n,)`` bool."""
    return np.isin(np.arange(n), chosen)


@torch.inference_mode()
def logits_of(model: TunedModel, images: torch.Tensor, batch_size: int = 100) -> np.ndarray:
    """Logits of every image, ``(n, n_classes)``."""
    return torch.cat([model(part) for part in images.split(batch_size)]).float().cpu().numpy()


def follow(context: Context, side: str) -> tuple[pd.DataFrame, dict[tuple[str, How], dict[str, np.ndarray]]]:
    """Curves of every kind in every way, as means and as areas of each sampled image."""
    options, sample = context.options, context.sample
    rows, areas = [], {}
    n_patches = context.maps.shape[3] * context.maps.shape[4]
    for kind in context.kinds:
        if not context.made[side, kind].scored[sample].all():
            continue
        orders = ranked(context.made[side, kind].values[sample], seed=options.seed)
        for way in options.ways:
            found = curves(
                context.models[side], context.seen.images[sample], orders, context.target[sample], how=way,
                steps=min(options.steps, n_patches), baseline=options.baseline,
            )  # fmt: skip
            deletion, insertion = found.deletion.mean(axis=0), found.insertion.mean(axis=0)
            rows += [
                {"side": side, "map": kind, "way": way, "share": share, "deletion": d, "insertion": a, "n": len(sample)}
                for share, d, a in zip(found.share, deletion, insertion, strict=True)
            ]
            areas[kind, way] = {
                "faithfulness": found.faithfulness, "deletion": found.deletion_auc, "insertion": found.insertion_auc,
            }  # fmt: skip
    return pd.DataFrame(rows, columns=["side", "map", "way", "share", "deletion", "insertion", "n"]), areas


def scored_rows(
    context: Context, side: str, index: int, areas: Mapping[tuple[str, How], Mapping[str, np.ndarray]]
) -> pd.DataFrame:
    """Rows of one side and kind."""
    seen, kind = context.seen, context.kinds[index]
    maps = context.maps[:, SIDES.index(side), index]
    groups = np.array(seen.groups)
    found = context.made[side, kind]
    scores = {**localisation(np.nan_to_num(maps), seen.masks, groups), **focus(maps)}
    for name in FAITHFUL:
        what, way = name.rsplit("_", 1)
        values = np.full(len(maps), np.nan)
        if (kind, way) in areas:
            values[context.sample] = areas[kind, way][what]  # type: ignore[index]  # way is one of WAYS
        scores[name] = values
    for name in SCORES:
        scores[name] = np.where(found.scored, scores[name], np.nan)
    return pd.DataFrame(
        {
            "image": list(seen.ids), "group": list(seen.groups), "label": seen.labels, "target": context.target,
            "side": side, "map": kind, "sampled": among(context.sample, len(maps)), "flat": found.flat,
            "gap": np.round(found.gap, 6), **{name: np.round(values, 6) for name, values in scores.items()},
        }
    )  # fmt: skip


def masses_of(context: Context) -> pd.DataFrame:
    """A row an image, side and kind whose masses are known."""
    tables = [
        pd.DataFrame({"image": list(context.seen.ids), "side": side, "map": kind, **_rounded(found.masses)})
        for (side, kind), found in context.made.items()
        if found.masses
    ]
    columns = ["image", "side", "map", *MASSES]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _rounded(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.round(np.asarray(each, dtype=np.float64), 6) for name, each in values.items()}


def heads_of(context: Context, drawn: np.ndarray) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Every head over all images; its maps and its share on prompts of those that are shown."""
    images = context.seen.images
    maps, shares = (np.zeros((0, 2, *[0] * rest), dtype=np.float32) for rest in (4, 2))
    tables = [measure_heads(context.models[side], images).frame().assign(side=side) for side in SIDES]
    if len(drawn):
        few = images[torch.from_numpy(drawn)]
        found = [measure_heads(context.models[side], few, with_maps=True) for side in SIDES]
        maps = np.stack([each.maps for each in found if each.maps is not None], axis=1).astype(np.float32)
        shares = np.stack([each.query_prompt_share for each in found], axis=1).astype(np.float32)
    return pd.concat(tables, ignore_index=True), maps, shares


def agreement_of(context: Context) -> pd.DataFrame:
    """VPT's maps against FT's on the same image, of every kind that is scored."""
    tables = []
    for i, kind in enumerate(context.kinds[:-1]):
        vpt, ft = context.maps[:, 0, i], context.maps[:, 1, i]
        there = np.flatnonzero(context.made["vpt", kind].scored)
        if not len(there):
            continue
        top = top_overlap(vpt[there], ft[there], share=context.options.top, seed=context.options.seed)
        tables.append(
            pd.DataFrame({
                "image": [context.seen.ids[j] for j in there], "group": [context.seen.groups[j] for j in there],
                "map": kind, "spearman": np.round(spearman(vpt[there], ft[there]), 6), "top_overlap": np.round(top, 6),
            })
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def between_kinds(context: Context) -> pd.DataFrame:
    """Kinds of map of one model against each other, mean over the sample."""
    rows = []
    for s, side in enumerate(SIDES):
        for i, kind in enumerate(context.kinds):
            for j, other in enumerate(context.kinds):
                first, second = context.maps[context.sample, s, i], context.maps[context.sample, s, j]
                scored = all(context.made[side, each].scored[context.sample].all() for each in (kind, other))
                found = spearman(first, second) if scored else np.array([])
                mean = float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")
                rows.append({"side": side, "map": kind, "other": other, "spearman": mean})
    return pd.DataFrame(rows)


def checked_rows(context: Context, side: str, explain: Explainer) -> pd.DataFrame:
    """Sanity of every kind, on its own few images; slow kinds on fewer."""
    tables = [pd.DataFrame(columns=["side", "map", "changed", "depth", "similarity", "n"])]
    for slow, chosen in context.checked.items():
        kinds = tuple(kind for kind in context.options.kinds if (kind in SLOW) == slow)
        if len(chosen) and kinds:
            tables.append(_checked(context, side, explain, kinds, chosen))
    return pd.concat(tables[1:] or tables, ignore_index=True)[list(tables[0].columns)]


def _checked(
    context: Context, side: str, explain: Explainer, kinds: tuple[str, ...], chosen: np.ndarray
) -> pd.DataFrame:
    def maps_of(model: TunedModel, images: torch.Tensor, target: np.ndarray) -> dict[str, np.ndarray]:
        against = None
        if context.against is not None:  # where the other class is the one it stood against, the two change places
            swapped, own = context.against[chosen], context.target[chosen]
            against = np.where(swapped == target, own, swapped)
        made = explain(model, images, methods=kinds, target=target, against=against)
        return {kind: found.maps for kind, found in made.items()}

    with torch.inference_mode():
        n_classes = context.models[side](context.seen.images[:1]).shape[1]
    table = sanity.check(
        context.models[side], context.seen.images[chosen], context.target[chosen], maps_of,
        n_classes=n_classes, permuted=context.permuted.get(side), seed=context.options.seed,
    )  # fmt: skip
    return table.assign(side=side)
