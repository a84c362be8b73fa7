"""The one training loop: every method, any task, resumable after a kill at any moment.

Everything random in epoch e is seeded by (seed, e), so an interrupted run that starts again from an epoch's end
takes the same steps, bit for bit, as one that was never interrupted.
"""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from vptft.checkpoints.native import (
    HISTORY_COLUMNS,
    Predictions,
    Run,
    RunInfo,
    is_complete,
    load_run,
    load_tuned,
    save_run,
    tuned_state,
)
from vptft.data.images import ImageSet
from vptft.data.tasks import Split, Task
from vptft.data.transforms import normalise
from vptft.errors import CheckpointError, DataError, TrainingError
from vptft.models.backbones import Backbone, load_backbone
from vptft.models.fingerprint import state_hash
from vptft.models.tuned import TunedModel
from vptft.provenance import provenance
from vptft.storage import atomic_path, key_of, lock
from vptft.tuning.methods import Method, build_model
from vptft.tuning.settings import TrainSettings

RESUME_SECONDS = 20.0
"""A resume state is written at the first epoch's end after this long; FT's is three times the network."""

LOWER_LR = "Lower the learning rate (--lr) or lengthen the warm-up."

EpochCallback = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class SplitTensors:
    """A split in memory: pixels ``(n, 3, h, w)`` uint8, labels ``(n,)`` int64, and who the images are."""

    pixels: torch.Tensor
    labels: torch.Tensor
    ids: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass
class _State:
    """What moves while a run trains."""

    model: TunedModel
    optimizer: torch.optim.AdamW
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def train(
    task: Task,
    method: Method,
    *,
    backbone: str,
    settings: TrainSettings,
    folder: Path,
    device: str = "cpu",
    on_epoch: EpochCallback = lambda done, total: None,
) -> Run:
    """Train one run into ``folder``, or give the run that is already there.

    Parameters
    ----------
    task, method, backbone, settings
        What, how, from which backbone (by name).
    folder
        The run folder. An unfinished run with the same settings goes on; one with others is refused.
    device
        A torch device.
    on_epoch
        Called with (epochs done, epochs in all).

    Raises
    ------
    TrainingError
        The loss is no longer a number; nothing is left behind but the error.
    DataError, CheckpointError
        Unreadable images; a folder that holds another run.
    """
    settings = replace(settings, lr=settings.lr or method.default_lr)
    with lock(folder.parent / f".{folder.name}"):
        loaded = load_backbone(backbone, settings.image_size)
        parts: tuple[Split, ...] = ("train", "val", "test")
        images = {name: _images(task, name, settings) for name in parts}
        content = [split.fingerprint() for split in images.values()]
        key = key_of(task.name, method.name, backbone, loaded.sha256, asdict(settings), content)
        if is_complete(folder):
            run = _existing(folder, key)
            shutil.rmtree(folder / "resume", ignore_errors=True)
            return run
        splits: dict[str, SplitTensors] = {n: _in_memory(i, settings.image_size) for n, i in images.items()}
        state = _start(task, method, loaded, settings, device)
        _resume(state, folder, key)
        try:
            _fit(state, splits, loaded, settings, folder=folder, key=key, on_epoch=on_epoch)
        except TrainingError:
            # Taken up again, it would fail there again.
            shutil.rmtree(folder / "resume", ignore_errors=True)
            raise
        run = _finish(state, splits, task, method, loaded, settings, folder=folder, key=key)
        shutil.rmtree(folder / "resume", ignore_errors=True)
    return run


