"""The tuning methods: which parameters each moves, and how fast by default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from vptft.errors import UnknownNameError
from vptft.models.backbones import Backbone
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to adapt a backbone to a task; every method tunes the head.

    Attributes
    ----------
    name
        The word DESIGN fixes for it.
    about
        One line for ``--help`` and reports.
    tunes_backbone
        Whether the backbone's own weights move.
    prompt_layers
        Given the number of layers, those before which prompts come in; None for a method without prompts.
    learning_rates
        AdamW learning rates searched on validation, ascending; the middle one is the default.
    """

    name: str
    about: str
    tunes_backbone: bool
    prompt_layers: Callable[[int], tuple[int, ...]] | None
    learning_rates: tuple[float, float, float]

    @property
    def default_lr(self) -> float:
        """The learning rate where none is searched or given."""
        return self.learning_rates[1]


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="ft",
            about="full finetuning: every weight",
            tunes_backbone=True,
            prompt_layers=None,
            learning_rates=(3e-6, 1e-5, 3e-5),
        ),
        Method(
            name="linear",
            about="linear probe: the head on frozen features",
            tunes_backbone=False,
            prompt_layers=None,
            learning_rates=(2e-3, 5e-3, 2e-2),
        ),
        Method(
            name="vpt_shallow",
            about="prompts before the first layer, and the head (Jia et al. 2022)",
            tunes_backbone=False,
            prompt_layers=lambda depth: (0,),
            learning_rates=(3e-4, 1e-3, 3e-3),
        ),
        Method(
            name="vpt_deep",
            about="new prompts before every layer, and the head (Jia et al. 2022); the paper's VPT",
            tunes_backbone=False,
            prompt_layers=lambda depth: tuple(range(depth)),
            learning_rates=(3e-4, 1e-3, 3e-3),
        ),
    )
}


def find_method(name: str) -> Method:
    """Look a method up by name."""
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def build_model(
    method: Method, backbone: Backbone, *, n_classes: int, prompt_length: int, prompt_dropout: float, seed: int
) -> TunedModel:
    """Model whose trainable parameters are exactly what the method tunes.

    The backbone's module is used, not copied: load a fresh one for each run.
    """
    spec = None
    backbone.module.requires_grad_(method.tunes_backbone)
    if method.prompt_layers is not None:
        depth = len(TunedModel(backbone.module, n_classes=1).vit.blocks)
        spec = PromptSpec(length=prompt_length, layers=method.prompt_layers(depth), dropout=prompt_dropout)
    generator = torch.Generator().manual_seed(seed)
    return TunedModel(backbone.module, n_classes=n_classes, prompts=spec, generator=generator)
