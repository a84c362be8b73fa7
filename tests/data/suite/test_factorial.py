from collections import Counter
from functools import cache

import numpy as np
import pytest
from skimage.measure import label
from sklearn.tree import DecisionTreeClassifier

from oracles import tabletop
from vptft.data.suite import suite_tasks
from vptft.data.suite.appearances import solid_masks
from vptft.data.suite.sampling import sample_scene
from vptft.data.suite.scenes import FACTORS
from vptft.errors import SettingsError

TASKS = {task.name: task for task in suite_tasks()}
QUESTIONS = tuple(FACTORS)


def test_ten_tasks_cross_two_appearances_with_five_questions():
    assert list(TASKS) == [f"{appearance}/{question}" for appearance in ("photo", "plain") for question in QUESTIONS]
    assert {task.group for task in TASKS.values()} == {"suite"}
    objectives = ["classification", "counting", "location", "orientation", "distance"]
    assert [task.objective for task in TASKS.values()] == objectives * 2
    assert all(task.appearance == name.split("/")[0] for name, task in TASKS.items())


@pytest.mark.parametrize("index", range(72))
def test_every_label_can_be_read_back_from_the_masks(index):
    scene = sample_scene("train", 11, index)
    masks = solid_masks(scene)
    read = dict.fromkeys(FACTORS)
    read["category"], read["orientation"] = tabletop.category_and_orientation(masks[0])
    read["count"] = sum(bool(mask.sum() > 20) for mask in masks) - 1
    read["location"], read["distance"] = tabletop.location(masks[0]), tabletop.distance(masks[0])
    assert read == scene.labels


@pytest.mark.parametrize("question", QUESTIONS)
def test_photo_and_plain_show_the_same_scenes(question):
    photo, plain = (TASKS[f"{look}/{question}"].load("test", n=4) for look in ("photo", "plain"))
    assert photo.ids == plain.ids
    assert photo.groups == plain.groups
    assert (photo.labels == plain.labels).all()
    assert all((photo.masks(i) == plain.masks(i)).all() for i in range(4))
    assert photo.fingerprint() != plain.fingerprint()


def test_the_five_questions_of_one_appearance_are_about_the_same_pictures():
    sets = [TASKS[f"photo/{question}"].load("val", n=3) for question in QUESTIONS]
    pictures = [[np.asarray(images.read(i)).tobytes() for i in range(3)] for images in sets]
    assert all(each == pictures[0] for each in pictures)


def test_the_mask_is_the_target_and_for_counting_all_solids():
    category, count = (TASKS[f"plain/{question}"].load("train", n=12) for question in ("category", "count"))
    for i in range(12):
        target, every = category.masks(i), count.masks(i)
        assert not (target & ~every).any()
        assert (target.sum() < every.sum()) == (count.labels[i] > 0)
        assert label(target, connectivity=2).max() <= 2


def test_splits_share_no_background():
    groups = {split: set(TASKS["photo/count"].load(split).groups) for split in ("train", "val", "test")}
    assert not groups["train"] & groups["val"]
    assert not groups["train"] & groups["test"]
    assert not groups["val"] & groups["test"]


def test_default_sizes_and_trainval():
    load = TASKS["plain/distance"].load
    assert [len(load(split)) for split in ("train", "val", "trainval", "test")] == [300, 100, 400, 1000]
    both = load("trainval", seed=2)
    assert both.ids == load("train", seed=2).ids + load("val").ids
    assert [name.split("/")[0] for name in load("trainval", n=8).ids] == ["train"] * 6 + ["val"] * 2


def test_train_differs_by_seed_and_draws_nest_while_val_and_test_stay():
    load = TASKS["photo/category"].load
    assert load("train", n=20).ids == load("train").ids[:20]
    assert not set(load("train", seed=1).ids) & set(load("train").ids)
    for split in ("val", "test"):
        assert load(split, n=9, seed=1).ids == load(split, n=9).ids
        assert load(split, n=9, seed=1).fingerprint() == load(split, n=9).fingerprint()


def test_fingerprints_tell_pixels_apart_and_not_what_is_asked_of_them():
    load = TASKS["photo/category"].load
    sets = [load("train"), load("train", seed=1), load("train", n=9), load("val"), load("train", size=56)]
    assert TASKS["photo/count"].load("train").fingerprint() == sets[0].fingerprint()
    assert max(Counter(images.fingerprint() for images in sets).values()) == 1
    assert load("train").fingerprint() == load("train").fingerprint()


def test_pixels_are_those_of_the_pictures_reduced():
    images = TASKS["plain/count"].load("val", n=2)
    pixels = images.pixels(56)
    assert tuple(pixels.shape) == (2, 3, 56, 56)
    assert np.asarray(images.read(0)).mean() == pytest.approx(pixels[0].float().mean().item(), abs=1)


@pytest.mark.parametrize(
    ("split", "n", "match"), [("valid", None, "split is train"), ("train", 0, "at least 1, got 0")]
)
def test_impossible_requests_are_refused(split, n, match):
    with pytest.raises(SettingsError, match=match):
        TASKS["photo/count"].load(split, n=n)


@pytest.mark.parametrize("question", ["location", "distance", "count"])
def test_labels_can_be_learned_from_what_a_plain_picture_shows(question):
    """Middle and size of the largest piece, and how many pieces there are, are enough for one decision tree."""
    seen, held = piece_table("train", 240), piece_table("val", 80)
    labels = [TASKS[f"plain/{question}"].load(*split).labels for split in (("train", 240), ("val", 80))]
    assert DecisionTreeClassifier(random_state=0).fit(seen, labels[0]).score(held, labels[1]) >= 0.9


@cache
def piece_table(split, n):
    images = TASKS["plain/count"].load(split, n)
    return np.stack([pieces(images.read(i)) for i in range(n)])


def pieces(picture):
    parts = label(np.asarray(picture)[..., 0] > 127)
    areas = np.bincount(parts.ravel())[1:]
    rows, columns = np.nonzero(parts == 1 + areas.argmax())
    x, y = columns.mean() / 112, rows.mean() / 112
    return np.array([x, y, areas.max(), (areas > 20).sum(), areas.sum()])
