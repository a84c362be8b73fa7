"""VitShape: the sizes that make a plain vision transformer, read off its tensors without building it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from vptft.errors import WeightsError

if TYPE_CHECKING:
    import torch
    from timm.models.vision_transformer import VisionTransformer

# Width, depth and MLP width of the standard vision transformers (Dosovitskiy et al. 2021, table 1; Zhai et al. 2022,
# table 2; Touvron et al. 2021, table 1): their name and number of heads. Nothing in a state dict tells the heads.
STANDARD: Mapping[tuple[int, int, int], tuple[str, int]] = {
    (192, 12, 768): ("Ti", 3),
    (384, 12, 1536): ("S", 6),
    (768, 12, 3072): ("B", 12),
    (1024, 24, 4096): ("L", 16),
    (1280, 32, 5120): ("H", 16),
    (1408, 40, 6144): ("g", 16),
    (1664, 48, 8192): ("G", 16),
}


@dataclass(frozen=True, kw_only=True)
class VitShape:
    """All that is needed to build a plain vision transformer as timm does.

    Attributes
    ----------
    width, depth, mlp_width
        Token width, number of blocks, hidden width of their MLPs.
    heads
        Attention heads; None where nothing told them.
    patch, grid
        Patch side in pixels; patch rows and columns of the position embedding.
    class_token, registers
        Whether there is a cls token, and how many register tokens.
    prefix_positions
        Whether cls and registers have slots in the position embedding.
    layer_scale, qkv_bias
        Whether the blocks have LayerScale, and their attention a bias.
    norm_eps
        Epsilon of every LayerNorm.
    pooling
        What the head reads: the cls token, the mean of the patches, or one after the other.
    pool_then_norm
        Whether the last norm comes after pooling (timm's ``fc_norm``, as MAE has it).
    """

    width: int
    depth: int
    mlp_width: int
    patch: int
    grid: tuple[int, int]
    heads: int | None = None
    class_token: bool = True
    registers: int = 0
    prefix_positions: bool = True
    layer_scale: bool = False
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    pooling: Literal["token", "avg", "token and avg"] = "token"
    pool_then_norm: bool = False

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return self.grid[0] * self.patch, self.grid[1] * self.patch

    @property
    def features(self) -> int:
        """Numbers that the head reads."""
        return self.width * (2 if self.pooling == "token and avg" else 1)

    @property
    def standard(self) -> tuple[str, int] | None:
        """Letter and number of heads, where the sizes are those of a standard vision transformer."""
        return STANDARD.get((self.width, self.depth, self.mlp_width))

    @property
    def name(self) -> str:
        """``ViT-B/16``, or the sizes where there is no such name."""
        if self.standard is not None:
            return f"ViT-{self.standard[0]}/{self.patch}"
        return f"ViT of width {self.width}, {self.depth} layers, patch {self.patch}"

    def with_heads(self, heads: int) -> Self:
        """Set the number of heads, which must divide the width."""
        if heads < 1 or self.width % heads:
            raise WeightsError(f"{heads} heads do not divide a width of {self.width}.")
        return replace(self, heads=heads)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of every tensor of the backbone, as timm names them."""
        d, m = self.width, self.mlp_width
        prefix = int(self.class_token) + self.registers
        n_positions = math.prod(self.grid) + (prefix if self.prefix_positions else 0)
        shapes: dict[str, tuple[int, ...]] = {
            "pos_embed": (1, n_positions, d),
            "patch_embed.proj.weight": (d, 3, self.patch, self.patch),
            "patch_embed.proj.bias": (d,),
        }
        if self.class_token:
            shapes["cls_token"] = (1, 1, d)
        if self.registers:
            shapes["reg_token"] = (1, self.registers, d)
        block = block_parameters(d, m, qkv_bias=self.qkv_bias)
        if self.layer_scale:
            block |= {"ls1.gamma": (d,), "ls2.gamma": (d,)}
        shapes |= {f"blocks.{i}.{name}": shape for i in range(self.depth) for name, shape in block.items()}
        last = "fc_norm" if self.pool_then_norm else "norm"
        return shapes | {f"{last}.weight": (d,), f"{last}.bias": (d,)}

    def build(self) -> "VisionTransformer":
        """Build the timm model, with weights that are not initialised to anything in particular."""
        from functools import partial

        from timm.layers import LayerNorm
        from timm.models.vision_transformer import VisionTransformer

        if self.heads is None:
            raise WeightsError(
                f"The number of attention heads of this {self.name} is not known: no tensor tells it.", "Pass --heads."
            )
        return VisionTransformer(
            img_size=self.image_size,
            patch_size=self.patch,
            embed_dim=self.width,
            depth=self.depth,
            num_heads=self.heads,
            mlp_ratio=(self.mlp_width + 0.5) / self.width,  # timm rounds the product down
            qkv_bias=self.qkv_bias,
            init_values=1e-5 if self.layer_scale else None,
            class_token=self.class_token,
            no_embed_class=not self.prefix_positions,
            reg_tokens=self.registers,
            global_pool="avg" if self.pooling == "avg" else "token",
            fc_norm=self.pool_then_norm,
            final_norm=True,
            norm_layer=partial(LayerNorm, eps=self.norm_eps),
            weight_init="skip",
            num_classes=0,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        return {**asdict(self), "grid": list(self.grid)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        rows, columns = values["grid"]
        return cls(**{**values, "grid": (rows, columns)})


def block_parameters(width: int, mlp_width: int, *, qkv_bias: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that every block has, of a ViT and of a Swin."""
    d, m = width, mlp_width
    return {
        **{f"norm{i}.{kind}": (d,) for i in (1, 2) for kind in ("weight", "bias")},
        "attn.qkv.weight": (3 * d, d),
        **({"attn.qkv.bias": (3 * d,)} if qkv_bias else {}),
        "attn.proj.weight": (d, d),
        "attn.proj.bias": (d,),
        "mlp.fc1.weight": (m, d),
        "mlp.fc1.bias": (m,),
        "mlp.fc2.weight": (d, m),
        "mlp.fc2.bias": (d,),
    }


class Named(Protocol):
    """What has tensors by name: the shape of a ViT, or of another network."""

    @property
    def name(self) -> str:
        """Of the network."""

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its tensors."""


def shape_of(state: "Mapping[str, torch.Tensor]", *, source: object) -> VitShape:
    """Read the sizes off a backbone's tensors under timm's names; the heads stay unknown.

    Raises
    ------
    WeightsError
        A tensor that every plain vision transformer has is missing, or a grid is not square.
    """

    def sizes(name: str, ndim: int) -> tuple[int, ...]:
        if name not in state or state[name].ndim != ndim or 0 in state[name].shape:
            found = "is missing" if name not in state else f"has shape {tuple(state[name].shape)}"
            raise WeightsError(f"{source} holds no plain vision transformer: {name} {found}.")
        return tuple(state[name].shape)

    width, _, patch, other = sizes("patch_embed.proj.weight", 4)
    if patch != other or patch < 1:
        raise WeightsError(f"{source} has patches of {patch} x {other} pixels; square ones are understood.")
    numbers = {
        int(n)
        for n in (name.split(".")[1] for name in state if name.startswith("blocks."))
        if n.isdecimal() and len(n) < 5
    }
    depth = len(numbers)
    if not numbers or numbers != set(range(depth)):
        raise WeightsError(f"{source} has blocks {sorted(numbers)}; expected 0, 1, 2 and so on.")
    class_token = "cls_token" in state
    registers = sizes("reg_token", 3)[1] if "reg_token" in state else 0
    grid, prefix_positions = _grid(sizes("pos_embed", 3)[1], int(class_token) + registers, source)
    pool_then_norm = "fc_norm.weight" in state
    return VitShape(
        width=width,
        depth=depth,
        mlp_width=sizes("blocks.0.mlp.fc1.weight", 2)[0],
        patch=patch,
        grid=grid,
        class_token=class_token,
        registers=registers,
        prefix_positions=prefix_positions,
        layer_scale="blocks.0.ls1.gamma" in state,
        qkv_bias="blocks.0.attn.qkv.bias" in state,
        pooling="avg" if pool_then_norm or not class_token else "token",
        pool_then_norm=pool_then_norm,
    )


def check_names(state: "Mapping[str, torch.Tensor]", shape: Named, *, source: object) -> None:
    """Refuse tensors that are missing, left over, or of another shape; each is named.

    Raises
    ------
    WeightsError
        With the first four names of each sort.
    """
    expected = shape.parameters()
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {expected[name]}"
        for name in sorted(expected.keys() & state.keys())
        if tuple(state[name].shape) != expected[name]
    ]
    parts = [
        ("missing", sorted(expected.keys() - state.keys())),
        ("left over", sorted(state.keys() - expected.keys())),
        ("of another shape", wrong),
    ]
    said = "; ".join(f"{len(names)} {what} ({', '.join(names[:4])})" for what, names in parts if names)
    if said:
        raise WeightsError(f"{source} does not fit a {shape.name}: {said}.")


def _grid(n_positions: int, prefix: int, source: object) -> tuple[tuple[int, int], bool]:
    """Rows and columns of the position grid, and whether the prefix tokens have slots in it."""
    for slots in dict.fromkeys((prefix, 0, min(prefix, 1))):  # one slot of several: the cls token's, to be folded
        side = math.isqrt(max(n_positions - slots, 0))
        if side and side * side == n_positions - slots:
            return (side, side), slots == prefix
    raise WeightsError(f"{source} has {n_positions} positions, which is no square grid with {prefix} other tokens.")
