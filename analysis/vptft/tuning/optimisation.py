"""Learning rates over time, and which parameter learns and decays how fast."""

import math
from typing import Any

import torch

from vptft.models.tuned import TunedModel
from vptft.tuning.settings import TrainSettings

EMBEDDINGS = ("tokens", "cls_token", "dist_token", "reg_token", "pos_embed", "relative_position_bias_table")
"""Ends of the names of parameters that are looked up or added, not multiplied with: they do not decay."""


def schedule(step: int, total: int, *, warmup_fraction: float) -> float:
    """Part of the peak learning rate: linear warm-up to 1, then half a cosine to 0 (Loshchilov and Hutter 2017)."""
    warm = math.ceil(total * warmup_fraction)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def epoch_schedule(epoch: int, total: int, *, warmup_epochs: int) -> float:
    """Part of the peak rate in epoch ``epoch`` (0 first) as KMnP/vpt has it: 0 in the first, constant within each."""
    if epoch < warmup_epochs:
        return epoch / warmup_epochs
    return 0.5 * (1 + math.cos(math.pi * (epoch - warmup_epochs) / max(1, total - warmup_epochs)))


def part_of_peak(settings: TrainSettings, epoch: int, batch: int, batches: int) -> float:
    """Part of the peak rate for a batch of an epoch, both from 0."""
    if settings.schedule == "epoch":
        return epoch_schedule(epoch, settings.epochs, warmup_epochs=settings.warmup_epochs)
    total = settings.epochs * batches
    return schedule(epoch * batches + batch, total, warmup_fraction=settings.warmup_fraction)


def parameter_groups(model: TunedModel, settings: TrainSettings) -> list[dict[str, Any]]:
    """Trainable parameters by weight decay and peak learning rate.

    The head has a rate of its own, unless it is all that is tuned; prompts have one where the backbone moves too.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    tuned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    roots = {name.partition(".")[0] for name in tuned}
    for name, parameter in tuned.items():
        decay = settings.weight_decay if _decays(name, parameter, settings) else 0.0
        groups.setdefault((decay, _peak(name, roots, settings)), []).append(parameter)
    return [{"params": ps, "weight_decay": decay, "peak": peak} for (decay, peak), ps in groups.items()]


def optimiser(model: TunedModel, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimiser; rates are set at every step from each group's ``peak``."""
    groups = parameter_groups(model, settings)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=settings.momentum)
    return torch.optim.AdamW(groups, eps=settings.adam_epsilon)


def _peak(name: str, roots: set[str], settings: TrainSettings) -> float:
    lr = settings.lr or 0.0
    if name.startswith("head.") and roots != {"head"}:
        return lr if settings.head_lr is None else settings.head_lr
    if name.startswith("prompts.") and "backbone" in roots:
        return lr if settings.prompt_lr is None else settings.prompt_lr
    return lr


def _decays(name: str, parameter: torch.nn.Parameter, settings: TrainSettings) -> bool:
    if settings.decayed == "all but biases":
        return "bias" not in name
    if settings.decayed == "all but the head's bias":
        return name != "head.bias"
    return parameter.ndim >= 2 and not name.endswith(EMBEDDINGS)
