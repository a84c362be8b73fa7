"""Task: a downstream task, its objective and its splits; the words of DESIGN for what a row of any table is about."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from vptft.data.images import ImageSet

Split = Literal["train", "val", "trainval", "test"]
Objective = Literal["classification", "counting", "distance", "location", "orientation", "azimuth", "elevation"]
Group = Literal["natural", "specialized", "structured", "suite", "observed", "fine-grained", "own"]

PERMUTED = "+permuted"
"""Ends the name of a task whose training labels are in random order."""

NEAR_OBJECTIVES: frozenset[str] = frozenset({"classification"})
"""Objectives the paper calls near to pretraining's; all others are far (Han et al. 2024, section 4.2)."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A downstream task.

    Attributes
    ----------
    name
        The one name it is known by, as typed: ``"photo/category"``, ``"dtd"``.
    group
        The paper's task group, or where the task comes from.
    objective
        What is asked of the image.
    classes
        Class names in label order.
    load
        ``load(split, n=None, seed=0)`` gives the split's images. ``n`` asks for that many (training draws differ by
        ``seed``; a test set does not depend on it); None for the task's own size.
    appearance
        The factor level of the factorial suite (``"photo"``, ``"plain"``); None elsewhere.
    few_groups
        True where few independent pictures stand behind the images: never used for a significance claim.
    source
        Where the images come from, in words a user can act on.
    """

    name: str
    group: Group
    objective: Objective
    classes: tuple[str, ...]
    load: Callable[..., ImageSet]
    appearance: str | None = None
    few_groups: bool = False
    source: str = ""

    @property
    def objective_is_far(self) -> bool:
        """Whether the paper's manual grouping calls this objective far from pretraining's classification."""
        return self.objective not in NEAR_OBJECTIVES


def permuted(task: Task) -> Task:
    """The same task with the labels of training and validation in random order; those of the test stay.

    What a network learns of it is no property of the images: a control for whatever is said to show what was learned
    (Zhang et al. 2017; Adebayo et al. 2018, section 3.2). Each draw has an order of its own. Marked as of few groups,
    so that nothing is claimed of it.
    """

    def load(split: Split, n: int | None = None, seed: int = 0, **more: Any) -> ImageSet:
        images = task.load(split, n=n, seed=seed, **more)
        if split == "test" or images.labels is None:
            return images
        order = np.random.default_rng([seed, len(images)]).permutation(len(images))
        return replace(images, labels=images.labels[order])

    return replace(
        task, name=f"{task.name}{PERMUTED}", load=load, few_groups=True,
        source=f"{task.source} Training labels in random order.".strip(),
    )  # fmt: skip
