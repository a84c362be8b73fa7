from collections import Counter

import pytest

from vptft.data.suite.photographs import PHOTOGRAPHS, photograph, photographs, picture, shipped_bytes
from vptft.errors import DataError


def test_every_picture_has_one_role():
    assert max(Counter(photo.file for photo in PHOTOGRAPHS).values()) == 1
    assert max(Counter(photo.name for photo in PHOTOGRAPHS).values()) == 1


@pytest.mark.parametrize("photo", PHOTOGRAPHS, ids=lambda photo: photo.name)
def test_every_picture_is_shipped_and_holds_its_box(photo):
    whole = picture(photo.name)
    assert whole.mode == "RGB"
    if photo.box:
        assert whole.size == (photo.box[2] - photo.box[0], photo.box[3] - photo.box[1])


def test_the_second_view_of_the_motorcycle_is_used_for_nothing():
    assert photograph("motorcycle_right").role == "twin"
    assert [photo.name for photo in photographs("background")] == ["coffee", "flower", "motorcycle"]


def test_a_file_that_is_not_shipped_is_named():
    with pytest.raises(DataError, match=r"skimage\.data should ship no_such\.png"):
        shipped_bytes("skimage", "no_such.png")
