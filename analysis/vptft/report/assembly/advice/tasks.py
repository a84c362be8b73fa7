"""What is known of a task before either method is tuned on it: measured on frozen features, or by a short training."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vptft.advise.tasks import Block, NewTask
from vptft.data import registrations, registry
from vptft.data.catalogue import REFERENCE
from vptft.data.own import own_task
from vptft.data.tasks import Task
from vptft.errors import DataError, UnknownNameError, VptftError
from vptft.features.extractors import Extractor
from vptft.features.pretraining import pretraining_of_extractor
from vptft.report.assembly.advice.look_ahead import gap_after
from vptft.report.assembly.distances import distance, statistics
from vptft.report.assembly.objective import labelled_images, objective_disparity, task_features
from vptft.report.assembly.samples import images_up_to
from vptft.storage import cache_folder, key_of
from vptft.tuning.settings import TrainSettings
from vptft.when.distribution.distance import DistanceSettings
from vptft.when.quadrants.boundaries import designed, median

Tell = Callable[[str], Callable[[int, int], None]]
Side = Literal["near", "far"]

LEAST_IMAGES = 20
"""Labelled images below which nothing is said: probes and distances would be noise."""
HALF = 0.5
"""Disparity from which an objective counts as far where nobody said: half way between the suite's own two kinds."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How every task is measured, the new one and those of the evidence alike.

    Attributes
    ----------
    extractor
        The backbone.
    reference
        The pretraining set, or what stands in for it.
    images
        Images a set, drawn; all where there are fewer.
    seed
        Of the draws.
    look_ahead
        Settings of a few epochs of both methods; None to train nothing.
    device
        Of those.
    tell
        ``tell(label)`` gives a callback for progress.
    """

    extractor: Extractor
    reference: str = REFERENCE
    images: int = 500
    seed: int = 0
    look_ahead: TrainSettings | None = None
    device: str = "cpu"
    tell: Tell = lambda label: lambda done, total: None

    @property
    def backbone(self) -> str:
        """Name of the backbone without a size: what is tuned."""
        name, colon, size = self.extractor.name.rpartition(":")
        return name if colon and size.isdecimal() else self.extractor.name

    def inputs(self) -> dict[str, Any]:
        """What of it a result depends on."""
        look_ahead = None if self.look_ahead is None else asdict(self.look_ahead)
        return {
            "extractor": self.extractor.name, "reference": self.reference, "images": self.images, "seed": self.seed,
            "look_ahead": look_ahead,
        }  # fmt: skip


def named_task(name: str) -> Task:
    """Return the task of a registered name, or of a folder with a sub-folder a class.

    Raises
    ------
    DataError
        No labels, a single class, or no such folder.
    """
    folder = _folder(name)
    return registry.task(name) if folder is None else own_task(folder, name)


def names_of(name: str) -> frozenset[str]:
    """Every name of a task under which it can stand in evidence: that of the tables, and those of the same folder."""
    folder = _folder(name)
    own = {entry.name for entry in registrations.registrations() if folder and Path(entry.path) == folder.resolve()}
    return frozenset({name, registrations.table_name(name), *own})


def _folder(name: str) -> Path | None:
    """The folder that a name is the path of; None where it is a task's name, which counts first."""
    if name.startswith(("/", ".", "~")):
        return Path(name).expanduser()
    try:
        registry.task(name)
    except UnknownNameError:
        return Path(name) if Path(name).is_dir() else None
    except VptftError:
        return None  # a task's name all the same; what is wrong with it is said when it is asked for
    return None


def predictors(name: str, scheme: Scheme) -> tuple[dict[str, float], list[str]]:
    """Measure what is known of a task from frozen features alone, and what must be known of that.

    Images and labels are of training and validation: no test image is looked at.

    Raises
    ------
    DataError
        No labels, one class, or fewer than :data:`LEAST_IMAGES` images.
    """
    seen = f"{name}:trainval"
    task = task_features(
        seen, scheme.extractor, n=scheme.images, draw=scheme.seed, on_batch=scheme.tell(f"features of {name}")
    )
    if len(task.labels) < LEAST_IMAGES:
        raise DataError(
            f"{name} has {len(task.labels)} labelled images to train on; advice needs {LEAST_IMAGES} or more.",
            "Add images, or train both methods: with so few that takes less than a minute.",
        )
    folder = _kept("objective", seen, scheme)
    table = objective_disparity([task], slow=False, seed=scheme.seed, folder=folder).frame().set_index("measure")
    values = {name: float(table["value"][name]) for name in ("disparity", "linear", "knn")}
    notes = list(filter(None, [str(table["note"]["disparity"])]))
    far, said = _distance(seen, scheme)
    values |= {"distance": far, "log2_classes": float(np.log2(task.n_classes))}
    return {key: value for key, value in values.items() if np.isfinite(value)}, notes + said


