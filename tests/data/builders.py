"""Archives made in the test, honest and not."""

import io
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

MODES = {".zip": "", ".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
"""How each kind of archive is written, by its suffix."""


def picture(grey: int = 0, size: tuple[int, int] = (6, 5), kind: str = "PNG") -> bytes:
    """Bytes of a small image of one grey."""
    file = io.BytesIO()
    Image.new("RGB", size, (grey,) * 3).save(file, kind)
    return file.getvalue()


def noisy(seed: int, size: tuple[int, int] = (40, 40), kind: str = "PNG") -> bytes:
    """Bytes of an image that does not compress."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def pack(path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    """Write files to an archive of the kind that its name says."""
    pairs = list(files.items()) if isinstance(files, Mapping) else list(files)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in pairs:
                archive.writestr(name, content)
        return path
    mode = next(mode for suffix, mode in MODES.items() if mode and path.name.endswith(suffix))
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in pairs:
            add(archive, name, content)
    return path


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    """Add a member to a tar file, with any field of its header as given."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(content))


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Give a list that holds, once the block is left, the most bytes that Python held within it."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
