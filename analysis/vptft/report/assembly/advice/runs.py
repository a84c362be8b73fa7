"""Evidence from the user's own runs: gaps with their noise, and what is known of each task on frozen features."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vptft.advise.tasks import Block, Trained
from vptft.checkpoints.native import find_runs
from vptft.checkpoints.pairs import RunPair, pair_runs, unlike_seeds
from vptft.data import registry
from vptft.data.tasks import NEAR_OBJECTIVES
from vptft.errors import CheckpointError, VptftError
from vptft.evidence.statistics.components import components
from vptft.report.assembly.advice.tasks import Scheme, looked_ahead, predictors
from vptft.report.assembly.outcomes import paired_images
from vptft.when.quadrants.boundaries import median


def evidence_of_runs(
    folders: Sequence[Path], scheme: Scheme, *, leave_out: Collection[str] = (), image_size: int | None = None
) -> list[Block]:
    """Evidence of pairs of runs of this backbone, a block for each image size, with each task's predictors.

    Parameters
    ----------
    folders
        Run folders, or folders that hold runs.
    scheme
        See :class:`.tasks.Scheme`; runs of other backbones are left out, and said so.
    leave_out
        The names of the task that advice is asked for: what was already measured of it is no evidence.
    image_size
        Pixels a side that it would be tuned at: runs of another size do not decide.

    Raises
    ------
    CheckpointError
        There is no run of this backbone.
    """
    runs = [run for run in find_runs(list(folders)) if run.info.method in ("vpt_deep", "ft")]
    own = [run for run in runs if run.info.backbone == scheme.backbone]
    if not own:
        others = ", ".join(sorted({run.info.backbone for run in runs})) or "no VPT or FT run at all"
        raise CheckpointError(
            f"No VPT or FT run of {scheme.backbone} among these; there are: {others}.",
            "Give runs of the backbone that is asked about.",
        )
    notes = [] if len(own) == len(runs) else [f"{len(runs) - len(own)} runs of other backbones are left out"]
    pairs = pair_runs(own)
    sizes = sorted({pair.vpt.info.image_size for pair in pairs}, key=lambda size: (size != image_size, -size))
    return [
        replace(
            _block([pair for pair in pairs if pair.vpt.info.image_size == size], scheme, leave_out, notes),
            mismatch="" if image_size in (None, size) else f"of {size} px, not {image_size}",
        )
        for size in sizes
    ]


def _block(pairs: Sequence[RunPair], scheme: Scheme, leave_out: Collection[str], notes: Sequence[str]) -> Block:
    """Evidence of the runs of one image size."""
    said = [*notes, *unlike_seeds(pairs)]
    by_task: dict[str, list[RunPair]] = {}
    for pair in pairs:
        by_task.setdefault(pair.vpt.info.task, []).append(pair)
    for task in [task for task in by_task if task in leave_out]:
        del by_task[task]
        said.append(f"runs of {task} itself are left out of the evidence")
    for task in [task for task, own in by_task.items() if own[0].vpt.info.few_groups]:
        del by_task[task]
        said.append(f"{task} is left out: few independent pictures stand behind it")
    cells = [_cells(own) for own in by_task.values()]
    of_draws = _pooled([cell for each in cells for cell in each])
    if np.isnan(of_draws):
        said.append("one training a task: how much training again changes a gap is not known, the residual holds it")
    trained = []
    for (task, own), each in zip(by_task.items(), cells, strict=True):
        values, problem = _known(task, scheme)
        said += [problem] if problem else []
        trained.append(_trained(task, own, each, of_draws, values))
    info = pairs[0].vpt.info
    if any(task.kin for task in trained):
        said.append(
            "tasks of the factorial suite: two looks of one question are kin, and so are five questions about the same "
            "scenes; the disparity's measure was chosen on these tasks, by their objectives and not by gaps"
        )
    images = [cell.images for each in cells for cell in each if np.isfinite(cell.images)]
    return Block(
        name=f"your runs, {info.backbone}, {info.image_size} px", backbone=info.backbone, pretraining=info.pretraining,
        tasks=_with_median_sides(trained), of_draws=of_draws, of_images=float(np.mean(images)) if images else 0.0,
        notes=tuple(said),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """Gap of one task at one size: points, variance parts in points squared, trainings, images."""

    gap: float
    draws: float
    images: float
    k: int
    n_train: float


def _cells(pairs: Sequence[RunPair]) -> list[_Cell]:
    found = []
    for size in sorted({pair.vpt.info.n_train or 0 for pair in pairs}):
        chosen = [pair for pair in pairs if (pair.vpt.info.n_train or 0) == size]
        task = chosen[0].vpt.info.task
        split = components([paired_images(p.vpt.predictions(), p.ft.predictions(), task) for p in chosen])
        k = len(chosen)
        found.append(
            _Cell(
                gap=100 * split.value, draws=1e4 * split.draws.variance * k if k > 1 else np.nan,
                images=1e4 * split.images.variance, k=k, n_train=size or np.nan,
            )
        )  # fmt: skip
    return found


def _pooled(cells: Sequence[_Cell]) -> float:
    """Variance of a gap over trainings, pooled over tasks: three trainings of one task hardly tell their own."""
    known = [cell for cell in cells if cell.k > 1]
    return float(np.average([c.draws for c in known], weights=[c.k - 1 for c in known])) if known else float("nan")


def _trained(
    task: str, pairs: Sequence[RunPair], cells: Sequence[_Cell], of_draws: float, values: Mapping[str, float]
) -> Trained:
    info = pairs[0].vpt.info
    noise = [np.nan_to_num(of_draws) / cell.k + np.nan_to_num(cell.images) for cell in cells]
    far = None if info.objective is None else info.objective not in NEAR_OBJECTIVES
    sides = {} if far is None else {"objective_is_far": float(far)}
    return Trained(
        task=task, gaps=tuple(cell.gap for cell in cells), sizes=tuple(float(cell.n_train) for cell in cells),
        noise=tuple(float(each) for each in noise), values={**values, **sides}, objective_is_far=far,
        data_is_far=None if info.appearance is None else info.appearance != "photo",
        n_seeds=min(cell.k for cell in cells),
        kin={"question": str(info.objective), "scenes": info.appearance} if info.appearance else {},
    )  # fmt: skip


def _known(task: str, scheme: Scheme) -> tuple[dict[str, float], str]:
    """Predictors of a task of the evidence; none, with the reason, where its images are not here."""
    try:
        values, _ = predictors(task, scheme)
        values |= looked_ahead(registry.task(task), scheme)
    except VptftError as error:
        return {}, f"{task} could not be measured: {error.problem}"
    return values, ""


def _with_median_sides(tasks: Sequence[Trained]) -> tuple[Trained, ...]:
    """Give tasks without a designed side of the data one by the median distance, where there are distances."""
    cut = median(np.array([task.values.get("distance", np.nan) for task in tasks])).value
    return tuple(
        replace(task, data_is_far=task.values["distance"] > cut)
        if task.data_is_far is None and "distance" in task.values else task
        for task in tasks
    )  # fmt: skip
