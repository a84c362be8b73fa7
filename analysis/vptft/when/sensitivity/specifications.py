"""Specifications: every choice of settings for VPT and for FT that runs were made with, paired over training draws."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import PairedDraw

Side = Literal["vpt", "ft"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One run, as far as design choices matter.

    Attributes
    ----------
    side, task, pretraining
        What was trained on what.
    choices
        Settings of this side's own, by a name for readers: ``{"prompt length": 10}``.
    shared
        Settings in which the two sides of a comparison must agree: ``{"epochs": 20}``.
    draw
        Number of the training draw: the seed, which also seeds prompts, batches and dropout.
    correct, groups
        ``(n,)`` whether each test image is right, and the images' dependence groups.
    trials
        Validation accuracies of the search that chose its learning rate, fractions; a diverged one is 0.
    """

    side: Side
    task: str
    pretraining: str
    choices: Mapping[str, Any]
    shared: Mapping[str, Any]
    draw: int
    correct: np.ndarray
    groups: np.ndarray
    trials: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Specification:
    """One choice of everything, on one task.

    Attributes
    ----------
    task, pretraining
        Where.
    levels
        Choice -> level as text, of every choice that varies anywhere.
    vpt, ft
        Runs by training draw; the same draws on both sides.
    """

    task: str
    pretraining: str
    levels: Mapping[str, str]
    vpt: Mapping[int, Trained] = field(repr=False)
    ft: Mapping[int, Trained] = field(repr=False)

    @property
    def draws(self) -> list[int]:
        """Draws, ascending."""
        return sorted(self.vpt)

    def gap(self, draw: int) -> float:
        """Accuracy of VPT minus that of FT with one draw, points."""
        return 100 * float(self.vpt[draw].correct.mean() - self.ft[draw].correct.mean())

    def images(self) -> list[PairedDraw]:
        """Per draw and test image: VPT right minus FT right, in points."""
        return [
            PairedDraw(
                differences=100 * (self.vpt[d].correct.astype(float) - self.ft[d].correct), groups=self.vpt[d].groups
            )
            for d in self.draws
        ]


def specifications(runs: Sequence[Trained]) -> list[Specification]:
    """Pair every VPT setting with every FT setting of the same task and the same shared settings.

    Draws that one side lacks are left out; a pair of settings without a draw in common is no specification.

    Raises
    ------
    SettingsError
        Two runs stand for the same settings and draw, or the two sides were tested on different images.
    """
    cells: dict[tuple[Any, ...], dict[int, Trained]] = {}
    for run in runs:
        cell = cells.setdefault((run.task, run.pretraining, _key(run.shared), run.side, _key(run.choices)), {})
        if run.draw in cell:
            raise SettingsError(
                f"Two {run.side.upper()} runs on {run.task} have the same settings and draw {run.draw}.",
                "Give folders that hold one of them.",
            )
        cell[run.draw] = run
    by_side = {side: {key: cell for key, cell in cells.items() if key[3] == side} for side in ("vpt", "ft")}
    pairs = [
        (one, other)
        for (ours, one), (theirs, other) in itertools.product(by_side["vpt"].items(), by_side["ft"].items())
        if ours[:3] == theirs[:3] and one.keys() & other.keys()
    ]
    varied = varied_choices(run for pair in pairs for cell in pair for run in cell.values())
    return [_specification(one, other, varied) for one, other in pairs]


def varied_choices(runs: Any) -> list[str]:
    """Names of choices with more than one level, in the order in which they come; shared ones last."""
    own: dict[str, set[str]] = {}
    shared: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.choices.items():
            own.setdefault(name, set()).add(text_of(value))
        for name, value in run.shared.items():
            shared.setdefault(name, set()).add(text_of(value))
    return [name for name, levels in (own | shared).items() if len(levels) > 1]


def _specification(vpt: Mapping[int, Trained], ft: Mapping[int, Trained], varied: Sequence[str]) -> Specification:
    draws = sorted(vpt.keys() & ft.keys())
    one, other = vpt[draws[0]], ft[draws[0]]
    for draw in draws:
        if not np.array_equal(vpt[draw].groups, ft[draw].groups):
            raise SettingsError(f"{one.task}: the VPT and FT runs were tested on different images.")
    chosen = {**one.shared, **other.choices, **one.choices}
    return Specification(
        task=one.task, pretraining=one.pretraining, levels={name: text_of(chosen.get(name, "-")) for name in varied},
        vpt={draw: vpt[draw] for draw in draws}, ft={draw: ft[draw] for draw in draws},
    )  # fmt: skip


def in_order(levels: Sequence[str]) -> list[str]:
    """Levels without repeats, numbers by size before words by name."""

    def rank(level: str) -> tuple[bool, float, str]:
        try:
            return False, float(level), level
        except ValueError:
            return True, 0.0, level

    return sorted(set(levels), key=rank)


def _key(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, text_of(value)) for name, value in settings.items()))


def text_of(value: Any) -> str:
    """A level as tables and figures show it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
