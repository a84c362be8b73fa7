"""The one door for files of weights: opened by their content, never by their name, and nothing in them is run.

Three containers are known: ``torch.save`` (zip, or the older plain pickle), safetensors, and numpy's ``.npz``. Pickles
are read with ``weights_only=True``; what that refuses is refused here. Archives are checked before they are opened: a
member that leaves the archive's folder, that claims more bytes than the file can hold, or that unpacks to many times
its size is an error, not a read.
"""

import argparse
import math
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from vptft.errors import WeightsError

Container = Literal["torch", "safetensors", "npz"]

MAX_EXPANSION, SMALL = 200, 64 << 20
"""An archive member may unpack to that many times its size, or to 64 MiB; floats compress far less."""
MAX_SHARING = 4
"""Tensors may be views of the same bytes, as tied weights are; beyond that many times (and 64 MiB) they only claim."""
MAX_DEPTH = 20
"""How deep containers of tensors may be nested."""
NOT_PLAIN_WEIGHTS = "Save plain tensors: torch.save(model.state_dict(), FILE), or safetensors."

_DTYPES = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
}  # fmt: skip

# What ``weights_only`` does not know but training programs store beside their weights, each read as something inert:
# the settings of a command line (NOAH keeps its argparse.Namespace in the checkpoint).
_INERT = ((argparse.Namespace, "argparse.Namespace"),)


class TensorFile(NamedTuple):
    """What a file of weights holds.

    Attributes
    ----------
    container
        How it was written.
    content
        Tensors by name; from ``torch.save`` whatever plain structure was saved.
    """

    container: Container
    content: Any


def open_tensors(path: Path) -> TensorFile:
    """Open a file of weights; tensors stay mapped to the file where the container allows it.

    Raises
    ------
    WeightsError
        The file is missing, damaged, of another kind, or holds pickled objects.
    """
    container = sniff(path)
    try:
        if container == "npz":
            return TensorFile(container, _read_npz(path))
        if container == "safetensors":
            with safe_open(path, framework="pt") as file:
                return TensorFile(container, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return TensorFile(container, load_pickled(path, _INERT))
    except WeightsError:
        raise
    except (SafetensorError, MemoryError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: {_escaped(str(error)) or type(error).__name__}.") from error
    except Exception as error:
        # numpy, zipfile, zlib and torch each have their own errors for a damaged file; all mean the same here.
        raise WeightsError(f"{path} could not be read as weights: {_escaped(str(error))}") from error


def load_pickled(path: Path, allowed: Iterable[tuple[Any, str]] = ()) -> Any:
    """``torch.load`` with ``weights_only``, mapped to the file where it is a zip; ``allowed`` as ``safe_globals``.

    Raises
    ------
    WeightsError
        An object of a class that is not allowed, or a damaged file.
    """
    try:
        mapped = zipfile.is_zipfile(path)
        if mapped:
            _check_torch_archive(path)
        with torch.serialization.safe_globals(list(allowed)), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols it may not know; errors stay errors
            if path.suffix == ".safetensors":  # torch.load goes by such a name, not by what is in the file
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except WeightsError:
        raise
    except Exception as error:
        # weights_only's own refusals, and whatever a damaged pickle makes of itself.
        raise WeightsError(*_why_not(path, error)) from error


def sniff(path: Path) -> Container:
    """Say which container a file is, from its first bytes and its list of members."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise WeightsError(f"{path} {what}.", "Give an existing file of weights.")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise WeightsError(f"{path} could not be read: {error.strerror or error}.") from error
    if start[:4] == b"PK\x03\x04":
        return _sniff_zip(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < max(path.stat().st_size, 1):
        return "safetensors"
    if start[:1] == b"\x80":
        return "torch"
    kinds = {
        b"\x89HDF": "an HDF5 file (Keras)",
        b"\x1f\x8b": "a gzip file: unpack it first",
        b"\x08": "perhaps an ONNX file",
        b"\x93NUM": "a single numpy array: weights come as .npz",
    }
    known = next((what for magic, what in kinds.items() if start.startswith(magic)), "of no kind this program knows")
    claims = " Its first bytes would be a safetensors header longer than the file." if start[8:9] == b"{" else ""
    raise WeightsError(
        f"{path} holds no weights that can be read: it is {known if start else 'empty'}.{claims}",
        "Weights are read from torch.save, safetensors and .npz files.",
    )


def state_dict(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from whatever was saved: without wrapper keys, and without a prefix that all names share.

    Wrappers are ``state_dict``, ``model``, ``model_state_dict``, ``net`` and ``model_ema``; prefixes ``module.``,
    ``_orig_mod.``, ``model.`` and ``base_model.`` before a backbone's names.

    Raises
    ------
    WeightsError
        There is no mapping from names to tensors in it, or one is no plain array of numbers.
    """
    found = _find_tensors(content, set())
    if not found:
        what = f"a {type(content).__name__}" if not isinstance(content, Mapping) else f"keys {_some(content)}"
        raise WeightsError(f"{path} holds no tensors by name: it has {what}.", NOT_PLAIN_WEIGHTS)
    _check_tensors(found, path)
    for prefix in ("module.", "_orig_mod.", "module.", "model."):
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return {name: _viewable(value.detach()) for name, value in found.items()}


def _viewable(tensor: torch.Tensor) -> torch.Tensor:
    """Of one number or none any stride is contiguous to torch, but only 1 can be viewed as bytes."""
    return tensor if tensor.numel() > 1 else tensor.clone(memory_format=torch.contiguous_format)


def _find_tensors(content: Any, seen: set[int], depth: int = 0) -> dict[str, torch.Tensor]:
    """Tensors of the innermost wrapper; ``seen`` holds the wrappers without any, each of which is entered once."""
    if not isinstance(content, Mapping) or depth > MAX_DEPTH or id(content) in seen:
        return {}
    seen.add(id(content))
    for key in ("state_dict", "model", "model_state_dict", "net", "model_ema"):
        inner = _find_tensors(content.get(key), seen, depth + 1)
        if inner:
            return inner
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, torch.Tensor)}


