"""Data sets of torchvision and Hugging Face, and any other that can be asked for its images one by one."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vptft.data.arrays import array_images, class_numbers, is_tensor
from vptft.data.decode import DECODE_ERRORS, open_rgb, to_rgb
from vptft.data.images import ImageSet, UnreadableImageError
from vptft.data.splits import drawn
from vptft.errors import DataError, MissingExtraError, UnknownNameError

TORCHVISION, HUGGING_FACE = "torchvision", "hf"

IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
"""Where a row keeps its image; the first of these that is there."""

LABEL_COLUMNS = ("label", "labels", "fine_label", "cls")
"""Where a row keeps its class."""

LABEL_ATTRIBUTES = ("targets", "labels", "_labels")
"""Where torchvision's data sets keep all classes without decoding an image."""


class Address(NamedTuple):
    """Where a data set is: ``torchvision:CLASS[:SPLIT][@ROOT]`` or ``hf:FOLDER_OR_HUB_NAME[:SPLIT]``.

    Attributes
    ----------
    source
        ``"torchvision"`` or ``"hf"``.
    name
        torchvision's class; the folder that ``save_to_disk`` wrote, or the name on the Hub.
    split
        None for what the data set itself takes.
    root
        Folder of torchvision's files; None where it needs none, and for ``hf``.
    """

    source: str
    name: str
    split: str | None
    root: Path | None

    def __str__(self) -> str:
        split = f":{self.split}" if self.split else ""
        return f"{self.source}:{self.name}{split}{f'@{self.root}' if self.root else ''}"

    @property
    def folder(self) -> Path | None:
        """The folder on this machine that must be there; None where there is none."""
        if self.source == TORCHVISION:
            return self.root
        return Path(self.name) if self.name.startswith("/") else None


def is_address(name: str) -> bool:
    """Whether a name is that of a data set of torchvision or Hugging Face."""
    return name.startswith((f"{TORCHVISION}:", f"{HUGGING_FACE}:"))


def address_of(text: str) -> Address:
    """Read an address; folders become absolute.

    Raises
    ------
    DataError
        When it names no data set.
    """
    source, _, rest = text.partition(":")
    root = None
    if source == TORCHVISION:
        rest, _, folder = rest.partition("@")
        root = Path(folder).expanduser().resolve() if folder else None
        name, _, split = rest.partition(":")
    elif Path(rest).expanduser().is_dir():
        name, split = rest, ""
    else:
        name, _, split = rest.partition(":")
    if not name:
        raise DataError(
            f"{text!r} names no data set.", "Write torchvision:CIFAR10@~/data, hf:FOLDER, or hf:NAME_ON_THE_HUB:test."
        )
    if source == HUGGING_FACE and Path(name).expanduser().is_dir():
        name = str(Path(name).expanduser().resolve())
    return Address(source, name, split or None, root)


def open_dataset(
    address: Address, name: str | None = None, *, split: str | None = None, n: int | None = None, seed: int = 0
) -> ImageSet:
    """Open a data set of torchvision or Hugging Face. torchvision's are never downloaded.

    Parameters
    ----------
    address
        Which one; see :func:`address_of`.
    name
        What to call the set; the address by default.
    split
        Instead of the address's.
    n
        Draw that many, balanced over classes. None for all.
    seed
        Seed of the draw.

    Raises
    ------
    DataError
        When it is not there, or has no such split.
    UnknownNameError
        When torchvision has no such class.
    MissingExtraError
        When the package datasets is not installed.
    """
    address = address._replace(split=split or address.split)
    dataset = _torchvision(address) if address.source == TORCHVISION else _hugging_face(address)
    images = drawn(dataset_images(dataset, name=name or str(address)), n, seed)
    if n is None or address.source == HUGGING_FACE:
        return images
    # Of a draw, no more images are decoded than were drawn.
    return replace(images, fingerprint=cache(lambda: _pixel_hash(images.read, n)))


