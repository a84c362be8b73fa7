"""Scores of VPT's and FT's maps of the same class on the same images, for every test image and every kind of map.

One pair of runs. :mod:`vptft.why.attention.comparison` puts the pairs of seeds and tasks together and judges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.models.tuned import TunedModel
from vptft.why.attention import sanity
from vptft.why.attention.agreement import TOP, spearman, top_overlap
from vptft.why.attention.explanation import Explanation
from vptft.why.attention.faithfulness import STEPS, Baseline, How, curves
from vptft.why.attention.focus import focus
from vptft.why.attention.heads import measure_heads
from vptft.why.attention.localisation import localisation
from vptft.why.attention.maps import OUTCOMES, outcomes
from vptft.why.attention.methods import METHODS, explain_each, strongest_other
from vptft.why.attention.ranking import ranked

Target = Literal["true", "predicted", "contrast"]
SIDES = ("vpt", "ft")
RANDOM = "random"
"""Maps that know nothing, the same for both sides: what each score is worth by chance."""
SLOW = ("integrated_gradients",)
"""Kinds that are made for few images only: each costs many forwards."""
KINDS = tuple(name for name in METHODS if name not in SLOW)
WAYS: tuple[How, ...] = ("tokens", "pixels")
MASSES = ("patch_mass", "cls_mass", "register_mass", "prompt_mass")
FAITHFUL = tuple(f"{name}_{way}" for way in WAYS for name in ("faithfulness", "deletion", "insertion"))
SCORES = (
    "on_object", "pointing", "iou_area", "iou_threshold", "map_entropy_bits", "effective_patches", "gini", *FAITHFUL,
)  # fmt: skip
"""Columns that hold a score of a map."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What is measured, and on how much of it.

    Attributes
    ----------
    kinds
        Kinds of map, by the names of :data:`vptft.why.attention.methods.METHODS`.
    target
        Class that both sides' maps explain: the true one, the one that both together find most likely, or the true
        one against the likeliest other (``contrast``).
    sample
        Test images, drawn by ``seed``, for deletion and insertion and for the slow kinds.
    score_slow
        Whether slow kinds are made for the sample too and scored, or only for what is shown.
    ways
        By tokens, by pixels, both, or none.
    steps, baseline
        As in :func:`vptft.why.attention.faithfulness.curves`.
    checked
        Images of the sanity checks, drawn as the sample is; 0 leaves them out. Of few images the mean correlation is
        uncertain by some hundredths, and a kind near the mark may fall on either side.
    shown
        Images of each outcome that are kept to be drawn, by ``seed``.
    top
        Share of the patches that count as strongest where maps are compared.
    seed
        Of the sample, of what is shown, of random maps and random weights.
    """

    kinds: tuple[str, ...] = KINDS
    target: Target = "true"
    sample: int = 100
    score_slow: bool = True
    ways: tuple[How, ...] = WAYS
    steps: int = STEPS
    baseline: Baseline = "mean"
    checked: int = 32
    shown: int = 2
    top: float = TOP
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in METHODS]
        if unknown or not self.kinds:
            raise SettingsError(f"Kinds of map are some of {', '.join(METHODS)}, not {unknown or 'none'}.")
        if min(self.sample, self.steps) < 1 or min(self.checked, self.shown) < 0:
            raise SettingsError(
                f"sample {self.sample} and steps {self.steps} must be at least 1, "
                f"checked {self.checked} and shown {self.shown} not negative."
            )
        if not (self.score_slow or self.shown) and set(self.kinds) & set(SLOW):
            raise SettingsError(f"With no image shown and none scored, there is nothing to make {SLOW[0]} for.")


Explainer = Callable[..., Mapping[str, Explanation]]
"""``explain(model, images, methods=, target=, against=)``, as :func:`vptft.why.attention.methods.explain_each`."""


@dataclass(frozen=True, kw_only=True)
class SeenImages:
    """Test images as both models take them, and what is known of them.

    Attributes
    ----------
    images
        Normalised, ``(n, 3, H, W)``.
    pixels
        The same as ``(n, 3, H, W)`` uint8.
    labels
        True classes, ``(n,)``.
    ids, groups
        Identifiers and dependence groups, ``(n,)``.
    masks
        Object masks, ``(n, H, W)`` bool; None where there are none.
    """

    images: torch.Tensor
    pixels: torch.Tensor
    labels: np.ndarray
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    masks: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class AttentionScores(Result):
    """Maps and scores of one pair of runs.

    Attributes
    ----------
    task, pretraining, draw
        Of the pair; ``draw`` is its seed.
    kinds
        Kinds of map in the order of ``maps``; the last is :data:`RANDOM`.
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
        A row a side, layer and head: how far and how evenly each looks and how much of it at prompts, means over the
        images shown (:meth:`vptft.why.attention.heads.Heads.frame`).
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

    def frame(self) -> pd.DataFrame:
        """One row an image, side and map: image, group, label, target (explained class), side (``vpt``, ``ft``),
        predicted, outcome, map, sampled (whether curves were made), flat (a map without any positive value, taken as
        even), gap (completeness gap of integrated gradients as a share of what they should sum to, else NaN),
        object_area, and those of :data:`SCORES`: shares on the object, overlaps, bits, patches, areas under curves of
        probability. Six digits. A slow kind has no scores outside the sample: other images that are shown were chosen
        by outcome, and a mean over them would be of no random draw.
        """  # noqa: D205
        return self.table

    def failed(self) -> dict[str, str]:
        """What each kind fails on either side, empty where it passes; kinds that were not checked are missing."""
        if self.sanity.empty:
            return {}
        sides = [sanity.failures(self.sanity[self.sanity["side"] == side]) for side in SIDES]
        return {
            kind: ", ".join(name for name in ("weights", "class") if any(name in side.get(kind, "") for side in sides))
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
    logits = {side: _logits(model, seen.images) for side, model in models.items()}
    target, against = targets(logits, seen.labels, options.target)
    right = {side: values.argmax(axis=1) == seen.labels for side, values in logits.items()}
    outcome = outcomes(right["vpt"], right["ft"])
    drawn = shown(outcome, options.shown, options.seed)
    order = np.random.default_rng(options.seed).permutation(len(target))
    sample = np.sort(order[: options.sample])
    few = np.union1d(sample, drawn) if options.score_slow else np.sort(drawn)
    total = 3 * len(SIDES)
    steps = iter(range(1, total + 1))
    made: dict[tuple[str, str], _Made] = {}
    for side, model in models.items():
        for slow, chosen in ((False, np.arange(len(target))), (True, few)):
            asked = tuple(kind for kind in options.kinds if (kind in SLOW) == slow)
            if asked:
                of = None if against is None else against[chosen]
                found = explain(model, seen.images[chosen], methods=asked, target=target[chosen], against=of)
                scored = _among(sample if slow and options.score_slow else [] if slow else chosen, len(target))
                made |= {(side, kind): _Made.of(each, chosen, scored) for kind, each in found.items()}
        on_done(next(steps), total)
    random = _Made.at_random(len(target), vpt.layout.grid, options.seed)
    made |= {(side, RANDOM): random for side in SIDES}
    kinds = [*options.kinds, RANDOM]
    maps = np.stack([np.stack([made[s, k].maps for k in kinds], axis=1) for s in SIDES], axis=1)
    context = _Context(
        seen=seen, options=options, kinds=kinds, models=models, target=target, against=against, sample=sample,
        checked=np.sort(order[: options.checked]),
        maps=maps, made=made,
    )  # fmt: skip
    followed = {}
    for side in SIDES:
        followed[side] = _follow(context, side)
        on_done(next(steps), total)
    predicted = {side: values.argmax(axis=1) for side, values in logits.items()}
    table = pd.concat(
        [
            _scored(context, side, i, followed[side][1]).assign(predicted=predicted[side], outcome=outcome)
            for side in SIDES
            for i in range(len(kinds))
        ],
        ignore_index=True,
    )
    there = np.isfinite(maps).all(axis=(3, 4)).transpose(1, 2, 0).ravel()
    heads, head_maps = _heads(context, drawn)
    checks = []
    for side in SIDES:
        checks.append(_checked(context, side, explain))
        on_done(next(steps), total)
    return AttentionScores(
        settings={**(settings or {}), "options": plain(options), "seed": options.seed},
        task=task,
        pretraining=pretraining,
        draw=draw,
        kinds=kinds,
        table=table[there].reset_index(drop=True),
        masses=_masses(context),
        agreement=_agreement(context),
        between=_between(context),
        sanity=pd.concat(checks, ignore_index=True),
        curves=pd.concat([followed[side][0] for side in SIDES], ignore_index=True),
        heads=heads,
        maps=maps.astype(np.float32),
        drawn=drawn,
        head_maps=head_maps,
        pixels=seen.pixels[torch.from_numpy(drawn)].permute(0, 2, 3, 1).numpy(),
    )


def plain(options: ScoreSettings) -> dict[str, Any]:
    """Settings as JSON has them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}


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


@dataclass(frozen=True, kw_only=True)
class _Context:
    """What one measurement has in hand once the maps are made."""

    seen: SeenImages
    options: ScoreSettings
    kinds: list[str]
    models: Mapping[str, TunedModel]
    target: np.ndarray
    against: np.ndarray | None
    sample: np.ndarray
    checked: np.ndarray
    maps: np.ndarray
    made: Mapping[tuple[str, str], "_Made"]


@dataclass(frozen=True, kw_only=True)
class _Made:
    """Maps of one side and kind for all images, NaN where it was not made; scores are of those in ``scored``."""

    maps: np.ndarray
    scored: np.ndarray
    values: np.ndarray
    flat: np.ndarray
    gap: np.ndarray
    masses: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, found: Explanation, chosen: np.ndarray, scored: np.ndarray) -> "_Made":
        n = len(scored)

        def among(values: np.ndarray) -> np.ndarray:
            out = np.full((n, *values.shape[1:]), np.nan)
            out[chosen] = values
            return out

        masses = {name: getattr(found, name) for name in MASSES}
        gap = np.full(n, np.nan) if found.gap is None or found.change is None else among(found.gap / found.change)
        return cls(
            maps=among(found.maps), scored=scored, values=among(found.values), flat=among(found.flat) == 1, gap=gap,
            masses={name: among(values) for name, values in masses.items() if values is not None},
        )  # fmt: skip

    @classmethod
    def at_random(cls, n: int, grid: tuple[int, int], seed: int) -> "_Made":
        values = np.random.default_rng(seed).exponential(size=(n, *grid))
        maps = values / values.sum(axis=(1, 2), keepdims=True)
        nothing = np.full(n, np.nan)
        return cls(
            maps=maps, scored=np.full(n, True), values=values, flat=np.zeros(n, dtype=bool), gap=nothing, masses={}
        )


def _among(chosen: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    """Which of n places are among those chosen, ``(n,)`` bool."""
    return np.isin(np.arange(n), chosen)


@torch.inference_mode()
def _logits(model: TunedModel, images: torch.Tensor, batch_size: int = 100) -> np.ndarray:
    return torch.cat([model(part) for part in images.split(batch_size)]).float().cpu().numpy()


def _follow(context: _Context, side: str) -> tuple[pd.DataFrame, dict[tuple[str, How], dict[str, np.ndarray]]]:
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


def _scored(
    context: _Context, side: str, index: int, areas: Mapping[tuple[str, How], Mapping[str, np.ndarray]]
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
            "side": side, "map": kind, "sampled": _among(context.sample, len(maps)), "flat": found.flat,
            "gap": np.round(found.gap, 6), **{name: np.round(values, 6) for name, values in scores.items()},
        }
    )  # fmt: skip


def _masses(context: _Context) -> pd.DataFrame:
    tables = [
        pd.DataFrame({"image": list(context.seen.ids), "side": side, "map": kind, **_rounded(found.masses)})
        for (side, kind), found in context.made.items()
        if found.masses
    ]
    columns = ["image", "side", "map", *MASSES]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _rounded(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.round(np.asarray(each, dtype=np.float64), 6) for name, each in values.items()}


def _heads(context: _Context, drawn: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Every head of the images that are shown; nothing where none is."""
    if not len(drawn):
        return pd.DataFrame({"side": [], "layer": [], "head": []}), np.zeros((0, 2, 0, 0, 0, 0), dtype=np.float32)
    images = context.seen.images[torch.from_numpy(drawn)]
    found = [measure_heads(context.models[side], images, with_maps=True) for side in SIDES]
    tables = [each.frame().assign(side=side) for each, side in zip(found, SIDES, strict=True)]
    maps = [each.maps for each in found if each.maps is not None]
    return pd.concat(tables, ignore_index=True), np.stack(maps, axis=1).astype(np.float32)


def _agreement(context: _Context) -> pd.DataFrame:
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


def _between(context: _Context) -> pd.DataFrame:
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


def _checked(context: _Context, side: str, explain: Explainer) -> pd.DataFrame:
    """Sanity of every kind that is not slow, on its own few images."""
    chosen = context.checked
    kinds = [kind for kind in context.options.kinds if kind not in SLOW]
    empty = pd.DataFrame(columns=["side", "map", "changed", "depth", "similarity", "n"])
    if not len(chosen) or not kinds:
        return empty

    def maps_of(model: TunedModel, images: torch.Tensor, target: np.ndarray) -> dict[str, np.ndarray]:
        against = None
        if context.against is not None:  # where the other class is the one it stood against, the two change places
            swapped, own = context.against[chosen], context.target[chosen]
            against = np.where(swapped == target, own, swapped)
        made = explain(model, images, methods=tuple(kinds), target=target, against=against)
        return {kind: found.maps for kind, found in made.items()}

    with torch.inference_mode():
        n_classes = context.models[side](context.seen.images[:1]).shape[1]
    table = sanity.check(
        context.models[side], context.seen.images[chosen], context.target[chosen], maps_of,
        n_classes=n_classes, seed=context.options.seed,
    )  # fmt: skip
    return table.assign(side=side)[list(empty.columns)]