def _check_tensors(found: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse names no terminal can show, tensors that are no plain arrays, and views far larger than their bytes."""
    for name, value in found.items():
        if not name.isprintable():
            raise WeightsError(f"{path} names a tensor {_escaped(name)}: such characters are in no program's names.")
        plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not plain or value.dtype not in _DTYPES:
            what = f"{value.layout} tensor of {value.dtype} on {value.device.type}"
            raise WeightsError(f"{path}: {name[:80]} is a {what}; plain arrays of numbers are read.")
    storages = [value.untyped_storage() for value in found.values()]
    held = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    claimed = sum(value.numel() * value.element_size() for value in found.values())
    if claimed > SMALL + MAX_SHARING * held:
        raise WeightsError(f"{path} is damaged: its tensors claim {claimed} bytes, of which there are {held}.")


def _sniff_zip(path: Path) -> Container:
    with _archive(path) as archive:
        names = [PurePosixPath(name).name for name in archive.namelist()]
        if "constants.pkl" in names:
            raise WeightsError(f"{path} is a TorchScript program, not weights.", NOT_PLAIN_WEIGHTS)
        if "data.pkl" in names:
            return "torch"
        if names and all(name.endswith(".npy") for name in names):
            return "npz"
    raise WeightsError(f"{path} is a zip archive without weights in it.", "Unpack it, and give the file inside.")


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose members stay inside it and hold what they claim."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = path.stat().st_size
            if sum(info.file_size for info in archive.infolist()) > max(SMALL, MAX_EXPANSION * size):
                raise WeightsError(
                    f"{path} would unpack to far more than its {size} bytes: that is no file of weights."
                )
            for info in archive.infolist():
                name = PurePosixPath(info.filename)
                if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
                    raise WeightsError(f"{path} has a member that leaves the archive: {info.filename!r}.")
                if info.compress_size > size:
                    raise WeightsError(f"{path} is damaged: {info.filename!r} claims more bytes than the file has.")
                if info.file_size > max(SMALL, MAX_EXPANSION * info.compress_size):
                    raise WeightsError(
                        f"{path} would unpack {info.filename!r} from {info.compress_size} to {info.file_size} bytes: "
                        "that is no file of weights."
                    )
            yield archive
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WeightsError(f"{path} is damaged: {error}.") from error


def _check_torch_archive(path: Path) -> None:
    """torch.save stores its records as they are; a compressed one was made by something else."""
    with _archive(path) as archive:
        packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise WeightsError(f"{path} was not written by torch.save: {packed[0]!r} is compressed.")


def _read_npz(path: Path) -> dict[str, torch.Tensor]:
    """Arrays by name; each header is held against the bytes behind it before room is made for the array."""
    arrays: dict[str, torch.Tensor] = {}
    with _archive(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                if version not in ((1, 0), (2, 0), (3, 0)):
                    raise WeightsError(f"{path}: {info.filename!r} has numpy's format {version}, which is not known.")
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(member)
                name = info.filename.removesuffix(".npy")
                if dtype.hasobject or dtype.kind not in "fiub":
                    raise WeightsError(f"{path}: {name!r} holds {dtype} values, not numbers; nothing pickled is read.")
                count = math.prod(shape)
                if count < 0 or count * dtype.itemsize > info.file_size:
                    raise WeightsError(f"{path} is damaged: {name!r} claims {shape} of {dtype}, which is not there.")
                data = np.frombuffer(member.read(), dtype=dtype, count=count)
                array = data.reshape(shape, order="F" if fortran else "C")
                arrays[name] = torch.from_numpy(np.array(array, dtype=dtype.newbyteorder("="), order="C"))
    return arrays


def _why_not(path: Path, error: Exception) -> tuple[str, str]:
    """Say what a refused pickle holds, in the words of someone who wants to load it."""
    text = str(error)
    for mark in (
        "Unsupported global: GLOBAL ",
        "Trying to load unsupported GLOBAL ",
        "Unsupported class ",
        "Trying to call reduce for unrecognized function ",
    ):
        if mark in text:
            name = _escaped((text.split(mark, 1)[1].split() or ["something"])[0].strip("`.,'<>"))
            return (
                f"{path} holds a pickled object of {name}: to load it would run code, so it is refused.",
                NOT_PLAIN_WEIGHTS,
            )
    # torch's own text advises to load it all the same; only its last reason is passed on.
    reason = text.rpartition("WeightsUnpickler error:")[2].strip().splitlines()
    said = _escaped(reason[0].strip()) if reason and "weights_only" not in reason[0] else type(error).__name__
    return f"{path} is damaged, or holds something else than plain tensors: {said}", NOT_PLAIN_WEIGHTS


def _some(names: Iterable[Any], count: int = 5) -> str:
    shown = [_escaped(str(name)) for name in names]
    return ", ".join(shown[:count]) + (f" and {len(shown) - count} more" if len(shown) > count else "")


def _escaped(text: str, length: int = 200) -> str:
    """Text from a file, short and without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:length])
