"""The one way a file becomes an RGB image."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vptft.data.images import UnreadableImageError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What a file may be by content (JPEG takes MPO with it). Formats that start another program (EPS) are never tried."""

DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, LookupError, ArithmeticError, TypeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on damaged files."""


def open_rgb(source: Path | bytes, name: str | None = None) -> Image.Image:
    """Decode one image to RGB, upright.

    EXIF orientation is applied; of an animation the first frame is taken; transparent pixels are laid on white, so
    the colours hidden under them never count; 16-bit grey is scaled by its full range (65535 -> 255), not stretched
    to the image; CMYK, palettes, grey and 1-bit are converted by Pillow without a colour profile.

    Parameters
    ----------
    source
        A file, or the bytes of one.
    name
        What errors call it; the file's path by default.

    Raises
    ------
    UnreadableImageError
        With the name and the reason: no such file, no bytes, no image by its first bytes, truncated or damaged
        data, more pixels than Pillow's limit (``PIL.Image.MAX_IMAGE_PIXELS``), or integers wider than 16 bits
        and floats, whose range no one can know.
    """
    with _opened(source, name) as image:
        return to_rgb(image)


def not_an_image(source: Path | bytes) -> str | None:
    """Return why a file is no image by its header, None where it is one; its pixels are not decoded.

    Of bytes, the first few thousand do for most images.
    """
    try:
        with _opened(source, None):
            return None
    except UnreadableImageError as error:
        if isinstance(error.__cause__, Image.DecompressionBombWarning | Image.DecompressionBombError):
            return None
        return error.skipped.reason


@contextmanager
def _opened(source: Path | bytes, name: str | None) -> Iterator[Image.Image]:
    """Open an image's header; whatever goes wrong inside the block becomes an UnreadableImageError.

    Pillow warns of unusual metadata, which does not concern the pixels, and of images over its pixel limit, which
    is refused here: the limit guards against files that unpack to more than memory holds.
    """
    name = name or (str(source) if isinstance(source, Path) else "the image")
    try:
        if isinstance(source, Path) and not source.is_file():
            raise UnreadableImageError(name, "there is no such file")
        if not (source.stat().st_size if isinstance(source, Path) else len(source)):
            raise UnreadableImageError(name, "the file is empty (0 bytes)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = source if isinstance(source, Path) else BytesIO(source)
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except UnidentifiedImageError as error:
        raise UnreadableImageError(name, "its content is no image format known here") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = f"it has more pixels than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,}"
        raise UnreadableImageError(name, limit) from error
    except DECODE_ERRORS as error:
        raise UnreadableImageError(name, str(error) or type(error).__name__) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image as :func:`open_rgb` does: upright, on white, in RGB; ValueError for pixels of unknown range."""
    _require_whole(image)
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise ValueError("float pixels have no known range; save it with 8 or 16 bits")
    if upright.mode.startswith("I"):
        return _from_16_bit(np.asarray(upright)).convert("RGB")
    if upright.has_transparency_data:
        colours = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return upright.convert("RGB")


def _require_whole(image: Image.Image) -> None:
    """Refuse a TIFF whose strips leave rows out: Pillow fills them with whatever follows in the file, or with zeros."""
    tiles = getattr(image, "tile", None) or ()
    boxes = [box for _, box, *_ in tiles if box] if image.format == "TIFF" else []
    covered = sum((right - left) * (low - top) for left, top, right, low in boxes)
    if boxes and covered < image.width * image.height:
        raise ValueError(f"its strips hold {covered} of its {image.width * image.height} pixels")


def _from_16_bit(values: np.ndarray) -> Image.Image:
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("integers beyond 16 bits have no known range; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))