def schedule(step: int, total: int, *, warmup_fraction: float) -> float:
    """Part of the peak learning rate: linear warm-up to 1, then half a cosine to 0 (Loshchilov and Hutter 2017)."""
    warm = math.ceil(total * warmup_fraction)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def parameter_groups(model: TunedModel, settings: TrainSettings) -> list[dict[str, Any]]:
    """Trainable parameters by weight decay and peak learning rate.

    Matrices decay; vectors, prompts, cls, register and position embeddings do not. The head has a rate of its own,
    unless it is all that is tuned.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    tuned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    head_only = all(name.startswith("head.") for name in tuned)
    for name, parameter in tuned.items():
        embedding = name.endswith(("tokens", "cls_token", "reg_token", "pos_embed"))
        decay = 0.0 if parameter.ndim < 2 or embedding else settings.weight_decay
        peak = settings.head_lr if name.startswith("head.") and not head_only else settings.lr or 0.0
        groups.setdefault((decay, peak), []).append(parameter)
    return [{"params": ps, "weight_decay": decay, "peak": peak} for (decay, peak), ps in groups.items()]


@torch.inference_mode()
def predict(model: TunedModel, pixels: torch.Tensor, backbone: Backbone, batch_size: int = 128) -> torch.Tensor:
    """Logits ``(n, n_classes)`` float32 on the CPU, in evaluation mode."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    batches = [
        model(normalise(part.to(device), backbone.mean, backbone.std)).cpu() for part in pixels.split(batch_size)
    ]
    model.train(was_training)
    return torch.cat(batches)


def _existing(folder: Path, key: str) -> Run:
    run = load_run(folder)
    if run.info.settings.get("key") != key:
        raise CheckpointError(
            f"{folder} holds a finished run with other settings.", "Give another folder, or remove that one."
        )
    return run


def _images(task: Task, name: Split, settings: TrainSettings) -> ImageSet:
    count = {"train": settings.n_train, "val": settings.n_val, "test": settings.n_test}[name]
    images: ImageSet = task.load(name, n=count, seed=settings.seed)
    if images.labels is None or len(images) < 2:
        found = "no labels" if images.labels is None else f"{len(images)} images"
        raise DataError(f"{images.name} has {found}; training needs at least two labelled images.")
    return images


def _in_memory(images: ImageSet, size: int) -> SplitTensors:
    return SplitTensors(
        pixels=images.pixels(size),
        labels=torch.from_numpy(np.asarray(images.labels, dtype=np.int64)),
        ids=images.ids,
        groups=images.groups,
    )


def _start(task: Task, method: Method, backbone: Backbone, settings: TrainSettings, device: str) -> _State:
    model = build_model(
        method,
        backbone,
        n_classes=len(task.classes),
        prompt_length=settings.prompt_length,
        prompt_dropout=settings.prompt_dropout,
        seed=settings.seed,
    ).to(device)
    return _State(model=model, optimizer=torch.optim.AdamW(parameter_groups(model, settings)))


def _fit(
    state: _State,
    splits: dict[str, SplitTensors],
    backbone: Backbone,
    settings: TrainSettings,
    *,
    folder: Path,
    key: str,
    on_epoch: EpochCallback,
) -> None:
    saved = time.monotonic()
    on_epoch(state.epoch, settings.epochs)
    while state.epoch < settings.epochs:
        started = time.perf_counter()
        lr, loss, accuracy = _train_epoch(state, splits["train"], backbone, settings)
        rows = [
            ("train", loss, accuracy),
            *(_curve_point(state, splits, name, backbone, settings) for name in ("val", "test")),
        ]
        state.epoch += 1
        seconds = round(time.perf_counter() - started, 3)
        for row in rows:
            state.history.append(dict(zip(HISTORY_COLUMNS, (state.epoch, *row, lr, seconds), strict=True)))
        if state.epoch == settings.epochs or time.monotonic() - saved > RESUME_SECONDS:
            _save_resume(state, folder, key)
            saved = time.monotonic()
        on_epoch(state.epoch, settings.epochs)


def _train_epoch(
    state: _State, split: SplitTensors, backbone: Backbone, settings: TrainSettings
) -> tuple[float, float, float]:
    """One pass; gives the last learning rate, the mean loss and the accuracy as training saw them."""
    device = next(state.model.parameters()).device
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + state.epoch)
    batches = torch.randperm(len(split.labels), generator=generator).split(settings.batch_size)
    total = settings.epochs * len(batches)
    loss_sum, correct, lr = 0.0, 0, 0.0
    state.model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed * 1_000_003 + state.epoch)
        for i, batch in enumerate(batches):
            step = state.epoch * len(batches) + i
            part = schedule(step, total, warmup_fraction=settings.warmup_fraction)
            for group in state.optimizer.param_groups:
                group["lr"] = part * group["peak"]
            lr = part * (settings.lr or 0.0)
            labels = split.labels[batch].to(device)
            logits = state.model(normalise(split.pixels[batch].to(device), backbone.mean, backbone.std))
            loss = F.cross_entropy(logits, labels)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"The training loss became {loss.item()} in epoch {state.epoch + 1}, batch {i + 1}, "
                    f"at learning rate {lr:.3g}.",
                    LOWER_LR,
                )
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            state.optimizer.step()
            loss_sum += loss.item() * len(batch)
            correct += int((logits.argmax(1) == labels).sum())
    return lr, loss_sum / len(split.labels), correct / len(split.labels)


