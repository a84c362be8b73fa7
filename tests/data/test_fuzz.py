"""Damaged files of every kind: an image that is fit for use, or an error that names the file, and nothing else.

``VPTFT_FUZZ_SECONDS`` says how long; ``VPTFT_FUZZ_SEED`` where to start. What fails is saved to a file.
"""

import bz2
import gc
import gzip
import io
import lzma
import os
import random
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.builders import pack
from vptft.data import arrays, containers, registry
from vptft.data.decode import not_an_image, open_rgb
from vptft.data.folders import read_folder
from vptft.data.images import ImageSet, UnreadableImageError
from vptft.data.transforms import to_square
from vptft.errors import DataError

SECONDS = float(os.environ.get("VPTFT_FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("VPTFT_FUZZ_SEED", "0"))

PIXELS = 2**20
"""Pillow's pixel limit here: most of what a damaged header claims would only cost time."""

Mutation = Callable[[random.Random, bytearray], bytearray]


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def image_seeds() -> dict[str, bytes]:
    """Valid images of every format and of the modes and encodings that take other ways through the decoders."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 4), dtype=np.uint8)
    rgb, rgba = Image.fromarray(noise[..., :3]), Image.fromarray(noise)
    deep = Image.fromarray(noise.view(np.uint16)[..., 0].copy())
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [rgb.rotate(90 * i).resize((20, 24)) for i in (1, 2)]
    return {
        "bmp": saved(rgb, "BMP"),
        "palette.bmp": saved(rgb.quantize(16), "BMP"),
        "gif": saved(rgb, "GIF"),
        "moving.gif": saved(rgb, "GIF", save_all=True, append_images=frames),
        "jpg": saved(rgb, "JPEG", exif=exif, comment=b"words"),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True, icc_profile=bytes(300)),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "mpo.jpg": saved(rgb, "MPO", save_all=True, append_images=frames),
        "png": saved(rgba, "PNG", exif=exif, dpi=(72, 72)),
        "deep.png": saved(deep, "PNG"),
        "palette.png": saved(rgb.quantize(16), "PNG", transparency=bytes([0, 9])),
        "moving.png": saved(rgba, "PNG", save_all=True, append_images=frames),
        "ppm": saved(rgb, "PPM"),
        "plain.ppm": b"P3 2 2 255 " + b"1 22 255 " * 4,
        "pbm": saved(rgb.convert("1"), "PPM"),
        "tif": saved(rgb, "TIFF", exif=exif),
        **{how: saved(rgb, "TIFF", compression=how) for how in ("tiff_lzw", "jpeg", "tiff_deflate", "packbits")},
        "group4.tif": saved(rgb.convert("1"), "TIFF", compression="group4"),
        "deep.tif": saved(deep, "TIFF"),
        "webp": saved(rgb, "WEBP", quality=60),
        "lossless.webp": saved(rgba, "WEBP", lossless=True, exif=exif),
        "moving.webp": saved(rgb, "WEBP", save_all=True, append_images=frames),
    }  # fmt: skip


def file_seeds(folder: Path) -> dict[str, bytes]:
    """Valid archives and arrays."""
    files = {f"{name}/{i}.{kind}": content for name, i, (kind, content) in zip(
        ("cat", "dog") * 5, range(8), list(image_seeds().items())[::3], strict=False
    )}  # fmt: skip
    samples = {"1.jpg": image_seeds()["jpg"], "1.cls": b"3", "2.png": image_seeds()["png"], "2.cls": b"4"}
    paths = [pack(folder / f"x{suffix}", files) for suffix in (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")]
    paths.append(pack(folder / "samples.tar", samples | {f"{'deep/' * 40}3.png": image_seeds()["png"]}))
    values = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    np.save(folder / "x.npy", values)
    np.savez(folder / "x.npz", values, np.arange(6))
    np.savez_compressed(folder / "packed.npz", values)
    paths += [folder / name for name in ("x.npy", "x.npz", "packed.npz")]
    return {path.name: path.read_bytes() for path in paths}


# fmt: off
def flip_bits(rng: random.Random, data: bytearray) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def flip_in_the_head(rng: random.Random, data: bytearray) -> bytearray:
    for _ in range(rng.choice((1, 2, 4))):
        data[rng.randrange(min(len(data), 64))] = rng.randrange(256)
    return data


def cut(rng: random.Random, data: bytearray) -> bytearray:
    return data[: rng.randrange(len(data))]


def cut_out(rng: random.Random, data: bytearray) -> bytearray:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 2, 4, 16, 300)):]


def write_a_number(rng: random.Random, data: bytearray) -> bytearray:
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("big", "little"))
    edges = (0, 1, 2, 3, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**64 - 1)
    value = rng.choice((*edges, rng.getrandbits(64)))
    start = rng.randrange(min(len(data), rng.choice((64, 10**9))))
    data[start : start + size] = (value % 256**size).to_bytes(size, order)
    return data


def write_digits(rng: random.Random, data: bytearray) -> bytearray:
    places = [i for i, byte in enumerate(data) if 48 <= byte < 58] or [0]
    start = rng.choice(places)
    data[start : start + rng.choice((1, 3))] = rng.choice((b"0", b"9", b"99999999", b"-1", b"1e9", b"7777777"))
    return data


def repeat_a_part(rng: random.Random, data: bytearray) -> bytearray:
    start = rng.randrange(len(data))
    part = data[start : start + rng.choice((4, 12, 100, 512, 2000))]
    place = rng.choice((start, rng.randrange(len(data))))
    return data[:place] + part * rng.choice((1, 2, 50)) + data[place:]


def overwrite(rng: random.Random, data: bytearray) -> bytearray:
    start, size = rng.randrange(len(data)), rng.choice((4, 30, 500))
    data[start : start + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return data
# fmt: on


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, flip_in_the_head, cut, cut_out, write_a_number, write_digits, repeat_a_part, overwrite,
)  # fmt: skip


def repaired(data: bytearray) -> bytearray:
    """Make the checksums of PNG chunks and tar headers right again, so that damage reaches what lies behind them."""
    place = 8 if data.startswith(b"\x89PNG") else len(data)
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        data[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    for start in range(0, len(data), 512):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    return data


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Damage one seed in one to three ways, or put two of them together."""
    data = bytearray(rng.choice(seeds))
    if rng.random() < 0.1:
        other = rng.choice(seeds)
        data = data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(rng, data or bytearray(1))
    if rng.random() < 0.5:
        data = repaired(data)
    if data[257:262] == b"ustar" and rng.random() < 0.4:
        return rng.choice((gzip.compress, bz2.compress, lzma.compress))(bytes(data))
    return bytes(data)


def use(image: Image.Image) -> None:
    assert image.mode == "RGB"
    assert min(image.size) > 0
    assert to_square(image, 14).shape == (3, 14, 14)


def use_set(images: ImageSet) -> bool:
    """Read every image in order, and the first again; return whether any can be used."""
    assert len(images) == len(set(images.ids)) == len(images.groups)
    assert all(item.path and item.reason for item in images.skipped)
    images.fingerprint()
    used = False
    for i in (*range(len(images)), 0):
        try:
            image = images.read(i)
        except UnreadableImageError:
            continue
        use(image)
        used = True
    return used


def pixels(source: Path | bytes) -> bytes | None:
    """Return an image's pixels; None where it cannot be read."""
    try:
        image = open_rgb(source, "x")
    except UnreadableImageError as error:
        return None if error.skipped.reason else b""
    use(image)
    return image.tobytes()


def try_image(data: bytes, path: Path) -> bool:
    """Read an image as bytes, as a file, and as the one file of a folder; all three agree."""
    path.write_bytes(data)
    is_image = not_an_image(data) is None
    assert is_image == (not_an_image(path) is None)
    found = pixels(data)
    assert found != b""
    assert found == pixels(path)
    try:
        used = use_set(read_folder(path.parent))
    except DataError:
        assert not is_image
        return False
    assert used == (found is not None)
    return used


def try_file(data: bytes, path: Path) -> bool:
    """Read an archive or array."""
    path.write_bytes(data)
    containers._hash.cache_clear()
    try:
        return use_set(registry.images(str(path)))
    except DataError as error:
        named = path.name in str(error)
    assert named
    return False


@pytest.mark.verify
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("what", ["images", "files"])
def test_damaged_files_give_images_or_errors_that_name_them(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PIXELS)
    monkeypatch.setattr(containers, "MEMBER_LIMIT", 2**22)
    monkeypatch.setattr(arrays, "MEMBER_LIMIT", 2**22)
    (tmp_path / "seeds").mkdir()
    (tmp_path / "tried").mkdir()
    seeds = list((image_seeds() if what == "images" else file_seeds(tmp_path / "seeds")).values())
    attempt = try_image if what == "images" else try_file
    rng = random.Random(f"{what} {SEED}")
    used: list[bool] = []
    seconds: list[float] = []
    end = time.monotonic() + SECONDS / 2
    while time.monotonic() < end:
        data = mutated(rng, seeds)
        start = time.monotonic()
        try:
            used.append(attempt(data, tmp_path / "tried" / "x.png"))
        except Exception as error:
            # Whatever comes out that is no UnreadableImageError or DataError is what is looked for.
            culprit = Path(tempfile.mkdtemp(prefix="vptft-fuzz-")) / f"{what}_{SEED}_{len(used)}.bin"
            culprit.write_bytes(data)
            raise AssertionError(f"{culprit} gives {error!r}") from error
        seconds.append(time.monotonic() - start)
    gc.collect()
    assert len(used) > 5 * SECONDS
    assert 0.05 < np.mean(used) < 0.95
    assert max(seconds) < 10


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutations_change_what_they_are_given(mutation: Mutation) -> None:
    seed = image_seeds()["png"]
    changed = [mutation(random.Random(i), bytearray(seed)) != seed for i in range(20)]
    assert sum(changed) >= 15


def test_checksums_are_repaired(tmp_path: Path) -> None:
    png, tar = image_seeds()["png"], pack(tmp_path / "x.tar", {"name.png": b"content"}).read_bytes()
    assert repaired(bytearray(png)) == png
    assert repaired(bytearray(tar)) == tar
    broken, other = bytearray(png[:16] + bytes([0, 0, 0, 99]) + png[20:]), bytearray(b"N" + tar[1:])
    assert not_an_image(bytes(broken)) is not None
    assert not_an_image(bytes(repaired(broken))) is None
    (tmp_path / "x.tar").write_bytes(repaired(other))
    assert [member.name for member in containers.open_archive(tmp_path / "x.tar").members()] == ["Name.png"]


def test_seeds_are_valid(tmp_path: Path) -> None:
    for name, content in image_seeds().items():
        use(open_rgb(content, name))
    for name, content in file_seeds(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        images = registry.images(str(tmp_path / name))
        assert images.skipped == ()
        for i in range(len(images)):
            use(images.read(i))
    assert zipfile.is_zipfile(tmp_path / "x.zip")
