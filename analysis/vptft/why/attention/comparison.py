"""Do prompts attend better (Y4)? Scores of VPT's and FT's maps, paired by image, over tasks and training draws.

Han et al. (2024, section 5.2, Figures 6 and 10-13) show Grad-CAM pictures of images that VPT classifies rightly and FT
does not. Here every test image counts, whoever is right, and two scores were fixed before any was seen: how much of the
map lies on the object, and how much the explained probability depends on what the map marks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding, from_table, to_table
from vptft.evidence.results import Result
from vptft.evidence.statistics.components import Components, Estimate, components, nested_interval
from vptft.evidence.statistics.resampling import Interval, PairedDraw, no_interval
from vptft.evidence.verdicts import Claim, decide
from vptft.why.attention.maps import OUTCOMES
from vptft.why.attention.sanity import CHANGES
from vptft.why.attention.score_settings import RANDOM, SCORES, SIDES
from vptft.why.attention.scores import AttentionScores

PRIMARY_MAPS = ("gradcam", "relevance")
"""The paper's own kind of map, and the one of attention that knows the class; fixed before any score was seen."""
PRIMARY_SCORES = ("on_object", "faithfulness_tokens")
"""Scores that Y4 is decided by: one family with :data:`PRIMARY_MAPS`, corrected together."""
WORDS = {
    "on_object": "Share of the map on the object",
    "faithfulness_tokens": "Insertion minus deletion area, by tokens",
}
LOOKING = ("distance_patches", "entropy_bits", "prompt_share", "query_prompt_share")
"""What is told of a layer's heads."""
ALL = "all tasks"
EVERY = "all"
"""Outcome of all images, whoever is right."""


