"""Visual prompts: what is inserted before which layer (Jia et al. 2022, *Visual Prompt Tuning*)."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from vptft.errors import SettingsError


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
        Whether average pooling takes the last layer's prompt outputs in (as KMnP's MAE does).
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
