"""What a method costs beside its accuracy: parameters, storage a task, time and memory, by batch and prompt length.

Every number is of the machine it was measured on. Time on a CPU says nothing of a GPU, where a batch of one keeps most
of the device idle and small methods hardly differ; ratios between methods change with the batch, the image size and the
width of the network. Fewer tuned parameters are not in proportion less time or memory: the backward pass runs through
the whole network for a prompt too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from vptft.errors import MissingExtraError, NotApplicable, SettingsError
from vptft.evidence.results import Result
from vptft.tuning.costs import Clock, Memory, alone, clock_of, in_rounds
from vptft.tuning.methods import called
from vptft.tuning.settings import TrainSettings
from vptft.tuning.subjects import Built, Subject, stored_bytes

COSTS = (
    "parameters_tuned", "parameters_total", "stored_bytes", "base_bytes", "forward_ms", "forward_ms_min",
    "forward_ms_max", "step_ms", "step_ms_min", "step_ms_max", "parameter_bytes", "gradient_bytes", "optimiser_bytes",
    "activation_bytes", "peak_bytes", "device_peak_bytes",
)  # fmt: skip


_SAME = ("method", "variant", "backbone", "image_size", "n_classes", "prompt_length", "batch_size", "task", "n_train")
"""Columns in which runs agree that are seeds of one another."""


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
        run, task, n_train, accuracy
            Of a run; n_train is 0 where it is not known; accuracy (fraction of test images) is NaN for a method, and
            at a prompt length the run did not have.
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

    def summary(self) -> pd.DataFrame:
        """Return the table for a reader: one column a cost, in millions, MB (10^6 bytes) and milliseconds.

        Runs that differ in nothing but seed and rate are one row, with their number and the mean of their accuracies.
        """
        groups = self.table.groupby(list(_SAME), sort=False, dropna=False)
        t = groups.first().assign(accuracy=groups["accuracy"].mean(), runs=groups.size()).reset_index()
        shown = {
            "method": t["method"].str.cat(t["variant"], sep=" ").str.strip(), "task": t["task"],
            "backbone": t["backbone"], "runs": t["runs"], "accuracy": t["accuracy"], "prompts": t["prompt_length"],
            "batch": t["batch_size"], "tuned (M)": t["parameters_tuned"] / 1e6, "of (M)": t["parameters_total"] / 1e6,
            "stored (MB)": (t["stored_bytes"] + t["base_bytes"]) / 1e6, "forward (ms/image)": t["forward_ms"],
            "step (ms)": t["step_ms"], "activations (MB)": t["activation_bytes"] / 1e6,
            "peak (MB)": t["peak_bytes"] / 1e6,
        }  # fmt: skip
        frame = pd.DataFrame(shown)
        return frame if frame["task"].any() else frame.drop(columns=["task", "runs", "accuracy"])

    def notes(self) -> list[str]:
        """What numbers hide and why some are missing: a line each, with the methods it is about."""
        said = self.table["note"].where(
            self.table["not_applicable"] == "", "not applicable: " + self.table["not_applicable"]
        )
        groups = self.table[said != ""].groupby(said[said != ""], sort=False)["method"]
        return [f"{', '.join(map(called, methods.unique()))}: {note}" for note, methods in groups]


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
    for name, value in {
        "subjects": len(subjects),
        "batch sizes": len(batch_sizes),
        "repeats": repeats,
        "threads": threads,
    }.items():
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
    rows = [subject.identity(batch) | found[_key(subject, batch)] for subject, batch in asked]
    return Profile(settings=settings, table=pd.DataFrame(rows))


Asked = Sequence[tuple[Subject, int]]
Key = tuple[Any, ...]


def _key(subject: Subject, batch_size: int) -> Key:
    """What tells one measurement from another: all but who it was for."""
    own = subject.identity(batch_size)
    return (
        *(value for name, value in own.items() if name not in ("run", "task", "n_train", "accuracy")),
        subject.refused,
    )


def _measured(
    asked: Asked, repeats: int, seed: int, device: torch.device, clock: Clock, on_turn: Callable[[int, int], None]
) -> dict[Key, dict[str, Any]]:
    """Columns of costs by key; for what cannot be built, the reason."""
    built, found = _built(asked)
    works = {key: made.workload(batch, seed) for key, (made, batch) in built.items()}
    measured = in_rounds(works, repeats=repeats, device=device, clock=clock, on_turn=on_turn)
    return found | {key: _costs(*built[key], *measured[key]) for key in works}


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
    except (NotApplicable, SettingsError, MissingExtraError) as error:
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
