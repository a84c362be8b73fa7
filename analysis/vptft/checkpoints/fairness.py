"""The recipe lint: what differs between the two sides of a comparison besides the method (hypothesis C0)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pandas as pd

from vptft.checkpoints.recipe import Fact, Recipe
from vptft.errors import CheckpointError
from vptft.evidence.findings import Finding, Verdict
from vptft.evidence.results import Result

Severity = Literal["critical", "major", "minor"]


@dataclass(frozen=True, kw_only=True)
class Aspect:
    """Something that must not differ between the two sides.

    Attributes
    ----------
    severity
        ``critical``: the numbers are not comparable; ``major``: the difference may be the reason for a gap;
        ``minor``: it can matter.
    why, remedy
        What a difference does, and how to remove it.
    needed
        Whether the comparison cannot be called fair while one side does not tell it.
    one_sided
        Whether it counts when one side has it and the other cannot: then absence is a value, 0.
    """

    severity: Severity
    why: str
    remedy: str
    needed: bool = True
    one_sided: bool = False


ASPECTS: dict[str, Aspect] = {
    "task": Aspect(severity="critical", why="the numbers are of different tasks", remedy="Compare runs of one task."),
    "classes": Aspect(
        severity="critical", why="chance differs", remedy="Compare runs with the same classes.", needed=False
    ),
    "training data": Aspect(
        severity="critical", why="one side saw more or other images", remedy="Train both on the same split."
    ),
    "backbone": Aspect(
        severity="critical",
        why="the two sides started from different weights",
        remedy="Start both from one file, and check its hash with `checkpoints inspect --backbone`.",
    ),
    "backbone weights": Aspect(
        severity="critical",
        why="the two sides started from different weights, by their hash",
        remedy="Start both from one file.",
        needed=False,
    ),
    "image size": Aspect(severity="critical", why="one side saw finer images", remedy="Use one image size."),
    "normalisation": Aspect(
        severity="critical", why="one side's inputs are off what the backbone expects", remedy="Use one normalisation."
    ),
    "selection": Aspect(
        severity="critical",
        why="choosing on test data, or by another rule, flatters one side",
        remedy="Choose both on validation data by one rule.",
    ),
    "optimiser": Aspect(
        severity="major",
        why="optimisers differ in what they reach in equal epochs",
        remedy="Train both with one optimiser, or search the optimiser for both.",
    ),
    "weight decay": Aspect(
        severity="major",
        why="one side is regularised more",
        remedy="Give both the same decay, and check it is applied.",
    ),
    "backbone dropout": Aspect(
        severity="major",
        why="dropout in the backbone regularises one side only, and its training loss is measured with it",
        remedy="Set it to 0 on both sides.",
    ),
    "search": Aspect(
        severity="major",
        why="more trials find better settings: a larger search is an advantage",
        remedy="Search both with equal budgets.",
        needed=False,
    ),
    "epochs": Aspect(severity="major", why="one side trained longer", remedy="Train both equally long."),
    "batch size": Aspect(
        severity="major", why="it changes the number of steps and their noise", remedy="Use one batch size."
    ),
    "warm-up": Aspect(
        severity="minor", why="one side learns for fewer epochs at its peak rate", remedy="Use one warm-up."
    ),
    "schedule": Aspect(severity="minor", why="rates fall differently", remedy="Use one schedule."),
    "loss": Aspect(
        severity="major", why="the two sides minimise different things", remedy="Use one loss.", needed=False
    ),
    "head learning rate": Aspect(
        severity="minor", why="the heads learn at different rates", remedy="Give both heads one rate.", needed=False
    ),
    "prompt dropout": Aspect(
        severity="minor",
        why="it regularises the prompted side only",
        remedy="Set it to 0, or search it with the other side's dropout.",
        needed=False,
        one_sided=True,
    ),
    "seed": Aspect(
        severity="minor",
        why="a difference of two runs holds the seeds' spread",
        remedy="Pair runs by seed, and use several.",
        needed=False,
    ),
}
"""In the order they are reported. The learning rate is absent: each method may have its own, if searched equally."""


ANOTHER_SETTING = Aspect(
    severity="major", why="a setting of training differs", remedy="Train both with the same settings.", needed=False,
    one_sided=True,
)  # fmt: skip
"""Of settings that have no entry of their own."""


@dataclass(frozen=True, kw_only=True)
class Fairness(Result):
    """What differs between VPT and FT besides the method, pair by pair.

    Attributes
    ----------
    table
        One row a remark: ``pair``, ``kind`` (``confound``, ``unknown`` for what one side does not tell, ``caution``
        for what is odd about one side by itself), ``aspect``, ``severity``, ``vpt``, ``ft``, their ``evidence_vpt``
        and ``evidence_ft`` (file and line), ``why`` and ``remedy``.
    n_pairs
        How many pairs were compared.
    """

    analysis: ClassVar[str] = "fairness"
    table: pd.DataFrame
    n_pairs: int

    def frame(self) -> pd.DataFrame:
        """One row a remark."""
        return self.table

    @property
    def confounds(self) -> pd.DataFrame:
        """Rows of what differs."""
        return self.table[self.table["kind"] == "confound"]

    def differences(self) -> list[str]:
        """Give what differs, each difference once: ``weight decay: 0.01 vs 0.5`` is VPT's value and FT's."""
        shown = self.confounds[["aspect", "vpt", "ft"]].drop_duplicates()
        return [f"{row.aspect}: {row.vpt} vs {row.ft}" for row in shown.itertuples()]

    def findings(self) -> tuple[Finding, ...]:
        """C0: supported where nothing that was told differs and nothing needed is untold."""
        confounds, unknown = self.confounds, self.table[self.table["kind"] == "unknown"]
        serious = confounds[confounds["severity"] != "minor"]
        names = list(dict.fromkeys(confounds["aspect"]))
        verdict: Verdict
        if len(serious):
            verdict, reason = (
                "refuted",
                f"a difference in {', '.join(dict.fromkeys(serious['aspect']))} may be the reason for a gap",
            )
        elif len(unknown):
            verdict, reason = "inconclusive", f"not told by every side: {', '.join(dict.fromkeys(unknown['aspect']))}"
        elif names:
            verdict, reason = "inconclusive", "only what is minor differs"
        else:
            verdict, reason = "supported", "nothing that could be compared differs"
        pairs = "1 pair" if self.n_pairs == 1 else f"{self.n_pairs} pairs"
        what = f"{', '.join(names)} differ" if names else "nothing but the method differs in what is told"
        statement = f"Of VPT and FT in {pairs} of runs, {what}."
        return (
            Finding(
                hypothesis="C0", statement=statement, verdict=verdict, reason=reason, effect=float(len(names)),
                unit="aspects that differ", n=self.n_pairs,
            ),
        )  # fmt: skip


COLUMNS = (
    "pair", "kind", "aspect", "severity", "vpt", "ft", "evidence_vpt", "evidence_ft", "why", "remedy",
)  # fmt: skip


def measure(pairs: Sequence[tuple[Recipe, Recipe]], *, settings: dict[str, Any] | None = None) -> Fairness:
    """Compare the recipes of VPT and FT, pair by pair.

    Parameters
    ----------
    pairs
        VPT's recipe and FT's.
    settings
        Kept with the result.

    Raises
    ------
    CheckpointError
        There is no pair, or both sides of one are the same method.
    """
    if not pairs:
        raise CheckpointError("There is no pair of runs to compare.")
    rows: list[dict[str, Any]] = []
    for vpt, ft in pairs:
        if vpt.method is not None and vpt.method == ft.method:
            raise CheckpointError(
                f"{vpt.name} and {ft.name} are both {vpt.method}: their difference is not about the method.",
                "Give a VPT run, then an FT run.",
            )
        if vpt.method == "ft" and ft.method is not None:
            raise CheckpointError(f"{vpt.name} is ft and {ft.name} is {ft.method}.", "Give the FT run second.")
        name = f"{vpt.name} / {ft.name}"
        rows += [{"pair": name, **row} for row in _remarks(vpt, ft)]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).fillna("").astype(str)
    return Fairness(settings=settings or {}, table=table, n_pairs=len(pairs))


def _remarks(vpt: Recipe, ft: Recipe) -> list[dict[str, Any]]:
    rows = []
    others = [name for name in {**vpt.facts, **ft.facts} if name not in ASPECTS and name != "learning rate"]
    for name, aspect in {**ASPECTS, **dict.fromkeys(others, ANOTHER_SETTING)}.items():
        one, other = vpt.facts.get(name), ft.facts.get(name)
        if aspect.one_sided:
            one = one or (Fact(0, "it has none") if other is not None else None)
            other = other or (Fact(0, "it has none") if one is not None else None)
        row = {
            "aspect": name,
            "severity": aspect.severity,
            "vpt": _shown(one),
            "ft": _shown(other),
            "evidence_vpt": "" if one is None else one.evidence,
            "evidence_ft": "" if other is None else other.evidence,
        }
        if one is not None and other is not None:
            if one.value != other.value:
                rows.append({"kind": "confound", **row, "why": aspect.why, "remedy": aspect.remedy})
        elif aspect.needed:
            rows.append({"kind": "unknown", **row, "why": "one side does not tell it", "remedy": aspect.remedy})
    for side, recipe in (("vpt", vpt), ("ft", ft)):
        rows += [
            {"kind": "caution", "aspect": "", side: fact.value, f"evidence_{side}": fact.evidence}
            for fact in recipe.cautions
        ]
    return rows


def _shown(fact: Fact | None) -> str:
    if fact is None:
        return "not told"
    return f"{fact.value:g}" if isinstance(fact.value, float) else str(fact.value)
