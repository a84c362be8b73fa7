"""TunedModel: a timm backbone, optional prompts, a head."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vptft.errors import NotApplicable, SettingsError
from vptft.models import swin
from vptft.models.blocks import attention_probabilities, block_rows, is_plain, require_plain
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
        ``(B, heads, rows, T)``, columns in the order of the model's layout. ``rows`` is T, or the kept tokens where
        the prompts entered as keys and values only.
    inserted
        Whether new prompts come in before this layer, replacing any that were carried along.
    """

    layer: int
    probabilities: torch.Tensor
    inserted: bool


class _Step(NamedTuple):
    """One layer of a forward pass: the tokens that entered, the prompts that entered as keys and values, the output."""

    layer: int
    entered: torch.Tensor
    prefix: torch.Tensor | None
    output: torch.Tensor


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
            read = (step.output for step in self._walk(x) if step.layer in self.probe_layers)
            return torch.cat([self._pool(self.backbone.norm(tokens)) for tokens in read], dim=1)
        for step in self._walk(x, pooled_rows_only=True):
            tokens = step.output
        return self._pool(self.backbone.norm(tokens))

    def tokens(self, x: torch.Tensor, layers: tuple[int, ...] | None = None) -> dict[int, torch.Tensor]:
        """Hidden tokens after each layer asked for: ``(B, T, d)``, or ``(B, K, d)`` without the prompts' outputs.

        In prefix form the outputs of deep prompts are never computed; a model with ``prefix_form=False`` has them.
        """
        return {step.layer: step.output for step in self._walk(x) if layers is None or step.layer in layers}

    def attention(self, x: torch.Tensor, layers: tuple[int, ...] | None = None) -> Iterator[LayerAttention]:
        """Attention of each layer asked for, from the input upwards, one layer in memory at a time.

        The probabilities are computed beside the forward pass: fused attention stays on, here and elsewhere.

        Raises
        ------
        NotApplicable
            On backbones whose blocks are not timm's standard ViT block.
        """
        blocks = [require_plain(block) for block in self.vit.blocks]
        for step in self._walk(x):
            if layers is None or step.layer in layers:
                rows = attention_probabilities(blocks[step.layer], step.entered, prefix=step.prefix)
                if step.prefix is not None:
                    rows = self._prompts_in_place(rows)
                yield LayerAttention(step.layer, rows, self._inserted_before(step.layer))

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
                f"Prompts and attention are not applicable to {type(self.backbone).__name__}: "
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

    def _walk(self, x: torch.Tensor, *, pooled_rows_only: bool = False) -> Iterator[_Step]:
        """Run the layers one by one. Tokens hold prompts exactly while some are carried along."""
        vit = self.vit
        tokens = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(x))))
        last = len(vit.blocks) - 1
        for layer, block in enumerate(vit.blocks):
            entered, prefix = self._enter(layer, tokens)
            cls_only = pooled_rows_only and layer == last and self._pools_cls_only and is_plain(block)
            if prefix is not None or cls_only:
                rows = slice(0, 1) if cls_only else slice(None)
                tokens = block_rows(block, entered, prefix=prefix, rows=rows)
            else:
                tokens = block(entered)
            yield _Step(layer, entered, prefix, tokens)

    def _inserted_before(self, layer: int) -> bool:
        return self.prompts is not None and layer in self.prompts.spec.layers

    def _enter(self, layer: int, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens that enter a layer, and the prompts that enter it as keys and values only."""
        if self.prompts is None or not self._inserted_before(layer):
            return tokens, None
        kept = self._kept(tokens)
        prompts = self.prompts.at(layer, kept.shape[0])
        same_for_all = prompts.shape[0] == 1
        if self.prefix_form and same_for_all and self.replaced_after(layer) and is_plain(self.vit.blocks[layer]):
            return kept, prompts
        return self.layout.join(kept, prompts.expand(kept.shape[0], -1, -1)), None

    def _kept(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens without the prompts, if any are among them."""
        layout = self.layout
        return layout.split(tokens) if layout.n_prompts and tokens.shape[1] == layout.n_tokens else tokens

    @property
    def _pools_cls_only(self) -> bool:
        return self.vit.global_pool == "token" and not self.patches_too

    def _pool(self, tokens: torch.Tensor) -> torch.Tensor:
        vit = self.vit
        if self.patches_too:
            kept = self._kept(tokens)
            return torch.cat([kept[:, 0], kept[:, self.layout.n_prefix :].mean(dim=1)], dim=1)
        if not self._pools_prompts:
            return vit.forward_head(self._kept(tokens), pre_logits=True)
        return vit.head_drop(vit.fc_norm(tokens[:, self.layout.n_prefix :].mean(dim=1)))

    def _prompts_in_place(self, rows: torch.Tensor) -> torch.Tensor:
        """Move prompt columns from the front to their place in the layout."""
        count, prefix = self.layout.n_prompts, self.layout.n_prefix
        prompts, kept = rows[..., :count], rows[..., count:]
        return torch.cat([kept[..., :prefix], prompts, kept[..., prefix:]], dim=-1)
