"""From pairs of runs and distances to the quadrant plane."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vptft.checkpoints.pairs import RunPair, require_one_setting
from vptft.data import registry
from vptft.data.tasks import NEAR_OBJECTIVES
from vptft.errors import SettingsError, VptftError
from vptft.report.assembly.outcomes import paired_images
from vptft.report.assembly.saved import identity, saved_or
from vptft.when.distribution.distance import SetDistance
from vptft.when.quadrants import plane
from vptft.when.quadrants.pairs import TaskPair


def quadrant_plane(
    pairs: Sequence[RunPair],
    distances: Mapping[str, SetDistance],
    *,
    seed: int,
    disparities: Mapping[str, float] | None = None,
    boundary: plane.Kind | None = None,
    folder: Path | None = None,
) -> plane.Quadrants:
    """Quadrants of run pairs of one setting, given each task's distance and, where measured, its disparity."""
    require_one_setting(pairs)
    known = dict(disparities or {})
    inputs = {
        "runs": [[identity(pair.vpt), identity(pair.ft)] for pair in pairs],
        "distances": {task: result.settings.get("key") for task, result in sorted(distances.items())},
        "disparities": known,
        "boundary": boundary,
        "seed": seed,
        "judged": list(plane.JUDGED),
    }

    def make(settings: dict[str, Any]) -> plane.Quadrants:
        tasks = sorted({pair.vpt.info.task for pair in pairs})
        chosen = [
            _task_pair(
                [pair for pair in pairs if pair.vpt.info.task == task], distances[task], known.get(task, float("nan"))
            )
            for task in tasks
        ]
        return plane.measure(chosen, boundary=boundary, seed=seed, settings=settings)

    return saved_or(plane.Quadrants, folder, inputs, make)


def _task_pair(pairs: Sequence[RunPair], result: SetDistance, disparity: float) -> TaskPair:
    info = pairs[0].vpt.info
    if info.objective is None:
        raise SettingsError(
            f"The objective of {info.task} is not known, so it has no place among the quadrants.",
            "Convert its checkpoints with --task and the name of a task that `tasks list` knows.",
        )
    outcomes = [(pair.vpt.predictions(), pair.ft.predictions()) for pair in pairs]
    return TaskPair(
        task=info.task,
        objective=info.objective,
        objective_is_far=info.objective not in NEAR_OBJECTIVES,
        pretraining=info.pretraining,
        data_is_far=None if info.appearance is None else info.appearance != "photo",
        distance=result.debiased,
        measure_name=result.measure_name,
        group=info.appearance or _group_of(info.task),
        disparity=disparity,
        draws=tuple(paired_images(ours, theirs, info.task) for ours, theirs in outcomes),
        accuracy_vpt=float(np.mean([ours.accuracy for ours, _ in outcomes])),
        accuracy_ft=float(np.mean([theirs.accuracy for _, theirs in outcomes])),
        few_groups=info.few_groups,
    )


def _group_of(task: str) -> str:
    """Group of a task that is registered here; a run may be of one that is not."""
    try:
        return registry.task(task).group
    except VptftError:
        return ""
