"""The one training loop: every method, any task, resumable after a kill at any moment.

Everything random in epoch e is seeded by (seed, e), so an interrupted run that starts again from an epoch's end
takes the same steps, bit for bit, as one that was never interrupted.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from vptft.checkpoints.native import (
    HISTORY_COLUMNS,
    SNAPSHOTS,
    Predictions,
    Run,
    RunInfo,
    is_complete,
    load_run,
    load_tuned,
    reference_to,
    save_run,
    tuned_state,
    write_snapshot,
)
from vptft.data.splits import draw_order
from vptft.data.tasks import Split, Task
from vptft.data.transforms import normalise
from vptft.errors import CheckpointError, NotApplicable, SettingsError, TrainingError
from vptft.models.backbones import Backbone, load_backbone
from vptft.models.fingerprint import state_hash
from vptft.models.tuned import TunedModel
from vptft.provenance import provenance
from vptft.storage import atomic_path, key_of, lock
from vptft.tuning.augmentation import colour_jitter
from vptft.tuning.building import build_model
from vptft.tuning.inputs import Inputs, features_of, images_of, pixels_of
from vptft.tuning.methods import Method
from vptft.tuning.optimisation import optimiser, part_of_peak
from vptft.tuning.settings import OPTIONS, TrainSettings

RESUME_SECONDS = 20.0
"""A resume state is written at the first epoch's end after this long; FT's is three times the network."""

IMPROVING = 0.02
"""Accuracy on validation that the last fifth of the epochs must gain over the fifth before for a run to say that it
was still improving when it ended."""

LOWER_LR = "Lower the learning rate (--lr) or lengthen the warm-up."

EpochCallback = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """What a training is for.

    Attributes
    ----------
    test
        Whether the test images are looked at. A training that chooses a setting never looks.
    keep_weights
        Whether the tuned tensors stay on disk. Those of a search serve nothing once its accuracy is known.
    search
        What chose the learning rate and the decay: trials, accuracies, budget; for ``run.json``.
    notes
        What must be known before the run's number is used.
    """

    test: bool = True
    keep_weights: bool = True
    search: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass
class _State:
    """What moves while a run trains."""

    model: TunedModel
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """Tensors of the best epoch on validation so far, where that is what is kept."""


def train(
    task: Task,
    method: Method,
    *,
    backbone: str,
    settings: TrainSettings,
    folder: Path,
    base: Run | None = None,
    purpose: Purpose = Purpose(),
    device: str = "cpu",
    on_epoch: EpochCallback = lambda done, total: None,
) -> Run:
    """Train one run into ``folder``, or give the run that is already there.

    Parameters
    ----------
    task, method, backbone, settings
        What, how, from which backbone (by name). Settings that belong to other methods do not count.
    folder
        The run folder. An unfinished run with the same settings goes on; one with others is refused.
    base
        For a method with ``after``: the finished run it starts from.
    purpose
        Whether it is judged on test images, and what it leaves.
    device
        A torch device.
    on_epoch
        Called with (epochs done, epochs in all).

    Raises
    ------
    TrainingError
        The loss is no longer a number; nothing is left behind but the error.
    DataError, CheckpointError
        Unreadable images; a folder that holds another run; a base of another kind.
    """
    settings = replace(settings.restricted(method.options), lr=settings.lr or method.default_lr)
    _check_base(method, base, task, backbone, settings)
    with lock(folder.parent / f".{folder.name}"):
        loaded = load_backbone(backbone, settings.image_size)
        images = {name: images_of(task, name, settings) for name in _splits(settings, purpose)}
        content = {name: split.fingerprint() for name, split in images.items()}
        started_from = None if base is None else base.info.model_sha256
        key = key_of(task.name, method.name, backbone, loaded.sha256, settings.changed(), content, started_from)
        if is_complete(folder):
            run = _existing(folder, key)
            shutil.rmtree(folder / "resume", ignore_errors=True)
            return run
        state = _start(task, method, loaded, settings, base, device)
        if method.reads_fixed_features and settings.augment != "none":
            raise NotApplicable(f"{method.name} reads features computed once: augment {settings.augment} changes none.")
        if method.reads_fixed_features:
            inputs = {name: features_of(split, state.model, loaded) for name, split in images.items()}
        else:
            inputs = {name: pixels_of(split, settings.image_size) for name, split in images.items()}
        if state.model.prompts is not None and method.prompts and settings.prompt_init == "class_token":
            state.model.prompts.start_from(_class_tokens(inputs[settings.train_split], state.model, loaded))
        _check_last_batch(state.model, len(inputs[settings.train_split].labels), settings.batch_size)
        _resume(state, folder, key)
        if not state.epoch:  # those of a training that was given up are not this one's
            shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
        try:
            _fit(state, inputs, loaded, settings, folder=folder, key=key, on_epoch=on_epoch)
        except TrainingError:
            # Taken up again, it would fail there again.
            for left in ("resume", SNAPSHOTS):
                shutil.rmtree(folder / left, ignore_errors=True)
            raise
        run = _finish(
            state, inputs, task, method, loaded, settings, base, purpose, folder=folder, key=key, content=content
        )
        shutil.rmtree(folder / "resume", ignore_errors=True)
    return run


@torch.inference_mode()
def predict(
    model: TunedModel, values: torch.Tensor, backbone: Backbone, *, precision: str = "float32", batch_size: int = 128
) -> torch.Tensor:
    """Logits ``(n, n_classes)`` float32 on the CPU, in evaluation mode, of pixels or of what the head reads."""
    was_training = model.training
    model.eval()
    batches = [logits_of(model, part, backbone, precision).cpu() for part in values.split(batch_size)]
    model.train(was_training)
    return torch.cat(batches)


def logits_of(model: TunedModel, values: torch.Tensor, backbone: Backbone, precision: str = "float32") -> torch.Tensor:
    """Logits ``(B, n_classes)`` float32 of pixels ``(B, 3, h, w)`` uint8, or of what the head reads, ``(B, d)``."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        if values.dtype != torch.uint8:
            return model.head(values.to(device)).float()
        return model(normalise(values.to(device), backbone.mean, backbone.std)).float()


