"""Every measure of a task's objective, one table; each is computed from frozen features and labels alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from vptft.errors import NotApplicable
from vptft.features.probes import knn_above_chance, linear_above_chance
from vptft.when.objective.h_score import h_score, h_score_share
from vptft.when.objective.leep import leep
from vptft.when.objective.logme import logme
from vptft.when.objective.nce import nce
from vptft.when.objective.own_classes import own_agreement
from vptft.when.objective.structure import circularity, class_likeness, label_order, ordinality, spread
from vptft.when.objective.task import TaskFeatures
from vptft.when.objective.task2vec import task2vec
from vptft.when.objective.transport import transport
from vptft.when.objective.variance_share import variance_share

Direction = Literal["near", "far"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that says how near or far a task's objective is.

    Attributes
    ----------
    name, about, source
        Its key, its name in words, and where it comes from. What it is, what it costs and how it fails is in the
        docstring of the module of that name.
    direction
        What a higher value means.
    compute
        ``(task, seed)`` to the number; it raises :class:`~vptft.errors.NotApplicable` where there is none.
    slow
        Whether it takes seconds a task and is computed on demand only.
    comparable
        Whether tasks with different numbers of classes can be compared by it: its range does not depend on them.
    """

    name: str
    about: str
    source: str
    direction: Direction
    compute: Callable[[TaskFeatures, int], float]
    slow: bool = False
    comparable: bool = True


@dataclass(frozen=True, kw_only=True)
class Composite:
    """A measure made of others' values; ``compose`` takes them by name, NaN where one is not applicable.

    Class readout is the linear probe's accuracy above chance, times class-likeness (1 - label order, within 0 and 1):
    high only where features hold the answer, and hold it as classes rather than as places in an order. Class
    neighbours has the nearest neighbours' accuracy instead.
    """

    name: str
    about: str
    source: str
    direction: Direction
    compose: Callable[[Mapping[str, float]], float]
    slow: bool = False
    comparable: bool = True


def _leep(task: TaskFeatures, seed: int) -> float:
    if task.probabilities is None:
        raise NotApplicable(f"{task.backbone} has no source head.")
    return leep(task.probabilities, task.labels)


def _nce(task: TaskFeatures, seed: int) -> float:
    if task.probabilities is None:
        raise NotApplicable(f"{task.backbone} has no source head.")
    return nce(task.probabilities.argmax(axis=1), task.labels)


LINEAR, KNN, ORDER = "linear", "knn", "label_order"

MEASURES: tuple[Measure, ...] = (
    Measure(
        name=LINEAR, about="linear probe", source="Alain and Bengio 2017", direction="near",
        compute=lambda t, seed: linear_above_chance(t.values, t.labels, t.held_out, seed=seed),
    ),
    Measure(
        name=KNN, about="nearest neighbours", source="Cover and Hart 1967", direction="near",
        compute=lambda t, seed: knn_above_chance(t.values, t.labels, t.held_out, seed=seed),
    ),
    Measure(
        name="logme", about="LogME", source="You et al. 2021", direction="near",
        comparable=False,
        compute=lambda t, seed: logme(t.values, t.labels),
    ),
    Measure(
        name="h_score", about="H-score", comparable=False, source="Ibrahim et al. 2021", direction="near",
        compute=lambda t, seed: h_score(t.values, t.labels),
    ),
    Measure(
        name="h_score_share", about="H-score over its limit", source="after Ibrahim et al. 2021",
        direction="near", compute=lambda t, seed: h_score_share(t.values, t.labels),
    ),
    Measure(
        name="variance_share", about="variance share", source="Hays 1963", direction="near",
        compute=lambda t, seed: variance_share(t.values, t.labels),
    ),
    Measure(
        name="leep", about="LEEP", comparable=False, source="Nguyen et al. 2020", direction="near", compute=_leep,
    ),
    Measure(
        name="nce", about="NCE", comparable=False, source="Tran et al. 2019", direction="near", compute=_nce,
    ),
    Measure(
        name="own_agreement", about="agreement with clusters", source="Vinh et al. 2010",
        direction="near", compute=lambda t, seed: own_agreement(t.values, t.labels, seed=seed),
    ),
    Measure(
        name="ordinality", about="ordinality", source="Mantel 1967", direction="far",
        compute=lambda t, seed: ordinality(t.values, t.labels),
    ),
    Measure(
        name="circularity", about="circularity", source="Mantel 1967", direction="far",
        compute=lambda t, seed: circularity(t.values, t.labels),
    ),
    Measure(
        name=ORDER, about="label order, whitened", source="after Walther et al. 2016",
        direction="far", compute=lambda t, seed: label_order(t.values, t.labels, t.held_out, seed=seed),
    ),
    Measure(
        name="spread", about="spread of class means", source="after Gao and Ganguli 2015", direction="near",
        compute=lambda t, seed: spread(t.values, t.labels, t.held_out, seed=seed),
    ),
    Measure(
        name="task2vec", about="Task2Vec to clusters", source="Achille et al. 2019, simplified",
        direction="far", compute=lambda t, seed: task2vec(t.values, t.labels, seed=seed), slow=True,
    ),
    Measure(
        name="otdd", about="OTDD to clusters", source="Alvarez-Melis and Fusi 2020", direction="far",
        compute=lambda t, seed: transport(t.values, t.labels, seed=seed), slow=True,
    ),
)  # fmt: skip

COMPOSITES: tuple[Composite, ...] = (
    Composite(
        name="class_readout", about="class readout", source="ours", direction="near",
        compose=lambda known: max(known[LINEAR], 0.0) * class_likeness(known[ORDER]),
    ),
    Composite(
        name="class_neighbours", about="class neighbours", source="ours", direction="near",
        compose=lambda known: max(known[KNN], 0.0) * class_likeness(known[ORDER]),
    ),
)  # fmt: skip

_ALL: tuple[Measure | Composite, ...] = (*MEASURES, *COMPOSITES)
DIRECTIONS: Mapping[str, Direction] = {each.name: each.direction for each in _ALL}
"""What a higher value of each measure means."""
ABOUT: Mapping[str, str] = {each.name: each.about for each in _ALL}
COMPARABLE: frozenset[str] = frozenset(each.name for each in _ALL if each.comparable)
"""Measures whose range does not depend on the number of classes."""
