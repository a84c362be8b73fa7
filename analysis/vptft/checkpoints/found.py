"""Found: what a reader makes of somebody's checkpoint, the same for every producer.

Nothing here imports timm: a checkpoint is inspected without building it.
"""

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from vptft.models.prompts import PromptSpec
from vptft.models.swin_shape import Shape

AdapterKind = Literal["pfeiffer", "convpass"]
Pooling = Literal["token", "avg", "token and avg"]

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of what BatchNorm counts rather than learns."""
BY_DESCRIPTION = "read by description, not tried on a file of theirs"
"""What is said of a format whose reader was tested on files we built after its description only."""


class Normalisation(NamedTuple):
    """Channel mean and standard deviation, of pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


NORMALISATIONS: Mapping[str, Normalisation] = {
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Those that programs use: ImageNet's; 0.5 and 0.5, as Google's and most of timm's ViTs; and pixels as they are."""


class Lazy(Mapping[str, torch.Tensor]):
    """Tensors by name, made when asked for: a large checkpoint is never held twice.

    Parameters
    ----------
    makers
        For each name what makes its tensor.
    """

    def __init__(self, makers: Mapping[str, Callable[[], torch.Tensor]]) -> None:
        self._makers = dict(makers)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> "Lazy":
        """Return tensors that are taken out of another mapping only when asked for."""
        return cls({name: partial(tensors.__getitem__, name) for name in tensors})

    def without(self, names: Container[str]) -> "Lazy":
        """Return the tensors that are not among ``names``."""
        return Lazy({name: make for name, make in self._makers.items() if name not in names})

    def changed(self, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> "Lazy":
        """Return the tensors with one changed when it is made."""
        make = self._makers[name]
        return Lazy({**self._makers, name: lambda: change(make())})


class Asked(NamedTuple):
    """What a user may say about a checkpoint that its file does not.

    Attributes
    ----------
    heads
        Number of attention heads.
    method
        The method, where neither keys nor logs nor the base tell it.
    base
        File of the pretrained weights it started from; needed where the checkpoint holds only what was added.
    scale
        Factor of the adapter's output, which PETL-ViT keeps in a configuration file.
    prompt_length
        Prompts in use, where the file may hold more than that (a supernet).
    pooling
        What the head reads, where the names leave it open.
    """

    heads: int | None = None
    method: str | None = None
    base: Path | None = None
    scale: float | None = None
    prompt_length: int | None = None
    pooling: Pooling | None = None


@dataclass(frozen=True, kw_only=True)
class FoundPrompts:
    """Prompts as the model uses them.

    Attributes
    ----------
    spec
        Length and layers.
    tensors
        Under the names of the model's own module: ``tokens (n_layers, P, d)``, projected where the file holds a
        projection, or ``stage0.tokens`` and so on of a Swin.
    parameters
        Numbers that the file stores for them; fewer than ``tensors`` have where they are projected.
    projected_from
        Width before the projection; None without one.
    """

    spec: PromptSpec
    tensors: Mapping[str, torch.Tensor]
    parameters: int
    projected_from: int | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """A checkpoint, read.

    Attributes
    ----------
    path
        The file its weights came from.
    producer
        Who writes such files.
    tried
        Whether the reader was tested on a file made by the producer's own program.
    shape
        Sizes of the backbone; None where it is neither a plain vision transformer nor a Swin.
    backbone
        Backbone tensors under timm's names; empty where the file holds none and no base was given.
    head
        ``weight``, ``bias``, and for an MLP head ``hidden.I.weight`` and so on; empty for a bare backbone.
    prompts, adapters
        What was added; adapter tensors under the names of :mod:`vptft.models.adapters`.
    methods
        Methods, in our words, that the keys allow; one where it is known.
    normalisation
        What the producer's program normalises with; None where it may be any.
    pretraining
        Objective the backbone was pretrained for, in the words of :data:`vptft.models.backbones.Pretraining`.
    sources
        For each thing known besides the weights, where it was taken from.
    notes
        What a user should know before using it: assumptions, and what could not be known.
    parameters_added
        Numbers stored beside backbone and head.
    not_applicable
        Why no model can be built from it; empty where one can.
    """

    path: Path
    producer: str
    tried: bool
    shape: Shape | None
    backbone: Mapping[str, torch.Tensor]
    head: Mapping[str, torch.Tensor]
    methods: tuple[str, ...]
    prompts: FoundPrompts | None = None
    adapters: Mapping[str, torch.Tensor] = field(default_factory=dict)
    adapter_kind: AdapterKind | None = None
    adapter_scale: float = 1.0
    normalisation: Normalisation | None = None
    pretraining: str = "unknown"
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parameters_added: int = 0
    not_applicable: str = ""

    @property
    def n_classes(self) -> int | None:
        """Outputs of the head; None without one."""
        return int(self.head["weight"].shape[0]) if "weight" in self.head else None

    @property
    def method(self) -> str | None:
        """The method, where it is known."""
        return self.methods[0] if len(self.methods) == 1 else None

    @property
    def parameters(self) -> tuple[int | None, int | None]:
        """Numbers that were tuned, and numbers in all, as the peers count them: the paper's Tuned/Total.

        The latter is None where only what was added is there. What was tuned is None where the method is not known, or
        moves an unknown part of the backbone. BatchNorm's running statistics are no parameters; what is merged into the
        backbone is not counted twice.
        """
        head = sum(value.numel() for name, value in self.head.items() if not name.endswith(STATISTICS))
        if not self.backbone:
            return (head + self.parameters_added if self.method not in (None, "ft", "mixed") else None), None
        merged = self.method == "lora" or (not self.adapters and self.method == "adapter")
        backbone = sum(math.prod(self.backbone[name].shape) for name in self.backbone)
        total = backbone + head + (0 if merged else self.parameters_added)
        if self.method is None or self.method in ("partial_k", "bias"):
            return None, total
        return (total if self.method in ("ft", "mixed") else head + self.parameters_added), total