def _check_base(method: Method, base: Run | None, task: Task, backbone: str, settings: TrainSettings) -> None:
    if (base is None) != (method.after is None):
        raise SettingsError(
            f"{method.name} starts from {f'a finished run of {method.after}' if method.after else 'the backbone'}.",
            "" if base else f"Train that first: vptft-analyze train {task.name} --method {method.after}",
        )
    if base is None:
        return
    info = base.info
    expected = (method.after, task.name, backbone, settings.image_size)
    found = (info.method, info.task, info.backbone, info.image_size)
    if found != expected:
        raise CheckpointError(f"{base.folder} is no base for this run: it holds {found}; expected {expected}.")
    # Another draw's base has seen what this run validates on; another's prompts are not those that are asked for.
    own = {name: getattr(settings, name) for name in ("seed", "n_train", "train_split")}
    own |= {name: getattr(settings, name) for name in info.options if name in method.options}
    theirs = {**info.settings, "seed": info.seed, **info.options}
    if differ := [name for name, value in own.items() if theirs.get(name, value) != value]:
        said = ", ".join(f"{name} {theirs[name]}, not {own[name]}" for name in differ)
        raise CheckpointError(
            f"{base.folder} is no base for this run: {said}.", "Train one with the same draw and options."
        )


def _check_last_batch(model: TunedModel, count: int, batch_size: int) -> None:
    """Refuse a last batch of one image where the network normalises by the batch: one image has no variance."""
    model.train()
    normed = any(each.training for each in model.modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm))
    if normed and count % batch_size == 1 and batch_size > 1:
        raise SettingsError(
            f"{count} training images in batches of {batch_size} leave one alone; this network normalises batches.",
            "Take another batch_size or n_train.",
        )


def _splits(settings: TrainSettings, purpose: Purpose) -> tuple[Split, ...]:
    """Return the splits of a run, the one trained on first. Nothing is validated on images that were trained on."""
    held: tuple[Split, ...] = ("val",) if settings.train_split == "train" else ()
    return (settings.train_split, *held, *(("test",) if purpose.test else ()))


def _existing(folder: Path, key: str) -> Run:
    run = load_run(folder)
    if run.info.settings.get("key") != key:
        raise CheckpointError(
            f"{folder} holds a finished run with other settings.", "Give another folder, or remove that one."
        )
    return run


def _start(
    task: Task, method: Method, backbone: Backbone, settings: TrainSettings, base: Run | None, device: str
) -> _State:
    started = None if base is None else base.model()
    model = build_model(method, backbone, settings, n_classes=len(task.classes), base=started).to(device)
    return _State(model=model, optimizer=optimiser(model, settings))


def _class_tokens(split: Inputs, model: TunedModel, backbone: Backbone) -> torch.Tensor:
    """Mean final features of the backbone without prompts, by class ``(n_classes, d)``."""
    plain = TunedModel(model.backbone, n_classes=1).eval()
    device = next(model.parameters()).device
    with torch.inference_mode():
        parts = [
            plain.features(normalise(part.to(device), backbone.mean, backbone.std)) for part in split.values.split(128)
        ]
    features = torch.cat(parts)
    present = split.labels.unique()
    return torch.stack([features[split.labels.to(device) == label].mean(dim=0) for label in present])


