"""TokenLayout: which positions of a token sequence are cls, register, prompt and patch. The one definition."""

from dataclasses import dataclass
from functools import cached_property

import torch

from vptft.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """Order ``cls | registers | prompts | patches`` of one layer's tokens (Jia et al. 2022, equation 4).

    Attributes
    ----------
    n_cls, n_registers, n_prompts
        How many tokens of each kind.
    grid
        Patch rows and columns ``(h, w)``; patches are in row-major order.
    """

    n_cls: int
    n_registers: int
    n_prompts: int
    grid: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.n_cls, self.n_registers, self.n_prompts, *self.grid) < 0:
            raise SettingsError(f"Token counts must not be negative: {self}.")

    @property
    def n_prefix(self) -> int:
        """How many cls and register tokens."""
        return self.n_cls + self.n_registers

    @property
    def n_patches(self) -> int:
        """How many patch tokens."""
        return self.grid[0] * self.grid[1]

    @property
    def n_kept(self) -> int:
        """How many tokens are not prompts."""
        return self.n_prefix + self.n_patches

    @property
    def n_tokens(self) -> int:
        """How many tokens in all."""
        return self.n_kept + self.n_prompts

    @property
    def cls(self) -> slice:
        """Positions of the cls token."""
        return slice(0, self.n_cls)

    @property
    def registers(self) -> slice:
        """Positions of the register tokens."""
        return slice(self.n_cls, self.n_prefix)

    @property
    def prompts(self) -> slice:
        """Positions of the prompts."""
        return slice(self.n_prefix, self.n_prefix + self.n_prompts)

    @property
    def patches(self) -> slice:
        """Positions of the patches."""
        return slice(self.n_prefix + self.n_prompts, self.n_tokens)

    @cached_property
    def kept(self) -> torch.Tensor:
        """Positions of all tokens but the prompts, ``(n_kept,)`` int64: the rows that survive a deep layer."""
        return torch.cat([torch.arange(self.n_prefix), torch.arange(self.patches.start, self.patches.stop)])

    def without_prompts(self) -> "TokenLayout":
        """Return the layout of the kept tokens alone."""
        return TokenLayout(n_cls=self.n_cls, n_registers=self.n_registers, n_prompts=0, grid=self.grid)

    def join(self, kept: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
        """Insert prompts ``(B, P, d)`` into kept tokens ``(B, K, d)``: ``(B, T, d)``."""
        return torch.cat([kept[:, : self.n_prefix], prompts, kept[:, self.n_prefix :]], dim=1)

    def split(self, tokens: torch.Tensor) -> torch.Tensor:
        """Take the prompts out: ``(B, T, d)`` -> ``(B, K, d)``."""
        return torch.cat([tokens[:, : self.n_prefix], tokens[:, self.patches]], dim=1)
