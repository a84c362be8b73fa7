import sys
from types import ModuleType

import numpy as np
import pytest

from vptft.data.suite import observed_tasks
from vptft.data.suite.observed import _solar
from vptft.errors import DataError, SettingsError

TASKS = {task.name: task for task in observed_tasks()}


def test_the_tasks_by_name():
    assert list(TASKS) == ["digits", "faces", "materials", "instruments", "solar"]
    assert {task.group for task in TASKS.values()} == {"observed"}


@pytest.mark.parametrize(("name", "total"), [("digits", 1797), ("faces", 200)])
def test_splits_are_disjoint_complete_and_stratified(name, total):
    parts = [TASKS[name].load(split) for split in ("train", "val", "test")]
    ids = [image for part in parts for image in part.ids]
    assert len(ids) == len(set(ids)) == total
    shares = [np.bincount(part.labels) / len(part) for part in parts]
    np.testing.assert_allclose(shares[0], shares[2], atol=0.01)
    np.testing.assert_allclose(shares[0], shares[1], atol=0.01)
    both = TASKS[name].load("trainval")
    assert set(both.ids) == {*parts[0].ids, *parts[1].ids}


@pytest.mark.parametrize("name", ["digits", "faces"])
def test_training_draws_are_balanced_and_differ_by_seed_while_test_stays(name):
    load = TASKS[name].load
    counts = np.bincount(load("train", n=40).labels)
    assert counts.max() - counts.min() <= 1
    assert load("train", n=40, seed=1).ids != load("train", n=40).ids
    assert load("train", n=40).ids == load("train").ids[:40]
    assert load("test", seed=1).ids == load("test").ids
    assert load("test", seed=1).fingerprint() == load("test").fingerprint()


def test_images_are_read_enlarged_in_rgb_and_are_their_own_group():
    digits = TASKS["digits"].load("val")
    assert digits.read(0).size == (112, 112)
    assert digits.read(0).mode == "RGB"
    assert digits.groups == digits.ids


def test_faces_come_first_in_the_array_and_are_not_the_flat_crops():
    faces = TASKS["faces"].load("test")
    spread = np.array([np.asarray(faces.read(i)).std() for i in range(len(faces))])
    assert np.median(spread[faces.labels == 0]) > np.median(spread[faces.labels == 1])


def test_more_images_than_there_are_is_refused():
    with pytest.raises(DataError, match="201 images were asked for; it holds 80"):
        TASKS["faces"].load("test", n=201)
    with pytest.raises(SettingsError, match="got 'all'"):
        TASKS["faces"].load("all")


@pytest.fixture
def _fresh_solar():
    _solar.cache_clear()
    yield
    _solar.cache_clear()


@pytest.mark.usefixtures("_fresh_solar")
def test_solar_says_how_to_install_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "elpv_dataset.utils", None)
    with pytest.raises(DataError, match="pip install elpv-dataset"):
        TASKS["solar"].load("train")


@pytest.mark.usefixtures("_fresh_solar")
def test_solar_reads_the_package_where_it_is_there(monkeypatch):
    package, utils = ModuleType("elpv_dataset"), ModuleType("elpv_dataset.utils")
    odds = np.tile([0.0, 1 / 3, 2 / 3, 1.0], 10)
    utils.load_dataset = lambda: (np.zeros((40, 30, 30), np.uint8), odds, np.repeat("mono", 40))
    monkeypatch.setitem(sys.modules, "elpv_dataset", package)
    monkeypatch.setitem(sys.modules, "elpv_dataset.utils", utils)
    images = TASKS["solar"].load("train")
    assert images.labels.mean() == 0.5
    assert images.read(0).size == (112, 112)
