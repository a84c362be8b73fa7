"""A checkpoint's backbone against the pretrained weights, layer by layer and bit by bit.

Keys cannot tell VPT-deep from Mixed, nor FT from a linear probe; whether the backbone moved can.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from vptft.checkpoints.found import Found

_PART = re.compile(r"(layers\.\d+\.)?blocks\.\d+|layers\.\d+\.downsample", re.ASCII)
MERGED = {"lora", "adapter"}

UNRELATED = 0.9
"""Median relative change above which a backbone is taken not to have started from these weights: independent weights
of equal norm differ by 1.41, finetuning moves a few percent."""


@dataclass(frozen=True, kw_only=True)
class LayerMatch:
    """One part of the network: ``embeddings``, ``blocks.0`` and so on (``layers.0.blocks.0`` of a Swin), ``norm``.

    Attributes
    ----------
    layer
        Its name.
    tensors, equal
        How many tensors it has, and how many equal the pretrained ones bit for bit.
    change
        Norm of the difference over the norm of the pretrained weights; NaN where a shape differs.
    changed
        Names of the tensors that differ.
    """

    layer: str
    tensors: int
    equal: int
    change: float
    changed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A comparison of two backbones, in the order of the network.

    Attributes
    ----------
    layers
        Each part of it.
    resized
        Whether the position grids differ in size: another image size, which says nothing about tuning.
    unmatched
        Tensors of blocks that only one of them has, or of another shape: the two are different networks. What lies
        around the blocks may differ (MAE's last norm has another name once it is finetuned).
    """

    layers: tuple[LayerMatch, ...]
    resized: bool = False
    unmatched: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of all tensors that differ."""
        return tuple(name for layer in self.layers for name in layer.changed)

    @property
    def frozen(self) -> bool:
        """Whether every tensor equals the pretrained one."""
        return not self.changed

    @property
    def unrelated(self) -> bool:
        """Whether the backbone cannot have started from these weights."""
        if self.unmatched:
            return True
        changes = torch.tensor([layer.change for layer in self.layers if is_block(layer.layer)])
        return bool(changes.nanmedian() > UNRELATED) if len(changes) else False


def layer_of(name: str) -> str:
    """Part of the network a tensor belongs to, by timm's names."""
    found = _PART.match(name)
    if found is not None:
        return found[0]
    return "norm" if name.partition(".")[0] in ("norm", "fc_norm") else "embeddings"


def is_block(layer: str) -> bool:
    """Whether a part is a block, and not what comes before, between or after them."""
    return "blocks." in layer


def match(found: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor]) -> Match:
    """Compare two backbones under timm's names; a tensor that only one has counts as different."""
    squares: dict[str, list[float]] = {}
    changed: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    resized, unmatched = False, []
    for name in [*found, *(name for name in base if name not in found)]:
        layer = layer_of(name)
        counts[layer] = counts.get(layer, 0) + 1
        sums = squares.setdefault(layer, [0.0, 0.0])
        one, other = (state[name].shape if name in state else None for state in (found, base))
        if name == "pos_embed" and one and other and one != other and one[-1] == other[-1]:
            resized = True
            continue
        if one != other and is_block(layer):
            unmatched.append(name)
        difference, norm = _difference(found.get(name), base.get(name))
        sums[0] += difference
        sums[1] += norm
        if difference != 0:
            changed.setdefault(layer, []).append(name)
    return Match(
        layers=tuple(
            LayerMatch(
                layer=layer,
                tensors=counts[layer],
                equal=counts[layer] - len(changed.get(layer, ())) - int(resized and layer == layer_of("pos_embed")),
                change=(squares[layer][0] / squares[layer][1]) ** 0.5 if squares[layer][1] > 0 else float("nan"),
                changed=tuple(sorted(changed.get(layer, ()))),
            )
            for layer in sorted(counts, key=place_of)
        ),
        resized=resized,
        unmatched=tuple(unmatched),
    )


def concluded(found: Found, compared: Match) -> tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]:
    """Methods that remain once the backbone is compared; where that is said; and what does not agree.

    What was merged into the backbone moved it, whatever the method.
    """
    if not found.methods or set(found.methods) & MERGED:
        return found.methods, {}, ()
    note = "The position grids differ in size: the images had another size than in pretraining."
    resized = (note,) if compared.resized else ()
    if compared.unmatched:
        few = ", ".join(compared.unmatched[:3])
        note = f"The pretrained weights given are another network's: {len(compared.unmatched)} tensors differ in shape "
        note += f"or are missing ({few}). Nothing was concluded."
        return found.methods, {}, (note, *resized)
    if compared.unrelated:
        note = "The backbone is unlike the pretrained weights given: it did not start from them. Nothing was concluded."
        return found.methods, {}, (note, *resized)
    remaining = _possible(found.methods, compared)
    moved = len(compared.changed)
    why = (
        f"every backbone tensor{' but the positions' if compared.resized else ''} equals the pretrained one bit for bit"
        if not moved
        else f"{moved} backbone tensors moved"
    )
    if not remaining:
        said = found.sources.get("method", "The tensors")
        return found.methods, {}, (f"{said} say {' or '.join(found.methods)}, but {why}.", *resized)
    return remaining, {"method": why}, resized


def _possible(methods: tuple[str, ...], compared: Match) -> tuple[str, ...]:
    """Of several methods, those that move what moved."""
    names = compared.changed
    blocks = [layer for layer in compared.layers if is_block(layer.layer)]
    first_moved = next((i for i, layer in enumerate(blocks) if layer.changed), len(blocks))
    embeddings_moved = any(layer.changed for layer in compared.layers if layer.layer == "embeddings")
    moves: dict[str, bool] = {
        "ft": bool(names) and (embeddings_moved or first_moved == 0) and not all(n.endswith("bias") for n in names),
        "mixed": any(is_block(layer_of(name)) and not name.endswith("bias") for name in names),
        "partial_k": bool(names) and not embeddings_moved and first_moved > 0,
        "bias": bool(names) and all(name.endswith("bias") for name in names),
    }
    return tuple(method for method in methods if moves.get(method, not names))


def _difference(one: torch.Tensor | None, other: torch.Tensor | None) -> tuple[float, float]:
    """Squared norm of the difference, and of the other; NaN where they cannot be subtracted."""
    if one is None or other is None or one.shape != other.shape:
        return float("nan"), 0.0 if other is None else float(other.double().square().sum())
    norm = float(other.double().square().sum())
    if torch.equal(one, other):
        return 0.0, norm
    return float((one.double() - other.double()).square().sum()) or float("nan"), norm


def place_of(layer: str) -> tuple[int, ...]:
    """Sort key of :func:`layer_of`'s names: the order of the network, a Swin's merging before its stage's blocks."""
    if layer in ("embeddings", "norm"):
        return (0,) if layer == "embeddings" else (2,)
    return 1, *(int(number) for number in layer.split(".") if number.isdecimal() and len(number) < 9)
