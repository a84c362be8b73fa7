"""TunedModel: a timm backbone, optional prompts, a head."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vptft.errors import NotApplicable, SettingsError
from vptft.models import swin
from vptft.models.blocks import (
    attention_probabilities,
    block_and_attention,
    block_rows,
    is_plain,
    require_plain,
)
from vptft.models.layout import TokenLayout
from vptft.models.prompts import Prompts, PromptSpec, StagePrompts

Pooling = Literal["cls", "patches", "patches and prompts", "cls and patches"]


class LayerAttention(NamedTuple):
    """Attention of one layer.

    Attributes
    ----------
    layer
        Index from the input, 0 first.
    probabilities
        ``(B, heads, rows, T)``, columns in the order of the model's layout, without the prompts' below the first
        layer that has any. ``rows`` is all tokens, or the kept ones where the prompts entered as keys and values
        only, or the cls token where no more was asked for.
    inserted
        Whether new prompts come in before this layer, replacing any that were carried along.
    """

    layer: int
    probabilities: torch.Tensor
    inserted: bool


class TunedModel(nn.Module):
    """A timm backbone + optional prompts + a head.

    The head is linear and starts at zero, so the first loss is log(n_classes) whatever the method; another program's
    checkpoint brings its own.

    Parameters
    ----------
    backbone
        A timm model built with ``num_classes=0`` for one image size. Any model trains and gives features; prompts
        need a :class:`timm.models.vision_transformer.VisionTransformer` or a
        :class:`timm.models.swin_transformer.SwinTransformer`, tokens and attention the former.
    n_classes
        Outputs of the head.
    prompts
        Which prompts, or None.
    generator
        Source of the initial prompts.
    prefix_form
        Use the key/value prefix form wherever it is exact. False concatenates always: the oracle.
    head
        The head, in place of a linear one for ``n_classes``.
    patches_too
        Give the head the mean of the patches after the cls token, ``(B, 2 d)``, as Hugging Face's DINOv2 does.
    probe_layers
        Give the head what it would read after each of these layers, one beside the other, ``(B, n d)``: a probe over
        several layers. Empty for the last layer alone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        n_classes: int,
        prompts: PromptSpec | None = None,
        generator: torch.Generator | None = None,
        prefix_form: bool = True,
        head: nn.Module | None = None,
        patches_too: bool = False,
        probe_layers: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.prefix_form = prefix_form
        self.prompts: Prompts | StagePrompts | None = None
        if prompts is not None and prompts.length:
            self.prompts = self._make_prompts(prompts, generator or torch.Generator().manual_seed(0))
        self.patches_too = patches_too
        self.probe_layers = probe_layers
        if probe_layers and not 0 <= min(probe_layers) <= max(probe_layers) < len(self.vit.blocks):
            raise SettingsError(f"Layers {probe_layers} are not all among the backbone's {len(self.vit.blocks)}.")
        self.head = head if head is not None else self._zero_head(n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, n_classes)`` of normalised images ``(B, 3, H, W)``."""
        return self.head(self.features(x))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head sees, ``(B, d)``."""
        if isinstance(self.prompts, StagePrompts):
            return swin.prompted_features(self.backbone, self.prompts, x, prefix_form=self.prefix_form)
        if not isinstance(self.backbone, VisionTransformer):
            return self.backbone(x)
        if self.probe_layers:
            read = (tokens for layer, tokens in self._walk(x) if layer in self.probe_layers)
            return torch.cat([self._pool(self.backbone.norm(tokens)) for tokens in read], dim=1)
        for _, tokens in self._walk(x, read_rows_only=True):
            last = tokens
        return self._pool(self.backbone.norm(last))

    def tokens(self, x: torch.Tensor, layers: tuple[int, ...] | None = None) -> dict[int, torch.Tensor]:
        """Hidden tokens after each layer asked for: ``(B, T, d)``, or ``(B, K, d)`` without the prompts' outputs.

        In prefix form the outputs of deep prompts are never computed; a model with ``prefix_form=False`` has them.
        """
        return {layer: tokens for layer, tokens in self._walk(x) if layers is None or layer in layers}

    def attention(
        self, x: torch.Tensor, layers: tuple[int, ...] | None = None, *, read_rows_only: bool = False
    ) -> Iterator[LayerAttention]:
        """Attention of each layer asked for, from the input upwards, one layer in memory at a time.

        A layer that is asked for takes the explicit softmax, the others the fused kernel, which stays on everywhere.
        Nothing is computed above the last one asked for, nor there what only the next layer would need.

        Parameters
        ----------
        x
            Normalised images ``(B, 3, H, W)``.
        layers
            Which, counted from 0; None for all.
        read_rows_only
            Of the last layer of a cls-pooled model, give the cls row alone.

        Raises
        ------
        NotApplicable
            On backbones whose blocks are not timm's standard ViT block.
        """
        blocks = [require_plain(block) for block in self.vit.blocks]
        wanted = range(len(blocks)) if layers is None else layers
        at, highest = self.layout.n_prefix, max(wanted, default=-1)
        tokens = self._embed(x) if highest >= 0 else x
        for layer, block in enumerate(blocks[: highest + 1]):
            entered, prefix = self._enter(layer, tokens)
            if layer not in wanted:
                tokens = self._leave(layer, entered, prefix)
                continue
            if layer == highest:
                rows = self._read_rows(layer) if read_rows_only else slice(None)
                probabilities = attention_probabilities(block, entered, prefix=prefix, at=at, rows=rows)
            else:
                tokens, probabilities = block_and_attention(block, entered, prefix=prefix, at=at)
            yield LayerAttention(layer, probabilities, self._inserted_before(layer))

    def attended(self, x: torch.Tensor) -> tuple[torch.Tensor, list[LayerAttention]]:
        """Logits ``(B, n_classes)`` and the attention of all layers that they were made with, in one graph.

        While gradients are on, ``autograd.grad`` of the logits with respect to each layer's probabilities works, with
        a frozen backbone too. Of the last layer of a cls-pooled model there is the cls row alone: no logit depends on
        another.

        Raises
        ------
        NotApplicable
            As for :meth:`attention`, and where the head reads several layers.
        """
        blocks = [require_plain(block) for block in self.vit.blocks]
        _ = self.pooling  # says what is not understood
        tokens, found = self._embed(x), []
        for layer, block in enumerate(blocks):
            entered, prefix = self._enter(layer, tokens)
            at, rows = self.layout.n_prefix, self._read_rows(layer)
            tokens, probabilities = block_and_attention(block, entered, prefix=prefix, at=at, rows=rows)
            found.append(LayerAttention(layer, probabilities, self._inserted_before(layer)))
        return self.head(self._pool(self.vit.norm(tokens))), found

    def entering(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        """Tokens that leave the layer below ``layer``, 0 for the embedding, as :meth:`logits_from` takes them."""
        tokens = self._embed(x)
        for below in range(layer):
            tokens = self._leave(below, *self._enter(below, tokens))
        return tokens

    def logits_from(self, tokens: torch.Tensor, layer: int, *, n_patches: int | None = None) -> torch.Tensor:
        """Logits ``(B, n_classes)`` of what :meth:`entering` gives for ``layer``: the forward pass from there on.

        Parameters
        ----------
        tokens
            All of them, or with fewer patches than the image has: those that stay keep their positions.
        layer
            The first one to pass, counted from 0.
        n_patches
            How many patches are among the tokens, where it is not all.

        Raises
        ------
        NotApplicable
            The head reads patches and there are none, or several layers.
        """
        layout = self.layout if n_patches is None else replace(self.layout, grid=(1, n_patches))
        if self.pooling != "cls" and not layout.n_patches:
            raise NotApplicable("The head averages over patches: without any it has no answer.")
        for above in range(layer, len(self.vit.blocks)):
            tokens = self._leave(above, *self._enter(above, tokens, layout), rows=self._read_rows(above))
        return self.head(self._pool(self.vit.norm(tokens), layout))

    @property
    def vit(self) -> VisionTransformer:
        """The backbone, where it is a plain vision transformer."""
        if isinstance(self.backbone, SwinTransformer):
            raise NotApplicable(
                "This is not applicable to SwinTransformer: it attends within local windows and merges patches, "
                "so no one set of tokens goes through its layers."
            )
        if not isinstance(self.backbone, VisionTransformer):
            raise NotApplicable(
                f"Prompts, attention and features by layer are not applicable to {type(self.backbone).__name__}: "
                "it is not a plain vision transformer."
            )
        return self.backbone

    @property
    def pooling(self) -> Pooling:
        """Which tokens of the last layer the head reads."""
        vit = self.vit
        if self.probe_layers:
            raise NotApplicable(f"The head reads {len(self.probe_layers)} layers: there is no one query to follow.")
        if vit.attn_pool is not None or vit.global_pool not in ("token", "avg") or vit.pool_include_prefix:
            raise NotApplicable(f"Pooling {vit.global_pool!r} is not understood: cls token and patch average are.")
        if vit.global_pool == "token":
            return "cls and patches" if self.patches_too else "cls"
        return "patches and prompts" if self._pools_prompts else "patches"

    @property
    def layout(self) -> TokenLayout:
        """Token positions where the prompts are carried along."""
        vit = self.vit
        n_cls = 0 if vit.cls_token is None else 1
        rows, columns = vit.patch_embed.grid_size
        return TokenLayout(
            n_cls=n_cls,
            n_registers=vit.num_prefix_tokens - n_cls,
            n_prompts=0 if self.prompts is None else self.prompts.spec.length,
            grid=(rows, columns),
        )

    def replaced_after(self, layer: int) -> bool:
        """Whether this layer's prompt outputs are used by nothing: replaced before the next layer, or not pooled."""
        if self.prompts is None:
            return False
        if layer + 1 < len(self.vit.blocks):
            return self._inserted_before(layer + 1)
        return not self._pools_prompts

    def train(self, mode: bool = True) -> "TunedModel":
        """Set the training mode; a backbone that is not tuned as a whole stays in evaluation mode.

        Else batch statistics would move, and dropout work, in weights that the method leaves alone.
        """
        super().train(mode)
        if mode and not all(p.requires_grad for p in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def _zero_head(self, n_classes: int) -> nn.Linear:
        width: int = getattr(self.backbone, "num_features")  # noqa: B009 - timm sets it, nn.Module does not declare it
        head = nn.Linear(width * (2 if self.patches_too else 1) * max(1, len(self.probe_layers)), n_classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return head

    @property
    def _pools_prompts(self) -> bool:
        return self.prompts is not None and self.prompts.spec.pooled

    def _make_prompts(self, spec: PromptSpec, generator: torch.Generator) -> Prompts | StagePrompts:
        if isinstance(self.backbone, SwinTransformer):
            return swin.make_prompts(self.backbone, spec, generator)
        vit = self.vit
        if spec.layers[-1] >= len(vit.blocks):
            raise SettingsError(f"Prompt layer {spec.layers[-1]} is beyond the backbone's {len(vit.blocks)} layers.")
        if spec.pooled and vit.global_pool != "avg":
            raise SettingsError(f"Prompts can be pooled only where the patches are; pooling is {vit.global_pool!r}.")
        return Prompts(spec, dim=vit.embed_dim, patch_size=vit.patch_embed.patch_size, generator=generator)

    def _walk(self, x: torch.Tensor, *, read_rows_only: bool = False) -> Iterator[tuple[int, torch.Tensor]]:
        """Run the layers one by one. Tokens hold prompts exactly while some are carried along."""
        tokens = self._embed(x)
        for layer in range(len(self.vit.blocks)):
            entered, prefix = self._enter(layer, tokens)
            rows = self._read_rows(layer) if read_rows_only else slice(None)
            tokens = self._leave(layer, entered, prefix, rows=rows)
            yield layer, tokens

    def _embed(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens that enter the first layer, with their positions and without prompts, ``(B, K, d)``."""
        vit = self.vit
        return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(x))))

    def _read_rows(self, layer: int) -> slice:
        """Which of a layer's outputs anything depends on: the cls token's where the head reads it alone, or all."""
        last = layer + 1 == len(self.vit.blocks)
        return slice(0, 1) if last and self._pools_cls_only and is_plain(self.vit.blocks[layer]) else slice(None)

    def _leave(
        self, layer: int, entered: torch.Tensor, prefix: torch.Tensor | None, *, rows: slice = slice(None)
    ) -> torch.Tensor:
        """Run one layer, by the fused kernel: as a whole where everything is carried along, else taken apart."""
        block = self.vit.blocks[layer]
        if prefix is None and rows == slice(None):
            return block(entered)
        return block_rows(block, entered, prefix=prefix, rows=rows)

    def _inserted_before(self, layer: int) -> bool:
        return self.prompts is not None and layer in self.prompts.spec.layers

    def _enter(
        self, layer: int, tokens: torch.Tensor, layout: TokenLayout | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens that enter a layer, and the prompts that enter it as keys and values only.

        ``layout`` is that of the tokens with prompts among them, where it is not the model's.
        """
        if self.prompts is None or not self._inserted_before(layer):
            return tokens, None
        kept = self._kept(tokens, layout)
        prompts = self.prompts.at(layer, kept.shape[0])
        same_for_all = prompts.shape[0] == 1
        if self.prefix_form and same_for_all and self.replaced_after(layer) and is_plain(self.vit.blocks[layer]):
            return kept, prompts
        return self.layout.join(kept, prompts.expand(kept.shape[0], -1, -1)), None

    def _kept(self, tokens: torch.Tensor, layout: TokenLayout | None = None) -> torch.Tensor:
        """Tokens without the prompts, if any are among them."""
        layout = layout or self.layout
        return layout.split(tokens) if layout.n_prompts and tokens.shape[1] == layout.n_tokens else tokens

    @property
    def _pools_cls_only(self) -> bool:
        # The second head of a distilled DeiT reads a token of its own.
        two_heads = getattr(self.vit, "dist_token", None) is not None
        return self.vit.global_pool == "token" and not self.patches_too and not two_heads

    def _pool(self, tokens: torch.Tensor, layout: TokenLayout | None = None) -> torch.Tensor:
        vit = self.vit
        if self.patches_too:
            kept = self._kept(tokens, layout)
            return torch.cat([kept[:, 0], kept[:, self.layout.n_prefix :].mean(dim=1)], dim=1)
        if not self._pools_prompts:
            return vit.forward_head(self._kept(tokens, layout), pre_logits=True)
        return vit.head_drop(vit.fc_norm(tokens[:, self.layout.n_prefix :].mean(dim=1)))
