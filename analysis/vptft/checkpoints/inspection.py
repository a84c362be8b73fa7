"""What a checkpoint is, said without building it: no timm is imported, and tensors stay mapped to their file."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vptft.checkpoints.found import BY_DESCRIPTION, NORMALISATIONS, Asked, Found, Normalisation
from vptft.checkpoints.histories.kmnp import LOG, looks_like_log
from vptft.checkpoints.matching import layer_of, place_of
from vptft.checkpoints.readers import Reading, read_checkpoint
from vptft.checkpoints.recipe import Recipe, of_found, read_recipe
from vptft.errors import VptftError, WeightsError
from vptft.models.fingerprint import add_tensor
from vptft.models.shape import check_names
from vptft.models.swin_shape import Shape, SwinShape


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A checkpoint, described.

    Attributes
    ----------
    about
        What it is: producer, network, method, prompts, parameters, preprocessing; by label, in order.
    layers
        Of each part of the backbone: tensors, fingerprint, and with the pretrained weights at hand how many of its
        tensors equal theirs and how far it moved.
    sources
        Where each thing was taken from.
    recipe, metrics
        How it was trained, each fact with its evidence; and what was logged last.
    unknown
        What could not be known, and what is wrong with it.
    """

    about: Mapping[str, Any]
    layers: tuple[Mapping[str, Any], ...]
    sources: Mapping[str, str]
    recipe: Recipe
    metrics: Mapping[str, float]
    unknown: tuple[str, ...]


def inspect(path: Path, asked: Asked = Asked()) -> Inspection:  # noqa: B008 - a tuple, not mutable
    """Describe another program's checkpoint, or one of our runs.

    Raises
    ------
    WeightsError, CheckpointError
        It cannot be opened, or is of no known format.
    """
    if path.is_dir() and (path / "run.json").is_file():
        return _of_run(path)
    reading = read_checkpoint(path, asked)
    found = reading.found
    unknown = list(found.notes)
    if found.not_applicable:
        unknown.append(found.not_applicable)
    if found.shape is not None:
        try:
            check_names(found.backbone, found.shape, source=found.path)
        except WeightsError as error:
            unknown.append(error.problem)
    fingerprint, layers = _layers(reading, unknown)
    recipe = _recipe(found, unknown)
    metrics = _metrics(found.path, unknown)
    return Inspection(
        about=_about(found, fingerprint),
        layers=layers,
        sources=found.sources,
        recipe=recipe,
        metrics=metrics,
        unknown=tuple(dict.fromkeys(unknown)),
    )


def preprocessing_name(normalisation: Normalisation | None) -> str:
    """Name of a normalisation, or its numbers."""
    if normalisation is None:
        return "not known"
    named = next((name for name, known in NORMALISATIONS.items() if known == normalisation), None)
    return named or f"mean {normalisation.mean}, deviation {normalisation.std}"


def _about(found: Found, fingerprint: str) -> dict[str, Any]:
    tuned, total = found.parameters
    about: dict[str, Any] = {
        "file": str(found.path),
        "producer": found.producer,
        "reader": "tried on files of theirs" if found.tried else BY_DESCRIPTION,
        "method": found.method or (" or ".join(found.methods) if found.methods else "a backbone, not tuned"),
    }
    if found.shape is not None:
        height, width = found.shape.image_size
        about |= {
            "network": found.shape.name,
            "image size": f"{height} x {width} px",
            "heads": _heads(found.shape),
            "head reads": {"token": "cls token", "avg": "mean of tokens"}.get(
                found.shape.pooling, "cls token and mean"
            ),
            "fingerprint": fingerprint,
        }
    if found.n_classes is not None:
        hidden = sum(
            name.startswith("hidden.") and name.endswith(".weight") and value.ndim == 2
            for name, value in found.head.items()
        )
        about["classes"] = found.n_classes
        about["head"] = f"MLP with {hidden} hidden layers" if hidden else "linear"
    if found.prompts is not None:
        spec = found.prompts.spec
        where = (
            "before every layer"
            if found.shape and len(spec.layers) == found.shape.depth
            else f"before layers {list(spec.layers)}"
        )
        projected = (
            "" if found.prompts.projected_from is None else f", projected from width {found.prompts.projected_from}"
        )
        about["prompts"] = f"{spec.length} {where}{projected}"
    if found.adapters:
        about["adapters"] = found.adapter_kind
    about["parameters"] = "not known" if total is None else total
    about["tuned"] = "not known" if tuned is None else tuned
    about["tuned/total %"] = "not known" if tuned is None or not total else round(100 * tuned / total, 3)
    about["normalisation"] = preprocessing_name(found.normalisation)
    about["pretraining"] = found.pretraining
    return about


