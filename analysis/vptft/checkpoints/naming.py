"""Names of a vision transformer's tensors, theirs to timm's, by one table a producer."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch

from vptft.checkpoints.found import Lazy
from vptft.errors import CheckpointError

PARTS = ("weight", "bias")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How a producer names a plain vision transformer.

    Attributes
    ----------
    whole
        Their name of what stands outside the blocks, with or without ``.weight``, to timm's.
    block
        What precedes the names inside a block, with ``{}`` for its number.
    within
        Their modules inside a block to timm's.
    split
        Their modules of queries, keys and values, where they are three: timm has them in one, in that order.
    parameters
        Their single tensors inside a block to timm's (LayerScale).
    """

    whole: Mapping[str, str]
    block: str
    within: Mapping[str, str]
    split: tuple[str, str, str] | None = None
    parameters: Mapping[str, str] | None = None

    def to_timm(self, state: Mapping[str, torch.Tensor]) -> tuple[Lazy, dict[str, torch.Tensor]]:
        """Tensors under timm's names, made when asked for; and what has no name there.

        Queries, keys and values of which only some are there stay among the left over.
        """
        rest = dict(state)
        makers = {}
        for theirs, timm in self._pairs(self._depth(state)):
            parts = [rest.get(name) for name in theirs]
            if any(part is None for part in parts):
                continue
            found = [rest.pop(name) for name in theirs]
            makers[timm] = partial(_joined, found, theirs)
        return Lazy(makers), rest

    def _depth(self, state: Mapping[str, torch.Tensor]) -> int:
        start = self.block.partition("{}")[0]
        numbers = {name.removeprefix(start).partition(".")[0] for name in state if name.startswith(start)}
        return 1 + max((int(number) for number in numbers if number.isdecimal() and len(number) < 5), default=-1)

    def _pairs(self, depth: int) -> list[tuple[tuple[str, ...], str]]:
        pairs: list[tuple[tuple[str, ...], str]] = [
            ((f"{theirs}{end}",), f"{timm}{end}")
            for theirs, timm in self.whole.items()
            for end in ("", *(f".{part}" for part in PARTS))
        ]
        for i in range(depth):
            theirs_block, timm_block = self.block.format(i), f"blocks.{i}."
            for part in PARTS:
                pairs += [
                    ((f"{theirs_block}{theirs}.{part}",), f"{timm_block}{timm}.{part}")
                    for theirs, timm in self.within.items()
                ]
                if self.split is not None:
                    three = tuple(f"{theirs_block}{module}.{part}" for module in self.split)
                    pairs.append((three, f"{timm_block}attn.qkv.{part}"))
            pairs += [
                ((f"{theirs_block}{theirs}",), f"{timm_block}{timm}")
                for theirs, timm in (self.parameters or {}).items()
            ]
        return pairs


def _joined(parts: list[torch.Tensor], names: tuple[str, ...]) -> torch.Tensor:
    if len(parts) == 1:
        return parts[0]
    if not parts[0].ndim or any(part.shape != parts[0].shape for part in parts):
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in zip(names, parts, strict=True))
        raise CheckpointError(f"Queries, keys and values do not go together: {shapes}.")
    return torch.cat(parts)
