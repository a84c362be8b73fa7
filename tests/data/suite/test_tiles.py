from itertools import combinations

import numpy as np
import pytest

from vptft.data.suite.photographs import photographs, picture
from vptft.data.suite.tiles import PARTS, TILE, background_tiles, cut


def share_pixels(one, other):
    return (
        one.photo == other.photo
        and abs(one.left - other.left) < min(one.side, other.side)
        and abs(one.top - other.top) < min(one.side, other.side)
    )


def test_no_two_tiles_share_a_pixel_whatever_their_split():
    tiles = [tile for part in PARTS for tile in background_tiles(part)]
    assert not any(share_pixels(one, other) for one, other in combinations(tiles, 2))


def test_splits_take_tiles_of_every_picture_in_a_fixed_share():
    sizes = {part: len(background_tiles(part)) for part in PARTS}
    assert sizes == {"train": 52, "val": 25, "test": 52}
    for part in PARTS:
        assert {tile.photo for tile in background_tiles(part)} == {photo.name for photo in photographs("background")}


@pytest.mark.parametrize("photo", photographs("background"), ids=lambda photo: photo.name)
def test_tiles_lie_within_their_picture(photo):
    width, height = picture(photo.name).size
    for tile in cut(photo.name, TILE):
        assert 0 <= tile.left <= width - TILE
        assert 0 <= tile.top <= height - TILE


def test_a_tile_gives_the_pixels_of_its_place():
    tile = background_tiles("val")[0]
    whole = np.asarray(picture(tile.photo))
    expected = whole[tile.top : tile.top + TILE, tile.left : tile.left + TILE]
    assert (np.asarray(tile.pixels()) == expected).all()
    assert tile.name == f"{tile.photo}@{tile.left},{tile.top}"