@dataclass(frozen=True, kw_only=True)
class AttentionComparison(Result):
    """VPT against FT on every score of every kind of map.

    Attributes
    ----------
    table
        See :meth:`frame`.
    masses
        A row a pretraining, task, map and token kind whose mass is known: pretraining, task, map, tokens (``patch``,
        ``cls``, ``register``, ``prompt``), vpt, ft (means), difference, low, high, n_seeds.
    agreement
        A row a pretraining, task and map: pretraining, task, map, spearman and top_overlap of VPT's with FT's map on
        the same image with their intervals (``_low``, ``_high``), n_images, n_seeds.
    sanity
        A row a pretraining, task, side, map, changed and depth: similarity (mean over seeds), least and most.
    curves
        A row a pretraining, task, side, map, way (``tokens`` or ``pixels``) and share: deletion, insertion (mean
        probabilities over images and seeds).
    heads
        A row a pretraining, task, side and layer: distance_patches, entropy_bits, prompt_share and query_prompt_share
        (see :class:`vptft.why.attention.heads.Heads`), means over heads, images and seeds, each with the least and the
        most seed (``_least``, ``_most``).
    outcomes
        A row a pretraining and task: how many images have each outcome, as a mean over seeds.
    contrasts
        Findings as a table.
    """

    analysis: ClassVar[str] = "attention comparison"
    table: pd.DataFrame
    masses: pd.DataFrame
    agreement: pd.DataFrame
    sanity: pd.DataFrame
    curves: pd.DataFrame
    heads: pd.DataFrame
    outcomes: pd.DataFrame
    contrasts: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: pretraining, task (``all tasks`` for their mean), outcome (``all``, or one of the four: those are
        chosen by what is compared, and describe only), map, score, vpt, ft (means over images and seeds), difference
        (VPT - FT) with its 95% interval low, high (over test images by group, and training draws) and p, half_width,
        image_share (of its variance, what more images would lessen), half_width_every (about what it would be with
        every test image, where a sample was taken), n_tasks, n_images, n_groups, n_seeds, primary,
        failed (checks that this kind of map fails on either side: ``weights``, ``labels``, ``class``).
        """  # noqa: D205
        return self.table

    def findings(self) -> tuple[Finding, ...]:
        """Y4 for each pretraining objective, on the primary scores of the primary maps that pass their checks."""
        return from_table(self.contrasts)


def measure(parts: Sequence[AttentionScores], *, settings: Mapping[str, Any] | None = None) -> AttentionComparison:
    """Compare VPT with FT over pairs of runs.

    Parameters
    ----------
    parts
        One a pair of runs; those of one task are its training draws, tested on the same images.
    settings
        Kept with the result.

    Notes
    -----
    The interval of a task holds test images, by group, and training draws; that of all tasks is about these tasks. With
    fewer than three seeds no verdict is given. A map with more on the object is not yet a better one: the label may
    depend on something else, and all kinds of map are bounded by the patch size. Scores by outcome compare images that
    were chosen by the very models that are compared.
    """
    if not parts:
        raise SettingsError("There is no pair of runs to compare.", "Give folders with VPT and FT runs of one task.")
    kept: dict[str, Any] = {"options": dict(parts[0].settings.get("options", {}))}
    rows: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for pretraining in dict.fromkeys(part.pretraining for part in parts):
        chosen = [part for part in parts if part.pretraining == pretraining]
        failed = failed_on_either_side(chosen)
        new = [row | {"pretraining": pretraining} for row in _rows(chosen, failed)]
        rows += new
        findings += _findings(new, pretraining, failed)
    return AttentionComparison(
        settings={**kept, **(settings or {}), "seed": parts[0].settings.get("seed")},
        table=_ordered(pd.DataFrame(rows), "pretraining", "task", "outcome", "map", "score"),
        masses=_each(parts, _masses),
        agreement=_each(parts, _agreement),
        sanity=_mean(parts, "sanity", ["side", "map", "changed", "depth"], ["similarity"], spread=True),
        curves=_mean(parts, "curves", ["side", "map", "way", "share"], ["deletion", "insertion"]),
        heads=_heads(parts),
        outcomes=_each(parts, _outcomes),
        contrasts=to_table(findings),
    )


def failed_on_either_side(parts: Sequence[AttentionScores]) -> dict[str, str]:
    """What each kind of map fails on either side in most of the pairs in which that was checked, by kind."""
    votes: dict[str, dict[str, list[bool]]] = {}
    for part in parts:
        for kind, failed in part.failed().items():
            own = part.sanity.loc[part.sanity["map"] == kind, "changed"].unique()
            kept = votes.setdefault(kind, {name: [] for name in CHANGES})
            for name in own:
                kept[name].append(name in failed.split(", "))
    return {
        kind: ", ".join(name for name, each in kept.items() if sum(each) > len(each) / 2)
        for kind, kept in votes.items()
    }


def _tasks(parts: Sequence[AttentionScores]) -> dict[str, list[AttentionScores]]:
    return {task: [part for part in parts if part.task == task] for task in dict.fromkeys(p.task for p in parts)}


def _rows(parts: Sequence[AttentionScores], failed: Mapping[str, str]) -> list[dict[str, Any]]:
    tasks = {task: [_aligned(part) for part in draws] for task, draws in _tasks(parts).items()}
    out = []
    for outcome in (EVERY, *OUTCOMES):
        for kind in dict.fromkeys(kind for part in parts for kind in part.kinds):
            for score in SCORES:
                draws = {task: _draws(each, kind, score, outcome) for task, each in tasks.items()}
                draws = {task: each for task, each in draws.items() if each}
                named: dict[str, Any] = {"outcome": outcome, "map": kind, "score": score}
                named["failed"] = failed.get(kind, "")
                named["primary"] = outcome == EVERY and kind in PRIMARY_MAPS and score in PRIMARY_SCORES
                out += [named | {"task": task} | _compared([each]) for task, each in draws.items()]
                if len(draws) > 1:
                    out.append(named | {"task": ALL} | _compared(list(draws.values())))
    return out


@dataclass(frozen=True, kw_only=True)
class _Aligned:
    """Scores of one kind of map of one pair of runs, image by image: ``(n, n_scores)`` of each side.

    ``outcomes`` are those of all test images, where the kind may have been made of few.
    """

    outcome: np.ndarray
    groups: np.ndarray
    vpt: np.ndarray
    ft: np.ndarray
    outcomes: np.ndarray


def _aligned(part: AttentionScores) -> dict[str, _Aligned]:
    sides = {side: table.set_index("image") for side, table in part.table.groupby("side")}
    outcomes = part.images()["outcome"].to_numpy()
    out = {}
    for kind in part.kinds:
        vpt, ft = (sides[side][sides[side]["map"] == kind] for side in SIDES)
        ft = ft.loc[vpt.index]
        out[kind] = _Aligned(
            outcome=vpt["outcome"].to_numpy(), groups=vpt["group"].to_numpy(dtype=str),
            vpt=vpt[list(SCORES)].to_numpy(dtype=float), ft=ft[list(SCORES)].to_numpy(dtype=float),
            outcomes=outcomes,
        )  # fmt: skip
    return out


Draws = list[tuple[PairedDraw, float, float, float]]
"""For each seed: differences by image, the means of VPT and of FT, and the share of the images that were scored."""


def _draws(parts: Sequence[Mapping[str, _Aligned]], kind: str, score: str, outcome: str) -> Draws:
    out = []
    for each in (part[kind] for part in parts if kind in part):
        vpt, ft = each.vpt[:, SCORES.index(score)], each.ft[:, SCORES.index(score)]
        of_outcome = np.full(len(vpt), True) if outcome == EVERY else each.outcome == outcome
        n = len(each.outcomes) if outcome == EVERY else int((each.outcomes == outcome).sum())
        chosen = np.isfinite(vpt) & np.isfinite(ft) & of_outcome
        if chosen.any():
            vpt, ft = vpt[chosen], ft[chosen]
            draw = PairedDraw(differences=vpt - ft, groups=each.groups[chosen])
            out.append((draw, float(vpt.mean()), float(ft.mean()), float(chosen.sum() / n)))
    return out


def _compared(tasks: Sequence[Draws]) -> dict[str, Any]:
    weights = np.full(len(tasks), 1 / len(tasks))
    differences = [[draw[0] for draw in draws] for draws in tasks]
    found = nested_interval(differences, weights)
    parts = [components(draws) for draws in differences]
    first = [draws[0] for draws in differences]
    half, of_images = (found.high - found.low) / 2, _image_share(parts)
    every = half * float(np.sqrt(1 - of_images * (1 - _mean_over(tasks, 3))))
    return {
        "vpt": _mean_over(tasks, 1), "ft": _mean_over(tasks, 2), "difference": found.value, "low": found.low,
        "high": found.high, "p": found.p, "half_width": half,
        "image_share": of_images, "half_width_every": every, "n_tasks": len(tasks),
        "n_images": int(sum(len(draw.differences) for draw in first)),
        "n_groups": int(sum(len(np.unique(draw.groups)) for draw in first)),
        "n_seeds": min(len(draws) for draws in tasks),
    }  # fmt: skip


def _mean_over(tasks: Sequence[Draws], which: Literal[1, 2, 3]) -> float:
    return float(np.mean([np.mean([draw[which] for draw in draws]) for draws in tasks]))


def _image_share(parts: Sequence[Components]) -> float:
    total = sum(part.variance for part in parts)
    return float(sum(part.images.variance for part in parts) / total) if total > 0 else float("nan")


def _findings(rows: Sequence[Mapping[str, Any]], pretraining: str, failed: Mapping[str, str]) -> list[Finding]:
    """One family: the primary scores of the primary maps, over all tasks."""
    claims: list[Claim] = []
    refused: list[Finding] = []
    for kind in PRIMARY_MAPS:
        for score in PRIMARY_SCORES:
            here = [row for row in rows if row["primary"] and row["map"] == kind and row["score"] == score]
            what = f"{WORDS[score]}, {kind}, VPT minus FT, {pretraining} pretraining"
            whole = [row for row in here if row["task"] == ALL] or here
            if not whole:
                why = "no object masks, or the map was not made" if score == "on_object" else "the curves were not made"
                refused.append(_not_applicable(what, why))
            elif failed.get(kind):
                refused.append(_not_applicable(what, f"this kind of map fails its sanity check: {failed[kind]}"))
            else:
                claims.append(_claim(whole[0], what))
    return [*decide(claims), *refused]


def _claim(row: Mapping[str, Any], what: str) -> Claim:
    effect = Interval(value=100 * row["difference"], low=100 * row["low"], high=100 * row["high"])
    where = row["task"] if row["n_tasks"] == 1 else f"mean of these {row['n_tasks']} tasks"
    return Claim(
        hypothesis="Y4", statement=f"{what}: {where}, {row['n_images']} images, {row['n_seeds']} seeds each",
        effect=effect, predicted=1, region=None, p=row["p"], n=row["n_images"], n_seeds=row["n_seeds"],
    )  # fmt: skip


def _not_applicable(what: str, reason: str) -> Finding:
    return Finding(hypothesis="Y4", statement=what, verdict="not applicable", reason=reason)


def _each(parts: Sequence[AttentionScores], make: Any) -> pd.DataFrame:
    """Rows of ``make`` for the draws of each pretraining and task."""
    rows = [
        {"pretraining": pretraining, "task": task, **row}
        for pretraining in dict.fromkeys(part.pretraining for part in parts)
        for task, draws in _tasks([part for part in parts if part.pretraining == pretraining]).items()
        for row in make(draws)
    ]
    return pd.DataFrame(rows)


def _masses(draws: Sequence[AttentionScores]) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(kind for part in draws for kind in part.masses["map"]):
        for tokens in ("patch", "cls", "register", "prompt"):
            sides = {side: [_per_image(p, p.masses, kind, f"{tokens}_mass", side) for p in draws] for side in SIDES}
            pairs = [
                PairedDraw(differences=(vpt - ft)[known], groups=groups[known])
                for (vpt, groups), (ft, _) in zip(sides["vpt"], sides["ft"], strict=True)
                if (known := np.isfinite(vpt - ft)).any()
            ]
            found = nested_interval([pairs], [1.0]) if pairs else no_interval()
            rows.append({
                "map": kind, "tokens": tokens, **{s: _mean_of_known([v for v, _ in sides[s]]) for s in SIDES},
                "difference": found.value, "low": found.low, "high": found.high, "n_seeds": len(draws),
            })  # fmt: skip
    return rows


def _mean_of_known(values: Sequence[np.ndarray]) -> float:
    """Mean over draws of the means over images whose value is known; NaN where none is."""
    means = [each[np.isfinite(each)].mean() for each in values if np.isfinite(each).any()]
    return float(np.mean(means)) if means else float("nan")


def _per_image(
    part: AttentionScores, table: pd.DataFrame, kind: str, column: str, side: str
) -> tuple[np.ndarray, np.ndarray]:
    """A column's values and groups, by image."""
    rows = table[(table["map"] == kind) & (table["side"] == side)].sort_values("image")
    groups = dict(zip(part.table["image"], part.table["group"], strict=True))
    return rows[column].to_numpy(dtype=float), np.array([groups[image] for image in rows["image"]])


