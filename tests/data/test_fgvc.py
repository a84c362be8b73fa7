from collections.abc import Callable
from pathlib import Path

import pytest

from vptft.data import fgvc
from vptft.errors import DataError, StorageError, UnknownNameError

Layout = Callable[..., Path]

LISTS = {
    "train": {"001.Tern/a.jpg": 1, "010.Gull/b.jpg": 10, "002.Owl/c.jpg": 2},
    "val": {"001.Tern/d.jpg": 1},
    "test": {"002.Owl/e.jpg": 2, "010.Gull/f.jpg": 10},
}


@pytest.mark.parametrize(("name", "expected"), [
    ("CUB", "cub_200_2011"),
    ("CUB_200_2011", "cub_200_2011"),
    ("OxfordFlowers", "oxford_flowers"),
    ("Stanford-cars", "stanford_cars"),
    ("StanfordDogs", "stanford_dogs"),
    ("nabirds", "nabirds"),
])  # fmt: skip
def test_any_conventions_name_is_understood(name: str, expected: str) -> None:
    assert fgvc.find(name).name == expected


def test_an_unknown_name_lists_the_five() -> None:
    with pytest.raises(UnknownNameError, match=r"no FGVC task named 'aircraft'\.\nKnown: cub_200_2011, nabirds"):
        fgvc.find("aircraft")
    assert fgvc.known("flowers102") is None


def test_classes_are_numbered_in_order_of_their_ids(tmp_path: Path, fgvc_folder: Layout) -> None:
    task = fgvc.fgvc_task(fgvc_folder(tmp_path, LISTS), "CUB")
    assert (task.name, task.group, task.objective) == ("cub_200_2011", "fine-grained", "classification")
    assert task.classes == ("1", "2", "10")
    train, test = task.load("train"), task.load("test")
    assert train.ids == ("images/001.Tern/a.jpg", "images/010.Gull/b.jpg", "images/002.Owl/c.jpg")
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.tolist() == [0, 2, 1]
    assert test.labels.tolist() == [1, 2]
    assert test.pixels(4).shape == (2, 3, 4, 4)


def test_trainval_is_train_and_val(tmp_path: Path, fgvc_folder: Layout) -> None:
    task = fgvc.fgvc_task(fgvc_folder(tmp_path, LISTS), "cub_200_2011")
    assert task.load("trainval").ids == task.load("train").ids + task.load("val").ids
    (tmp_path / "val.json").unlink()
    task = fgvc.fgvc_task(tmp_path, "cub_200_2011")
    assert len(task.load("trainval")) == 3
    with pytest.raises(DataError, match=r"there is no val\.json in"):
        task.load("val")


def test_images_may_lie_beside_the_lists(tmp_path: Path, fgvc_folder: Layout) -> None:
    lists = {"train": {"jpg/a.jpg": "rose"}, "test": {"jpg/b.jpg": "rose"}}
    task = fgvc.fgvc_task(fgvc_folder(tmp_path, lists, images=""), "oxford_flowers")
    assert task.classes == ("rose",)
    assert task.load("test").ids == ("jpg/b.jpg",)
    assert len(task.load("test").pixels(4)) == 1


def test_every_problem_is_listed(tmp_path: Path, fgvc_folder: Layout) -> None:
    fgvc_folder(tmp_path, {"train": {}, "test": {}})
    (tmp_path / "train.json").write_text('{"../a.jpg": 1, "b.jpg": 1.5, "c.jpg": true, "d.jpg": 2, "d.jpg": 3}')
    (tmp_path / "test.json").write_text('{"d.jpg": 2}')
    with pytest.raises(DataError, match="cub_200_2011: its lists cannot be used") as caught:
        fgvc.fgvc_task(tmp_path, "cub_200_2011")
    for line in (
        "train.json: class 1.5 of 'b.jpg' is neither a whole number nor a name",
        "train.json: class True of 'c.jpg' is neither",
        "train.json entry 1: '../a.jpg' leads out of the folder",
        "train.json entry 5: images/d.jpg is listed already in train.json entry 4",
        "test.json entry 1: images/d.jpg is also in train.json entry 5",
    ):
        assert line in str(caught.value)


def test_more_classes_than_the_task_has(tmp_path: Path, fgvc_folder: Layout) -> None:
    fgvc_folder(tmp_path, {"train": {}, "test": {"z.jpg": 0}})
    (tmp_path / "train.json").write_text(str({f"{i}.jpg": i for i in range(201)}).replace("'", '"'))
    with pytest.raises(DataError, match="they name 201 classes; cub_200_2011 has 200"):
        fgvc.fgvc_task(tmp_path, "cub_200_2011")


@pytest.mark.parametrize(("text", "error", "match"), [
    ("[1, 2]", DataError, r"train\.json does not hold"),
    ("{}", DataError, r"train\.json does not hold"),
    ("3", DataError, r"train\.json does not hold"),
    ("{", StorageError, r"train\.json could not be read as JSON"),
])  # fmt: skip
def test_files_that_are_no_lists(tmp_path: Path, text: str, error: type[Exception], match: str) -> None:
    (tmp_path / "train.json").write_text(text)
    (tmp_path / "test.json").write_text('{"a.jpg": 1}')
    with pytest.raises(error, match=match):
        fgvc.fgvc_task(tmp_path, "cub_200_2011")


def test_missing_lists_say_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not hold train\.json and test\.json of nabirds.\n.*allaboutbirds"):
        fgvc.fgvc_task(tmp_path, "nabirds")
