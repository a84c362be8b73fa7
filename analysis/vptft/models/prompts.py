"""Visual prompts: what is inserted before which layer (Jia et al. 2022, *Visual Prompt Tuning*)."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from vptft.errors import NotApplicable, SettingsError


@dataclass(frozen=True, kw_only=True)
class PromptSpec:
    """Which prompts a model has.

    Attributes
    ----------
    length
        Prompts a layer, P. Zero gives the plain model.
    layers
        Layers before which new prompts come in: ``(0,)`` is VPT-shallow, every layer is VPT-deep. From the second
        on they *replace* the previous layer's prompt outputs. Layers before the first run without prompts.
    dropout
        Probability of dropping a prompt's entry while training.
    dropout_per_sample
        Draw the dropout for each image (the peers' recipe) rather than once per batch. The key/value prefix form is
        exact only without it.
    pooled
        Whether average pooling takes the last layer's prompt outputs in (as KMnP's MAE and Swin do).
    merged
        Whether prompts that are carried along go on to the next stage of a Swin (as KMnP's do); a plain ViT has none.
    projection
        Width p of the space the prompts are learned in: ``(P, p)``, projected to the tokens' width by one linear layer
        for all layers (KMnP/vpt's ``PROMPT.PROJECT``); 0 learns them there.
    shared
        Whether one set of prompts serves all layers.
    """

    length: int
    layers: tuple[int, ...]
    dropout: float = 0.0
    dropout_per_sample: bool = False
    pooled: bool = False
    merged: bool = False
    projection: int = 0
    shared: bool = False

    def __post_init__(self) -> None:
        if self.length < 0 or self.projection < 0:
            raise SettingsError(f"A prompt length cannot be negative, nor its width: {self.length}, {self.projection}.")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"Prompt dropout must lie in [0, 1): {self.dropout}.")
        if not self.layers or self.layers[0] < 0 or list(self.layers) != sorted(set(self.layers)):
            raise SettingsError(f"Prompt layers must be increasing, from 0 on: {self.layers}.")

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        return {**asdict(self), "layers": list(self.layers)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PromptSpec":
        """Inverse of :meth:`to_json`."""
        return cls(**{**values, "layers": tuple(values["layers"])})


class Prompts(nn.Module):
    """The prompt parameters, ``(n_layers, P, d)``; ``(1, P, d)`` where they are shared, ``p`` for d where projected.

    Initialised uniformly in +-sqrt(6 / (3 p^2 + d)), p the patch side in pixels, d the width they are learned in
    (Jia et al. 2022, their release; Xavier's bound for a patch embedding).
    """

    def __init__(self, spec: PromptSpec, *, dim: int, patch_size: tuple[int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        width = spec.projection or dim
        bound = math.sqrt(6 / (3 * patch_size[0] * patch_size[1] + width))
        values = torch.rand(1 if spec.shared else len(spec.layers), spec.length, width, generator=generator)
        self.tokens = nn.Parameter((2 * values - 1) * bound)
        self.project: nn.Module = nn.Identity()
        if spec.projection:
            self.project = nn.Linear(width, dim)
            nn.init.kaiming_normal_(self.project.weight, a=0, mode="fan_out", generator=generator)
            nn.init.zeros_(self.project.bias)

    def at(self, layer: int, batch: int) -> torch.Tensor:
        """Prompts inserted before ``layer``: ``(1, P, d)``, or ``(batch, P, d)`` where dropout differs by image."""
        row = 0 if self.spec.shared else self.spec.layers.index(layer)
        tokens = self.project(self.tokens[row]).unsqueeze(0)
        if self.training and self.spec.dropout:
            if self.spec.dropout_per_sample:
                tokens = tokens.expand(batch, -1, -1)
            tokens = nn.functional.dropout(tokens, self.spec.dropout)
        return tokens

    @torch.no_grad()
    def start_from(self, vectors: torch.Tensor) -> None:
        """Set every prompt to one of ``vectors`` ``(n, d)``, taken in turn; needs prompts of the tokens' own width."""
        if vectors.shape[1] != self.tokens.shape[2]:
            raise SettingsError(
                f"Prompts of width {self.tokens.shape[2]} cannot start from vectors of width {vectors.shape[1]}.",
                "Leave out prompt_projection, or start them at random.",
            )
        self.tokens.copy_(vectors[torch.arange(self.spec.length) % len(vectors)].expand_as(self.tokens))


class StagePrompts(nn.Module):
    """Prompts for a backbone whose width grows by stages: :class:`Prompts` of its own, ``stage0`` ..., for each.

    Deep prompts are ``sum of depth * P * width`` parameters over the stages. Each stage's start is bounded by its own
    width, as a ViT of that width would have it; KMnP/vpt takes the first stage's width for all.

    Parameters
    ----------
    spec
        Layers are counted through all stages.
    stages
        The stage of each of the backbone's layers.
    widths
        Of each stage's tokens.
    patch_size, generator
        As for :class:`Prompts`.

    Raises
    ------
    NotApplicable
        Shared or projected prompts.
    """

    def __init__(
        self,
        spec: PromptSpec,
        *,
        stages: tuple[int, ...],
        widths: tuple[int, ...],
        patch_size: tuple[int, int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if spec.shared or spec.projection:
            how = "Shared" if spec.shared else "Projected"
            raise NotApplicable(f"{how} prompts are not applicable: the backbone's stages have widths {widths}.")
        self.spec = spec
        self.stages = stages
        for stage, dim in enumerate(widths):
            layers = tuple(layer for layer in spec.layers if stages[layer] == stage)
            if layers:
                own = Prompts(replace(spec, layers=layers), dim=dim, patch_size=patch_size, generator=generator)
                self.add_module(f"stage{stage}", own)

    @property
    def tokens(self) -> nn.Parameter:
        """No one tensor holds prompts of several widths."""
        raise NotApplicable("These prompts have a width for each stage: there is no one tensor of them.")

    def at(self, layer: int, batch: int) -> torch.Tensor:
        """As :meth:`Prompts.at`, of the width of the layer's stage."""
        return self._stage(layer).at(layer, batch)

    def start_from(self, vectors: torch.Tensor) -> None:
        """Features have the last stage's width, so prompts cannot start from them."""
        raise NotApplicable(
            f"Vectors of width {vectors.shape[1]} cannot start prompts whose width differs by stage.",
            "Leave out prompt_init: they start at random.",
        )

    def _stage(self, layer: int) -> Prompts:
        own = self.get_submodule(f"stage{self.stages[layer]}")
        assert isinstance(own, Prompts)
        return own
