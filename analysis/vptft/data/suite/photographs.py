"""The pictures that scikit-image and scikit-learn ship, and the one role each has here."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Literal

from PIL import Image

from vptft.errors import DataError

Role = Literal["background", "reference", "observed", "twin"]
"""What a picture is used for. ``twin`` is used for nothing: it shows the same scene as a picture that is."""

SHIPPED_BY = {"skimage": "skimage.data", "sklearn": "sklearn.datasets.images"}


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A shipped picture and its role.

    Attributes
    ----------
    name
        Name used in ids and groups.
    file
        File name inside the package that ships it.
    shipped_by
        Key of :data:`SHIPPED_BY`.
    role
        The only thing the picture is used for; roles are disjoint by picture, so no pixel has two uses.
    box
        ``(left, top, right, bottom)`` pixels of the part that is used; None for all of it.
    """

    name: str
    file: str
    role: Role
    shipped_by: str = "skimage"
    box: tuple[int, int, int, int] | None = None


PHOTOGRAPHS = (
    Photograph(name="coffee", file="coffee.png", role="background"),
    Photograph(name="flower", file="flower.jpg", role="background", shipped_by="sklearn"),
    Photograph(name="motorcycle", file="motorcycle_left.png", role="background"),
    Photograph(name="motorcycle_right", file="motorcycle_right.png", role="twin"),
    Photograph(name="astronaut", file="astronaut.png", role="reference"),
    Photograph(name="camera", file="camera.png", role="reference"),
    Photograph(name="chelsea", file="chelsea.png", role="reference"),
    Photograph(name="china", file="china.jpg", role="reference", shipped_by="sklearn"),
    Photograph(name="rocket", file="rocket.jpg", role="reference"),
    Photograph(name="brick", file="brick.png", role="observed"),
    Photograph(name="coins", file="coins.png", role="observed"),
    Photograph(name="grass", file="grass.png", role="observed"),
    Photograph(name="gravel", file="gravel.png", role="observed"),
    Photograph(name="ihc", file="ihc.png", role="observed"),
    # The square inside the round field of view: the corners of a fundus picture are black.
    Photograph(name="retina", file="retina.jpg", role="observed", box=(210, 210, 1200, 1200)),
    Photograph(name="hubble", file="hubble_deep_field.jpg", role="observed"),
    Photograph(name="moon", file="moon.png", role="observed"),
)
"""Every photograph used.

Left out: what is no photograph (chessboards, clock, colour wheel, horse, logos, page, phantom, text), ``cell`` (one
cell on even grey, of which three splits cannot each have a part) and ``microaneurysms`` (102 pixels).
"""


def photographs(role: Role) -> tuple[Photograph, ...]:
    """Pictures of one role, in the order of the table."""
    return tuple(photo for photo in PHOTOGRAPHS if photo.role == role)


def photograph(name: str) -> Photograph:
    """Row of the table with this name."""
    return next(photo for photo in PHOTOGRAPHS if photo.name == name)


def shipped_bytes(package: str, file: str) -> bytes:
    """Bytes of a file that ``package`` ships with its wheel; nothing is downloaded.

    Raises
    ------
    DataError
        When the installed package has no such file.
    """
    source = files(SHIPPED_BY[package]) / file
    try:
        return source.read_bytes()
    except OSError as error:
        raise DataError(
            f"{SHIPPED_BY[package]} should ship {file}; it could not be read: {error}",
            f"Install {'scikit-image' if package == 'skimage' else 'scikit-learn'} again from its wheel.",
        ) from error


@cache
def picture(name: str) -> Image.Image:
    """RGB pixels of the used part of a photograph; kept in memory, never to be written to."""
    photo = photograph(name)
    with Image.open(BytesIO(shipped_bytes(photo.shipped_by, photo.file))) as opened:
        pixels = opened.convert("RGB")
    return pixels.crop(photo.box) if photo.box else pixels
