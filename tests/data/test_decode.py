from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vptft.data.decode import not_an_image, open_rgb
from vptft.data.images import UnreadableImageError


def top_left(path: Path) -> tuple[int, ...]:
    image = open_rgb(path)
    assert image.mode == "RGB"
    return tuple(int(value) for value in np.asarray(image)[0, 0])


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (32896, 128), (65535, 255)])
def test_16_bit_grey_is_scaled_by_its_full_range(tmp_path: Path, value: int, expected: int) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((3, 4), value, dtype=np.uint16)).save(path)
    assert top_left(path) == (expected,) * 3


def test_16_bit_pgm_is_scaled_like_16_bit_png(tmp_path: Path) -> None:
    path = tmp_path / "deep.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + np.array([32896, 0], dtype=">u2").tobytes())
    assert top_left(path) == (128, 128, 128)


@pytest.mark.parametrize(("kind", "value"), [(np.int32, 70000), (np.int32, -1), (np.float32, 0.5)])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, kind: type, value: float) -> None:
    path = tmp_path / "wide.tif"
    Image.fromarray(np.full((3, 4), value, dtype=kind)).save(path)
    with pytest.raises(UnreadableImageError, match=r"wide\.tif .*no known range; save it with 8 or 16 bits"):
        open_rgb(path)


@pytest.mark.parametrize(("alpha", "expected"), [(0, (255, 255, 255)), (255, (200, 0, 0)), (128, (227, 127, 127))])
def test_transparency_lies_on_white(tmp_path: Path, alpha: int, expected: tuple[int, ...]) -> None:
    path = tmp_path / "glass.png"
    Image.new("RGBA", (2, 2), (200, 0, 0, alpha)).save(path)
    assert top_left(path) == expected


def test_grey_with_alpha_lies_on_white(tmp_path: Path) -> None:
    Image.new("LA", (2, 2), (30, 0)).save(tmp_path / "grey.png")
    assert top_left(tmp_path / "grey.png") == (255, 255, 255)


def test_palette_with_transparent_entries(tmp_path: Path) -> None:
    path = tmp_path / "palette.png"
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(path, transparency=bytes([0, 255]))
    assert np.asarray(open_rgb(path)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "print.JPEG"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, format="JPEG")
    red, green, blue = top_left(path)
    assert red > 240
    assert max(green, blue) < 15


def test_one_bit_and_one_pixel(tmp_path: Path) -> None:
    Image.new("1", (1, 1), 1).save(tmp_path / "dot.bmp")
    image = open_rgb(tmp_path / "dot.bmp")
    assert image.size == (1, 1)
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (16, 8)).save(path, exif=exif)
    assert open_rgb(path).size == (8, 16)


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert top_left(path) == (255, 0, 0)


def test_what_cannot_be_decoded_names_path_and_reason(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:400])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    reasons = {
        "cut.png": "truncated",
        "empty.png": r"empty \(0 bytes\)",
        "text.jpg": "no image format known here",
        "script.png": "no image format known here",
        "gone.png": "no such file",
    }
    for name, reason in reasons.items():
        with pytest.raises(UnreadableImageError, match=reason) as caught:
            open_rgb(tmp_path / name)
        assert caught.value.skipped.path == str(tmp_path / name)


def test_the_header_shows_what_is_no_image_but_not_deeper_damage(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:50])
    (tmp_path / "text.png").write_text("no image")
    assert not_an_image(tmp_path / "whole.png") is None
    assert not_an_image(tmp_path / "cut.png") is None
    assert not_an_image(tmp_path / "text.png") == "its content is no image format known here"


@pytest.mark.parametrize("limit", [30, 10])
def test_images_over_pillows_pixel_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = tmp_path / "vast.png"
    Image.new("RGB", (7, 7)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert not_an_image(path) is None
    with pytest.raises(UnreadableImageError, match=rf"more pixels than Pillow's limit of {limit}"):
        open_rgb(path)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_tiff_whose_strips_leave_rows_out_is_refused(tmp_path: Path, mode: str, compression: str | None) -> None:
    """From a path Pillow fills such rows with what follows in the file, and from bytes with zeros."""
    path = tmp_path / "x.tif"
    Image.new(mode, (40, 60), 7).save(path, compression=compression, tiffinfo={278: 16})
    assert open_rgb(path).size == (40, 60)
    if compression is not None:
        return  # libtiff's own decoder counts its strips
    data, tag = path.read_bytes(), (257).to_bytes(2, "little") + b"\x04\x00\x01\x00\x00\x00"
    longer = data.replace(tag + (60).to_bytes(4, "little"), tag + (90).to_bytes(4, "little"))
    assert longer != data
    path.write_bytes(longer)
    for source in (path, longer):
        with pytest.raises(UnreadableImageError, match=r"its strips hold \d+ of its 3600 pixels"):
            open_rgb(source, "x.tif")
