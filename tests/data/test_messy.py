"""A folder as found in the wild: a thousand files of every kind, each used or listed with its reason."""

import io
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.builders import noisy, pack
from vptft.data.archives import read_archive
from vptft.data.folders import read_folder
from vptft.data.images import ImageSet, Skipped, UnreadableImageError
from vptft.data.transforms import to_square

FILES = 1_000

NO_FORMAT = "its content is no image format known here"
EMPTY = "the file is empty (0 bytes)"
VAST = "more pixels than Pillow's limit"


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def colours(size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("RGB", size, np.random.default_rng(size[0]).bytes(3 * size[0] * size[1]))


def palette(**settings: object) -> bytes:
    return saved(colours((9, 7)).quantize(16), "PNG", **settings)


def rotated(kind: str, turn: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    return saved(colours((12, 8)), kind, exif=exif)


def moving(kind: str, **settings: object) -> bytes:
    frames = [colours((8, 8)), colours((8, 9)).resize((8, 8)), colours((9, 8)).resize((8, 8))]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], **settings)


def claims(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, and which holds a few bytes of it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


Make = Callable[[], bytes]

# fmt: off
USED: dict[str, Make] = {
    "one_bit.png": lambda: saved(colours((9, 9)).convert("1"), "PNG"),
    "grey.JPG": lambda: saved(colours((9, 9)).convert("L"), "JPEG"),
    "grey_alpha.png": lambda: saved(colours((9, 9)).convert("LA"), "PNG"),
    "palette.PNG": palette,
    "palette_alpha.png": lambda: palette(transparency=bytes([0, 128])),
    "palette_one_clear.png": lambda: palette(transparency=3),
    "rgb.jpeg": lambda: saved(colours((30, 20)), "JPEG"),
    "rgb_clear.png": lambda: saved(colours((9, 9)), "PNG", transparency=(0, 0, 0)),
    "rgba.png": lambda: saved(colours((9, 9)).convert("RGBA"), "PNG"),
    "rgba.WebP": lambda: saved(colours((9, 9)).convert("RGBA"), "WEBP"),
    "cmyk.jpg": lambda: saved(colours((9, 9)).convert("CMYK"), "JPEG"),
    "cmyk.tif": lambda: saved(colours((9, 9)).convert("CMYK"), "TIFF"),
    "ycbcr.tiff": lambda: saved(colours((16, 16)).convert("YCbCr"), "TIFF"),
    "lab.tif": lambda: saved(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF"),
    "deep.png": lambda: saved(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000), "PNG"),
    "deep.TIF": lambda: saved(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000), "TIFF"),
    "plain.bmp": lambda: saved(colours((9, 9)), "BMP"),
    "plain.ppm": lambda: saved(colours((9, 9)), "PPM"),
    "still.gif": lambda: saved(colours((9, 9)), "GIF"),
    "moving.gif": lambda: moving("GIF"),
    "moving.webp": lambda: moving("WEBP"),
    "moving.png": lambda: moving("PNG"),
    "pages.tiff": lambda: moving("TIFF"),
    "two_eyes.jpg": lambda: moving("MPO"),
    "packed.tif": lambda: saved(colours((9, 9)), "TIFF", compression="tiff_lzw"),
    "progressive.jpg": lambda: saved(colours((40, 40)), "JPEG", progressive=True),
    **{f"turned_{turn}.jpg": lambda turn=turn: rotated("JPEG", turn) for turn in range(1, 9)},
    "turned.png": lambda: rotated("PNG", 6),
    "turn_unknown.jpg": lambda: rotated("JPEG", 99),
    "one_pixel.png": lambda: saved(Image.new("RGB", (1, 1), "red"), "PNG"),
    "one_grey_pixel.gif": lambda: saved(Image.new("L", (1, 1)), "GIF"),
    "wide.png": lambda: saved(Image.new("L", (20_000, 1), 9), "PNG"),
    "tall.png": lambda: saved(Image.new("RGB", (1, 20_000), "blue"), "PNG"),
    "wrong_name.png": lambda: saved(colours((9, 9)), "JPEG"),
    "wrong_name.jpg": lambda: saved(colours((9, 9)), "WEBP"),
    "trailing.jpg": lambda: saved(colours((9, 9)), "JPEG") + b"and more",
}
"""What becomes an RGB image."""