def dataset_images(dataset: Any, *, name: str) -> ImageSet:
    """Return any data set with a length and items as an ImageSet.

    An item is an image, ``(image, label, ...)`` or a mapping with a column ``image``; an image is a PIL image, an
    array ``(h, w, 3)`` or ``(h, w)`` of uint8, or a tensor ``(3, h, w)``, uint8 or float in [0, 1]. Classes are taken
    where they can be had without decoding images: from the attribute ``targets`` (or ``labels``) of torchvision's
    data sets, and from the column ``label`` (or ``labels``) of Hugging Face's.

    The fingerprint is Hugging Face's own, or the SHA-256 of all decoded images, computed once.

    Raises
    ------
    DataError
        When it has no length, is empty, or has no column of images.
    """
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise DataError(
            f"{name}: expected a data set with a length and items by index, got {type(dataset).__name__}.",
            "An iterable one has no order to return to: save its images, or index it first.",
        )
    if not len(dataset):
        raise DataError(f"{name}: the data set is empty.")
    columns = getattr(dataset, "column_names", None)
    if isinstance(columns, list) and hasattr(dataset, "features"):
        return _with_columns(dataset, columns, name)
    return _image_set(name, len(dataset), lambda i: _image_in(dataset[i]), *_attribute_labels(dataset, name))


def _image_set(
    name: str,
    count: int,
    item: Callable[[int], object],
    labels: np.ndarray | None,
    classes: tuple[str, ...],
    fingerprint: Callable[[], str] | None = None,
) -> ImageSet:
    ids = tuple(map(str, range(count)))

    def read(i: int) -> Image.Image:
        where = f"{name}[{i}]"
        try:
            return _as_rgb(item(i), where)
        except UnreadableImageError:
            raise
        except DataError as error:
            raise UnreadableImageError(where, error.problem) from error
        except DECODE_ERRORS as error:
            raise UnreadableImageError(where, str(error) or type(error).__name__) from error

    return ImageSet(
        name=name,
        ids=ids,
        read=read,
        groups=ids,
        fingerprint=fingerprint or cache(lambda: _pixel_hash(read, count)),
        labels=labels,
        classes=classes,
    )


def _with_columns(dataset: Any, columns: Sequence[str], name: str) -> ImageSet:
    """Return a Hugging Face data set; its images are decoded here, as files are, and not by it."""
    kinds = {column: type(feature).__name__ for column, feature in dataset.features.items()}
    found = [column for column in IMAGE_COLUMNS if column in columns]
    found += [column for column in columns if kinds.get(column) == "Image"]
    if not found:
        raise DataError(
            f"{name}: no column holds images: it has {', '.join(columns)}.",
            f"Name it {' or '.join(IMAGE_COLUMNS)}, or cast it to datasets.Image().",
        )
    column = found[0]
    pictures = dataset.select_columns([column]).with_format(None)
    if kinds.get(column) == "Image":
        pictures = pictures.cast_column(column, type(dataset.features[column])(decode=False))
    return _image_set(
        name,
        len(dataset),
        lambda i: pictures[i][column],
        *_column_labels(dataset, columns, name),
        lambda: hashlib.sha256(f"{dataset._fingerprint} {column}".encode()).hexdigest(),
    )