def _agreement(draws: Sequence[AttentionScores]) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(kind for part in draws for kind in part.agreement["map"] if kind != RANDOM):
        row: dict[str, Any] = {"map": kind}
        for score in ("spearman", "top_overlap"):
            values = [
                part.agreement[part.agreement["map"] == kind].dropna(subset=[score]).sort_values("image")
                for part in draws
            ]
            known = [each for each in values if len(each)]
            found = _mean_of_images(known, score)
            row |= {score: found.value, f"{score}_low": found.low, f"{score}_high": found.high}
        rows.append(row | {"n_images": len(values[0]), "n_seeds": len(draws)})
    return rows


def _mean_of_images(tables: Sequence[pd.DataFrame], score: str) -> Estimate:
    if not tables:
        return Estimate(value=np.nan, low=np.nan, high=np.nan, p=np.nan)
    draws = [
        PairedDraw(differences=each[score].to_numpy(dtype=float), groups=each["group"].to_numpy()) for each in tables
    ]
    return nested_interval([draws], [1.0])


def _outcomes(draws: Sequence[AttentionScores]) -> list[dict[str, Any]]:
    counts = [part.outcome_counts() for part in draws]
    return [
        {outcome: float(np.mean([each[outcome] for each in counts])) for outcome in OUTCOMES} | {"n_seeds": len(draws)}
    ]


