"""peft's LoRA adapters of vision transformers, merged into the base they were trained on: W + s B A."""

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch

from vptft.checkpoints.found import Asked, Found, Lazy
from vptft.checkpoints.readers.huggingface import module_of
from vptft.checkpoints.readers.settling import refuse_rest, take_head
from vptft.checkpoints.readers.source import Source, finite, positive
from vptft.errors import CheckpointError

PRODUCER = "peft LoRA"
CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."
_PART = re.compile(r"^(?P<module>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight$")
NOT_UNDERSTOOD = ("use_dora", "use_qalora", "use_bdlora", "fan_in_fan_out", "lora_bias")
"""Settings that change what an adapter computes; a file that has one is refused."""
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Ways of starting that leave the base as it is; the others (PiSSA, OLoRA, CorDA, LoftQ ...) take what they start from
off the base's weights, so that the same factors belong to another matrix."""


def recognises(source: Source) -> bool:
    """Whether there are low-rank factors under peft's names."""
    return any(".lora_A." in name for name in source.state)


def read(source: Source, asked: Asked, base: Found | None) -> Found:
    """Read the factors, and merge them where the base is given.

    Raises
    ------
    CheckpointError
        A setting that is not understood, factors that do not go together, or a module the base does not have.
    """
    config = source.config(CONFIG)
    if not config:
        raise CheckpointError(f"There is no {CONFIG} beside {source.path}: rank and scale are only there.")
    if config.get("peft_type") != "LORA":
        raise CheckpointError(f"{CONFIG}: peft_type is {config.get('peft_type')!r}; only LORA is read.")
    for name in NOT_UNDERSTOOD:
        if config.get(name):
            raise CheckpointError(f"{CONFIG}: {name} is {config[name]!r}, which is not understood.")
    if (start := config.get("init_lora_weights")) not in PLAIN_STARTS:
        raise CheckpointError(
            f"{CONFIG}: init_lora_weights is {start!r}, which changes the base's weights too.",
            "peft's save_pretrained(path_initial_model_for_weight_conversion=...) writes it as a plain LoRA.",
        )
    rest = {name.removeprefix(_PREFIX): value for name, value in source.state.items()}
    rest = {name.replace(".modules_to_save.default.", "."): value for name, value in rest.items()}
    head = take_head(rest, "classifier", path=source.path)
    factors: dict[str, dict[str, torch.Tensor]] = {}
    for name in list(rest):
        if found := _PART.match(name):
            factors.setdefault(found["module"], {})[found["part"]] = rest.pop(name)
    refuse_rest(rest, path=source.path, producer=PRODUCER)
    added = sum(value.numel() for pair in factors.values() for value in pair.values())
    sources = {"method": f"{CONFIG}: peft_type", "rank and scale": CONFIG}
    common: dict[str, Any] = {
        "path": source.path, "producer": PRODUCER, "tried": True, "head": head, "methods": ("lora",),
        "parameters_added": added,
    }  # fmt: skip
    if base is None or base.shape is None:
        named = config.get("base_model_name_or_path")
        return Found(
            **common, shape=None, backbone={}, sources=sources,
            not_applicable="It holds what LoRA added to a model, not the model: pass it with --backbone"
            + (f" (trained on {named!r})." if isinstance(named, str) and named else "."),
        )  # fmt: skip
    updates = {module: _update(module, pair, config, source) for module, pair in factors.items()}
    return Found(
        **common,
        shape=base.shape,
        backbone=_merged(base, updates, source),
        normalisation=base.normalisation,
        sources={**base.sources, **sources},
        notes=(*base.notes, f"LoRA is merged into the weights of {len(updates)} modules."),
    )


class _Update(NamedTuple):
    """The update ``s B A`` of one module; made only once it fits, since it is far larger than its factors."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.b.shape[0], self.a.shape[1]


def _update(module: str, pair: Mapping[str, torch.Tensor], config: Mapping[str, Any], source: Source) -> _Update:
    """The update of one module, with the scale that the settings give it."""
    a, b = pair.get("A"), pair.get("B")
    if a is None or b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise CheckpointError(f"{source.path}: the factors of {module} do not go together.")
    rank = positive(_of_module(config, "rank_pattern", module, config.get("r")), "r", CONFIG)
    alpha = finite(_of_module(config, "alpha_pattern", module, config.get("lora_alpha")), "lora_alpha", CONFIG)
    if rank != a.shape[0]:
        raise CheckpointError(f"{source.path}: {module} has rank {a.shape[0]}, {CONFIG} says {rank}.")
    return _Update(a, b, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _of_module(config: Mapping[str, Any], pattern: str, module: str, otherwise: Any) -> Any:
    """A module's own setting: keys of peft's patterns are ends of module names."""
    own = config.get(pattern) or {}
    if not isinstance(own, dict):
        raise CheckpointError(f"{CONFIG}: {pattern} is {own!r}; expected an object.")
    return next((value for key, value in own.items() if module == key or module.endswith(f".{key}")), otherwise)


def _merged(base: Found, updates: Mapping[str, _Update], source: Source) -> Lazy:
    """The base's tensors with the updates added, each in its rows of a fused matrix."""
    merged = Lazy.of(base.backbone)
    for module, update in updates.items():
        target = module_of(module)
        name = f"{target[0]}.weight" if target else ""
        if target is None or name not in merged:
            raise CheckpointError(f"{source.path} adapts {module}, which the base {base.path} does not have.")
        rows = (3 if target[1] is not None else 1) * update.shape[0]
        if (rows, update.shape[1]) != tuple(merged[name].shape):
            raise CheckpointError(
                f"{source.path}: the update of {module} is {update.shape}, which does not fit {name} "
                f"{tuple(merged[name].shape)}."
            )
        merged = merged.changed(name, partial(_add_rows, update=update, third=target[1]))
    return merged


def _add_rows(weight: torch.Tensor, *, update: _Update, third: int | None) -> torch.Tensor:
    changed, delta = weight.float().clone(), update.scale * (update.b.float() @ update.a.float())
    start = 0 if third is None else third * delta.shape[0]
    changed[start : start + delta.shape[0]] += delta
    return changed
