"""Loss and accuracy along lines between solutions: whether there is a barrier, and whether a curve goes around it.

Lines include the head. Heads of runs of one task start at the same zeros and differ by training alone, so they are
interpolated like everything else. Where one end has prompts and the other none, the weights that both have go along
the straight line and the prompts enter through a gate: in every attention their weight is multiplied by t before it
sums to 1 (:func:`.folded.gated_logits`), so each end is its own network exactly.

A barrier is geometry, and no verdict on a hypothesis: that two solutions lie apart does not say that extra dimensions
carried one of them over. The escape test asks that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from vptft.errors import SettingsError
from vptft.evidence.results import Result
from vptft.models.tuned import TunedModel
from vptft.why.landscape.connectivity import barrier, mean_over_images, mean_over_pairs
from vptft.why.landscape.curves import bezier, find_bend
from vptft.why.landscape.directions import Point
from vptft.why.landscape.evaluation import Losses, Sample, losses_of
from vptft.why.landscape.folded import gated_logits
from vptft.why.landscape.matching import heads_of, match_heads
from vptft.why.landscape.parameters import moved, put

COLUMNS = ("task", "kind", "line", "path", "split", "t", "loss", "low", "high", "accuracy")
BARRIERS = (
    "line", "task", "kind", "first", "second", "first_seed", "second_seed", "path", "split", "barrier", "low", "high",
    "at", "accuracy_drop", "n_images", "n_groups", "heads_moved",
)  # fmt: skip
POOLED = ("task", "kind", "path", "split", "barrier", "low", "high", "n_lines", "n_seeds")
PROMPTS = "prompts."


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """A model that holds every parameter of both ends, the ends, and the images; made when the line is walked.

    Attributes
    ----------
    model
        In evaluation mode; comes back unchanged.
    first, second
        Weights by name. Prompts may be missing in one of them.
    samples
        Images the loss is of.
    """

    model: TunedModel
    first: Point
    second: Point
    samples: Sequence[Sample]


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """Two solutions of one task.

    Attributes
    ----------
    task
        Of both.
    kind
        What is asked, one method at each end: ``pretrained to ft``, ``ft seeds``, ``ft to mixed``. Lines of one kind
        are averaged.
    first, second
        Their labels.
    seeds
        Of both; the pretrained network has that of the other end.
    load
        Gives the ends.
    ends
        What makes the two what they are, for whoever keeps what was found; labels can be alike.
    """

    task: str
    kind: str
    first: str
    second: str
    seeds: tuple[int, int]
    load: Callable[[], Ends]
    ends: str = ""

    @property
    def name(self) -> str:
        """For the reader."""
        return f"{self.first} → {self.second}"


class Walked(NamedTuple):
    """What was found along one line: losses by (path, split) with their images' groups, and how many heads moved."""

    losses: Mapping[tuple[str, str], tuple[Losses, np.ndarray]]
    heads_moved: int