REFUSED: dict[str, tuple[Make, str]] = {
    "float.tif": (lambda: saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), "no known range"),
    "wide_int.tiff": (lambda: saved(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF"), "beyond 16 bits"),
    "cut.png": (lambda: noisy(1)[:700], "truncated"),
    "cut.jpg": (lambda: noisy(2, kind="JPEG")[:900], "truncated"),
    "cut.webp": (lambda: noisy(3, kind="WEBP")[:300], ""),
    "cut.gif": (lambda: noisy(4, kind="GIF")[:900], "truncated"),
    "cut.bmp": (lambda: noisy(5, kind="BMP")[:900], "truncated"),
    "cut.tif": (lambda: noisy(6, kind="TIFF")[:900], ""),
    "empty.png": (lambda: b"", EMPTY),
    "empty.JPEG": (lambda: b"", EMPTY),
    "text.jpg": (lambda: b"I am no image", NO_FORMAT),
    "page.gif": (lambda: b"<!doctype html><title>404</title>", NO_FORMAT),
    "script.png": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NO_FORMAT),
    "vector.png": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", NO_FORMAT),
    "zeros.bmp": (lambda: bytes(500), NO_FORMAT),
    "head.png": (lambda: b"\x89PNG\r\n\x1a\n", ""),
    "vast.png": (lambda: claims(20_000, 20_000), VAST),
    "vaster.png": (lambda: claims(2**31 - 1, 2**31 - 1), VAST),
    "short.png": (lambda: claims(9, 9), "truncated"),
}
"""What is listed, and why."""

NOT_LOOKED_AT = ("README.md", "labels.csv", ".hidden.png", ".cache/a.png", "a.png.txt", "model.pt", "jpg")
"""What has no image's name, or is hidden."""
# fmt: on


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """A thousand files by path: all kinds in turn, in nested folders."""
    kinds = {**{name: make() for name, make in USED.items()}, **{name: make() for name, (make, _) in REFUSED.items()}}
    names = list(kinds)
    folders = ("", "a/", "a/b b/", "Ünïcode ✓/", "c/d/e/f/g/", "UPPER/")
    return {
        f"{folders[i % 6]}{i:04}_{names[i % len(names)]}": kinds[names[i % len(names)]] for i in range(FILES)
    }  # fmt: skip


@pytest.fixture(scope="module")
def messy(contents: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("messy")
    for name, content in (contents | dict.fromkeys(NOT_LOOKED_AT, b"x")).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes(USED["rgba.png"]())
    (root / "link_inside.png").symlink_to(root / next(name for name in contents if name.endswith("rgb.jpeg")))
    (root / "link_outside.png").symlink_to(outside)
    (root / "link_nowhere.png").symlink_to(root / "gone.png")
    return root


def read_all(images: ImageSet) -> tuple[list[str], list[Skipped]]:
    """Read every image to the tensor a network takes; return the names of those used, and of the others the reasons."""
    used, listed = [], list(images.skipped)
    for i, name in enumerate(images.ids):
        try:
            image = images.read(i)
        except UnreadableImageError as error:
            listed.append(error.skipped)
            continue
        square = to_square(image, 14)
        assert (image.mode, square.shape) == ("RGB", (3, 14, 14))
        assert square.float().isfinite().all()
        used.append(name)
    return used, listed


def kind_of(path: str) -> str:
    return path.rpartition("/")[2].partition("_")[2]


def check(used: list[str], listed: list[Skipped], contents: dict[str, bytes]) -> None:
    """Compare what became of the files with what each of them is."""
    assert sorted(used) == sorted(name for name in contents if kind_of(name) in USED)
    there = Counter(kind_of(name) for name in contents if kind_of(name) in REFUSED)
    assert Counter(kind_of(item.path) for item in listed) == there
    for item in listed:
        assert REFUSED[kind_of(item.path)][1] in item.reason, item
        assert item.reason


def test_every_file_of_a_messy_folder_is_used_or_listed(messy: Path, contents: dict[str, bytes]) -> None:
    used, listed = read_all(read_folder(messy))
    links = {item.path: item.reason for item in listed if item.path.startswith("link_")}
    assert links.keys() == {"link_outside.png", "link_nowhere.png"}
    assert "link_inside.png" in used
    used.remove("link_inside.png")
    listed = [item for item in listed if item.path not in links]
    assert len(used) + len(listed) == len(contents) == FILES
    check(used, listed, contents)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_every_member_of_a_messy_archive_is_used_or_listed(
    tmp_path: Path, contents: dict[str, bytes], suffix: str
) -> None:
    some = dict(list(contents.items())[: 2 * len(USED | REFUSED)])
    used, listed = read_all(read_archive(pack(tmp_path / f"x{suffix}", some | dict.fromkeys(NOT_LOOKED_AT, b"x"))))
    assert len(used) + len(listed) == len(some)
    check(used, listed, some)