def _distance(name: str, scheme: Scheme) -> tuple[float, list[str]]:
    """Root of the debiased distance to the reference, 0 where that is not above 0."""
    sets = [
        statistics(images, scheme.extractor, on_batch=scheme.tell(f"distance of {images.name}"))
        for images in (
            images_up_to(scheme.reference, scheme.images, scheme.seed),
            labelled_images(name, n=scheme.images, seed=scheme.seed),
        )
    ]
    found = distance(
        *sets, options=DistanceSettings(seed=scheme.seed, components=scheme.extractor.components),
        folder=_kept("distance", name, scheme),
    )  # fmt: skip
    notes = [] if found.debiased > 0 else [f"{name} is not farther from {scheme.reference} than chance would have it"]
    notes += [f"not read: {found.skipped[0]}"] if found.skipped else []
    return float(np.sqrt(max(found.debiased, 0.0))), notes


def _kept(kind: str, name: str, scheme: Scheme) -> Path:
    """Where a measurement of a task is kept, for the same question asked again."""
    return cache_folder() / "advice" / f"{kind}-{key_of(name, scheme.inputs())[:16]}"


def new_task(
    name: str,
    scheme: Scheme,
    *,
    n_train: int | None = None,
    objective: Side | None = None,
) -> NewTask:
    """Measure the task that advice is asked for.

    Parameters
    ----------
    name
        A task, or a folder with a sub-folder a class.
    scheme
        See :class:`Scheme`.
    n_train
        Images that it would be trained on; None for its own training split.
    objective
        Its side by the paper's grouping; None for that of a registered task, and of a folder by its disparity.
    """
    task = named_task(name)
    values, notes = predictors(name, scheme)
    size = n_train or len(task.load("train"))
    if objective is None and _folder(name) is None:
        objective = "far" if task.objective_is_far else "near"
        if task.group == "own":
            notes = [*notes, f"its objective counts as {objective}, since it was registered as {task.objective}"]
    far, said = _objective_side(objective, values.get("disparity", np.nan))
    values |= {"log2_n": float(np.log2(size))} | ({} if far is None else {"objective_is_far": float(far)})
    values |= looked_ahead(task, scheme)
    return NewTask(
        task=name, backbone=scheme.backbone, pretraining=pretraining_of_extractor(scheme.extractor.name),
        n_train=size, values=values, objective_is_far=far, notes=(*notes, *said),
    )  # fmt: skip


def looked_ahead(task: Task, scheme: Scheme) -> dict[str, float]:
    """Gap on validation after the scheme's look-ahead, by the predictor's name; empty where it has none."""
    if scheme.look_ahead is None:
        return {}
    return {"look_ahead": gap_after(task, scheme.backbone, scheme.look_ahead, device=scheme.device, tell=scheme.tell)}


def _objective_side(given: Side | None, disparity: float) -> tuple[bool | None, list[str]]:
    """Which side a task's objective is on, and how that is known where nobody said it."""
    if given is not None:
        return given == "far", []
    if np.isnan(disparity):
        return None, ["nobody said whether the objective is near or far, and its disparity could not be measured"]
    far = bool(disparity >= HALF)
    return far, [
        f"nobody said what the labels ask; by its disparity of {disparity:.2f} the objective counts as "
        f"{'far' if far else 'near'} (--objective near|far says otherwise)"
    ]


def with_data_side(new: NewTask, blocks: Sequence[Block]) -> NewTask:
    """Say whether the task's data are far, by what parts the evidence's distances; as it was where nothing does.

    The design of a factorial suite where there is one, else the median (:mod:`vptft.when.quadrants.boundaries`).
    """
    for block in blocks:
        sides = [task for task in block.tasks if "distance" in task.values and task.data_is_far is not None]
        if block.mismatch or not sides or "distance" not in new.values:
            continue
        far = np.array([task.data_is_far for task in sides], dtype=bool)
        known = np.array([task.values["distance"] for task in sides])
        cut = designed(known, far).value
        cut = median(known).value if np.isnan(cut) else cut
        return replace(new, data_is_far=bool(new.values["distance"] > cut))
    return new
