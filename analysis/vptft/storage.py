"""Where files go and how they are written: atomic writes, the cache, locks, and checked reading of tensors."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from platformdirs import user_cache_path, user_config_path

from vptft.errors import StorageError

if TYPE_CHECKING:
    import numpy as np

SEARCH_FOLDER = "search"
"""Where a sweep keeps the trainings that choose a learning rate; they are no runs of the study."""

HOME_VARIABLE = "VPTFT_HOME"


def cache_folder() -> Path:
    """Folder of everything that can be made again; ``$VPTFT_HOME/cache`` where that variable is set."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "cache" if home else user_cache_path("vptft-analyze")


def config_folder() -> Path:
    """Folder of what the user registered; ``$VPTFT_HOME/config`` where that variable is set."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) / "config" if home else user_config_path("vptft-analyze")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; on success it becomes ``target``, on failure it is removed.

    Raises
    ------
    StorageError
        When the system refuses to write: no space left, no permission, a folder in the way.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:80]}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise _refused(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise _refused(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with Unix line ends, atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(target: Path, value: Mapping[str, Any] | list[Any]) -> None:
    """Write ``value`` as indented JSON, atomically; a NaN or infinity is refused rather than written."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; a missing or damaged file is a :class:`StorageError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} could not be read as JSON: {error}") from error


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """Read every array of an ``.npz``; a missing or damaged file is a :class:`StorageError` that names it."""
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:
        # numpy, zipfile and zlib each have their own errors for a damaged file.
        raise StorageError(f"{path} could not be read as arrays: {error}") from error


@contextmanager
def lock(target: Path) -> Iterator[None]:
    """Hold ``target`` alone among processes for as long as the block runs.

    A hidden file beside it stays: removing it would let two processes each hold a file of that name.
    """
    guard = FileLock(target.with_name(f".{target.name.removeprefix('.')}.lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # FileLock tries for ever where a file cannot be made.
        with Path(guard.lock_file).open("ab"):
            pass
        guard.acquire()
    except OSError as error:
        raise _refused(target, error) from error
    try:
        yield
    finally:
        guard.release()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(*parts: object) -> str:
    """Cache key: SHA-256 of the parts' JSON, so equal content gives an equal key on every machine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def slug(name: str) -> str:
    """Name of a folder or file for any name: slashes become dashes, so ``photo/count`` is ``photo-count``.

    A name in which anything else changes, or that holds a dash itself, gets a hash: no two names share a folder.
    """
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:80]
    lossless = "-" not in name and name.replace("/", "-") == plain
    return plain if lossless and plain else f"{plain or 'x'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush(path: Path) -> None:
    """Make sure the bytes are on disk before the rename makes them visible."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(target: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{target} could not be written: {error.strerror or error}.",
        "Nothing half-written was left. Free some space or choose another place (--out, or VPTFT_HOME for the cache).",
    )
