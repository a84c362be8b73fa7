"""What a method costs beside its accuracy: parameters, storage a task, time and memory, by batch and prompt length.

Every number is of the machine it was measured on. Time on a CPU says nothing of a GPU, where a batch of one keeps most
of the device idle and small methods hardly differ; ratios between methods change with the batch, the image size and the
width of the network. Fewer tuned parameters are not in proportion less time or memory: the backward pass runs through
the whole network for a prompt too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from vptft.errors import MissingExtraError, NotApplicable, SettingsError
from vptft.evidence.results import Result
from vptft.tuning.costs import Clock, Memory, Workload, alone, clock_of, memory_of, placed, timed
from vptft.tuning.settings import TrainSettings
from vptft.tuning.subjects import Built, Subject, stored_bytes

COSTS = (
    "parameters_tuned", "parameters_total", "stored_bytes", "base_bytes", "forward_ms", "forward_ms_min",
    "forward_ms_max", "step_ms", "step_ms_min", "step_ms_max", "parameter_bytes", "gradient_bytes", "optimiser_bytes",
    "activation_bytes", "peak_bytes", "device_peak_bytes",
)  # fmt: skip
KIND = ["method", "variant", "backbone", "image_size", "prompt_length", "batch_size"]
"""Columns that tell one thing to be compared from another, whatever the task and the seed."""


@dataclass(frozen=True, kw_only=True)
class Profile(Result):
    """Costs, one row a subject, prompt length and batch size; ``table`` as in :meth:`frame`."""

    analysis: ClassVar[str] = "profile"
    table: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Return the table.

        method, variant, backbone, image_size, n_classes, prompt_length, batch_size
            What was measured; ``variant`` holds the settings that are not the defaults and change costs, and
            ``prompt_length`` is 0 for a method without prompts.
        run, task, accuracy
            Of a run; accuracy (fraction of test images) is NaN for a method, and at a prompt length the run did not
            have.
        parameters_tuned, parameters_total
            Numbers of weights, head included. Few tuned ones save storage, and not in proportion time or memory.
        stored_bytes, base_bytes
            Tensors that a finished task adds, without file headers; and those of the run it started from, where it
            needs them again.
        forward_ms, forward_ms_min, forward_ms_max
            Milliseconds an image: a pass through the whole network, divided by the batch; median and range of the
            repetitions. Reading and decoding images is not in it.
        step_ms, step_ms_min, step_ms_max
            Milliseconds a training step of the whole batch: forward, backward, update. Validation and reading images
            are not in it, and methods may need different numbers of steps.
        parameter_bytes, gradient_bytes, optimiser_bytes, activation_bytes, peak_bytes, device_peak_bytes
            As in :class:`vptft.tuning.costs.Memory`; ``device_peak_bytes`` is NaN on a CPU.
        note, not_applicable
            What a number hides; why there is none.
        """
        return self.table

    def points(self) -> pd.DataFrame:
        """Return one row a :data:`KIND` that was measured: costs and accuracy averaged over tasks, then runs.

        Only tasks that every kind with an accuracy has count, since accuracies of different tasks do not compare.
        ``low`` and ``high`` are the range over runs where there is one task, else NaN; where no row has an accuracy,
        ``accuracy`` is NaN, else kinds without one are left out.

        Raises
        ------
        SettingsError
            The kinds have accuracies, and no task in common.
        """
        rows = self.table[self.table["not_applicable"] == ""]
        if rows["accuracy"].notna().any():
            rows = rows[rows["accuracy"].notna()]
            common = set.intersection(*(set(kind["task"]) for _, kind in rows.groupby(KIND)))
            if not common:
                raise SettingsError(
                    "The runs to compare have no task in common, and accuracies of different tasks do not compare.",
                    "Give runs of every method on the same tasks.",
                )
            rows = rows[rows["task"].isin(common)]
        groups = rows.groupby(KIND, sort=False)
        return pd.DataFrame([dict(zip(KIND, key, strict=True)) | _averaged(kind) for key, kind in groups])


def on_front(costs: Sequence[float], accuracies: Sequence[float]) -> np.ndarray:
    """Return which points no other beats: none costs as little or less and is as accurate or more, and is not equal.

    Both are point estimates: a front knows nothing of the noise of times, seeds and test images.
    """
    cost, accuracy = np.asarray(costs, dtype=float), np.asarray(accuracies, dtype=float)
    as_good = (cost[None] <= cost[:, None]) & (accuracy[None] >= accuracy[:, None])
    better = (cost[None] < cost[:, None]) | (accuracy[None] > accuracy[:, None])
    return ~(as_good & better).any(axis=1)


