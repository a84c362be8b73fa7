"""Google's ``.npz`` of a vision transformer (Dosovitskiy et al. 2021; big_vision): a pretrained backbone."""

from collections.abc import Callable
from functools import partial

import torch

from vptft.checkpoints.found import NORMALISATIONS, Asked, Found, Lazy
from vptft.checkpoints.readers.settling import refuse_rest, settle_heads
from vptft.checkpoints.readers.source import Source
from vptft.errors import CheckpointError
from vptft.models.shape import shape_of

PRODUCER = "Google's ViT .npz"
PREFIXES = ("opt/target/", "params/")
_ATTENTION = "MultiHeadDotProductAttention_"


def recognises(source: Source) -> bool:
    """Whether the arrays are named as theirs."""
    return any(_bare(name).startswith("Transformer/encoderblock_0/") for name in source.state)


def read(source: Source, asked: Asked, base: Found | None) -> Found:
    """Read the backbone; its head only where no ``pre_logits`` stands before it."""
    rest = {_bare(name): value for name, value in source.state.items()}
    makers: dict[str, Callable[[], torch.Tensor]] = {}

    def take(theirs: str, timm: str, change: Callable[[torch.Tensor], torch.Tensor] = torch.clone) -> None:
        if theirs in rest:
            makers[timm] = partial(_made, rest.pop(theirs), change, theirs, source)

    take("cls", "cls_token")
    take("Transformer/posembed_input/pos_embedding", "pos_embed")
    take("embedding/kernel", "patch_embed.proj.weight", _patches)
    take("embedding/bias", "patch_embed.proj.bias")
    for end, timm in (("scale", "weight"), ("bias", "bias")):
        take(f"Transformer/encoder_norm/{end}", f"norm.{timm}")
    heads: set[int] = set()
    for i in range(_depth(rest)):
        heads |= _block(i, rest, makers, take, source)
    head = _head(rest, source)
    notes: list[str] = []
    if any(name.startswith("pre_logits/") for name in rest):
        rest = {name: value for name, value in rest.items() if not name.startswith("pre_logits/")}
        head = {}
        notes.append("pre_logits, a layer before the head, is left out, and the head with it; KMnP/vpt and timm do so.")
    refuse_rest(rest, path=source.path, producer=PRODUCER)
    if len(heads) > 1:
        raise CheckpointError(f"{source.path} has attention of {sorted(heads)} heads in different layers.")
    backbone = Lazy(makers)
    sources: dict[str, str] = {}
    shape = settle_heads(
        shape_of(backbone, source=source.path),
        asked,
        base,
        {"shape of query/kernel": next(iter(heads), None)},
        sources,
        notes,
    )
    return Found(
        path=source.path,
        producer=PRODUCER,
        tried=True,
        shape=shape,
        backbone=backbone,
        head=head,
        methods=(),
        normalisation=NORMALISATIONS["half"],
        sources={**sources, "normalisation": "pixels in [-1, 1], as Google's program has them"},
        notes=tuple(notes),
    )


def _bare(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _depth(rest: dict[str, torch.Tensor]) -> int:
    start = "Transformer/encoderblock_"
    numbers = {name.removeprefix(start).partition("/")[0] for name in rest if name.startswith(start)}
    return 1 + max((int(number) for number in numbers if number.isdecimal() and len(number) < 5), default=-1)


def _block(
    i: int,
    rest: dict[str, torch.Tensor],
    makers: dict[str, Callable[[], torch.Tensor]],
    take: Callable[..., None],
    source: Source,
) -> set[int]:
    """Take one block's arrays; gives the numbers of heads that its attention shows."""
    theirs, timm = f"Transformer/encoderblock_{i}/", f"blocks.{i}."
    inside = [name.removeprefix(theirs) for name in rest if name.startswith(theirs)]
    attention = next((name.partition("/")[0] for name in inside if name.startswith(_ATTENTION)), f"{_ATTENTION}1")
    # The numbers count flax modules: MlpBlock_3 and LayerNorm_2 in the first files, MlpBlock_0 and LayerNorm_1 later.
    norms = sorted({name.partition("/")[0] for name in inside if name.startswith("LayerNorm_")})
    mlp = next((name.partition("/")[0] for name in inside if name.startswith("MlpBlock_")), "MlpBlock_3")
    for norm, ours in zip(norms, ("norm1", "norm2"), strict=False):
        take(f"{theirs}{norm}/scale", f"{timm}{ours}.weight")
        take(f"{theirs}{norm}/bias", f"{timm}{ours}.bias")
    for number, ours in ((0, "mlp.fc1"), (1, "mlp.fc2")):
        take(f"{theirs}{mlp}/Dense_{number}/kernel", f"{timm}{ours}.weight", _transposed)
        take(f"{theirs}{mlp}/Dense_{number}/bias", f"{timm}{ours}.bias")
    take(f"{theirs}{attention}/out/kernel", f"{timm}attn.proj.weight", _from_heads)
    take(f"{theirs}{attention}/out/bias", f"{timm}attn.proj.bias")
    heads = set()
    for end, change, ours in (("kernel", _to_heads, "weight"), ("bias", torch.flatten, "bias")):
        names = [f"{theirs}{attention}/{part}/{end}" for part in ("query", "key", "value")]
        if all(name in rest for name in names):
            parts = [rest.pop(name) for name in names]
            if end == "kernel" and parts[0].ndim == 3:
                heads.add(int(parts[0].shape[1]))
            makers[f"{timm}attn.qkv.{ours}"] = partial(_stacked, parts, change, names[0], source)
    return heads


def _head(rest: dict[str, torch.Tensor], source: Source) -> dict[str, torch.Tensor]:
    kernel, bias = rest.pop("head/kernel", None), rest.pop("head/bias", None)
    if kernel is None or bias is None:
        return {}
    if kernel.ndim != 2 or tuple(bias.shape) != (kernel.shape[1],):
        raise CheckpointError(f"{source.path}: head/kernel {tuple(kernel.shape)} and head/bias do not go together.")
    return {"weight": kernel.T.contiguous(), "bias": bias}


def _made(
    array: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor], name: str, source: Source
) -> torch.Tensor:
    try:
        return change(array)
    except (RuntimeError, IndexError) as error:
        raise CheckpointError(f"{source.path}: {name} has shape {tuple(array.shape)}, which does not fit.") from error


def _stacked(
    parts: list[torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor], name: str, source: Source
) -> torch.Tensor:
    if not parts[0].ndim or any(part.shape != parts[0].shape for part in parts):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise CheckpointError(f"{source.path}: {name}, key and value have shapes {shapes}; expected the same.")
    return torch.cat([_made(part, change, name, source) for part in parts])


def _patches(kernel: torch.Tensor) -> torch.Tensor:
    """``(p, p, 3, d)`` to ``(d, 3, p, p)``."""
    return kernel.permute(3, 2, 0, 1).contiguous()


def _transposed(kernel: torch.Tensor) -> torch.Tensor:
    """``(in, out)`` to ``(out, in)``."""
    return kernel.permute(1, 0).contiguous()


def _to_heads(kernel: torch.Tensor) -> torch.Tensor:
    """``(d, heads, head_dim)`` to ``(heads * head_dim, d)``."""
    return kernel.flatten(1).T.contiguous()


def _from_heads(kernel: torch.Tensor) -> torch.Tensor:
    """``(heads, head_dim, d)`` to ``(d, heads * head_dim)``."""
    return kernel.flatten(0, 1).T.contiguous()
