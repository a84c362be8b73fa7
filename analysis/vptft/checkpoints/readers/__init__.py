"""Readers of other programs' checkpoints: one small module each, one table, told apart by content."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vptft.checkpoints.found import Asked, Found
from vptft.checkpoints.matching import Match, concluded, match
from vptft.checkpoints.readers import google, huggingface, kmnp, lora, noah, petl, swin, timm_vit
from vptft.checkpoints.readers.source import Source, open_source
from vptft.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One producer's format.

    Attributes
    ----------
    name
        The producer.
    tried
        Whether it was tested on files that the producer's own program wrote.
    about
        What is read.
    recognises
        Whether an opened file is of this format, by its tensors' names.
    read
        Makes a :class:`Found` of it, given what the user said and the pretrained weights, if any.
    """

    name: str
    tried: bool
    about: str
    recognises: Callable[[Source], bool]
    read: Callable[[Source, Asked, Found | None], Found]


READERS: tuple[Reader, ...] = (
    Reader(
        name=lora.PRODUCER,
        tried=True,
        about="adapter folder, merged into --backbone; key names of older releases by description",
        recognises=lora.recognises,
        read=lora.read,
    ),
    Reader(
        name=kmnp.PRODUCER,
        tried=True,
        about="last_model.pth: VPT-deep, FT and linear; shallow and projected prompts, MLP heads, Mixed, MAE, MoCo, "
        "Swin and adapters by description",
        recognises=kmnp.recognises,
        read=kmnp.read,
    ),
    Reader(
        name=noah.PRODUCER,
        tried=False,
        about="prompts at the end of the sequence",
        recognises=noah.recognises,
        read=noah.read,
    ),
    Reader(
        name=petl.PRODUCER,
        tried=False,
        about="Convpass and FacT-TT adapters, with --backbone and --scale",
        recognises=petl.recognises,
        read=petl.read,
    ),
    Reader(
        name="Hugging Face ViT and DINOv2",
        tried=True,
        about="ViTForImageClassification; other key names of its releases, and DINOv2, by description",
        recognises=huggingface.recognises,
        read=huggingface.read,
    ),
    Reader(
        name=google.PRODUCER,
        tried=True,
        about="pretrained backbones",
        recognises=google.recognises,
        read=google.read,
    ),
    Reader(
        name=timm_vit.PRODUCER,
        tried=True,
        about=".pth and .safetensors, with module. or model. before the names or without",
        recognises=timm_vit.recognises,
        read=timm_vit.read,
    ),
    Reader(
        name=swin.PRODUCER,
        tried=False,
        about="weights under the names of the authors' release, masks of shifted windows among them",
        recognises=swin.recognises,
        read=swin.read,
    ),
)
"""Tried in this order; the first that recognises a file reads it."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A checkpoint and, where the pretrained weights were given, those and how it compares with them."""

    found: Found
    base: Found | None = None
    match: Match | None = None


def read_checkpoint(path: Path, asked: Asked = Asked()) -> Reading:  # noqa: B008 - a tuple, not mutable
    """Read a checkpoint of any known producer.

    Parameters
    ----------
    path
        A file, or a folder with weights under a known name.
    asked
        What the user says about it.

    Raises
    ------
    WeightsError, CheckpointError
        It cannot be opened, is of no known format, or does not hold what its format needs; keys are named.
    """
    base = None if asked.base is None else _read(asked.base, Asked(heads=asked.heads), None)
    found = _read(path, asked, base)
    compared = None
    if base is not None and found.shape is not None:
        compared = match(found.backbone, base.backbone)
        methods, why, notes = concluded(found, compared)
        found = replace(found, methods=methods, sources={**found.sources, **why}, notes=(*found.notes, *notes))
    if asked.method is not None:
        if found.methods and asked.method not in found.methods:
            raise CheckpointError(
                f"{path} cannot be {asked.method}: its tensors are those of {' or '.join(found.methods)}."
            )
        found = replace(found, methods=(asked.method,), sources={**found.sources, "method": "--method"})
    return Reading(found=found, base=base, match=compared)


def _read(path: Path, asked: Asked, base: Found | None) -> Found:
    source = open_source(path)
    for reader in READERS:
        if reader.recognises(source):
            return reader.read(source, asked, base)
    names = sorted(source.state)
    shown = ", ".join(name[:80] for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    raise CheckpointError(
        f"{source.path} is of no format that is known: its tensors are {shown}.",
        f"Read are: {'; '.join(reader.name for reader in READERS)}; and our own run folders.",
    )