def _fit(
    state: _State,
    inputs: Mapping[Split, Inputs],
    backbone: Backbone,
    settings: TrainSettings,
    *,
    folder: Path,
    key: str,
    on_epoch: EpochCallback,
) -> None:
    saved = time.monotonic()
    trained, *judged = inputs
    kept = snapshot_epochs(settings)
    on_epoch(state.epoch, settings.epochs)
    while state.epoch < settings.epochs:
        started = time.perf_counter()
        lr, loss, accuracy = _train_epoch(state, inputs[trained], backbone, settings)
        rows = [
            ("train", loss, accuracy),
            *(_curve_point(state, inputs[name], name, backbone, settings) for name in judged),
        ]
        state.epoch += 1
        seconds = round(time.perf_counter() - started, 3)
        for row in rows:
            state.history.append(dict(zip(HISTORY_COLUMNS, (state.epoch, *row, lr, seconds), strict=True)))
        if settings.keep == "best_val" and kept_epoch(pd.DataFrame(state.history)) == state.epoch:
            state.best = tuned_state(state.model)
        if state.epoch in kept:
            write_snapshot(folder, state.epoch, tuned_state(state.model))
        if state.epoch == settings.epochs or time.monotonic() - saved > RESUME_SECONDS:
            _save_resume(state, folder, key)
            saved = time.monotonic()
        on_epoch(state.epoch, settings.epochs)


def kept_epoch(history: pd.DataFrame) -> int:
    """Return the first epoch with the best accuracy on validation, of a history with columns epoch, split, accuracy."""
    on_val = history[history["split"] == "val"]
    return int(on_val["epoch"].iloc[int(on_val["accuracy"].to_numpy().argmax())])


def snapshot_epochs(settings: TrainSettings) -> set[int]:
    """Return after which epochs the tuned tensors are kept: evenly spaced, the last included."""
    return {math.ceil(settings.epochs * (i + 1) / settings.snapshots) for i in range(settings.snapshots)}


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers of this block alone, from a seed; the caller's are as before afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _train_epoch(
    state: _State, split: Inputs, backbone: Backbone, settings: TrainSettings
) -> tuple[float, float, float]:
    """One pass; gives the last learning rate, the mean loss and the accuracy as training saw them."""
    device = next(state.model.parameters()).device
    seed = settings.seed * 1_000_003 + state.epoch
    order = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(seed))
    batches = order.split(settings.batch_size)
    jitter = torch.Generator().manual_seed(seed)
    loss_sum, correct, lr = 0.0, 0, 0.0
    state.model.train()
    with _seeded(seed, device):
        for i, batch in enumerate(batches):
            part = part_of_peak(settings, state.epoch, i, len(batches))
            for group in state.optimizer.param_groups:
                group["lr"] = part * group["peak"]
            lr = part * (settings.lr or 0.0)
            labels = split.labels[batch].to(device)
            values = split.values[batch]
            if settings.augment == "colour":
                values = colour_jitter(values, jitter)
            logits = logits_of(state.model, values, backbone, settings.precision)
            loss = F.cross_entropy(logits, labels)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"The training loss became {loss.item()} in epoch {state.epoch + 1}, batch {i + 1}, "
                    f"at learning rate {lr:.3g}.",
                    LOWER_LR,
                )
            state.optimizer.zero_grad(set_to_none=True)
            if settings.label_smoothing:
                F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing).backward()
            else:
                loss.backward()
            state.optimizer.step()
            loss_sum += loss.item() * len(batch)
            correct += int((logits.argmax(1) == labels).sum())
    return lr, loss_sum / len(split.labels), correct / len(split.labels)


def _curve_point(
    state: _State, split: Inputs, name: str, backbone: Backbone, settings: TrainSettings
) -> tuple[str, float, float]:
    rows = curve_rows(split.labels.numpy(), settings.n_curve) if name == "test" else slice(None)
    logits = predict(state.model, split.values[rows], backbone, precision=settings.precision)
    labels = split.labels[rows]
    loss = F.cross_entropy(logits, labels).item()
    if not math.isfinite(loss):
        raise TrainingError(
            f"The {name} loss became {loss} in epoch {state.epoch + 1}, at peak learning rate {settings.lr:.3g}.",
            LOWER_LR,
        )
    return name, loss, int((logits.argmax(1) == labels).sum()) / len(labels)


def curve_rows(labels: np.ndarray, n: int) -> slice | np.ndarray:
    """Return which test images a curve is of: the first ``n``, or as many of every class where they lie by class.

    Validation images are never left out: what is chosen by them is chosen by all.
    """
    if n >= len(labels) or (np.diff(labels) < 0).any():
        return slice(n)
    return np.sort(draw_order(labels, len(labels), 0)[:n])


