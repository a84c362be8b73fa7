"""Images in arrays: numpy and torch from Python, ``.npy`` files, and the ``.npz`` samples of ADM."""

import hashlib
import sys
import tokenize
import warnings
import weakref
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeGuard

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from vptft.data.containers import ARCHIVE_ERRORS, MEMBER_LIMIT, content_hash
from vptft.data.images import ImageSet, UnreadableImageError
from vptft.data.splits import drawn
from vptft.errors import DataError

if TYPE_CHECKING:
    import torch

IMAGES, LABELS = "arr_0", "arr_1"
"""Names of ADM's arrays."""

EXPECTED = "uint8 of shape (n, h, w, 3), (n, h, w, 1) or (n, h, w)"
"""What is taken as images."""

MAGIC = b"\x93NUMPY"

ARRAY_ERRORS = (*ARCHIVE_ERRORS, SyntaxError, tokenize.TokenError)
"""What reading a damaged array raises; numpy parses a header as Python."""

MOST_IMAGES = 20_000_000
"""Images that one array may hold."""

MOST_PACKED = 1100
"""Bytes that one deflated byte stands for, at most (1,032) and a little: a header that claims more is a lie."""


def array_images(
    values: "np.ndarray | torch.Tensor",
    *,
    name: str,
    labels: Sequence[int] | Sequence[str] | np.ndarray | None = None,
    ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> ImageSet:
    """Return an array as an ImageSet. It is not copied: leave it as it is for as long as the set is used.

    Parameters
    ----------
    values
        numpy uint8 ``(n, h, w, 3)``, ``(n, h, w, 1)`` or ``(n, h, w)``; or torch ``(n, 3, h, w)`` or ``(n, 1, h, w)``,
        uint8 or float in [0, 1], which is rounded to 1/255.
    name
        What to call the set.
    labels
        Class of each image, a whole number or a name.
    ids, groups
        One an image; the index by default, and each image its own group.

    Raises
    ------
    DataError
        For another type, shape or range; for ids that are not unique, and counts that differ.
    """
    if is_tensor(values):
        row = _tensor_rows(values, name)
    elif isinstance(values, np.ndarray):
        _check(values.dtype, values.shape, name)
        row = values.__getitem__
    else:
        raise DataError(
            f"{name}: expected a numpy array or torch tensor of images, got {type(values).__name__}.",
            "Stack the images first, as numpy.stack(images) does.",
        )
    count = len(values)
    return _image_set(name, count, row, lambda: _pixel_hash(row, count), labels=labels, ids=ids, groups=groups)


def read_arrays(path: Path | str, name: str | None = None, *, n: int | None = None, seed: int = 0) -> ImageSet:
    """Read the images of a ``.npy`` or of an ``.npz`` as ADM's; rows come from disk as they are asked for.

    Parameters
    ----------
    path
        A ``.npy`` of images; or an ``.npz`` of which ``arr_0`` holds images and ``arr_1``, where there is one, their
        classes.
    name
        What to call the set; the path as given by default.
    n
        Draw that many, balanced over classes. None for all.
    seed
        Seed of the draw.

    Raises
    ------
    DataError
        When the file is damaged, holds something else, or statistics (``mu`` and ``sigma``), which are no images.
    """
    file, name = Path(path).expanduser(), name or str(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            images = _npz(file, name) if zipfile.is_zipfile(file) else _npy(file, name)
    except ARRAY_ERRORS as error:
        raise DataError(
            f"{path} cannot be read as an array: {error}", "Write it again with numpy.save or numpy.savez."
        ) from error
    return drawn(images, n, seed)


def is_array_file(path: Path) -> bool:
    """Whether a file is a ``.npy`` or an ``.npz`` by its content."""
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    if not head.startswith(b"PK"):
        return head == MAGIC
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ARCHIVE_ERRORS:
        return False
    return bool(names) and all(each.endswith(".npy") for each in names)


def class_numbers(
    labels: Sequence[int] | Sequence[str] | np.ndarray, count: int, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels as indices of the classes that occur, and the names of these, in order."""
    given = np.asarray(labels)
    if given.shape != (count,):
        raise _unlike(name, "labels", given.shape, count)
    if given.dtype.kind not in "iuU":
        raise DataError(f"{name}: labels must be whole numbers or names, got {given.dtype}.")
    values, numbers = np.unique(given, return_inverse=True)
    return numbers.astype(np.int64), tuple(map(str, values.tolist()))


class _PackedRows:
    """Rows of one array of an ``.npz``, read forward; going back means to start again."""

    def __init__(self, path: Path, member: str) -> None:
        archive = zipfile.ZipFile(path)  # open as long as the rows are
        self.close = weakref.finalize(self, archive.close)
        info = archive.getinfo(f"{member}.npy")
        self._file: IO[bytes] = archive.open(info)
        self.shape, fortran, self.dtype = _header(self._file)
        self._start = self._file.tell()
        if fortran and len(self.shape) > 1:
            raise ValueError(f"{member} is in Fortran order, which cannot be read by rows; write it in C order")
        size = self.dtype.itemsize * int(np.prod(self.shape, dtype=object))
        if self.dtype.hasobject or size > min(info.file_size, MOST_PACKED * path.stat().st_size):
            raise ValueError(f"{member} claims {size:,} bytes of {self.dtype}, more than the file can hold")

    def __call__(self, i: int) -> np.ndarray:
        size = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        self._file.seek(self._start + i * size)
        content = self._file.read(size)
        if len(content) < size:
            raise EOFError("the file ends within it")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])


def _npy(path: Path, name: str) -> ImageSet:
    values = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    _check(values.dtype, values.shape, name)
    return _image_set(name, len(values), values.__getitem__, lambda: content_hash(path))


def _npz(path: Path, name: str) -> ImageSet:
    with zipfile.ZipFile(path) as archive:
        held = {each.removesuffix(".npy") for each in archive.namelist()}
    if {"mu", "sigma"} <= held:
        raise DataError(
            f"{path} holds statistics (mu and sigma), not images.",
            "`vptft-analyze fid` takes such a file in the place of a set: give its path there.",
        )
    if IMAGES not in held:
        raise DataError(
            f"{path} holds {', '.join(sorted(held)) or 'nothing'}; its images are expected in {IMAGES}.",
            f"Write them with numpy.savez(path, images): {EXPECTED}.",
        )
    rows = _PackedRows(path, IMAGES)
    _check(rows.dtype, rows.shape, name)
    labels = _packed_labels(path, name, rows.shape[0]) if LABELS in held else None

    def row(i: int) -> np.ndarray:
        try:
            return rows(i)
        except ARRAY_ERRORS as error:
            raise UnreadableImageError(f"{path}[{i}]", str(error) or type(error).__name__) from error

    return _image_set(name, rows.shape[0], row, lambda: content_hash(path), labels=labels)


def _packed_labels(path: Path, name: str, count: int) -> np.ndarray:
    rows = _PackedRows(path, LABELS)
    if rows.shape != (count,):
        raise _unlike(name, "labels", rows.shape, count)
    return np.array([rows(i) for i in range(count)])


def _image_set(
    name: str,
    count: int,
    row: Callable[[int], np.ndarray],
    fingerprint: Callable[[], str],
    *,
    labels: Sequence[int] | Sequence[str] | np.ndarray | None = None,
    ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> ImageSet:
    chosen = tuple(map(str, range(count))) if ids is None else tuple(ids)
    if len(set(chosen)) < len(chosen):
        raise DataError(f"{name}: ids must be unique; {len(chosen) - len(set(chosen))} of {len(chosen)} are repeats.")
    numbers, classes = (None, ()) if labels is None else class_numbers(labels, count, name)
    return ImageSet(
        name=name,
        ids=chosen,
        read=lambda i: _picture(row(i)),
        groups=chosen if groups is None else tuple(groups),
        fingerprint=fingerprint,
        labels=numbers,
        classes=classes,
    )


def is_tensor(value: object) -> "TypeGuard[torch.Tensor]":
    """Whether this is a tensor of torch, which is not imported to find out: who has a tensor has imported it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _tensor_rows(values: "torch.Tensor", name: str) -> Callable[[int], np.ndarray]:
    import torch

    shape = tuple(values.shape)
    as_rows = (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape[:1]
    real = values.is_floating_point()
    if len(shape) != 4 or shape[1] not in (1, 3) or not (real or values.dtype == torch.uint8):
        raise DataError(
            f"{name}: expected a tensor (n, 3, h, w) or (n, 1, h, w), uint8 or float in [0, 1], got {values.dtype} of "
            f"shape {shape}."
        )
    _check(np.dtype(np.uint8), as_rows, name)
    if real:
        low, high = (float(each) for each in torch.aminmax(values.detach()))
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"{name}: floats must lie in [0, 1], got {low:.6g} to {high:.6g}.",
                "Undo the normalisation, or divide by 255.",
            )

    def row(i: int) -> np.ndarray:
        image = values[i].detach().cpu()
        return ((image.float() * 255).round() if real else image).to(torch.uint8).permute(1, 2, 0).numpy()

    return row


def _check(dtype: np.dtype, shape: tuple[int, ...], name: str) -> None:
    """Refuse what is no array of images."""
    came = f"{name}: expected images as {EXPECTED}, got {dtype} of shape {shape}."
    if dtype != np.uint8:
        raise DataError(came, "Scale the values to 0 ... 255 and convert them to uint8.")
    if len(shape) == 3 and shape[-1] in (1, 3, 4):
        raise DataError(came, "That looks like one image. A set of images has their number first.")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[-1] not in (1, 3)):
        raise DataError(came, "Bring the colours to the end: numpy.transpose(images, (0, 2, 3, 1)).")
    if not all(shape) or shape[0] > MOST_IMAGES or int(np.prod(shape[1:], dtype=object)) > MEMBER_LIMIT:
        raise DataError(came, f"Expected 1 to {MOST_IMAGES:,} images of 1 to {MEMBER_LIMIT:,} bytes each.")


def _unlike(name: str, what: str, shape: tuple[int, ...], count: int) -> DataError:
    return DataError(f"{name}: {count} images need as many {what}, ({count},); got {what} of shape {shape}.")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read a ``.npy`` header; its length is limited by numpy."""
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"its format {version} is not for plain numbers")
    return readers[version](file)


def _picture(row: np.ndarray) -> Image.Image:
    return Image.fromarray(
        np.ascontiguousarray(row[..., 0] if row.shape[-1:] == (1,) and row.ndim == 3 else row)
    ).convert("RGB")


def _pixel_hash(row: Callable[[int], np.ndarray], count: int) -> str:
    """SHA-256 of the images' shape and pixels, in order."""
    digest = hashlib.sha256(f"{row(0).shape}".encode())
    for i in range(count):
        digest.update(np.ascontiguousarray(row(i)).tobytes())
    return digest.hexdigest()
