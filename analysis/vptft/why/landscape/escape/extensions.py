"""Function-preserving extensions: parameters put into a network that leave what it computes as it was.

Prompts behind gates that are closed, low-rank updates whose second factor is zero (Hu et al. 2022, *LoRA*), hidden
neurons whose output weights are zero (Chen et al. 2016, *Net2Net*), and nothing at all. All of equal size, as nearly as
whole ranks and neurons allow, and all with a first-order way out: the gate, the zero factor and the zero weights each
have a gradient of their own at the start.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Attention, Block
from torch import nn
from torch.nn import functional as F

from vptft.errors import NotApplicable, SettingsError, UnknownNameError
from vptft.models.blocks import queries_keys_values, require_plain
from vptft.models.prompts import Prompts, PromptSpec
from vptft.models.tuned import TunedModel

AJAR = 1e-3
"""Least opening of a gate once it may be trained. A closed gate passes no gradient on to its prompt, so one that opens
uphill as the prompt was drawn would stay shut for good, and prompts would compete with a hand tied: controls may change
sign. Behind a gate this far open a prompt learns under Adam as any other. All gates of a finetuned DINOv2 ViT-S this
far open (56 px, 10 prompts a layer) raised its training loss by 0.0002 nats."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extended:
    """A copy of a network with an extension in it.

    Attributes
    ----------
    model
        The copy, in evaluation mode; the original shares nothing with it.
    added
        The extension's parameters.
    gates
        Those among them that must not be negative.
    """

    model: TunedModel
    added: tuple[nn.Parameter, ...]
    gates: tuple[nn.Parameter, ...] = ()

    @property
    def size(self) -> int:
        """Parameters added."""
        return sum(parameter.numel() for parameter in self.added)

    @torch.no_grad()
    def project(self) -> None:
        """Put every gate that a step closed, or made negative, back to :data:`AJAR`."""
        for gate in self.gates:
            gate.clamp_(min=AJAR)


class GatedPrompts(nn.Module):
    r"""Attention with deep prompts as extra keys and values, the weight of each multiplied by its gate.

    With logits s of the tokens and t of the prompts, a softmax over [s, t + log g]:

    .. math:: \frac{\sum_i e^{s_i} v_i + \sum_j g_j e^{t_j} u_j}{\sum_i e^{s_i} + \sum_j g_j e^{t_j}}

    At g = 0 it is the attention as it was, at g = 1 VPT-deep. Written with g rather than log g it has a derivative at
    0, from the right: below 0 it has no meaning as a weight, and a step that leads there is projected back
    (:data:`AJAR`).

    Notes
    -----
    At g = 0 the loss does not depend on the prompts at all, so the Hessian in (g, prompts) has the form
    ((a, b'), (b, 0)) and is indefinite wherever b is not 0. Negative curvature there is a fact about gates, no evidence
    that prompts lead out of a minimum. What an equal budget removes is.
    """

    def __init__(self, attn: Attention, norm: nn.Module, tokens: torch.Tensor) -> None:
        super().__init__()
        self.attn = attn
        self.norm = norm
        self.tokens = nn.Parameter(tokens)
        self.gate = nn.Parameter(tokens.new_zeros(len(tokens)))

    def forward(self, x: torch.Tensor, **masks: Any) -> torch.Tensor:
        """Attention output ``(B, T, d)`` of normed tokens ``(B, T, d)``; timm's masks are None here."""
        attn, count = self.attn, len(self.gate)
        query, key, value = queries_keys_values(attn, x, before=self.norm(self.tokens.unsqueeze(0)))
        logits = query * attn.scale @ key.transpose(-2, -1)
        prompts, tokens = logits[..., :count], logits[..., count:]
        total = tokens.logsumexp(dim=-1, keepdim=True)
        weights = self.gate * (prompts - total).exp()
        mixed = (tokens - total).exp() @ value[:, :, count:] + weights @ value[:, :, :count]
        mixed = attn.norm((mixed / (1 + weights.sum(dim=-1, keepdim=True))).transpose(1, 2).flatten(2))
        if attn.gate is not None:
            mixed = mixed * attn.gate(x).sigmoid()
        projected: torch.Tensor = attn.proj(mixed)
        return projected


