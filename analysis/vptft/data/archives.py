"""Images in archives: zip and tar files, several of them as shards, and webdataset's samples."""

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL.Image import Image

from vptft.data.containers import (
    ARCHIVE_ERRORS,
    SUFFIXES,
    Archive,
    Member,
    content_hash,
    open_archive,
    read_member,
)
from vptft.data.decode import not_an_image, open_rgb
from vptft.data.folders import class_labels, is_image_name, no_images, printable, scan, usable
from vptft.data.images import ImageSet, Skipped, UnreadableImageError
from vptft.data.listed import path_problem
from vptft.data.splits import check_draw, draw_order
from vptft.errors import DataError

COMPANIONS = (".cls", ".json", ".txt")
"""What lies beside the image of a webdataset's sample; ``.cls`` holds its class."""

MAX_SHARDS = 100_000
"""Files that a pattern may name."""

MAX_OPEN = 16
"""Archives of one set that are open at a time."""

_BRACES = re.compile(r"\{([^{}]+)\}")
_RANGE = re.compile(r"([0-9]{1,12})\.\.([0-9]{1,12})")


class Picture(NamedTuple):
    """One listed image.

    Attributes
    ----------
    id
        Its path below the set's root.
    name
        Its path in its archive.
    shard, member
        Where its bytes are.
    problem
        Why it is no image by its header; None where it is, or where that was not looked at in listing.
    """

    id: str
    name: str
    shard: int
    member: Member
    problem: str | None

    @property
    def key(self) -> tuple[int, str]:
        """What its sample is called: shard, and path up to the first dot of the file's name."""
        return self.shard, _key(self.name)


class Listing(NamedTuple):
    """What a set of archives holds.

    Attributes
    ----------
    images
        In the order of the archives.
    samples
        Keys of images that have a companion, with their class where that is a whole number.
    skipped
        What has the name of an image and cannot be used, and archives that are damaged.
    """

    images: list[Picture]
    samples: dict[tuple[int, str], int | None]
    skipped: list[Skipped]


def is_pattern(name: Path | str) -> bool:
    """Whether a name stands for several files: ``train-{0000..0099}.tar``, ``{a,b}.zip``."""
    parts = _BRACES.findall(str(name))
    return any("," in part or _RANGE.fullmatch(part) for part in parts) and not Path(name).exists()


def expand(pattern: Path | str) -> list[Path]:
    """Return the files that a pattern names, in its order.

    Raises
    ------
    DataError
        When a range ends before it begins, or more than ``MAX_SHARDS`` files are named.
    """
    parts = _BRACES.split(str(pattern))
    choices = [_choices(part, pattern) if i % 2 else [part] for i, part in enumerate(parts)]
    count = math.prod(len(choice) for choice in choices)
    if count > MAX_SHARDS:
        raise DataError(f"{pattern} names {count:,} files; at most {MAX_SHARDS:,} are read as one set.")
    return [Path(name).expanduser() for name in dict.fromkeys("".join(words) for words in product(*choices))]


def shards_in(folder: Path) -> list[Path]:
    """Return the archives in a folder, sorted; none where the folder holds images as well."""
    found = sorted(file for file in folder.iterdir() if _is_archive_name(file.name) and file.is_file())
    return found if found and not scan(folder).paths else []


