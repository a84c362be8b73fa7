"""Any folder of images as an ImageSet."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vptft.data.decode import not_an_image, open_rgb
from vptft.data.images import ImageSet, Skipped
from vptft.data.splits import check_draw, draw_order
from vptft.errors import DataError
from vptft.storage import sha256_of

EXTENSIONS = frozenset({
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip
"""What counts as an image by name, in any case; files of other names are not looked at."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The files of a folder that are images by name, in the order of their relative paths.

    Attributes
    ----------
    root
        The folder.
    paths
        Relative POSIX paths, sorted.
    groups
        One a file: its own path, or where it is a link within the folder the path of what it points to.
    skipped
        Files with an image's name that cannot be used.
    """

    root: Path
    paths: tuple[str, ...]
    groups: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def scan(path: Path | str) -> Scan:
    """List a folder's images by name, recursively, without opening one.

    Hidden files and folders are ignored. A link that leads out of the folder is not followed.
    """
    root = _existing_folder(path)
    real_root = Path(os.path.realpath(root))
    groups: dict[str, str] = {}
    skipped: list[Skipped] = []

    def refused(error: OSError) -> None:
        skipped.append(Skipped(path=str(error.filename), reason=f"cannot be listed: {error.strerror}"))

    for folder, subfolders, files in os.walk(root, onerror=refused):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        candidates = [name for name in files if is_image_name(name)]
        candidates += [name for name in subfolders if Path(folder, name).is_symlink()]
        for file in (Path(folder, name) for name in candidates):
            relative = file.relative_to(root).as_posix()
            target = Path(os.path.realpath(file))
            reason = _not_followed(file, target, real_root)
            if reason:
                skipped.append(Skipped(path=printable(relative), reason=reason))
            else:
                groups[relative] = target.relative_to(real_root).as_posix()
    paths = tuple(sorted(groups))
    return Scan(root=root, paths=paths, groups=tuple(groups[name] for name in paths), skipped=tuple(skipped))


def class_labels(paths: Sequence[str], level: int = 0) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return labels and class names from the folder at depth ``level``; None where a file lies above it."""
    parts = [path.split("/") for path in paths]
    if not parts or any(len(steps) < level + 2 for steps in parts):
        return None, ()
    classes = tuple(sorted({steps[level] for steps in parts}))
    index = {name: label for label, name in enumerate(classes)}
    return np.array([index[steps[level]] for steps in parts], dtype=np.int64), classes


def file_images(
    name: str,
    root: Path,
    paths: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] = (),
    skipped: Sequence[Skipped] = (),
) -> ImageSet:
    """Return the files at ``paths``, relative to ``root``, as an ImageSet; each is its own group unless said.

    The fingerprint is the SHA-256 of relative paths and file bytes, in order; a file that is not there counts by
    its name.
    """
    return ImageSet(
        name=name,
        ids=tuple(paths),
        read=lambda i: open_rgb(root / paths[i]),
        groups=tuple(paths if groups is None else groups),
        fingerprint=lambda: _content_hash(root, paths),
        fingerprint_of=lambda chosen: _content_hash(root, [paths[i] for i in chosen]),
        labels=labels,
        classes=classes,
        skipped=tuple(skipped),
    )


def read_folder(path: Path | str, name: str | None = None, *, n: int | None = None, seed: int = 0) -> ImageSet:
    """Read any folder of images, recursively.

    Where every image lies below a sub-folder, the first-level sub-folders are the classes; otherwise there are no
    labels.

    Parameters
    ----------
    path
        The folder.
    name
        What to call the set; the path as given by default.
    n
        Draw that many, balanced over classes; only as many files are opened as that takes. None for all.
    seed
        Seed of the draw.

    Raises
    ------
    DataError
        When the folder is missing, is no folder, or holds no image; or fewer than ``n``.
    """
    found = scan(path)
    labels, classes = class_labels(found.paths)
    everything = np.arange(len(found.paths))
    return take(found, everything, name or str(path), labels=labels, classes=classes, n=n, seed=seed)


def take(
    found: Scan,
    within: np.ndarray,
    name: str,
    *,
    labels: np.ndarray | None,
    classes: tuple[str, ...],
    n: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """Return the usable images among the indices ``within`` of a scan, or ``n`` drawn from them.

    A file without bytes or not an image by its header is skipped and listed; deeper damage shows when the image is
    read. With ``n``, files are opened until that many are found, and no more.
    """
    check_draw(n, len(within), name)
    if n is not None:
        within = within[draw_order(None if labels is None else labels[within], len(within), seed)]
    kept, skipped = usable(found.paths, within, n, lambda i: not_an_image(found.root / found.paths[i]))
    skipped = [*found.skipped, *skipped]
    if not kept:
        raise no_images(found.root, skipped)
    check_draw(n, len(kept), name)
    return file_images(
        name,
        found.root,
        [found.paths[i] for i in kept],
        groups=[found.groups[i] for i in kept],
        labels=None if labels is None else labels[kept],
        classes=classes,
        skipped=skipped,
    )


def no_images(root: Path, skipped: Sequence[Skipped]) -> DataError:
    """Return the error for a folder without a usable image; names the first files that were skipped."""
    lines = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:10])
    rest = f"\n  and {len(skipped) - 10} more" if len(skipped) > 10 else ""
    tried = f" {len(skipped)} were skipped:{lines}{rest}" if skipped else ""
    return DataError(
        f"{root} holds no usable image, in it or below it.{tried}",
        f"Expected files named *.jpg, *.png or another of {' '.join(sorted(EXTENSIONS))}.",
    )


def usable(
    paths: Sequence[str], order: np.ndarray, n: int | None, problem: Callable[[int], str | None]
) -> tuple[list[int], list[Skipped]]:
    """Ask for the problems of files in ``order`` until ``n`` have none; return the indices of these, sorted."""
    kept: list[int] = []
    skipped: list[Skipped] = []
    for index in order.tolist():
        if len(kept) == n:
            break
        reason = problem(index)
        if reason is None:
            kept.append(index)
        else:
            skipped.append(Skipped(path=paths[index], reason=reason))
    return sorted(kept), skipped


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name."""
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS


def printable(name: str) -> str:
    """Return a name as text: bytes that are no UTF-8 are written out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _existing_folder(path: Path | str) -> Path:
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(
            f"There is no folder {path}.", "Give the path of a folder of images; a relative one starts here."
        )
    if not root.is_dir():
        raise DataError(f"{path} is a file, not a folder of images.", "Give the folder that holds the images.")
    return root


def _not_followed(file: Path, target: Path, real_root: Path) -> str | None:
    """Reason why a listed name is not used, None where it is."""
    if not target.is_relative_to(real_root):
        return "a link that leads out of the folder; such links are not followed"
    if target.is_dir():
        return "a link to a folder that is listed already"
    if not target.is_file():
        return "a link to a file that is not there" if file.is_symlink() else "not a regular file"
    return None if printable(str(file)) == str(file) else "its name is not valid UTF-8"


def _content_hash(root: Path, paths: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for relative in paths:
        digest.update(f"{relative}\0".encode())
        try:
            digest.update(sha256_of(root / relative).encode())
        except OSError:
            digest.update(b"missing")
    return digest.hexdigest()
