from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vptft.data.images import ImageSet
from vptft.data.own import own_folder, own_task
from vptft.errors import DataError, SettingsError

ClassFolder = Callable[..., Path]


def per_class(images: ImageSet) -> dict[str, int]:
    assert images.labels is not None
    return dict(Counter(images.classes[label] for label in images.labels))


def test_an_unsplit_folder_is_split_64_16_20_in_every_class(tmp_path: Path, class_folder: ClassFolder) -> None:
    task = own_task(class_folder(tmp_path, {"cat": 50, "dog": 100}), "pets of mine", objective="counting")
    assert (task.group, task.objective, task.classes) == ("own", "counting", ("cat", "dog"))
    assert per_class(task.load("train")) == {"cat": 32, "dog": 64}
    assert per_class(task.load("val")) == {"cat": 8, "dog": 16}
    assert per_class(task.load("test")) == {"cat": 10, "dog": 20}
    assert "64/16/20" in task.source
    parts = {split: set(task.load(split).ids) for split in ("train", "val", "trainval", "test")}
    assert parts["trainval"] == parts["train"] | parts["val"]
    assert not parts["train"] & parts["val"]
    assert not parts["trainval"] & parts["test"]
    assert len(parts["trainval"] | parts["test"]) == 150


def test_splits_do_not_depend_on_the_seed_and_training_draws_do(tmp_path: Path, class_folder: ClassFolder) -> None:
    task = own_task(class_folder(tmp_path, {"cat": 30, "dog": 30}), "mine")
    assert task.load("test", seed=1).ids == task.load("test").ids
    assert task.load("test", n=4, seed=1).ids == task.load("test", n=4).ids
    draws = [task.load("train", n=10, seed=seed) for seed in (0, 1)]
    assert draws[0].ids != draws[1].ids
    assert per_class(draws[0]) == per_class(draws[1]) == {"cat": 5, "dog": 5}
    with pytest.raises(SettingsError, match="A split is one of"):
        task.load("dev")


def test_splits_the_user_keeps_are_kept(tmp_path: Path, class_folder: ClassFolder, paint: Callable[..., Path]) -> None:
    for split, count in {"Train": 5, "valid": 2, "test": 3}.items():
        class_folder(tmp_path / split, {"cat": count, "dog": count})
    paint(tmp_path / "docs" / "figure.png")
    paint(tmp_path / "cover.png")
    task = own_task(tmp_path, "mine")
    assert task.classes == ("cat", "dog")
    assert [len(task.load(split)) for split in ("train", "val", "trainval", "test")] == [10, 4, 14, 6]
    assert task.load("test").ids[0] == "test/cat/000.png"
    skipped = task.load("train").skipped
    assert [item.path for item in skipped] == ["cover.png", "docs/figure.png"]
    assert skipped[0].reason == "it lies outside Train, test, valid"


def test_without_val_a_fifth_of_train_serves(tmp_path: Path, class_folder: ClassFolder) -> None:
    for split, count in {"train": 10, "test": 3}.items():
        class_folder(tmp_path / split, {"cat": count, "dog": count})
    task = own_task(tmp_path, "mine")
    assert [per_class(task.load(split))["cat"] for split in ("train", "val", "trainval", "test")] == [8, 2, 10, 3]
    assert task.load("val").ids[0].startswith("train/")
    assert "20 % of train serve as val" in task.source


def test_train_and_val_alone_are_train_and_test(tmp_path: Path, class_folder: ClassFolder) -> None:
    for split, count in {"train": 10, "val": 3}.items():
        class_folder(tmp_path / split, {"cat": count, "dog": count})
    task = own_task(tmp_path, "imagenet")
    assert {path.split("/")[0] for path in task.load("test").ids} == {"val"}
    assert {path.split("/")[0] for path in task.load("trainval").ids} == {"train"}
    assert "val is the test set" in task.source


def test_a_folder_without_labels_serves_distances_only(tmp_path: Path, paint: Callable[..., Path]) -> None:
    for split in ("train", "test"):
        for i in range(5):
            paint(tmp_path / "split" / split / f"{i}.png")
    paint(tmp_path / "flat" / "a.png")
    assert len(own_folder(tmp_path / "split").images("mine", "trainval")) == 5
    assert own_folder(tmp_path / "split").images("mine", "test").name == "mine (test)"
    with pytest.raises(DataError, match=r"labels are missing. It serves distances"):
        own_task(tmp_path / "split", "mine")
    with pytest.raises(DataError, match="a folder of images without classes, so labels are missing"):
        own_task(tmp_path / "flat", "mine")
    with pytest.raises(DataError, match=r"mine has no splits: .* is a folder of images without classes"):
        own_folder(tmp_path / "flat").images("mine", "test")


def test_a_single_class_is_no_task(tmp_path: Path, class_folder: ClassFolder) -> None:
    class_folder(tmp_path / "images", {"cat": 3, "dog": 3})
    with pytest.raises(DataError, match=r"mine has the single class 'images'.*\n.*give .*images"):
        own_task(tmp_path, "mine")


def test_classes_that_are_only_tested_on_are_refused(tmp_path: Path, class_folder: ClassFolder) -> None:
    class_folder(tmp_path / "train", {"cat": 3, "dog": 3})
    class_folder(tmp_path / "test", {"unknown": 3})
    with pytest.raises(DataError, match=r"mine: no training image shows unknown, which .* tests on"):
        own_task(tmp_path, "mine")


def test_classes_of_one_image_leave_nothing_to_test_on(tmp_path: Path, class_folder: ClassFolder) -> None:
    task = own_task(class_folder(tmp_path, {"cat": 1, "dog": 1}), "mine")
    assert len(task.load("train")) == 2
    with pytest.raises(DataError, match="no image is left for test; its classes are too small"):
        task.load("test")


def test_what_is_no_image_is_skipped_in_every_split(tmp_path: Path, class_folder: ClassFolder) -> None:
    class_folder(tmp_path, {"cat": 10, "dog": 10})
    (tmp_path / "cat" / "bad.png").touch()
    task = own_task(tmp_path, "mine")
    seen = [task.load(split) for split in ("trainval", "test")]
    assert sum(len(images) for images in seen) == 20
    assert [item.path for images in seen for item in images.skipped] == ["cat/bad.png"]


def test_folders_without_images(tmp_path: Path, paint: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        own_task(tmp_path / "missing", "mine")
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="holds no usable image"):
        own_folder(tmp_path)
    paint(tmp_path / "cover.png")
    with pytest.raises(DataError, match=r"cover\.png: it lies outside test, train"):
        own_folder(tmp_path)
