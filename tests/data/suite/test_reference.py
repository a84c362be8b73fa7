from collections import Counter

import numpy as np
import pytest

from vptft.data.suite import reference_set
from vptft.data.suite.photographs import photographs
from vptft.errors import SettingsError


def test_no_picture_of_the_reference_has_another_use():
    groups = set(reference_set(10).groups)
    assert groups == {photo.name for photo in photographs("reference")}
    assert not groups & {photo.name for role in ("background", "observed") for photo in photographs(role)}


def test_pictures_take_turns_and_scales_vary():
    crops = reference_set(25)
    assert set(Counter(crops.groups).values()) == {5}
    sides = [crops.read(i).size for i in range(25)]
    assert all(width == height >= 96 for width, height in sides)
    assert len(set(sides)) > 15


def test_draws_repeat_nest_and_differ_by_seed():
    few, many, other = reference_set(3), reference_set(9), reference_set(3, seed=1)
    for i in range(3):
        assert np.array_equal(few.read(i), many.read(i))
        assert not np.array_equal(few.read(i), other.read(i))
    assert len({images.fingerprint() for images in (few, many, other)}) == 3
    assert few.fingerprint() == reference_set(3).fingerprint()


def test_a_crop_is_found_in_its_picture_up_to_a_mirror():
    from vptft.data.suite.photographs import picture

    crops = reference_set(1)
    crop, whole = np.asarray(crops.read(0)), np.asarray(picture(crops.groups[0]))
    places = np.argwhere((whole == crop[0, 0]).all(-1) | (whole == crop[0, -1]).all(-1))
    side = len(crop)
    assert any(
        np.array_equal(view, whole[row : row + side, column : column + side])
        for row, start in places
        for column in (start, start - side + 1)
        if column >= 0
        for view in (crop, crop[:, ::-1])
    )


def test_an_empty_reference_is_refused():
    with pytest.raises(SettingsError, match="n >= 1 crops, got 0"):
        reference_set(0)
