"""Images and their masks as a model is given them."""

import numpy as np
from PIL import Image

from vptft.data.images import ImageSet
from vptft.report.assembly.samples import masks_of


def one(height, width, mask):
    return ImageSet(
        name="one", ids=("a",), read=lambda i: Image.new("RGB", (width, height)), groups=("a",),
        fingerprint=lambda: "one", masks=lambda i: mask,
    )  # fmt: skip


def test_masks_are_cut_as_the_images_are():
    mask = np.zeros((40, 80), dtype=bool)
    mask[:, 20:60] = True  # the square that the centre crop keeps
    assert masks_of(one(40, 80, mask), 20).all()
    mask[:, 40:] = False
    left = masks_of(one(40, 80, mask), 20)[0]
    assert left[:, :10].all()
    assert not left[:, 10:].any()
    assert masks_of(one(80, 40, mask.T), 20)[0][:10].all()
