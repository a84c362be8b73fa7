"""ImageSet: images with ids, labels and groups, read one at a time; what cannot be read is listed with its reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vptft.errors import DataError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An image that could not be read: where it is and why."""

    path: str
    reason: str


class UnreadableImageError(DataError):
    """One image cannot be decoded; carries its path and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        self.skipped = Skipped(path=path, reason=reason)
        super().__init__(f"{path} cannot be read as an image: {reason}")


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images in a fixed order.

    Attributes
    ----------
    name
        What the user calls it: ``"photos"``, ``"photo/category (test)"``, a folder.
    ids
        One stable, unique identifier an image; a file's path relative to its root, a scene's number.
    read
        ``read(i)`` gives image ``i`` as an RGB ``PIL.Image``, or raises :class:`UnreadableImageError`.
    groups
        What makes images dependent: the photograph a crop comes from, the background of a scene. Images of one
        group are never independent, and never on both sides of a split.
    fingerprint
        ``fingerprint()`` hashes the content (pixels or file bytes, in order): the cache's key, never the name.
    labels
        Class index an image, ``(n,)`` int64; None for a set without classes.
    classes
        Class names; ``labels`` index them.
    masks
        ``masks(i)`` gives the ``(h, w)`` boolean mask of what the label is about, where that is known.
    skipped
        Files that were found and could not be used.
    fingerprint_of
        ``fingerprint_of(indices)`` hashes the content of these images alone, where that costs less than the whole: a
        shard of a large set then reads its own files only.
    """

    name: str
    ids: tuple[str, ...]
    read: Callable[[int], Image.Image]
    groups: tuple[str, ...]
    fingerprint: Callable[[], str]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    masks: Callable[[int], np.ndarray] | None = None
    skipped: tuple[Skipped, ...] = field(default=())
    fingerprint_of: Callable[[Sequence[int]], str] | None = None

    def __post_init__(self) -> None:
        if len(self.groups) != len(self.ids) or (self.labels is not None and len(self.labels) != len(self.ids)):
            raise DataError(
                f"{self.name}: {len(self.ids)} ids, {len(self.groups)} groups and "
                f"{'no' if self.labels is None else len(self.labels)} labels; they must be equally many."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, indices: Sequence[int] | np.ndarray, *, name: str | None = None) -> "ImageSet":
        """Return the images at ``indices``, in that order."""
        chosen = [int(i) for i in indices]
        read, masks, fingerprint, of = self.read, self.masks, self.fingerprint, self.fingerprint_of
        return replace(
            self,
            name=name or self.name,
            ids=tuple(self.ids[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen),
            labels=None if self.labels is None else self.labels[chosen],
            read=lambda i: read(chosen[i]),
            masks=None if masks is None else lambda i: masks(chosen[i]),
            fingerprint=lambda: of(chosen) if of else f"{fingerprint()}[{','.join(map(str, chosen))}]",
            fingerprint_of=None if of is None else lambda inner: of([chosen[i] for i in inner]),
        )

    def pixels(self, size: int) -> "torch.Tensor":
        """Return every image as ``(n, 3, size, size)`` uint8: shorter side resized, centre cropped.

        Raises
        ------
        DataError
            When any image cannot be read; every such path is listed. Training never goes on without an image
            the task is said to hold.
        """
        import torch

        from vptft.data.transforms import to_square

        out = torch.empty(len(self), 3, size, size, dtype=torch.uint8)
        failures: list[Skipped] = []
        for i in range(len(self)):
            try:
                out[i] = to_square(self.read(i), size)
            except UnreadableImageError as error:
                failures.append(error.skipped)
        if failures:
            raise unreadable(self.name, len(self), failures)
        return out


def unreadable(name: str, total: int, failures: Sequence[Skipped]) -> DataError:
    """Return the error that lists every image of ``name`` that could not be read."""
    lines = "\n".join(f"  {item.path}: {item.reason}" for item in failures)
    return DataError(
        f"{name}: {len(failures)} of {total} images cannot be read:\n{lines}",
        "Repair or remove them (and their lines in the split file), then run the same command again.",
    )
