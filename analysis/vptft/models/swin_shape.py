"""SwinShape: the sizes that make a Swin (Liu et al. 2021), and the shapes of backbones as ``run.json`` keeps them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from vptft.models.shape import VitShape, block_parameters

if TYPE_CHECKING:
    from timm.models.swin_transformer import SwinTransformer

# Width and depths of the standard ones (Liu et al. 2021, section 3.3).
STANDARD: Mapping[tuple[int, tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2)): "T",
    (96, (2, 2, 18, 2)): "S",
    (128, (2, 2, 18, 2)): "B",
    (192, (2, 2, 18, 2)): "L",
}


@dataclass(frozen=True, kw_only=True)
class SwinShape:
    """All that is needed to build a Swin as timm does.

    Attributes
    ----------
    width, mlp_width
        Token width of the first stage, and the hidden width of its MLPs; both double with every stage.
    depths, heads
        Blocks of each stage, and their attention heads.
    window
        Side of the local windows in tokens; a stage whose grid is no larger has one window.
    patch, grid
        Patch side in pixels; patch rows and columns that enter the first stage.
    qkv_bias
        Whether attention has a bias.
    """

    width: int
    mlp_width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    patch: int
    grid: tuple[int, int]
    qkv_bias: bool = True

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return self.grid[0] * self.patch, self.grid[1] * self.patch

    @property
    def depth(self) -> int:
        """Blocks of all stages."""
        return sum(self.depths)

    @property
    def features(self) -> int:
        """Numbers that the head reads: the last stage's width."""
        return self.width_of(len(self.depths) - 1)

    @property
    def pooling(self) -> Literal["avg"]:
        """The head reads the mean of the last stage's tokens."""
        return "avg"

    @property
    def name(self) -> str:
        """``Swin-T/4, window 7``, or the sizes where there is no such name."""
        letter = STANDARD.get((self.width, self.depths))
        kind = f"Swin-{letter}/{self.patch}" if letter else f"Swin of width {self.width}, depths {list(self.depths)}"
        return f"{kind}, window {self.window}"

    def width_of(self, stage: int) -> int:
        """Token width of a stage."""
        return self.width * 2**stage

    def window_of(self, stage: int) -> int:
        """Side of a stage's windows in tokens."""
        return min(self.window, *(side // 2**stage for side in self.grid))

    def windows_of(self, stage: int) -> int:
        """Number of a stage's windows."""
        rows, columns = (side // 2**stage // self.window_of(stage) for side in self.grid)
        return rows * columns

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of every tensor of the backbone, as timm names them."""
        shapes: dict[str, tuple[int, ...]] = {"patch_embed.proj.weight": (self.width, 3, self.patch, self.patch)}
        for name in ("patch_embed.proj.bias", "patch_embed.norm.weight", "patch_embed.norm.bias"):
            shapes[name] = (self.width,)
        for stage, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True)):
            d, m = self.width_of(stage), self.mlp_width * 2**stage
            if stage:
                merging = f"layers.{stage}.downsample."
                shapes |= {f"{merging}norm.{kind}": (2 * d,) for kind in ("weight", "bias")}
                shapes[f"{merging}reduction.weight"] = (d, 2 * d)
            block = block_parameters(d, m, qkv_bias=self.qkv_bias)
            block["attn.relative_position_bias_table"] = ((2 * self.window_of(stage) - 1) ** 2, heads)
            for i in range(depth):
                shapes |= {f"layers.{stage}.blocks.{i}.{name}": shape for name, shape in block.items()}
        return shapes | {"norm.weight": (self.features,), "norm.bias": (self.features,)}

    def build(self) -> "SwinTransformer":
        """Build the timm model, with weights that are not initialised to anything in particular."""
        from timm.models.swin_transformer import SwinTransformer

        return SwinTransformer(
            img_size=self.image_size,
            patch_size=self.patch,
            embed_dim=self.width,
            depths=self.depths,
            num_heads=self.heads,
            window_size=self.window,
            mlp_ratio=self.mlp_width / self.width + 1e-9,  # timm rounds the product down
            qkv_bias=self.qkv_bias,
            weight_init="skip",
            num_classes=0,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        lists: dict[str, Any] = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})


Shape = VitShape | SwinShape
"""Of a backbone that is built from its tensors alone."""


def shape_from_json(values: Mapping[str, Any]) -> Shape:
    """Inverse of either ``to_json``: a Swin has depths by stage."""
    return SwinShape.from_json(values) if "depths" in values else VitShape.from_json(values)
