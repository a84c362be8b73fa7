"""Another program's checkpoint as one of our run folders, or as a plain timm state dict."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from vptft.checkpoints.building import build_model
from vptft.checkpoints.found import BY_DESCRIPTION, Found, Normalisation
from vptft.checkpoints.histories import read_history
from vptft.checkpoints.histories.kmnp import LOG, Job, looks_like_log, read_jobs
from vptft.checkpoints.histories.kmnp_results import read_logits
from vptft.checkpoints.native import HISTORY_COLUMNS, Predictions, Run, RunInfo, save_run, write_tensors
from vptft.checkpoints.readers import Reading
from vptft.checkpoints.recipe import of_found, of_job, task_of
from vptft.data import registry, vtab
from vptft.errors import CheckpointError, NotApplicable, VptftError
from vptft.models.fingerprint import state_hash
from vptft.models.swin_shape import SwinShape
from vptft.models.tuned import TunedModel
from vptft.provenance import provenance
from vptft.storage import sha256_of

MOVES_BACKBONE = ("ft", "mixed", "partial_k", "bias", "ft_then_pt", "pt_then_ft", "lora")


def convert(
    reading: Reading,
    folder: Path,
    *,
    normalisation: Normalisation | None = None,
    task: str | None = None,
) -> Run:
    """Write a checkpoint as a run folder that every analysis takes.

    Parameters
    ----------
    reading
        The checkpoint, read. Where it was read with its pretrained weights, a tuned backbone is stored against them;
        without, the tuned tensors are the whole network, and analyses of what changed say so.
    folder
        The run folder to be made; one that holds a run already is refused.
    normalisation
        How images are normalised, where the producer's program may have it either way.
    task
        Name of the task, where no log tells it.

    Raises
    ------
    CheckpointError
        The method or the normalisation is not known, the folder is taken, or the run read back gives other logits.
    NotApplicable, WeightsError
        No model can be built.
    """
    found = reading.found
    if (folder / "run.json").exists():
        raise CheckpointError(f"{folder} holds a run already.", "Give another folder, or remove that one.")
    if found.method is None:
        raise CheckpointError(
            f"{found.path} may be {' or '.join(found.methods) or 'anything'}: its keys do not tell.",
            "Pass the pretrained weights with --backbone, or say --method.",
        )
    normalisation = normalisation or found.normalisation
    if normalisation is None:
        raise CheckpointError(
            f"How {found.path} normalised its images is not known.", "Pass --normalise imagenet, half or none."
        )
    model = build_model(found)
    tuned, total = found.parameters
    if found.shape is None or total is None:
        raise NotApplicable(f"{found.path} is neither a plain vision transformer nor a Swin.")
    own_base, state = _parts(model, found, None if reading.base is None else reading.base.backbone)
    job = _job(found)
    recipe = of_found(found) if job is None else of_job(job)
    history, lost = _history(found, job)
    predictions = _predictions(found)
    name = task or (task_of(job) if job is not None else None) or "unknown"
    kind = "swin" if isinstance(found.shape, SwinShape) else "vit"
    about = _about_task(name, found.n_classes or 0)
    info = RunInfo(
        backbone=f"{kind}@{'backbone.safetensors' if own_base is not None else 'unknown'}",
        backbone_sha256=None if own_base is None else state_hash(own_base),
        pretraining=found.pretraining,
        method=found.method,
        task=name,
        **about,
        n_train=None if job is None or job.trained_on is None else job.sizes.get(job.trained_on),
        seed=_whole(job, "SEED"),
        image_size=found.shape.image_size[0],
        mean=list(normalisation.mean),
        std=list(normalisation.std),
        prompts=None if found.prompts is None else found.prompts.spec.to_json(),
        parameters_tuned=sum(value.numel() for value in state.values()) if tuned is None else tuned,
        parameters_total=total,
        settings=_settings(job),
        model_sha256=state_hash(state),
        test_accuracy=predictions.accuracy if predictions is not None else _accuracy(history),
        provenance=provenance(),
        shape=found.shape.to_json(),
        adapters=None if not found.adapters else {"kind": found.adapter_kind, "scale": found.adapter_scale},
        imported={
            "producer": found.producer,
            "reader": "tried on files of theirs" if found.tried else BY_DESCRIPTION,
            "file": found.path.name,
            "sha256": sha256_of(found.path),
            "sources": dict(found.sources),
            "notes": [*found.notes, *lost],
            "recipe": {name: fact._asdict() for name, fact in recipe.facts.items()},
            "cautions": [fact._asdict() for fact in recipe.cautions],
        },
    )
    run = save_run(folder, info, state=state, history=history, predictions=predictions, base=own_base)
    try:
        _check(run, model)
    except CheckpointError:
        (folder / "run.json").unlink()  # what cannot be read back is no run
        raise
    return run


def merged_state(model: TunedModel, source: Path) -> dict[str, torch.Tensor]:
    """The network as a plain timm state dict, head included; what LoRA added is in its weights already.

    Raises
    ------
    NotApplicable
        Prompts, adapters, MLP heads and heads that read more than a timm model's have no place in a timm state dict.
    """
    state = {name.removeprefix("backbone."): value for name, value in model.state_dict().items()}
    kept = {
        "prompts": model.prompts is not None,
        "adapters": any(".adapter." in name for name in state),
        "an MLP head": not isinstance(model.head, nn.Linear),
        "a head that reads more than the last layer's token": bool(model.probe_layers) or model.patches_too,
    }
    what = [name for name, there in kept.items() if there]
    if what:
        raise NotApplicable(f"{source} has {' and '.join(what)}: a timm state dict has no place for them.")
    if isinstance(model.backbone, SwinTransformer):  # timm's Swin has its classifier one level deeper
        state = {f"head.fc.{name[5:]}" if name.startswith("head.") else name: value for name, value in state.items()}
    return state


def save_merged(model: TunedModel, source: Path, target: Path) -> None:
    """Write :func:`merged_state` as ``.safetensors``."""
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target} must end in .safetensors.")
    write_tensors(target, merged_state(model, source))


def _parts(
    model: TunedModel, found: Found, base: Mapping[str, torch.Tensor] | None
) -> tuple[dict[str, torch.Tensor] | None, dict[str, torch.Tensor]]:
    """The base, and what the run changed, as our runs have them."""
    whole = {name: value.detach().clone() for name, value in model.state_dict().items()}
    backbone = {name.removeprefix("backbone."): whole[name] for name in whole if name.startswith("backbone.")}
    own = {name: value for name, value in whole.items() if not name.startswith("backbone.") or ".adapter." in name}
    plain = {name: value for name, value in backbone.items() if ".adapter." not in name}
    if found.method not in MOVES_BACKBONE:
        return plain, own
    if base is None or any(name not in base or base[name].shape != value.shape for name, value in plain.items()):
        return None, {**own, **{f"backbone.{name}": value for name, value in plain.items()}}
    pretrained = {name: base[name].float() for name in plain}
    moved = {name: value for name, value in plain.items() if not torch.equal(value, pretrained[name])}
    return pretrained, {**own, **{f"backbone.{name}": value for name, value in moved.items()}}


def _job(found: Found) -> Job | None:
    """The job in the log beside the weights, where there is one that can be read."""
    path = found.path.parent / LOG
    if not path.is_file() or not looks_like_log(path):
        return None
    try:
        jobs = read_jobs(path)
    except VptftError:
        return None  # the reader has said so in its notes
    return jobs[-1] if jobs else None


def _history(found: Found, job: Job | None) -> tuple[pd.DataFrame, list[str]]:
    """The history beside the weights, of whatever kind; without one an empty table, and why."""
    try:
        frame = read_history(found.path.parent) if job is None else job.frame()
    except VptftError as error:
        return pd.DataFrame(columns=list(HISTORY_COLUMNS)), [f"No history: {error.problem}"]
    return frame.assign(seconds=np.nan)[list(HISTORY_COLUMNS)], []


def _accuracy(history: pd.DataFrame) -> float | None:
    """Test accuracy of the last epoch, where it was logged."""
    test = history[history["split"] == "test"] if len(history) else history
    if not len(test) or np.isnan(test["accuracy"].iloc[-1]):
        return None
    return float(test["accuracy"].iloc[-1])


def _predictions(found: Found) -> Predictions | None:
    """Test logits that lie beside the weights, in the order of their test set; images have no names there."""
    paths = sorted(found.path.parent.glob("test_*_logits.pth"))
    if len(paths) != 1:
        return None
    labels, logits = read_logits(paths[0])
    if logits.shape[1] != found.n_classes:
        raise CheckpointError(f"{paths[0]} has {logits.shape[1]} classes, the head {found.n_classes}.")
    names = np.array([f"test/{i}" for i in range(len(labels))])
    return Predictions(ids=names, groups=names, labels=labels, logits=logits)


def _settings(job: Job | None) -> dict[str, Any]:
    """What our own runs have among their settings, as far as the log tells it."""
    names = {
        "epochs": "SOLVER.TOTAL_EPOCH",
        "batch_size": "DATA.BATCH_SIZE",
        "lr": "SOLVER.BASE_LR",
        "weight_decay": "SOLVER.WEIGHT_DECAY",
    }
    told = {} if job is None else {ours: job.setting(theirs) for ours, theirs in names.items()}
    return {**dict.fromkeys(names), **told, "n_test": None}


def _about_task(name: str, n_classes: int) -> dict[str, Any]:
    """What is known of a task by its name: registered here, one of VTAB-1k's, or nothing but its number of classes."""
    numbered = [str(label) for label in range(n_classes)]
    row = vtab.known(name)
    about: dict[str, Any] = {"objective": row and row.objective, "appearance": None, "few_groups": False}
    try:
        task = registry.task(name)
    except VptftError:
        return {**about, "classes": numbered}
    return {
        "objective": task.objective,
        "appearance": task.appearance,
        "few_groups": task.few_groups,
        "classes": list(task.classes) if len(task.classes) == n_classes else numbered,
    }


def _whole(job: Job | None, name: str) -> int | None:
    value = None if job is None else job.setting(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _check(run: Run, model: TunedModel) -> None:
    """Read the run back: the same logits bit for bit, on one image of noise."""
    seed = int(hashlib.sha256(run.info.model_sha256.encode()).hexdigest()[:8], 16)
    size = run.info.image_size
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
    again = run.model()
    with torch.inference_mode():
        if not torch.equal(model.eval()(image), again(image)):
            raise CheckpointError(f"{run.folder} gives other logits than {(run.info.imported or {})['file']}.")
