import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from vptft.data.suite import observed_tasks
from vptft.data.suite.observed import _digits, _placed_digits, _solar, _turned_digits
from vptft.errors import DataError, SettingsError

TASKS = {task.name: task for task in observed_tasks()}


def test_the_tasks_by_name():
    assert list(TASKS) == [
        "digits",
        "digits/orientation",
        "digits/location",
        "faces",
        "materials",
        "instruments",
        "solar",
    ]
    assert {task.group for task in TASKS.values()} == {"observed"}


@pytest.mark.parametrize(("name", "total"), [("digits", 1797), ("digits/location", 1797), ("faces", 200)])
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


def test_a_column_is_where_the_digit_lies_whichever_it_is():
    task = TASKS["digits/location"].load("test")
    pixels = np.stack([np.asarray(task.read(i).convert("L"), dtype=float) for i in range(len(task))])
    middle = (pixels.sum(axis=1) @ np.arange(112)) / pixels.sum(axis=(1, 2))
    means = [middle[task.labels == label].mean() for label in range(8)]
    np.testing.assert_allclose(np.diff(means), 7, atol=1.2)  # an eighth of 28 of 56 px, enlarged twice
    assert task.classes[0] == "column 1"
    heights = (pixels.sum(axis=2) @ np.arange(112)) / pixels.sum(axis=(1, 2))
    assert abs(np.corrcoef(heights, task.labels)[0, 1]) < 0.1


def test_a_turned_digit_turned_back_is_upright():
    """Fours and sevens look like themselves in one direction only: their mean, turned back, is that of plain ones."""
    plain, turned = TASKS["digits"].load("test"), TASKS["digits/orientation"].load("test")
    digit_of = np.array([_digits()[1][int(name[-4:])] for name in turned.ids])
    for digit in (4, 7):
        upright = _mean_picture(plain, plain.labels == digit).resize((80, 80))
        likeness = np.full((8, 8), np.nan)
        for label in range(8):
            found = _mean_picture(turned, (digit_of == digit) & (turned.labels == label))
            for back in range(8):
                middle = found.rotate(45 * back, Image.Resampling.BICUBIC).crop((16, 16, 96, 96))
                likeness[label, back] = np.corrcoef(np.ravel(middle), np.ravel(upright))[0, 1]
        assert likeness.argmax(axis=1).tolist() == list(range(8))


def _mean_picture(images, chosen):
    return Image.fromarray(np.mean([images.read(i).convert("L") for i in np.flatnonzero(chosen)], axis=0))


def test_poses_are_balanced_and_tell_nothing_of_the_digit():
    plain = _digits()[1]
    for posed in (_turned_digits, _placed_digits):
        labels = posed()[1]
        counts = np.bincount(labels)
        assert counts.max() - counts.min() <= 1
        assert stats.chi2_contingency(stats.contingency.crosstab(plain, labels).count).pvalue > 0.01
    assert {name: TASKS[name].objective for name in ("digits/location", "digits/orientation", "digits")} == {
        "digits/location": "location", "digits/orientation": "orientation", "digits": "classification",
    }  # fmt: skip


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