def _layers(reading: Reading, unknown: list[str]) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Fingerprints of the whole backbone and of each part; tensors that hold what is no number are told.

    One pass over the tensors: those that are made of several (queries, keys, values) are made once.
    """
    found = reading.found
    whole = hashlib.sha256()
    parts: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    broken = []
    for name in sorted(found.backbone):
        tensor, layer = found.backbone[name], layer_of(name)
        counts[layer] += 1
        for digest in (whole, parts.setdefault(layer, hashlib.sha256())):
            add_tensor(digest, name, tensor)
        if _not_finite(tensor):
            broken.append(name)
    compared = {} if reading.match is None else {layer.layer: layer for layer in reading.match.layers}
    rows = []
    for layer in sorted(parts, key=place_of):
        row: dict[str, Any] = {"layer": layer, "tensors": counts[layer], "fingerprint": parts[layer].hexdigest()[:16]}
        if layer in compared:
            change = compared[layer].change
            row |= {
                "equal to pretrained": compared[layer].equal,
                "relative change": None if math.isnan(change) else change,
            }
        rows.append(row)
    others = {**{f"head.{name}": value for name, value in found.head.items()}, **found.adapters}
    if found.prompts is not None:
        others |= {f"prompts.{name}": value for name, value in found.prompts.tensors.items()}
    broken += [name for name, value in others.items() if _not_finite(value)]
    if broken:
        unknown.append(f"NaN or infinite values in {', '.join(broken[:6])}: no model can be built.")
    return whole.hexdigest(), tuple(rows)


def _heads(shape: Shape) -> str | int:
    """Attention heads, of a Swin by stage."""
    if isinstance(shape, SwinShape):
        return ", ".join(map(str, shape.heads))
    return shape.heads or "not known"


def _not_finite(value: torch.Tensor) -> bool:
    # A sum is finite exactly when all are, but for overflow, and needs no second array of the tensor's size.
    if not value.is_floating_point() or math.isfinite(float(value.sum(dtype=torch.float64))):
        return False
    return not bool(value.isfinite().all())


def _recipe(found: Found, unknown: list[str]) -> Recipe:
    """The recipe as the log beside the weights tells it, or as far as weights alone do."""
    log = found.path.parent / LOG
    try:
        if looks_like_log(log):
            return read_recipe(log)
    except VptftError as error:
        unknown.append(f"Recipe: {error.problem}")
    return of_found(found)


def _metrics(path: Path, unknown: list[str]) -> dict[str, float]:
    """Last values of a history beside the weights, by split and quantity; empty where none can be read."""
    from vptft.checkpoints.histories import read_history

    try:
        frame = read_history(path.parent)
    except VptftError as error:
        unknown.append(f"No history: {error.problem}")
        return {}
    last = frame.groupby("split", sort=False).last()
    return {
        f"{split} {name}": float(row[name])
        for split, row in last.iterrows()
        for name in ("loss", "accuracy")
        if not math.isnan(row[name])
    }


def _of_run(folder: Path) -> Inspection:
    """Describe one of our runs, from its ``run.json``."""
    from vptft.checkpoints.native import load_run

    info = load_run(folder).info
    imported = info.imported or {}
    about: dict[str, Any] = {
        "file": str(folder),
        "producer": "vptft-analyze" if not imported else f"vptft-analyze, converted from {imported.get('producer')}",
        "method": info.method,
        "backbone": info.backbone,
        "fingerprint": info.backbone_sha256 or "not known",
        "task": info.task,
        "classes": len(info.classes),
        "image size": f"{info.image_size} x {info.image_size} px",
        "parameters": info.parameters_total,
        "tuned": info.parameters_tuned,
        "tuned/total %": round(100 * info.parameters_tuned / max(info.parameters_total, 1), 3),
        "normalisation": preprocessing_name(Normalisation(tuple(info.mean), tuple(info.std))),
        "pretraining": info.pretraining,
    }
    if info.prompts is not None:
        about["prompts"] = f"{info.prompts.get('length')} before layers {info.prompts.get('layers')}"
    return Inspection(
        about=about,
        layers=(),
        sources=imported.get("sources", {}),
        recipe=read_recipe(folder),
        metrics={} if info.test_accuracy is None else {"test accuracy": info.test_accuracy},
        unknown=tuple(imported.get("notes", ())),
    )
