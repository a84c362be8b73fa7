"""Swin Transformers under the names of their authors' release: pretrained weights, and what KMnP/vpt makes of them.

Their state dicts hold the masks of shifted windows, and those tell the size of the images.
"""

import math
import re
from collections.abc import Mapping

import torch

from vptft.checkpoints.found import Asked, Found, Lazy
from vptft.checkpoints.readers.settling import refuse_rest, take_head
from vptft.checkpoints.readers.source import Source
from vptft.errors import CheckpointError
from vptft.models.shape import check_names
from vptft.models.swin_shape import SwinShape

PRODUCER = "Swin Transformer"

BUFFERS = ("attn.relative_position_index", "attn_mask")
"""Ends of the names of what is computed from the sizes."""
_BLOCK = re.compile(r"^layers\.(\d{1,2})\.blocks\.(\d{1,3})\.")
_MERGING = re.compile(r"^layers\.(\d{1,2})\.downsample\.")
MAX_GRID = 1024
"""Patches a side; a mask may claim any number."""
SOURCES = {"image size": "masks of shifted windows", "heads": "relative position bias"}
"""Where the sizes are taken from."""


def recognises(source: Source) -> bool:
    """Whether blocks lie in stages, as Swin's do."""
    return is_swin(source.state)


def is_swin(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether these are a Swin's tensors, by their names."""
    return "layers.0.blocks.0.attn.relative_position_bias_table" in state


def read(source: Source, asked: Asked, base: Found | None) -> Found:
    """Read a backbone with or without its head."""
    state = dict(source.state)
    head = take_head(state, "head", path=source.path)
    backbone, shape, rest = take_backbone(state, source, asked)
    refuse_rest(rest, path=source.path, producer=PRODUCER)
    return Found(
        path=source.path,
        producer=PRODUCER,
        tried=False,
        shape=shape,
        backbone=backbone,
        head=head,
        methods=("ft", "linear", "partial_k", "bias") if head else (),
        sources=dict(SOURCES),
    )


def take_backbone(
    state: Mapping[str, torch.Tensor], source: Source, asked: Asked
) -> tuple[Lazy, SwinShape, dict[str, torch.Tensor]]:
    """Take the backbone out of a state dict: under timm's names, with its sizes; and what is left.

    timm has patch merging at the beginning of a stage, and the authors at the end of the one before.

    Raises
    ------
    CheckpointError, WeightsError
        Tensors are missing or of another shape, or nothing tells the size of the images.
    """
    shape = _shape(state, source)
    if asked.heads is not None:
        raise CheckpointError(f"{source.path} tells its attention heads by stage: {shape.heads}.", "Leave out --heads.")
    expected = shape.parameters()
    rest = {name: value for name, value in state.items() if not name.endswith(BUFFERS)}
    ours = {_timm(name): name for name in rest}
    backbone = Lazy.of({name: rest.pop(theirs) for name, theirs in ours.items() if name in expected})
    check_names(backbone, shape, source=source.path)
    return backbone, shape, rest


def _timm(name: str) -> str:
    found = _MERGING.match(name)
    return name if found is None else f"layers.{int(found[1]) + 1}.downsample.{name[found.end() :]}"


def _shape(state: Mapping[str, torch.Tensor], source: Source) -> SwinShape:
    """Read the sizes off the tensors.

    Raises
    ------
    CheckpointError
        A tensor they are read off is missing, or the sizes contradict each other.
    """
    depths = _depths(state, source)
    width, _, patch, _ = _sizes(state, "patch_embed.proj.weight", 4, source)
    tables = [
        _sizes(state, f"layers.{stage}.blocks.0.attn.relative_position_bias_table", 2, source)
        for stage in range(len(depths))
    ]
    window = (math.isqrt(tables[0][0]) + 1) // 2
    shape = SwinShape(
        width=width,
        mlp_width=_sizes(state, "layers.0.blocks.0.mlp.fc1.weight", 2, source)[0],
        depths=depths,
        heads=tuple(heads for _, heads in tables),
        window=window,
        patch=patch,
        grid=_grid(state, window, source),
        qkv_bias="layers.0.blocks.0.attn.qkv.bias" in state,
    )
    if any(shape.width_of(stage) % heads for stage, heads in enumerate(shape.heads)):
        raise CheckpointError(f"{source.path}: heads {shape.heads} do not divide the widths of a {shape.name}.")
    if any(side % (2 ** (len(depths) - 1)) for side in shape.grid):
        raise CheckpointError(f"{source.path}: {shape.grid} patches cannot be merged {len(depths) - 1} times by two.")
    for stage, depth in enumerate(depths):
        missing = [i for i in range(1, depth, 2) if f"layers.{stage}.blocks.{i}.attn_mask" not in state]
        if missing and shape.windows_of(stage) > 1:
            raise CheckpointError(f"{source.path}: stage {stage} lacks the masks of its shifted blocks {missing}.")
    for name, mask in ((name, value) for name, value in state.items() if name.endswith("attn_mask")):
        stage = int(name.split(".")[1]) if _BLOCK.match(name) else len(depths)
        n = shape.window_of(stage) ** 2 if stage < len(depths) else 0
        if stage >= len(depths) or tuple(mask.shape) != (shape.windows_of(stage), n, n):
            raise CheckpointError(f"{source.path}: {name} has shape {tuple(mask.shape)}, which fits no {shape.name}.")
    return shape


def _depths(state: Mapping[str, torch.Tensor], source: Source) -> tuple[int, ...]:
    """Blocks by stage, all numbers from 0 on."""
    found: dict[int, set[int]] = {}
    for match in filter(None, map(_BLOCK.match, state)):
        found.setdefault(int(match[1]), set()).add(int(match[2]))
    complete = all(numbers == set(range(len(numbers))) for numbers in (set(found), *found.values()))
    if not complete:
        listing = {stage: sorted(found[stage]) for stage in sorted(found)}
        raise CheckpointError(f"{source.path} has blocks {listing} by stage; expected 0, 1, 2 and so on.")
    return tuple(len(found[stage]) for stage in range(len(found)))


def _grid(state: Mapping[str, torch.Tensor], window: int, source: Source) -> tuple[int, int]:
    """Patches of the first stage, by the number of windows in the mask of its shifted blocks."""
    name = "layers.0.blocks.1.attn_mask"
    if name not in state:
        raise CheckpointError(
            f"{source.path} holds no {name}, and nothing else of a Swin tells the size of its images.",
            "Files of the authors' own program, and of KMnP/vpt, hold it; timm's do not.",
        )
    windows = math.isqrt(_sizes(state, name, 3, source)[0])
    if windows**2 != state[name].shape[0] or not 0 < windows * window <= MAX_GRID:
        raise CheckpointError(f"{source.path}: {name} has shape {tuple(state[name].shape)}: no square of windows.")
    # The shift wraps in the last row and the last column of windows, and hides something there alone.
    wrapped = int((state[name] != 0).flatten(1).any(dim=1).sum())
    if wrapped != 2 * windows - 1:
        raise CheckpointError(
            f"{source.path}: {name} masks {wrapped} of {windows**2} windows, so they are no square, and square images "
            "are read."
        )
    return windows * window, windows * window


def _sizes(state: Mapping[str, torch.Tensor], name: str, ndim: int, source: Source) -> tuple[int, ...]:
    if name not in state or state[name].ndim != ndim or 0 in state[name].shape:
        found = "is missing" if name not in state else f"has shape {tuple(state[name].shape)}"
        raise CheckpointError(f"{source.path} holds no Swin: {name} {found}.")
    return tuple(state[name].shape)
