from itertools import combinations

import numpy as np
import pytest

from vptft.data.suite import observed_tasks
from vptft.data.suite.crops import crop_of, regions
from vptft.data.suite.photographs import photographs, picture
from vptft.data.suite.tiles import PARTS
from vptft.errors import SettingsError

TASKS = {task.name: task for task in observed_tasks() if task.few_groups}


def test_materials_and_instruments_are_marked_as_few_groups():
    assert set(TASKS) == {"materials", "instruments"}
    for task in TASKS.values():
        images = task.load("test")
        assert set(images.groups) <= {photo.name for photo in photographs("observed")}
        assert len(set(images.groups)) == len(task.classes) == 4


@pytest.mark.parametrize("photo", ["brick", "coins", "grass", "gravel", "hubble", "retina", "ihc", "moon"])
def test_regions_of_splits_share_no_pixel_and_crops_stay_in_theirs(photo):
    covered = {part: np.zeros(picture(photo).size[::-1], dtype=bool) for part in PARTS}
    for part in PARTS:
        for i in range(30):
            (left, top, right, bottom), crop = crop_of(photo, part, 3, i)
            covered[part][top:bottom, left:right] = True
            assert crop.size == (right - left, bottom - top)
            assert right - left == bottom - top
    assert not any((covered[one] & covered[other]).any() for one, other in combinations(PARTS, 2))
    assert all(len(regions(photo, part)) >= 1 for part in PARTS)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_classes_are_balanced_and_draws_repeat(task):
    train = task.load("train")
    counts = np.bincount(train.labels)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(train.read(5), task.load("train", n=6).read(5))
    assert train.fingerprint() != task.load("train", seed=1).fingerprint()
    assert task.load("test", seed=1).fingerprint() == task.load("test").fingerprint()
    assert task.load("trainval").ids == train.ids + task.load("val").ids


def test_impossible_requests_are_refused():
    with pytest.raises(SettingsError, match="at least 1, got 0"):
        TASKS["materials"].load("train", n=0)
    with pytest.raises(SettingsError, match="split is train, val, trainval or test; got 'all'"):
        TASKS["materials"].load("all")
