"""Another program's checkpoint as one of our run folders, or as a plain timm state dict."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vptft.checkpoints.building import build_model
from vptft.checkpoints.found import BY_DESCRIPTION, Found, Normalisation
from vptft.checkpoints.histories import read_history
from vptft.checkpoints.histories.kmnp import Job, looks_like_log, read_jobs
from vptft.checkpoints.histories.kmnp_results import read_logits
from vptft.checkpoints.native import HISTORY_COLUMNS, Predictions, Run, RunInfo, save_run, write_tensors
from vptft.checkpoints.readers import Reading
from vptft.checkpoints.readers.kmnp import LOG
from vptft.checkpoints.recipe import of_job
from vptft.data.vtab import known
from vptft.errors import CheckpointError, NotApplicable, VptftError
from vptft.models.fingerprint import state_hash
from vptft.models.tuned import TunedModel
from vptft.provenance import provenance
from vptft.storage import sha256_of

MOVES_BACKBONE = ("ft", "mixed", "partial_k", "bias", "ft_then_pt", "pt_then_ft", "lora")


def convert(
    reading: Reading,
    folder: Path,
    *,
    normalisation: Normalisation | None = None,
    base: Mapping[str, torch.Tensor] | None = None,
    task: str | None = None,
) -> Run:
    """Write a checkpoint as a run folder that every analysis takes.

    Parameters
    ----------
    reading
        The checkpoint, read.
    folder
        The run folder to be made; one that holds a run already is refused.
    normalisation
        How images are normalised, where the producer's program may have it either way.
    base
        The pretrained backbone under timm's names, which a tuned backbone is stored against; without it the tuned
        tensors are the whole network, and analyses of what changed say so.
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
    if found.shape is None:
        raise NotApplicable(f"{found.path} is no plain vision transformer.")
    own_base, state = _parts(model, found, base)
    job = _job(found)
    recipe = None if job is None else of_job(job)
    history = _history(found, job)
    predictions = _predictions(found)
    n_classes = found.n_classes or 0
    info = RunInfo(
        backbone=f"vit@{'backbone.safetensors' if own_base is not None else 'unknown'}",
        backbone_sha256=None if own_base is None else state_hash(own_base),
        pretraining=found.pretraining,
        method=found.method,
        task=task or _task(job),
        objective=_objective(task or _task(job)),
        appearance=None,
        few_groups=False,
        classes=[str(label) for label in range(n_classes)],
        n_train=None if job is None or job.trained_on is None else job.sizes.get(job.trained_on),
        seed=_whole(job, "SEED"),
        image_size=found.shape.image_size[0],
        mean=list(normalisation.mean),
        std=list(normalisation.std),
        prompts=None if found.prompts is None else found.prompts.spec.to_json(),
        parameters_tuned=_tuned(found, state),
        parameters_total=sum(p.numel() for p in model.parameters()),
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
            "notes": list(found.notes),
            "recipe": {} if recipe is None else {name: fact.value for name, fact in recipe.facts.items()},
            "cautions": [] if recipe is None else [str(fact.value) for fact in recipe.cautions],
        },
    )
    run = save_run(folder, info, state=state, history=history, predictions=predictions, base=own_base)
    _check(run, model)
    return run


def merged_state(found: Found) -> dict[str, torch.Tensor]:
    """The network as a plain timm state dict, head included.

    Raises
    ------
    NotApplicable
        Prompts, adapters and MLP heads have no place in a timm state dict.
    """
    kept = {
        "prompts": found.prompts is not None,
        "adapters": bool(found.adapters),
        "an MLP head": any(name.startswith("hidden.") for name in found.head),
    }
    what = [name for name, there in kept.items() if there]
    if what:
        raise NotApplicable(f"{found.path} has {' and '.join(what)}: a timm state dict has no place for them.")
    model = build_model(found)
    state = {name.removeprefix("backbone."): value for name, value in model.state_dict().items()}
    return {name: value for name, value in state.items() if not name.startswith("prompts.")}


def save_merged(found: Found, target: Path) -> None:
    """Write :func:`merged_state` as ``.safetensors``."""
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target} must end in .safetensors.")
    write_tensors(target, merged_state(found))


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


def _tuned(found: Found, state: Mapping[str, torch.Tensor]) -> int:
    """Numbers the run tuned: as stored where prompts are projected, and without what BatchNorm only counts."""
    if found.method == "lora" or found.adapters:
        return found.parameters_added + sum(value.numel() for value in found.head.values())
    counted = sum(
        value.numel()
        for name, value in state.items()
        if name != "prompts.tokens" and not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    return counted + (0 if found.prompts is None else found.prompts.parameters)


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


def _history(found: Found, job: Job | None) -> pd.DataFrame:
    """The history beside the weights, of whatever kind; empty where there is none that can be read."""
    try:
        frame = read_history(found.path.parent) if job is None else job.frame()
    except VptftError:
        return pd.DataFrame(columns=list(HISTORY_COLUMNS))
    return frame.assign(seconds=np.nan)[list(HISTORY_COLUMNS)]


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


def _task(job: Job | None) -> str:
    """The task by our name where it is one of VTAB-1k's, else by theirs."""
    name = None if job is None else job.setting("DATA.NAME")
    if not isinstance(name, str) or not name:
        return "unknown"
    row = known(name)
    return name.removeprefix("vtab-") if row is None else row.name


def _objective(task: str) -> str | None:
    row = known(task)
    return None if row is None else row.objective


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