def read_archive(source: Path | str, name: str | None = None, *, n: int | None = None, seed: int = 0) -> ImageSet:
    """Read the images of an archive, of a folder of them, or of those a pattern names; nothing is unpacked to disk.

    Members with the name of an image count, wherever they lie; hidden ones do not. Where ``KEY.cls``, ``KEY.json`` or
    ``KEY.txt`` lie beside ``KEY.jpg``, the archives are a webdataset: the images of a key are one group, and the whole
    numbers in ``KEY.cls`` are the classes if every key has one. Without any ``KEY.cls``, the folders in which images
    first part ways are the classes; there are none where an image lies outside of these.

    What cannot be used is listed: names that lead out of the archive, links, devices, encrypted members, those whose
    name occurs twice or that have more than ``MEMBER_LIMIT`` bytes, and what is no image by its header.

    Parameters
    ----------
    source
        A zip or tar file, the latter compressed by gzip, bzip2, xz or not, told by its content; a folder of archives;
        or a pattern such as ``shards/train-{0000..0099}.tar``.
    name
        What to call the set; the source as given by default.
    n
        Draw that many, balanced over classes. None for all.
    seed
        Seed of the draw.

    Raises
    ------
    DataError
        When an archive is missing, or none of them holds a usable image; or fewer than ``n``.
    """
    name = name or str(source)
    shards = Shards(source)
    images, samples, skipped = list_images(shards)
    check_draw(n, len(images), name)
    labels, classes = _labels(images, samples)
    order = np.arange(len(images)) if n is None else draw_order(labels, len(images), seed)
    kept, unusable = usable([image.id for image in images], order, n, lambda i: _problem(shards, images[i]))
    skipped += unusable
    if not kept:
        raise no_images(shards.root, skipped)
    check_draw(n, len(kept), name)
    images = [images[i] for i in kept]
    return ImageSet(
        name=name,
        ids=tuple(image.id for image in images),
        read=lambda i: shards.read(images[i]),
        groups=tuple(f"{image.shard}/{image.key[1]}" if samples else image.id for image in images),
        fingerprint=lambda: shards.fingerprint(image.id for image in images),
        labels=None if labels is None else labels[kept],
        classes=classes,
        skipped=tuple(skipped),
    )


class Shards:
    """The archives of one set.

    Attributes
    ----------
    root
        What ids are relative to: the archive itself, or the folder that holds them all.
    paths
        The files, in order.
    prefixes
        What the ids of an archive's members begin with: nothing where it is alone.
    archive
        ``archive(i)`` gives the i-th, open; the last ``MAX_OPEN`` stay open.
    """

    def __init__(self, source: Path | str) -> None:
        self.root = Path(source).expanduser()
        self.paths, self.prefixes = [self.root], [""]
        if several := _several(self.root):
            self.paths = several
            self.root = Path(os.path.commonpath([file.parent for file in several]))
            self.prefixes = [f"{file.relative_to(self.root).as_posix()}/" for file in several]
        missing = [str(file) for file in self.paths if not file.is_file()]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise DataError(
                f"{source}: there is no archive {', '.join(missing[:5])}{more}.",
                "Give a zip or tar file, a folder of them, or a pattern such as shards/train-{0000..0099}.tar.",
            )
        paths = self.paths
        self.archive: Callable[[int], Archive] = lru_cache(maxsize=MAX_OPEN)(lambda shard: open_archive(paths[shard]))

    def read(self, image: Picture) -> Image:
        """Decode one image."""
        where = str(self.root / image.id)
        try:
            content = read_member(self.archive(image.shard), image.member)
        except ARCHIVE_ERRORS as error:
            raise UnreadableImageError(where, _said(error)) from error
        return open_rgb(content, where)

    def fingerprint(self, ids: Iterator[str]) -> str:
        """SHA-256 of the archives' bytes and the ids, in order."""
        digest = hashlib.sha256()
        for part in (*map(content_hash, self.paths), *ids):
            digest.update(f"{part}\0".encode())
        return digest.hexdigest()


def list_images(shards: Shards) -> Listing:
    """List what archives hold; of a compressed tar file the headers of images are looked at in the same pass."""
    found = Listing([], {}, [])
    for shard, (path, prefix) in enumerate(zip(shards.paths, shards.prefixes, strict=True)):
        last = "its beginning"
        seen: set[str] = set()
        try:
            archive = shards.archive(shard)
            for member in archive.members():
                last = printable(member.name)
                _take(found, archive, member, shard, prefix, seen)
        except ARCHIVE_ERRORS as error:
            reason = f"the archive is damaged after {last}: {_said(error)}; what follows is not read"
            found.skipped.append(Skipped(path=prefix.rstrip("/") or path.name, reason=reason))
    return _main_parts(found)


