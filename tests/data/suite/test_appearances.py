import hashlib

import numpy as np
import pytest

from vptft.data.suite.appearances import APPEARANCES, NATIVE, render, solid_masks
from vptft.data.suite.sampling import label_of, sample_scene
from vptft.data.suite.scenes import FACTORS

PINNED = {
    "photo": "148af8cc65718cb2a25a876f55db6085d0316c7b668e9c1823f85e67f0eca943",
    "plain": "199f1c7c67d981243c06650a6996d88af0b06ecce717001f619ca786a1b82e2c",
}


LABELS = {
    "category": [3, 5, 7, 4, 0, 1, 0, 5, 2, 6, 1, 7, 4, 1, 3, 6, 2, 7],
    "count": [0, 2, 3, 5, 1, 4, 1, 0, 3, 5, 2, 4, 4, 2, 0, 5, 1, 3],
    "location": [2, 5, 4, 3, 6, 7, 1, 4, 5, 7, 6, 0, 7, 5, 2, 3, 6, 1],
    "orientation": [1, 6, 4, 0, 2, 3, 5, 1, 4, 6, 2, 3, 5, 3, 0, 6, 7, 2],
    "distance": [2, 0, 1, 3, 5, 4, 4, 1, 3, 5, 2, 0, 5, 3, 4, 0, 2, 1],
}


def digest(appearance):
    pictures = [np.asarray(render(sample_scene(part, 0, 0), appearance)) for part in ("train", "val", "test")]
    return hashlib.sha256(np.stack(pictures).tobytes()).hexdigest()


@pytest.mark.parametrize("appearance", APPEARANCES)
def test_pixels_are_those_of_this_version_of_the_suite(appearance):
    """A change here changes every result on the suite: count SUITE_VERSION up, then pin again."""
    assert digest(appearance) == PINNED[appearance]


@pytest.mark.parametrize("question", FACTORS)
def test_labels_are_those_of_this_version_of_the_suite(question):
    assert [label_of(part, 0, i, question) for part in ("train", "val", "test") for i in range(6)] == LABELS[question]


@pytest.mark.parametrize("size", [56, 98, 112])
def test_any_size_can_be_rendered(size):
    for appearance in APPEARANCES:
        picture = render(sample_scene("train", 0, 1), appearance, size)
        assert picture.size == (size, size)
        assert picture.mode == "RGB"


def test_plain_pictures_are_white_where_the_masks_are_and_black_elsewhere():
    scene = sample_scene("train", 0, 2)
    picture = np.asarray(render(scene, "plain"))[..., 0]
    inside = solid_masks(scene).any(axis=0)
    assert (picture[~inside] < 128).all()
    assert (picture[inside] > 127).mean() > 0.97


def test_masks_do_not_overlap_and_do_not_depend_on_the_size():
    scene = sample_scene("train", 0, 4)
    masks = solid_masks(scene)
    assert masks.shape == (len(scene.solids), NATIVE, NATIVE)
    assert (masks.sum(axis=0) > 1).sum() <= 4
    half = solid_masks(scene, NATIVE // 2)
    np.testing.assert_allclose(half.mean(axis=(1, 2)), masks.mean(axis=(1, 2)), rtol=0.08)


def test_photo_pictures_differ_from_their_background_only_by_solids_and_shadows():
    scene = sample_scene("train", 0, 6)
    picture = np.asarray(render(scene, "photo", 80), dtype=int)
    tile = np.asarray(scene.tile.pixels(), dtype=int)
    tile = tile[:, ::-1] if scene.mirrored else tile
    table = ~solid_masks(scene, 80).any(axis=0)
    assert (picture[table] <= tile[table] + 60).mean() > 0.99
    assert (np.abs(picture - tile)[table] <= 1).mean() > 0.4