def measure(
    subjects: Sequence[Subject],
    *,
    batch_sizes: Sequence[int] = (TrainSettings().batch_size,),
    prompt_lengths: Sequence[int] = (),
    repeats: int = 5,
    threads: int = 1,
    seed: int = 0,
    device: str = "cpu",
    clock: Clock | None = None,
    on_turn: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Measure what subjects cost, on made-up images, by batch size and prompt length.

    What costs the same by construction (runs that differ in seed, task or rate) is measured once. All models are in
    the host's memory together, one at a time is on the device. The repetitions go round all of them, so that a machine
    that slows down slows all alike.

    Parameters
    ----------
    subjects, batch_sizes
        What, and with how many images at a time.
    prompt_lengths
        Prompts a layer, for methods that have any; empty for the subject's own.
    repeats
        Rounds; each gives one time, after a pass that is not timed.
    threads
        Of torch on the CPU. There, time is CPU time of this process: with several threads it is their sum.
    seed
        Of the images and labels. Times do not depend on them, to a good approximation.
    device
        A torch device; on others than the CPU, time is wall time until the device has finished.
    clock
        Seconds since whenever; None for the one just described.
    on_turn
        Called with (turns done, turns in all).
    """
    for name, value in {"subjects": len(subjects), "repeats": repeats, "threads": threads}.items():
        if value < 1:
            raise SettingsError(f"{name} must be 1 or more, got {value}.")
    target = torch.device(device)
    asked = [
        (subject.with_prompts(length) if subject.has_prompts else subject, batch)
        for subject in subjects
        for length in ((prompt_lengths if subject.has_prompts else ()) or (subject.settings.prompt_length,))
        for batch in batch_sizes
    ]
    with alone(target, threads):
        found = _measured(asked, repeats, seed, target, clock or clock_of(target), on_turn)
    settings = {
        "batch_sizes": list(batch_sizes), "prompt_lengths": list(prompt_lengths), "repeats": repeats,
        "threads": threads, "seed": seed, "device": device,
        "time": "process CPU time" if target.type == "cpu" else "wall time",
    }  # fmt: skip
    rows = [_identity(subject, batch) | found[_key(subject, batch)] for subject, batch in asked]
    return Profile(settings=settings, table=pd.DataFrame(rows))


Asked = Sequence[tuple[Subject, int]]
Key = tuple[Any, ...]


def _identity(subject: Subject, batch_size: int) -> dict[str, Any]:
    return {
        "method": subject.method,
        "variant": subject.variant,
        "backbone": subject.backbone,
        "image_size": subject.settings.image_size,
        "n_classes": subject.n_classes,
        "prompt_length": subject.settings.prompt_length if subject.has_prompts else 0,
        "batch_size": batch_size,
        "run": subject.run,
        "task": subject.task,
        "accuracy": subject.accuracy,
    }


def _key(subject: Subject, batch_size: int) -> Key:
    """What tells one measurement from another: all but who it was for."""
    own = _identity(subject, batch_size)
    return (*(value for name, value in own.items() if name not in ("run", "task", "accuracy")), subject.refused)


def _measured(
    asked: Asked, repeats: int, seed: int, device: torch.device, clock: Clock, on_turn: Callable[[int, int], None]
) -> dict[Key, dict[str, Any]]:
    """Columns of costs by key; for what cannot be built, the reason."""
    built, found = _built(asked)
    works = {key: made.workload(batch, seed) for key, (made, batch) in built.items()}
    total, done = (1 + repeats) * len(works), 0
    memory: dict[Key, Memory] = {}
    times: dict[Key, list[tuple[float, float]]] = {key: [] for key in works}
    for turn in range(1 + repeats):
        for key, work in works.items():
            with placed(work, device):
                if turn:
                    times[key].append(timed(work, clock))
                else:
                    memory[key] = memory_of(work)
            done += 1
            on_turn(done, total)
    return found | {key: _costs(*built[key], memory[key], times[key]) for key in works}


def _built(asked: Asked) -> tuple[dict[Key, tuple[Built, int]], dict[Key, dict[str, Any]]]:
    """Models with their batch sizes, and rows of what has none; batch sizes share a model."""
    made: dict[Key, tuple[Built, int]] = {}
    refused: dict[Key, dict[str, Any]] = {}
    models: dict[Key, Built | str] = {}
    for subject, batch in asked:
        kind = _key(subject, 0)
        if kind not in models:
            models[kind] = _model(subject)
        built = models[kind]
        if isinstance(built, str):
            refused[_key(subject, batch)] = dict.fromkeys(COSTS, np.nan) | {"note": "", "not_applicable": built}
        else:
            made[_key(subject, batch)] = built, batch
    return made, refused


def _model(subject: Subject) -> Built | str:
    """Return the model, or why there is none."""
    if subject.refused:
        return subject.refused
    try:
        return subject.build()
    except (NotApplicable, MissingExtraError) as error:
        return " ".join(filter(None, [error.problem, error.hint]))


def _costs(built: Built, batch: int, memory: Memory, times: list[tuple[float, float]]) -> dict[str, Any]:
    forward, step = ([1000 * seconds for seconds in column] for column in zip(*times, strict=True))
    an_image = [milliseconds / batch for milliseconds in forward]
    sizes = {p: p.numel() for p in built.model.parameters()}
    values = (
        sum(n for p, n in sizes.items() if p.requires_grad), sum(sizes.values()), stored_bytes(built.model),
        built.base_bytes, median(an_image), min(an_image), max(an_image), median(step), min(step), max(step),
        memory.parameters, memory.gradients, memory.optimiser, memory.activations, memory.peak,
        np.nan if memory.device_peak is None else memory.device_peak,
    )  # fmt: skip
    numbers = {name: float(value) for name, value in zip(COSTS, values, strict=True)}
    return numbers | {"note": built.note, "not_applicable": ""}


def _averaged(kind: pd.DataFrame) -> dict[str, Any]:
    """Means over the runs of each task, then over tasks."""
    tasks = kind.groupby("task", sort=False)[[*COSTS, "accuracy"]].mean()
    one = len(tasks) == 1
    return {
        **tasks.mean().to_dict(),
        "low": kind["accuracy"].min() if one else np.nan,
        "high": kind["accuracy"].max() if one else np.nan,
        "n_tasks": len(tasks),
        "n_runs": len(kind),
    }