def _curve_point(
    state: _State, splits: dict[str, SplitTensors], name: str, backbone: Backbone, settings: TrainSettings
) -> tuple[str, float, float]:
    split = splits[name]
    logits = predict(state.model, split.pixels[: settings.n_curve], backbone)
    labels = split.labels[: settings.n_curve]
    loss = F.cross_entropy(logits, labels).item()
    if not math.isfinite(loss):
        raise TrainingError(
            f"The {name} loss became {loss} in epoch {state.epoch + 1}, at peak learning rate {settings.lr:.3g}.",
            LOWER_LR,
        )
    return name, loss, int((logits.argmax(1) == labels).sum()) / len(labels)


def _finish(
    state: _State,
    splits: dict[str, SplitTensors],
    task: Task,
    method: Method,
    backbone: Backbone,
    settings: TrainSettings,
    *,
    folder: Path,
    key: str,
) -> Run:
    test = splits["test"]
    predictions = Predictions(
        ids=np.array(test.ids),
        groups=np.array(test.groups),
        labels=test.labels.numpy(),
        logits=predict(state.model, test.pixels, backbone).numpy(),
    )
    tuned = tuned_state(state.model)
    prompts = state.model.prompts
    info = RunInfo(
        backbone=backbone.name,
        backbone_sha256=backbone.sha256,
        pretraining=backbone.pretraining,
        method=method.name,
        task=task.name,
        objective=task.objective,
        appearance=task.appearance,
        few_groups=task.few_groups,
        classes=list(task.classes),
        n_train=len(splits["train"].labels),
        seed=settings.seed,
        image_size=settings.image_size,
        mean=list(backbone.mean),
        std=list(backbone.std),
        prompts=None if prompts is None else prompts.spec.to_json(),
        parameters_tuned=sum(p.numel() for p in state.model.parameters() if p.requires_grad),
        parameters_total=sum(p.numel() for p in state.model.parameters()),
        settings={**asdict(settings), "optimizer": "adamw", "schedule": "warm-up + cosine", "key": key},
        model_sha256=state_hash(tuned),
        test_accuracy=predictions.accuracy,
        provenance=provenance(),
    )
    history = pd.DataFrame(state.history, columns=list(HISTORY_COLUMNS))
    return save_run(folder, info, state=tuned, history=history, predictions=predictions)


def _save_resume(state: _State, folder: Path, key: str) -> None:
    content = {
        "key": key,
        "epoch": state.epoch,
        "history": state.history,
        "model": tuned_state(state.model),
        "optimizer": state.optimizer.state_dict(),
    }
    with atomic_path(folder / "resume" / "state.pt") as path:
        try:
            torch.save(content, path)
        except RuntimeError as error:
            raise OSError(f"no space left, or {error}") from error  # its own error for a full disk


def _resume(state: _State, folder: Path, key: str) -> None:
    """Take up an unfinished run, if the folder holds one."""
    path = folder / "resume" / "state.pt"
    if not path.is_file():
        return
    device = next(state.model.parameters()).device
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        found = content["key"]
    except Exception as error:
        # torch.load has a different error for each way a file can be damaged.
        raise CheckpointError(f"{path} is damaged: {error}", f"Remove {folder} and train again.") from error
    if found != key:
        raise CheckpointError(
            f"{folder} holds an unfinished run with other settings.", "Give another folder, or remove that one."
        )
    load_tuned(state.model, content["model"], source=path)
    state.optimizer.load_state_dict(content["optimizer"])
    state.epoch, state.history = content["epoch"], content["history"]