def _finish(
    state: _State,
    inputs: Mapping[Split, Inputs],
    task: Task,
    method: Method,
    backbone: Backbone,
    settings: TrainSettings,
    base: Run | None,
    purpose: Purpose,
    *,
    folder: Path,
    key: str,
    content: dict[Split, str],
) -> Run:
    judged = inputs.get("test")
    history = pd.DataFrame(state.history, columns=list(HISTORY_COLUMNS))
    notes = [*purpose.notes, *_still_improving(history, settings.epochs)]
    on_val = history[history["split"] == "val"].set_index("epoch")["accuracy"]
    chosen = settings.epochs
    if settings.keep == "best_val":
        chosen = kept_epoch(history)
        load_tuned(state.model, state.best, source=folder)
        notes.append(f"its weights are those after epoch {chosen}, the first with the best accuracy on validation")
    predictions = None
    if judged is not None:
        predictions = Predictions(
            ids=np.array(judged.ids),
            groups=np.array(judged.groups),
            labels=judged.labels.numpy(),
            logits=predict(state.model, judged.values, backbone, precision=settings.precision).numpy(),
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
        n_train=len(inputs[settings.train_split].labels),
        seed=settings.seed,
        image_size=settings.image_size,
        mean=list(backbone.mean),
        std=list(backbone.std),
        prompts=None if prompts is None else prompts.spec.to_json(),
        parameters_tuned=sum(p.numel() for p in state.model.parameters() if p.requires_grad),
        parameters_total=sum(p.numel() for p in state.model.parameters()),
        settings={**{name: value for name, value in asdict(settings).items() if name not in OPTIONS}, "key": key},
        options={name: value for name, value in asdict(settings).items() if name in method.options},
        model_sha256=state_hash(tuned),
        test_accuracy=None if predictions is None else predictions.accuracy,
        val_accuracy=float(on_val.loc[chosen]) if len(on_val) else None,
        provenance=provenance(),
        adapters=_added(method, settings),
        probe_layers=list(state.model.probe_layers),
        base=None if base is None else reference_to(base, folder),
        search=None if purpose.search is None else dict(purpose.search),
        notes=notes,
        images={name: content[name] for name in content},
    )
    kept = tuned if purpose.keep_weights else None
    return save_run(folder, info, state=kept, history=history, predictions=predictions)


def _added(method: Method, settings: TrainSettings) -> dict[str, Any] | None:
    """Return what was put beside the backbone's modules, for who builds the model again."""
    if method.adds == "lora":
        return {"kind": "lora", "scale": settings.lora_alpha / settings.lora_rank}
    return {"kind": "pfeiffer", "scale": 1.0} if method.adds == "adapter" else None


def _still_improving(history: pd.DataFrame, epochs: int) -> Iterator[str]:
    """Say so where the accuracy on validation still rose at the end: a longer training may change the result."""
    span = epochs // 5
    values = history[history["split"] == "val"]["accuracy"].to_numpy()
    if span < 2 or len(values) < 2 * span:
        return
    gain = values[-span:].mean() - values[-2 * span : -span].mean()
    if gain > IMPROVING:
        yield (
            f"still improving at the last epoch: accuracy on validation rose by {100 * gain:.1f} points from the "
            f"{span} epochs before to the last {span}"
        )


def _save_resume(state: _State, folder: Path, key: str) -> None:
    content = {
        "key": key,
        "epoch": state.epoch,
        "history": state.history,
        "model": tuned_state(state.model),
        "best": state.best,
        "optimizer": state.optimizer.state_dict(),
    }
    with atomic_path(folder / "resume" / "state.pt") as path:
        try:
            torch.save(content, path)
        except RuntimeError as error:
            raise OSError(f"no space left, or {error}") from error  # its own error for a full disk


def epochs_kept(folder: Path) -> int:
    """Return after how many epochs an unfinished run in ``folder`` goes on; 0 where nothing is kept of it."""
    path = folder / "resume" / "state.pt"
    return int(_read_state(path, "cpu")["epoch"]) if path.is_file() else 0


def _read_state(path: Path, device: torch.device | str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        # Another file of torch's has none of these.
        return {name: content[name] for name in ("key", "epoch", "history", "model", "optimizer")} | content
    except Exception as error:
        # torch.load has a different error for each way a file can be damaged.
        raise CheckpointError(f"{path} is damaged: {error}", f"Remove {path.parent.parent} and train again.") from error


def _resume(state: _State, folder: Path, key: str) -> None:
    """Take up an unfinished run, if the folder holds one."""
    path = folder / "resume" / "state.pt"
    if not path.is_file():
        return
    content = _read_state(path, next(state.model.parameters()).device)
    if content["key"] != key:
        raise CheckpointError(
            f"{folder} holds an unfinished run with other settings.", "Give another folder, or remove that one."
        )
    load_tuned(state.model, content["model"], source=path)
    state.optimizer.load_state_dict(content["optimizer"])
    state.epoch, state.history = content["epoch"], content["history"]
    state.best = content.get("best", {})
