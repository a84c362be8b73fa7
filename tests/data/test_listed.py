from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vptft.data.images import UnreadableImageError
from vptft.data.listed import Entry, Lists, images_of, listed_task, overlaps, path_problem, refuse
from vptft.data.tasks import Split, Task
from vptft.errors import DataError, SettingsError


def entries(split: str, paths: str) -> tuple[Entry, ...]:
    return tuple(
        Entry(path=f"{path}.png", label=i % 2, where=f"{split}.txt line {i + 1}") for i, path in enumerate(paths)
    )


def a_task(root: Path, lists: Lists) -> Task:
    names: dict[Split, str] = {split: f"{split}.txt" for split in ("train", "val", "trainval", "test")}
    return listed_task(
        name="mine", group="own", objective="counting", classes=("one", "two"), root=root,
        read=lambda: lists, expected=names, source="here",
    )  # fmt: skip


@pytest.mark.parametrize("path", ["a.jpg", "images/a b.jpg", "images/..a.jpg", "./a.jpg", "<script>.jpg"])
def test_relative_paths_are_used(path: str) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize(("path", "problem"), [
    ("/etc/a.jpg", "not a relative path"),
    ("C:/a.jpg", "not a relative path"),
    ("images\\a.jpg", "with forward slashes"),
    ("../a.jpg", "leads out of the folder"),
    ("images/../../a.jpg", "leads out of the folder"),
    ("", "empty"),
    ("a\0.jpg", "null character"),
])  # fmt: skip
def test_other_paths_are_not(path: str, problem: str) -> None:
    assert problem in str(path_problem(path))


def test_an_error_lists_the_first_problems_and_counts_the_rest() -> None:
    refuse("mine", [], "nothing to do")
    with pytest.raises(DataError, match=r"mine: .*\n  problem 0\n(.*\n)*  problem 19\n  and 5 more\nrepair it"):
        refuse("mine", [f"problem {i}" for i in range(25)], "repair it")


def test_overlaps_name_both_places() -> None:
    lists: Lists = {
        "train": entries("train", "aba"),
        "val": entries("val", "cb"),
        "trainval": entries("trainval", "abc"),
        "test": entries("test", "dc"),
    }
    assert overlaps(lists) == [
        "train.txt line 3: a.png is listed already in train.txt line 1",
        "val.txt line 2: b.png is also in train.txt line 2; a val image must not be trained on",
        "test.txt line 2: c.png is also in trainval.txt line 3; a test image must not be trained on",
    ]
    assert overlaps({"train": entries("train", "ab"), "trainval": entries("trainval", "abc")}) == []
    assert images_of(lists) == {"a.png", "b.png", "c.png", "d.png"}


def test_a_split_holds_what_its_list_names(tmp_path: Path, paint: Callable[..., Path]) -> None:
    paint(tmp_path / "a.png", grey=9)
    images = a_task(tmp_path, {"train": entries("train", "ab")}).load("train")
    assert images.name == "mine (train)"
    assert images.ids == images.groups == ("a.png", "b.png")
    assert images.labels is not None
    assert images.labels.tolist() == [0, 1]
    assert images.read(0).getpixel((0, 0)) == (9, 9, 9)
    with pytest.raises(UnreadableImageError, match=r"b\.png cannot be read as an image: there is no such file"):
        images.read(1)
    with pytest.raises(DataError, match=r"mine \(train\): 1 of 2 images cannot be read:\n .*b\.png: there is no"):
        images.pixels(8)
    assert len(images.fingerprint()) == 64


def test_training_draws_differ_by_seed_and_test_draws_do_not(tmp_path: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    task = a_task(tmp_path, {split: entries(split, letters) for split in ("train", "trainval", "test")})
    for split in ("train", "trainval"):
        draws = [task.load(split, 6, seed) for seed in (0, 1)]
        assert draws[0].ids != draws[1].ids
        assert [np.bincount(draw.labels).tolist() for draw in draws if draw.labels is not None] == [[3, 3]] * 2
        assert set(draws[0].ids) < set(task.load(split, 12, 0).ids)
    assert task.load("test", 6, 0).ids == task.load("test", 6, 1).ids
    assert task.load("test", n=26).ids == task.load("test").ids


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    task = a_task(tmp_path, {"train": entries("train", "ab")})
    with pytest.raises(DataError, match=r"mine: there is no test\.txt in .*\nThe test split needs it"):
        task.load("test")
    with pytest.raises(SettingsError, match="A split is one of train, val, trainval, test; got 'dev'"):
        task.load("dev")
    with pytest.raises(DataError, match=r"mine \(train\): 3 images were asked for; it holds 2"):
        task.load("train", n=3)
