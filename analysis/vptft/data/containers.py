"""Zip and tar files of any origin, read in place: what they hold, and the bytes of one member at a time."""

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal, NamedTuple, Protocol, cast

from vptft.storage import sha256_of

MEMBER_LIMIT = 512 * 2**20
"""Bytes that one member may unpack to."""

HEADER_LIMIT = 2**20
"""Bytes that a tar file may spend on one member's name and attributes."""

CHUNK = 2**13
"""Bytes read at a time."""

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""What archives are called. Only a folder's files are chosen by it; a file that is named is told by its content."""

ARCHIVE_ERRORS = (
    OSError, EOFError, ValueError, LookupError, ArithmeticError, TypeError, RuntimeError, MemoryError,
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
"""What the readers of archives raise on damaged ones; RuntimeError takes endless nesting with it."""


class Member(NamedTuple):
    """One file in an archive.

    Attributes
    ----------
    name
        As it is written there; not to be trusted.
    place
        Where its bytes are: its entry in a zip file, (offset, bytes) in a tar file.
    problem
        Why it cannot be used, as far as the archive tells; None where it can.
    """

    name: str
    place: zipfile.ZipInfo | tuple[int, int]
    problem: str | None


class Archive(Protocol):
    """An open archive.

    Attributes
    ----------
    forward
        Whether going back means to start again: the members of a compressed tar file are best read in their order.
    """

    forward: bool

    def members(self) -> Iterator[Member]:
        """List the files, in their order; raises one of ``ARCHIVE_ERRORS`` where the archive is damaged."""

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Give a member's bytes, a few at a time; raises one of ``ARCHIVE_ERRORS`` where they are damaged."""

    def close(self) -> None:
        """Close the file."""


def archive_kind(path: Path) -> Literal["zip", "tar"] | None:
    """Tell by its content whether a file is an archive; a damaged one is as long as its beginning tells."""
    if _is_tar(_first_block(path)):
        return "tar"
    with path.open("rb") as file:
        return "zip" if file.read(2) == b"PK" or zipfile.is_zipfile(path) else None


def open_archive(path: Path) -> Archive:
    """Open what :func:`archive_kind` calls an archive.

    Raises
    ------
    OSError, zipfile.BadZipFile or another of ``ARCHIVE_ERRORS``
        When it cannot be opened.
    """
    kind = archive_kind(path)
    if kind is None:
        raise tarfile.ReadError("it is neither a zip nor a tar file")
    return _Zip(path) if kind == "zip" else _Tar(path)


def read_member(archive: Archive, member: Member) -> bytes:
    """Return a member's bytes; ValueError where they are more than ``MEMBER_LIMIT``, whatever the archive says."""
    found, size = [], 0
    for chunk in archive.chunks(member):
        size += len(chunk)
        if size > MEMBER_LIMIT:
            raise ValueError(f"it unpacks to more than the {MEMBER_LIMIT:,} bytes that are unpacked of one file")
        found.append(chunk)
    return b"".join(found)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, computed once a process for as long as its size and time stay as they are."""
    state = path.stat()
    return _hash(path, state.st_size, state.st_mtime_ns)


class _Zip:
    forward = False

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)

    def members(self) -> Iterator[Member]:
        for info in self._zip.infolist():
            if not info.is_dir():
                yield Member(info.filename, info, _zip_problem(info))

    def chunks(self, member: Member) -> Iterator[bytes]:
        assert isinstance(member.place, zipfile.ZipInfo)
        with self._zip.open(member.place) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def close(self) -> None:
        self._zip.close()


class _Tar:
    def __init__(self, path: Path) -> None:
        decompressed = _decompressed(path)
        self.forward = decompressed is not None
        self._size = None if decompressed else path.stat().st_size
        self._file = decompressed or path.open("rb")
        self.close = weakref.finalize(self, self._file.close)

    def members(self) -> Iterator[Member]:
        headers = _Headers(self._file)
        tar = tarfile.TarFile(fileobj=cast(IO[bytes], headers), encoding="utf-8", errors="surrogateescape")
        last = -1
        while (info := tar.next()) is not None:
            if info.offset <= last:
                raise tarfile.ReadError("a header points back to an earlier one")
            last = info.offset
            headers.left = HEADER_LIMIT
            vars(tar)["members"] = []  # it would keep them all
            if not info.isdir():
                yield Member(info.name, (info.offset_data, info.size), self._problem(info))
        self._check_end(tar.offset)

    def chunks(self, member: Member) -> Iterator[bytes]:
        assert isinstance(member.place, tuple)
        offset, left = member.place
        self._file.seek(offset)
        while left:
            chunk = self._file.read(min(left, CHUNK))
            if not chunk:
                raise EOFError("the archive ends within it")
            left -= len(chunk)
            yield chunk

    def _problem(self, info: tarfile.TarInfo) -> str | None:
        if info.issym() or info.islnk():
            return "a link; links in archives are not followed"
        if not info.isreg() or info.issparse():
            return "not a regular file"
        if info.size > MEMBER_LIMIT:
            return _too_large(info.size)
        if info.size < 0 or (self._size is not None and info.offset_data + info.size > self._size):
            return "the archive ends within it"
        return None

    def _check_end(self, offset: int) -> None:
        """Tell the end from a damaged header, which tarfile takes for one."""
        self._file.seek(offset)
        if self._file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"there is no valid header at byte {offset:,}")


class _Headers:
    """A tar file for tarfile to read headers from: whatever a header says, no more is read than headers need."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.left = HEADER_LIMIT
        self.seek, self.tell = file.seek, file.tell
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError(f"a header has more than {HEADER_LIMIT:,} bytes")
        return self._file.read(size)


def _decompressed(path: Path) -> IO[bytes] | None:
    """Open a compressed file by its first bytes; None where it is not compressed."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path))
    if head.startswith(b"BZh"):
        return bz2.open(path)
    return cast(IO[bytes], lzma.open(path)) if head == b"\xfd7zXZ\0" else None


def _first_block(path: Path) -> bytes:
    """Return the first block of what may be a tar file; zeros, which may begin one, where it cannot be unpacked."""
    try:
        with _decompressed(path) or path.open("rb") as file:
            return file.read(tarfile.BLOCKSIZE)
    except ARCHIVE_ERRORS:
        return bytes(tarfile.BLOCKSIZE)


def _is_tar(block: bytes) -> bool:
    """Whether a file's first block is a tar header; the zeros of an empty tar file are."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return block == bytes(tarfile.BLOCKSIZE)
    return True


def _zip_problem(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "a link; links in archives are not followed"
    if kind not in (0, stat.S_IFREG):
        return "not a regular file"
    if info.flag_bits & 1:
        return "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "its method of compression does not bound what is unpacked at a time; pack it again by deflate"
    return _too_large(info.file_size) if info.file_size > MEMBER_LIMIT else None


def _too_large(size: int) -> str:
    return f"it has {size:,} bytes; at most {MEMBER_LIMIT:,} are unpacked of one file"


@lru_cache(maxsize=4096)
def _hash(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)