def _take(found: Listing, archive: Archive, member: Member, shard: int, prefix: str, seen: set[str]) -> None:
    """List one member: an image, a companion, or a reason why it is neither."""
    name = _plain(member.name)
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in COMPANIONS and member.problem is None:
        found.samples.setdefault((shard, _key(name)), None)
        if suffix == ".cls":
            found.samples[shard, _key(name)] = _class(archive, member)
    if not is_image_name(PurePosixPath(name).name) or _is_hidden(name):
        return
    problem = path_problem(name) or member.problem
    if printable(name) != name:
        problem = "its name is not valid UTF-8"
    elif name in seen:
        problem = "its name occurs twice in the archive; the first is used"
    seen.add(name)
    if problem:
        found.skipped.append(Skipped(path=f"{prefix}{printable(name)}", reason=problem))
    else:
        problem = header_problem(archive, member) if archive.forward else None
        found.images.append(Picture(f"{prefix}{name}" if prefix else name, name, shard, member, problem))


def header_problem(archive: Archive, member: Member) -> str | None:
    """Return why a member is no image by its header; its first bytes are read, and the others if they do not do."""
    try:
        chunks = archive.chunks(member)
        head = next(chunks, b"")
        return not_an_image(head) and not_an_image(head + b"".join(chunks))
    except ARCHIVE_ERRORS as error:
        return _said(error)


def _several(source: Path) -> list[Path]:
    """Return the archives of a folder or pattern; none where ``source`` is one file."""
    if is_pattern(source):
        return expand(source)
    if not source.is_dir():
        return []
    found = shards_in(source)
    if not found:
        raise DataError(
            f"{source} is no folder of archives: it holds none, or images as well.",
            f"Archives are files named *{' *'.join(SUFFIXES)}.",
        )
    return found


def _main_parts(found: Listing) -> Listing:
    """Of a webdataset, keep ``KEY.jpg`` and list ``KEY.mask.png`` as skipped, unless all images are named so."""
    keys = {image.key for image in found.images}
    samples = {key: label for key, label in found.samples.items() if key in keys}
    main = [image for image in found.images if image.name.rpartition("/")[2].count(".") == 1]
    if not samples or not main:
        return Listing(found.images, samples, found.skipped)
    others = set(found.images) - set(main)
    reason = "another part of a webdataset's sample, whose image is named KEY.EXTENSION"
    skipped = [Skipped(path=image.id, reason=reason) for image in found.images if image in others]
    return Listing(main, samples, found.skipped + skipped)


def _labels(
    images: Sequence[Picture], samples: dict[tuple[int, str], int | None]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return labels and class names by ``.cls`` files where there is any, else by folders."""
    if any(label is not None for label in samples.values()):
        numbers = [samples.get(image.key) for image in images]
        if None in numbers:
            return None, ()
        values, labels = np.unique(np.array(numbers, dtype=np.int64), return_inverse=True)
        return labels.astype(np.int64), tuple(map(str, values.tolist()))
    folders = {image.name.rpartition("/")[0] for image in images}
    shared = os.path.commonpath(folders) if folders else ""
    return class_labels([image.name for image in images], level=len(PurePosixPath(shared).parts))


def _class(archive: Archive, member: Member) -> int | None:
    """Return the whole number that a ``.cls`` file holds; None for any other text."""
    try:
        text = next(archive.chunks(member), b"").decode().strip()
    except ARCHIVE_ERRORS:
        return None
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None


def _problem(shards: Shards, image: Picture) -> str | None:
    try:
        archive = shards.archive(image.shard)
    except ARCHIVE_ERRORS as error:
        return _said(error)
    return image.problem if archive.forward else header_problem(archive, image.member)


def _choices(part: str, pattern: Path | str) -> list[str]:
    """Return what braces stand for: ``0..12`` or ``a,b``."""
    limits = _RANGE.fullmatch(part)
    if limits is None:
        return part.split(",")
    first, last = limits.groups()
    if not int(first) <= int(last) < int(first) + MAX_SHARDS:
        raise DataError(f"{pattern}: {{{part}}} is no range of 1 to {MAX_SHARDS:,} numbers.", "Write {000..127}.")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def _plain(name: str) -> str:
    """Return a member's name without the empty steps that ``tar cf x.tar .`` writes."""
    lead = "/" if name.startswith("/") else ""
    plain = lead + "/".join(step for step in name.split("/") if step not in ("", "."))
    return name if plain == name else plain


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _is_hidden(name: str) -> bool:
    return any(step == "__MACOSX" or (step.startswith(".") and step != "..") for step in name.split("/"))


def _is_archive_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