def _mean(
    parts: Sequence[AttentionScores], field: str, by: Sequence[str], values: Sequence[str], *, spread: bool = False
) -> pd.DataFrame:
    """Mean over the seeds of a task, and with ``spread`` the least and the most of the first value."""
    tables = [
        getattr(part, field).assign(pretraining=part.pretraining, task=part.task)
        for part in parts
        if len(getattr(part, field))
    ]
    if not tables:
        return pd.DataFrame(columns=["pretraining", "task", *by, *values])
    whole = pd.concat(tables, ignore_index=True)
    grouped = whole.groupby(["pretraining", "task", *by], sort=False, dropna=False)
    out = grouped[list(values)].mean()
    if spread:
        out = out.assign(least=grouped[values[0]].min(), most=grouped[values[0]].max())
    return out.reset_index()


def _heads(parts: Sequence[AttentionScores]) -> pd.DataFrame:
    """Mean over heads of each layer, then over seeds, with the least and the most of them."""
    by = ["pretraining", "task", "side", "layer"]
    whole = pd.concat(
        [part.heads.assign(pretraining=part.pretraining, task=part.task, draw=part.draw) for part in parts],
        ignore_index=True,
    )
    seeds = whole.groupby([*by, "draw"], sort=False)[list(LOOKING)].mean().groupby(level=by, sort=False)
    spread = [seeds.min().add_suffix("_least"), seeds.max().add_suffix("_most")]
    return pd.concat([seeds.mean(), *spread], axis=1).reset_index()


def _ordered(table: pd.DataFrame, *first: str) -> pd.DataFrame:
    return table[[*first, *(name for name in table if name not in first)]]