class LowRank(nn.Module):
    """A projection with ``B A`` added to its weight, ``A`` random and ``B`` zero (Hu et al. 2022, section 4.1)."""

    def __init__(self, linear: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear
        bound = 1 / math.sqrt(linear.in_features)
        draw = torch.rand(rank, linear.in_features, generator=generator)
        self.a = nn.Parameter(((2 * draw - 1) * bound).to(linear.weight))
        self.b = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Projection of ``x``, plus the low-rank update's."""
        out: torch.Tensor = self.linear(x)
        return out + F.linear(F.linear(x, self.a), self.b)


class MoreNeurons(nn.Module):
    """An MLP with more hidden neurons: input weights drawn with the spread of the old ones', output weights zero."""

    def __init__(self, mlp: Mlp, count: int, generator: torch.Generator) -> None:
        super().__init__()
        self.mlp = mlp
        weight = mlp.fc1.weight.detach()
        draw = torch.randn(count, weight.shape[1], generator=generator)
        self.into = nn.Parameter(draw.to(weight) * weight.std())
        self.bias = nn.Parameter(weight.new_zeros(count))
        self.out = nn.Parameter(weight.new_zeros(mlp.fc2.out_features, count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of the old neurons and of the new."""
        old: torch.Tensor = self.mlp(x)
        return old + F.linear(self.mlp.act(F.linear(x, self.into, self.bias)), self.out)


def extend(model: TunedModel, name: str, *, prompts: int = 10, seed: int = 0) -> Extended:
    """Copy a network and put an extension into the copy, which computes the same function.

    Parameters
    ----------
    model
        A plain vision transformer without prompts.
    name
        ``prompts``, ``lora``, ``neurons`` or ``none``.
    prompts
        Prompts a layer. The others are as large in all, as nearly as whole ranks and neurons allow: what is left over
        is spread over the layers.
    seed
        Of what is drawn.

    Raises
    ------
    NotApplicable
        The network has prompts already, or blocks other than timm's plain ones.
    UnknownNameError
        There is no such extension.
    SettingsError
        No prompts.
    """
    if name not in EXTENSIONS:
        raise UnknownNameError("extension", name, EXTENSIONS)
    if prompts < 1:
        raise SettingsError(f"An extension is as large as at least one prompt a layer, got {prompts}.")
    if model.prompts is not None:
        raise NotApplicable("The escape test is not applicable to a network that has prompts: it adds them itself.")
    for block in model.vit.blocks:
        if type(getattr(require_plain(block), "mlp", None)) is not Mlp:
            raise NotApplicable(
                f"Neurons cannot be added to {type(block.mlp).__name__}: only timm's Mlp is understood."
            )
    copied = copy.deepcopy(model).eval().requires_grad_(True)
    before = set(map(id, copied.parameters()))
    EXTENSIONS[name](copied, prompts, torch.Generator().manual_seed(seed))
    gates = tuple(module.gate for module in copied.modules() if isinstance(module, GatedPrompts))
    added = tuple(parameter for parameter in copied.parameters() if id(parameter) not in before)
    return Extended(model=copied, added=added, gates=gates)


def _add_prompts(model: TunedModel, prompts: int, generator: torch.Generator) -> None:
    vit = model.vit
    spec = PromptSpec(length=prompts, layers=tuple(range(len(vit.blocks))))
    start = Prompts(spec, dim=vit.embed_dim, patch_size=vit.patch_embed.patch_size, generator=generator)
    for layer, block in enumerate(_blocks(model)):
        tokens = start.at(layer, 1)[0].detach().clone().to(block.attn.qkv.weight)
        block.attn = GatedPrompts(block.attn, block.norm1, tokens)


def _add_low_rank(model: TunedModel, prompts: int, generator: torch.Generator) -> None:
    qkv = model.vit.blocks[0].attn.qkv
    for block, rank in _shares(model, prompts, each=qkv.in_features + qkv.out_features):
        block.attn.qkv = LowRank(block.attn.qkv, rank, generator)


def _add_neurons(model: TunedModel, prompts: int, generator: torch.Generator) -> None:
    mlp = model.vit.blocks[0].mlp
    for block, count in _shares(model, prompts, each=mlp.fc1.in_features + 1 + mlp.fc2.out_features):
        block.mlp = MoreNeurons(block.mlp, count, generator)


def _add_nothing(model: TunedModel, prompts: int, generator: torch.Generator) -> None:
    """Leave the network as it is: what the same budget removes without new dimensions."""


EXTENSIONS: Mapping[str, Callable[[TunedModel, int, torch.Generator], None]] = {
    "prompts": _add_prompts,
    "lora": _add_low_rank,
    "neurons": _add_neurons,
    "none": _add_nothing,
}
"""Extensions by name; the first is what is tested, the others are its controls."""


def _blocks(model: TunedModel) -> list[Block]:
    return list(model.vit.blocks)


def _shares(model: TunedModel, prompts: int, *, each: int) -> Iterator[tuple[Block, int]]:
    """Divide as many units of ``each`` parameters as gated prompts are worth evenly over the blocks."""
    blocks = _blocks(model)
    total = max(1, round(len(blocks) * prompts * (model.vit.embed_dim + 1) / each))
    for i, block in enumerate(blocks):
        share = (i + 1) * total // len(blocks) - i * total // len(blocks)
        if share:
            yield block, share