def _column_labels(dataset: Any, columns: Sequence[str], name: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    column = next((each for each in LABEL_COLUMNS if each in columns), None)
    if column is None:
        return None, ()
    values = dataset.select_columns([column]).with_format("numpy")[:][column]
    return _labels(values, getattr(dataset.features[column], "names", None), len(dataset), name)


def _attribute_labels(dataset: Any, name: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    values = next((getattr(dataset, each) for each in LABEL_ATTRIBUTES if hasattr(dataset, each)), None)
    if values is None:
        return None, ()
    return _labels(values, getattr(dataset, "classes", None), len(dataset), name)


def _labels(
    values: Any, names: Sequence[str] | None, count: int, name: str
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return labels and class names; None where they are no whole number an image, or unknown (negative)."""
    try:
        numbers = np.asarray(values)
    except (ValueError, TypeError):  # ragged: boxes, several labels an image
        return None, ()
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu" or numbers.min() < 0:
        return None, ()
    if names is not None and numbers.max() < len(names):
        return numbers.astype(np.int64), tuple(map(str, names))
    return class_numbers(numbers, count, name)


def _image_in(item: Any) -> object:
    """Return the image of an item."""
    if isinstance(item, Mapping):
        return next((item[column] for column in IMAGE_COLUMNS if column in item), item)
    return item[0] if isinstance(item, tuple | list) else item


def _as_rgb(value: object, where: str) -> Image.Image:
    match value:
        case Image.Image():
            return to_rgb(value)
        case bytes() as content:
            return open_rgb(content, where)
        case {"bytes": bytes() as content}:
            return open_rgb(content, where)
        case {"path": str() as path}:
            return open_rgb(Path(path), where)
        case np.ndarray() if value.ndim == 2:
            return array_images(value[None, ..., None], name=where).read(0)
        case _ if isinstance(value, np.ndarray) or is_tensor(value):
            return array_images(value[None], name=where).read(0)
    raise ValueError(f"an image, array or tensor was expected, got {type(value).__name__}")


def _pixel_hash(read: Callable[[int], Image.Image], count: int) -> str:
    """SHA-256 of all images as they are read, in order; one that cannot be read counts by its reason."""
    digest = hashlib.sha256()
    for i in range(count):
        try:
            image = read(i)
            digest.update(f"{image.size}".encode() + image.tobytes())
        except UnreadableImageError as error:
            digest.update(error.skipped.reason.encode())
    return digest.hexdigest()


def _torchvision(address: Address) -> Any:
    from torchvision import datasets

    kinds = {
        each: kind
        for each in datasets.__all__
        if inspect.isclass(kind := getattr(datasets, each)) and issubclass(kind, datasets.VisionDataset)
    }
    if address.name not in kinds:
        raise UnknownNameError("torchvision data set", address.name, kinds)
    kind = kinds[address.name]
    arguments = _arguments(address, inspect.signature(kind).parameters)
    try:
        return kind(**arguments)
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, ImportError) as error:
        raise DataError(
            f"{address} cannot be opened: {error}",
            f"Nothing is downloaded here: run torchvision.datasets.{address.name}(..., download=True) once, or put its "
            "files where torchvision looks for them.",
        ) from error


def _arguments(address: Address, parameters: Mapping[str, object]) -> dict[str, object]:
    """Return what torchvision's class is constructed with."""
    arguments: dict[str, object] = {"download": False} if "download" in parameters else {}
    if "root" in parameters:
        if address.root is None or not address.root.is_dir():
            raise DataError(
                f"There is no folder {address.root} for torchvision's {address.name}."
                if address.root
                else f"torchvision's {address.name} needs the folder that holds its files.",
                f"Write torchvision:{address.name}@FOLDER, the folder that torchvision calls root.",
            )
        arguments["root"] = str(address.root)
    if address.split is None:
        return arguments
    if "train" in parameters and address.split in ("train", "test"):
        return arguments | {"train": address.split == "train"}
    chosen = next((each for each in ("split", "image_set") if each in parameters), None)
    if chosen is None:
        known = "train and test" if "train" in parameters else "no splits"
        raise DataError(f"torchvision's {address.name} has {known}; got {address.split!r}.")
    return arguments | {chosen: address.split}


def _hugging_face(address: Address) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", "hub", "A data set of Hugging Face") from error
    folder = address.folder
    if folder is not None and not folder.is_dir():
        raise DataError(f"There is no folder {folder} of a Hugging Face data set.", "save_to_disk writes one.")
    saved = folder is not None and any((folder / each).is_file() for each in ("state.json", "dataset_dict.json"))
    try:
        found = datasets.load_from_disk(address.name) if saved else datasets.load_dataset(address.name)
    except Exception as error:
        # The Hub's client, its transport and every format of files have errors of their own.
        raise DataError(
            f"{address} cannot be opened: {error}",
            "Give a folder that save_to_disk wrote, or a name on the Hub, which takes a connection or its cache.",
        ) from error
    return _split_of(found, address)


def _split_of(found: Any, address: Address) -> Any:
    if not isinstance(found, Mapping):
        if address.split is None or str(found.split) == address.split:
            return found
        raise DataError(f"{address.name} is one data set without splits; got {address.split!r}.")
    chosen = next(iter(found)) if address.split is None and len(found) == 1 else address.split
    if chosen not in found:
        which = f"it has no split {address.split}" if address.split else "it has several splits"
        raise DataError(f"{address}: {which}.", f"Write hf:{address.name}:{' or :'.join(found)}.")
    return found[chosen]
