"""The reference set ``photos``: crops of photographs of which no task shows a pixel."""

import numpy as np
from PIL import Image

from vptft.data.images import ImageSet
from vptft.data.suite.photographs import photographs, picture
from vptft.errors import SettingsError
from vptft.storage import key_of

SIZE = 1000
SMALLEST = 96
"""Shortest side of a crop in pixels."""


def reference_set(n: int = SIZE, seed: int = 0) -> ImageSet:
    """Square crops of the reference photographs, at every scale from 96 px to the whole shorter side.

    A declared stand-in for the pretraining set of a backbone, where that cannot be had. Only five pictures stand
    behind it, and crops of one picture overlap: a distance to it is a distance to *these* photographs, and its
    interval must be taken over groups (pictures). With five of them it is wide, as it should be.

    Parameters
    ----------
    n
        Number of crops; pictures take turns, so they are equally many of each.
    seed
        Seed of places, scales and mirroring. Crop ``i`` depends on ``(seed, i)`` alone.

    Returns
    -------
    ImageSet
        Unlabelled; the group id is the picture's name.
    """
    if n < 1:
        raise SettingsError(f"A reference set needs n >= 1 crops, got {n}.")
    names = [photo.name for photo in photographs("reference")]
    return ImageSet(
        name="photos",
        ids=tuple(f"photos/{seed}/{i:06d}" for i in range(n)),
        read=lambda i: _crop(names[i % len(names)], np.random.default_rng([seed, i])),
        groups=tuple(names[i % len(names)] for i in range(n)),
        fingerprint=lambda: key_of("vptft photos", 1, seed, n),
    )


def _crop(name: str, draw: np.random.Generator) -> Image.Image:
    """One crop: side log-uniform, place uniform, mirrored every second time on average."""
    whole = picture(name)
    side = round(SMALLEST * (min(whole.size) / SMALLEST) ** draw.uniform())
    left, top = (int(draw.integers(extent - side + 1)) for extent in whole.size)
    crop = whole.crop((left, top, left + side, top + side))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.uniform() < 0.5 else crop