@dataclass(frozen=True, kw_only=True)
class Lines(Result):
    """Losses along lines and their barriers.

    Attributes
    ----------
    table
        As in :meth:`frame`.
    barriers
        A row a line, path and split, columns :data:`BARRIERS`: height in nats with a 95% interval over groups of images
        (of this pair of trainings), where it is, the points of accuracy lost there. ``path`` is ``line``; ``matched``
        after the second's attention heads were put in the first's order, where any moved; ``curve`` for a trained one.
    pooled
        A row a task, kind, path and split, columns :data:`POOLED`: the mean barrier over pairs of trainings with a 95%
        interval over seeds; none with fewer than three seeds.
    """

    analysis: ClassVar[str] = "landscape lines"
    table: pd.DataFrame
    barriers: pd.DataFrame
    pooled: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, kind, line, path, split, t, loss (nats; low, high: 95% over groups), accuracy (fraction)."""
        return self.table


def measure(
    lines: Sequence[Line],
    *,
    points: int = 11,
    curve_steps: int = 0,
    curve_lr: float = 1e-3,
    batch_size: int = 128,
    seed: int = 0,
    mapped: Callable[[Callable[[Line], Walked], Sequence[Line]], Iterable[Walked]] = map,
    settings: Mapping[str, Any] | None = None,
) -> Lines:
    """Walk every line.

    Parameters
    ----------
    lines
        Which.
    points
        Places on each, the ends among them. A barrier narrower than their distance is missed.
    curve_steps, curve_lr
        Training of each curve's bend (:func:`.curves.find_bend`); 0 finds no curves.
    seed
        Of the curves.
    mapped
        ``map``, or a stand-in that keeps what is finished.

    Raises
    ------
    SettingsError
        No line, or fewer than three places.
    """
    if not lines:
        raise SettingsError("There is no line: give runs of one task that differ in seed or method.")
    if points < 3:
        raise SettingsError(f"A line has three places or more, both ends among them: {points}.")
    t = np.linspace(0, 1, points)
    one = partial(walk, t=t, curve_steps=curve_steps, curve_lr=curve_lr, batch_size=batch_size, seed=seed)
    found = list(mapped(one, lines))
    barriers = pd.DataFrame(
        [row for line, each in zip(lines, found, strict=True) for row in _barriers(line, each, t)],
        columns=list(BARRIERS),
    )
    return Lines(
        settings={
            **(settings or {}), "points": points, "curve_steps": curve_steps, "curve_lr": curve_lr, "seed": seed,
            "moving": "all parameters, head included; prompts that one end lacks enter through a gate",
        },
        table=pd.concat([_along(line, each, t) for line, each in zip(lines, found, strict=True)], ignore_index=True),
        barriers=barriers,
        pooled=_pooled(barriers),
    )  # fmt: skip


def walk(line: Line, *, t: np.ndarray, curve_steps: int, curve_lr: float, batch_size: int, seed: int) -> Walked:
    """Losses along one line, along it once heads are matched, and along a curve."""
    ends = line.load()
    first, second, gate = _completed(ends)
    model, parameters = ends.model, dict(ends.model.named_parameters())
    matched, n_moved = match_heads(first, second, heads_of(model))
    paths: dict[str, Callable[[float], Point]] = {"line": partial(_straight, first, second)}
    if n_moved:
        paths["matched"] = partial(_straight, first, matched)
    with moved(model, parameters):
        if curve_steps:
            train = next((sample for sample in ends.samples if sample.split == "train"), None)
            if train is None:
                raise SettingsError(
                    "A curve bends by the loss on training images; on what it is judged by, any curve looks good.",
                    "Give the split train too, or no steps for curves.",
                )
            bend = find_bend(
                parameters, lambda images, place: _logits(model, images, gate(place)), first, second, sample=train,
                steps=curve_steps, lr=curve_lr, seed=seed,
            )  # fmt: skip
            paths["curve"] = lambda place: bezier(first, bend, second, place)
        losses = {}
        for path, at in paths.items():
            rows: dict[str, list[Losses]] = {sample.split: [] for sample in ends.samples}
            for place in map(float, t):
                put(parameters, at(place))
                for sample in ends.samples:
                    function = partial(_logits, model, gate=gate(place))
                    rows[sample.split].append(losses_of(function, sample, batch_size=batch_size))
            for sample in ends.samples:
                joined = Losses(*(np.concatenate(part) for part in zip(*rows[sample.split], strict=True)))
                losses[path, sample.split] = (joined, sample.group_ids)
    return Walked(losses, n_moved)


def _completed(ends: Ends) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Callable[[float], float]]:
    """Both ends with every parameter of the model, and how far the gate is open at t."""
    names = [name for name, _ in ends.model.named_parameters()]
    lacks = [[name for name in names if name not in end] for end in (ends.first, ends.second)]
    strange = [name for missing in lacks for name in missing if not name.startswith(PROMPTS)]
    if strange or all(lacks):
        raise SettingsError(f"The ends of a line lack {sorted(set(strange or lacks[0]))[:4]}, which are not prompts.")
    first = {name: ends.first.get(name, ends.second.get(name)) for name in names}
    second = {name: ends.second.get(name, ends.first.get(name)) for name in names}
    opens = (lambda t: t) if lacks[0] else (lambda t: 1 - t) if lacks[1] else (lambda t: 1.0)
    return first, second, opens  # type: ignore[return-value]  # each name is in one end at least


def _straight(first: Point, second: Point, t: float) -> Point:
    """Place on the line; at 0 and 1 it is the ends, bit for bit."""
    return {name: torch.lerp(first[name], second[name], t) for name in first}


def _logits(model: nn.Module, images: torch.Tensor, gate: float) -> torch.Tensor:
    if gate == 1:
        return model(images)
    assert isinstance(model, TunedModel)
    return gated_logits(model, images, gate)


def _along(line: Line, found: Walked, t: np.ndarray) -> pd.DataFrame:
    rows = []
    for (path, split), (losses, groups) in found.losses.items():
        for place, loss, correct in zip(t, losses.loss, losses.correct, strict=True):
            mean = mean_over_images(loss, groups)
            rows.append((
                line.task, line.kind, line.name, path, split, float(place), mean.value, mean.low, mean.high,
                float(correct.mean()),
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _barriers(line: Line, found: Walked, t: np.ndarray) -> Iterable[dict[str, Any]]:
    for (path, split), (losses, groups) in found.losses.items():
        height, at, drop = barrier(t, losses, groups)
        yield {
            "line": line.name, "task": line.task, "kind": line.kind, "first": line.first, "second": line.second,
            "first_seed": line.seeds[0], "second_seed": line.seeds[1], "path": path, "split": split,
            "barrier": height.value, "low": height.low, "high": height.high, "at": at, "accuracy_drop": drop,
            "n_images": len(groups), "n_groups": len(np.unique(groups)), "heads_moved": found.heads_moved,
        }  # fmt: skip


def _pooled(barriers: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for keys, some in barriers.groupby(["task", "kind", "path", "split"], sort=False):
        pairs = list(zip(some["first_seed"].tolist(), some["second_seed"].tolist(), strict=True))
        mean = mean_over_pairs(some["barrier"].tolist(), pairs)
        seeds = {seed for pair in pairs for seed in pair}
        rows.append((*keys, mean.value, mean.low, mean.high, len(some), len(seeds)))
    return pd.DataFrame(rows, columns=list(POOLED))
