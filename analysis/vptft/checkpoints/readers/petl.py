"""PETL-ViT (Jie et al.): plain dicts of adapters and a head, for a pretrained ViT that is kept elsewhere.

The factor of the adapters' output is in their configuration files, not beside the weights: it is asked for.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from vptft.checkpoints.found import NORMALISATIONS, Asked, Found, Lazy
from vptft.checkpoints.readers.settling import refuse_rest, take_head
from vptft.checkpoints.readers.source import Source
from vptft.errors import CheckpointError

PRODUCER = "PETL-ViT"
_CONVPASS = re.compile(r"^blocks\.(\d{1,4})\.adapter_(attn|mlp)\.adapter_(down|conv|up)\.(weight|bias)$")
_FACT = re.compile(r"^blocks\.(\d{1,4})\.(attn|mlp)\.(q|k|v|proj|fc1|fc2)_FacTs\.weight$")
THIRDS = ("q", "k", "v")


def recognises(source: Source) -> bool:
    """Whether tensors are named after their adapters, and no backbone is among them."""
    names = source.state.keys()
    return "patch_embed.proj.weight" not in names and any("adapter_" in n or "FacT" in n for n in names)


def read(source: Source, asked: Asked, base: Found | None) -> Found:
    """Read Convpass and FacT-TT; the base makes a model of them.

    Raises
    ------
    CheckpointError
        Tensors of another of their methods, or the scale is not given.
    """
    rest = dict(source.state)
    head = take_head(rest, "head", path=source.path)
    convpass = {name: rest.pop(name) for name in list(rest) if _CONVPASS.match(name)}
    fact = {
        name: rest.pop(name) for name in list(rest) if _FACT.match(name) or name in ("FacTu.weight", "FacTv.weight")
    }
    refuse_rest(
        rest, path=source.path, producer=PRODUCER,
        hint="Convpass and FacT-TT are understood; FacT-TK, AdaptFormer and binary adapters are not.",
    )  # fmt: skip
    added = sum(value.numel() for value in (*convpass.values(), *fact.values()))
    notes = ["It was saved at the best TEST accuracy, looked at every 10 epochs: selection on test."]
    common: dict[str, Any] = {
        "path": source.path, "producer": PRODUCER, "tried": False, "head": head, "methods": ("adapter",),
        "parameters_added": added, "normalisation": NORMALISATIONS["imagenet"],
    }  # fmt: skip
    sources = {"normalisation": "ImageNet's, as their Convpass and FacT programs have it", "method": "its tensors"}
    if base is None or base.shape is None:
        return Found(
            **common, shape=None, backbone={}, sources=sources, notes=tuple(notes),
            not_applicable="It holds adapters and a head only: pass the pretrained weights with --backbone.",
        )  # fmt: skip
    if asked.scale is None:
        raise CheckpointError(
            f"The scale of {source.path}'s adapters is in their configuration file, not in the checkpoint.",
            "Pass it with --scale.",
        )
    sources |= {**base.sources, "scale": "--scale"}
    backbone = base.backbone
    if fact:
        backbone = _merged(base, fact, asked.scale, source)
        notes.append("FacT is merged into the weights.")
    adapters = {
        f"blocks.{m[1]}.{m[2]}.adapter.{m[3]}.{m[4]}": value
        for name, value in convpass.items()
        if (m := _CONVPASS.match(name))
    }
    return Found(
        **common,
        shape=base.shape,
        backbone=backbone,
        adapters=adapters,
        adapter_kind="convpass" if adapters else None,
        adapter_scale=asked.scale,
        sources=sources,
        notes=(*base.notes, *notes),
    )


def _merged(base: Found, fact: Mapping[str, torch.Tensor], scale: float, source: Source) -> Lazy:
    """The base with every FacT update ``s V S U`` added to its matrix (Jie and Deng 2023, tensor-train form)."""
    u, v = fact.get("FacTu.weight"), fact.get("FacTv.weight")
    if u is None or v is None or u.ndim != 2 or v.ndim != 2 or u.shape[0] != v.shape[1] or 0 in (*u.shape, *v.shape):
        raise CheckpointError(f"{source.path}: FacTu and FacTv are not two factors of one rank.")
    merged = Lazy.of(base.backbone)
    for name, core in fact.items():
        found = _FACT.match(name)
        if found is None:
            continue
        number, part, which = found[1], found[2], found[3]
        module = "qkv" if which in THIRDS else which
        target = f"blocks.{number}.{part}.{module}.weight"
        if target not in merged:
            raise CheckpointError(f"{source.path} adapts {target}, which the base {base.path} does not have.")
        third = THIRDS.index(which) if which in THIRDS else None
        merged = merged.changed(target, partial(_updated, core=core, u=u, v=v, scale=scale, third=third, name=name))
    return merged


def _updated(
    weight: torch.Tensor,
    *,
    core: torch.Tensor,
    u: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    third: int | None,
    name: str,
) -> torch.Tensor:
    """Add one update; the cores of the MLP's matrices are tall or wide by as many blocks as the MLP is wide."""
    if weight.ndim != 2:
        raise CheckpointError(f"{name} adapts a matrix, which has shape {tuple(weight.shape)} in the base.")
    changed, rank, width = weight.float().clone(), u.shape[0], v.shape[0]
    make: Callable[[torch.Tensor], torch.Tensor] = lambda block: scale * (v.float() @ block.float() @ u.float())  # noqa: E731
    rows, columns = changed.shape if third is None else (width, changed.shape[1])
    fits = core.ndim == 2 and (core.shape[0] * width, core.shape[1] * u.shape[1]) == (rows * rank, columns * rank)
    if not fits or core.shape[0] % rank or core.shape[1] % rank or (third is not None and len(changed) != 3 * width):
        raise CheckpointError(
            f"{name} has shape {tuple(core.shape)}, which does not fit a matrix {tuple(weight.shape)}."
        )
    start = 0 if third is None else third * width
    for i in range(core.shape[0] // rank):
        for j in range(core.shape[1] // rank):
            block = core[i * rank : (i + 1) * rank, j * rank : (j + 1) * rank]
            changed[start + i * width : start + (i + 1) * width, j * u.shape[1] : (j + 1) * u.shape[1]] += make(block)
    return changed
