"""What a gap may be predicted from, one table, and which of it some evidence bears."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vptft.advise.tasks import Trained
from vptft.evidence.statistics.interaction import TASKS_A_TERM

SIZE = "log2_n"
FAR = 0.25
"""Share of the evidence's range beyond which a value is no place to extrapolate to."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A number known of a task before both methods are trained on it.

    Attributes
    ----------
    name, about, unit
        Its key, what it is in words, and its unit.
    instead_of
        A predictor that says the same more coarsely, and is not used beside it.
    """

    name: str
    about: str
    unit: str = ""
    instead_of: str = ""


PREDICTORS: tuple[Predictor, ...] = (
    Predictor(name="look_ahead", about="gap on validation after a few epochs of both", unit="points"),
    Predictor(
        name="disparity", about="disparity of the objective, 0 near, 1 far", instead_of="objective_is_far"
    ),
    Predictor(name="objective_is_far", about="objective far by the paper's grouping, 0 or 1"),
    Predictor(name="distance", about="distance to the pretraining reference, root of the debiased FD"),
    Predictor(name=SIZE, about="training images, log2"),
    Predictor(name="linear", about="linear probe above chance"),
    Predictor(name="knn", about="nearest neighbours above chance"),
    Predictor(name="log2_classes", about="classes, log2"),
)  # fmt: skip
"""In the order in which they are taken: evidence of few tasks bears the first ones only."""

ABOUT: Mapping[str, str] = {each.name: each.about for each in PREDICTORS}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which predictors are used with some evidence.

    Attributes
    ----------
    names
        Those that are used.
    tasks
        Tasks of the evidence that have all of them.
    unused
        Why each other predictor is not used, by name.
    left_out
        Why each other task is left out, by name.
    """

    names: tuple[str, ...]
    tasks: tuple[Trained, ...]
    unused: Mapping[str, str]
    left_out: Mapping[str, str]


def choose(known: Mapping[str, float], tasks: Sequence[Trained]) -> Choice:
    """Choose predictors by what is known and how many tasks there are, never by how well they predict.

    A predictor is used if the new task has it, at least half of the evidence's tasks have it, and it differs between
    them. In the order of :data:`PREDICTORS` one is taken for every :data:`~.interaction.TASKS_A_TERM` tasks; the
    training size takes no such place where tasks were trained at several sizes. Tasks without a used predictor are left
    out: nothing is filled in.

    Parameters
    ----------
    known
        Predictors of the new task.
    tasks
        The evidence.
    """
    names: list[str] = []
    kept = list(tasks)
    unused: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for each in PREDICTORS:
        having = [task for task in kept if np.isfinite(values_of(task, each.name)).all()]
        reason = _refusal(each, known, names, kept, having)
        if reason:
            unused[each.name] = reason
            continue
        left_out |= {task.task: f"{each.about} is not known" for task in kept if task not in having}
        names.append(each.name)
        kept = having
    return Choice(names=tuple(names), tasks=tuple(kept), unused=unused, left_out=left_out)


def values_of(task: Trained, name: str) -> np.ndarray:
    """A predictor at each observation of a task ``(n,)``; NaN where it is not known."""
    if name == SIZE:
        return np.log2(np.asarray(task.sizes, dtype=float))
    return np.full(len(task.gaps), task.values.get(name, np.nan))


def far_beyond(tasks: Sequence[Trained], names: Sequence[str], values: Sequence[float]) -> list[str]:
    """Which predictors of a new task lie beyond the evidence by more than :data:`FAR` of its range.

    There the fitted line says nothing that was ever seen: advice is withheld.
    """
    out = []
    for name, value in zip(names, values, strict=True):
        seen = np.concatenate([values_of(task, name) for task in tasks])
        room = FAR * np.ptp(seen)
        if not seen.min() - room <= value <= seen.max() + room:
            out.append(name)
    return out


def _refusal(
    each: Predictor, known: Mapping[str, float], used: Sequence[str], tasks: Sequence[Trained], having: list[Trained]
) -> str:
    """Why a predictor cannot be used; empty where it can."""
    finer = next((other.name for other in PREDICTORS if other.instead_of == each.name), None)
    if finer in used:
        return f"{finer} says the same in finer steps"
    if not np.isfinite(known.get(each.name, np.nan)):
        return "not known of the new task"
    if len(having) * 2 < len(tasks) or not having:
        return f"known of {len(having)} of {len(tasks)} tasks of the evidence"
    values = np.concatenate([values_of(task, each.name) for task in having])
    if np.ptp(values) == 0:
        shown = 2 ** values[0] if each.name.startswith("log2") else values[0]
        return f"the same in all tasks of the evidence ({shown:.4g})"
    for sort in dict.fromkeys(sort for task in having for sort in task.kin):
        if 1 < (shared := _sets(each.name, having, sort)) < TASKS_A_TERM and each.name != SIZE:
            return f"the same for all tasks of the same {sort}, of which there are {shared}"
    if _takes_a_place(each.name, having):
        taken = sum(_takes_a_place(name, having) for name in used)
        if (taken + 1) * TASKS_A_TERM > len(having):
            return f"{len(having)} tasks bear {taken} predictors that differ between tasks"
    return ""


def _sets(name: str, tasks: Sequence[Trained], sort: str) -> int:
    """How many kin groups of a sort a predictor has one value each in; 0 where it differs within one."""
    groups: dict[str, set[float]] = {}
    for task in tasks:
        groups.setdefault(task.kin.get(sort, f"only {task.task}"), set()).update(
            values_of(task, name).round(9).tolist()
        )
    return len(groups) if len(groups) < len(tasks) and all(len(each) == 1 for each in groups.values()) else 0


def _takes_a_place(name: str, tasks: Sequence[Trained]) -> bool:
    return name != SIZE or not any(np.ptp(task.sizes) > 0 for task in tasks)
