import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.builders import pack, picture
from vptft.data.recognise import Registration, look, recognise
from vptft.errors import DataError, SettingsError

Layout = Callable[..., Path]


def looked(name: str, root: Path, kind: str | None = None) -> Registration:
    return look(name, root, kind=kind, objective="counting")  # type: ignore[arg-type]


def test_folders_are_recognised_by_their_lists(
    tmp_path: Path, vtab_folder: Layout, fgvc_folder: Layout, class_folder: Layout
) -> None:
    assert recognise(vtab_folder(tmp_path / "vtab" / "dtd")) == "vtab-task"
    assert recognise(tmp_path / "vtab") == "vtab"
    assert recognise(fgvc_folder(tmp_path / "birds", {"train": {"a.jpg": 1}, "test": {"b.jpg": 1}})) == "fgvc"
    assert recognise(class_folder(tmp_path / "mine", {"dtd": 1, "svhn": 1})) == "folder"


def test_files_and_folders_of_them_are_recognised_by_their_content(tmp_path: Path) -> None:
    pack(tmp_path / "shards.tar", {"a.png": picture()}).rename(tmp_path / "shards.zip")
    assert recognise(tmp_path / "shards.zip") == "archive"
    assert recognise(tmp_path) == "archive"
    assert recognise(tmp_path / "shards-{0..3}.tar") == "archive"
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4, 3), np.uint8))
    assert recognise(tmp_path / "a.npy") == "arrays"
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(DataError, match=r"pipe\.tar is neither a folder nor a regular file\.\nTaken are"):
        recognise(tmp_path / "pipe.tar")


def test_all_vtab_tasks_of_a_folder_are_found(tmp_path: Path, vtab_folder: Layout) -> None:
    for folder in ("oxford_flowers102", "cifar", "clevr_count"):
        vtab_folder(tmp_path / folder)
    found = looked("vtab", tmp_path)
    assert (found.kind, found.tasks) == ("vtab", ("cifar100", "flowers102", "clevr_count"))
    assert (found.images, found.unusable, found.classes, found.objective) == (3 * 30, 0, 0, None)
    assert found.layout == "VTAB-1k, 3 of 19 tasks"


@pytest.mark.parametrize("kind", [None, "vtab", "vtab-task"])
def test_one_task_of_them_by_its_name(tmp_path: Path, vtab_folder: Layout, kind: str | None) -> None:
    for folder in ("cifar", "clevr_dist"):
        vtab_folder(tmp_path / folder)
    found = looked("clevr_dist", tmp_path, kind)
    assert (found.name, found.path) == ("clevr_distance", str(tmp_path / "clevr_dist"))
    assert (found.kind, found.objective, found.classes, found.images) == ("vtab-task", "distance", 6, 30)


def test_listed_images_that_are_not_there_are_counted(tmp_path: Path, vtab_folder: Layout) -> None:
    vtab_folder(tmp_path / "dtd")
    for file in (tmp_path / "dtd" / "images" / "test").iterdir():
        file.unlink()
    assert (looked("dtd", tmp_path / "dtd").images, looked("dtd", tmp_path / "dtd").unusable) == (24, 6)
    for file in (tmp_path / "dtd" / "images").rglob("*.jpg"):
        file.unlink()
    with pytest.raises(DataError, match=r"none of the 30 images that its lists name is in .*, such as images/"):
        looked("dtd", tmp_path / "dtd")


def test_damaged_lists_show_at_once(tmp_path: Path, vtab_folder: Layout) -> None:
    (vtab_folder(tmp_path / "dtd") / "val200.txt").write_text("images/a.jpg 99\n")
    with pytest.raises(DataError, match=r"val200\.txt line 1: class 99 is not one of 0 to 46"):
        looked("vtab", tmp_path)


def test_fgvc_tasks_are_counted(tmp_path: Path, fgvc_folder: Layout) -> None:
    fgvc_folder(tmp_path, {"train": {"a.jpg": 1, "b.jpg": 2}, "test": {"c.jpg": 1}})
    found = looked("CUB", tmp_path)
    assert (found.name, found.kind, found.tasks) == ("cub_200_2011", "fgvc", ("cub_200_2011",))
    assert (found.images, found.classes, found.objective) == (3, 2, "classification")


def test_images_of_any_arrangement(tmp_path: Path, class_folder: Layout) -> None:
    class_folder(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "cat" / "bad.png").write_text("no image")
    found = looked("mine", tmp_path)
    assert (found.name, found.kind, found.objective) == ("mine", "folder", "counting")
    assert (found.images, found.classes, found.unusable) == (10, 2, 1)
    named = looked("clevr_dist", tmp_path)
    assert (named.name, named.kind, named.objective) == ("clevr_distance", "folder", "distance")


def test_benchmark_folders_keep_their_names(tmp_path: Path, vtab_folder: Layout, fgvc_folder: Layout) -> None:
    vtab_folder(tmp_path / "vtab" / "dtd")
    fgvc_folder(tmp_path / "birds", {"train": {"a.jpg": 1}, "test": {"b.jpg": 1}})
    with pytest.raises(DataError, match=r"dtd is a task of VTAB-1k, and mine is none of its names.\n.*add dtd /"):
        looked("mine", tmp_path / "vtab" / "dtd")
    with pytest.raises(DataError, match=r"holds several VTAB-1k tasks, and mine is none of them.\n.*add vtab /"):
        looked("mine", tmp_path / "vtab")
    with pytest.raises(DataError, match=r"as an FGVC task does, and mine is none of them.\nGive one of their names"):
        looked("mine", tmp_path / "birds")


@pytest.mark.parametrize(("name", "kind", "error", "match"), [
    ("vtab", "vtab", DataError, "No sub-folder of .* is a VTAB-1k task"),
    ("dtd", "vtab-task", DataError, "There is no VTAB-1k task dtd in"),
    ("nabirds", "fgvc", DataError, r"does not hold train\.json and test\.json of nabirds"),
    ("mine", "folder", DataError, "holds no usable image"),
    ("mine", "archive", DataError, "is no folder of archives: it holds none, or images as well"),
    ("mine", "arrays", DataError, "cannot be read as an array"),
    ("mine", "dataset", DataError, r"is no data set's address\.\nWrite torchvision:CLASS@ROOT or hf:FOLDER"),
    ("mine", "film", SettingsError, "A kind is one of vtab, .*, folder, archive, arrays, dataset; got 'film'"),
])  # fmt: skip
def test_a_kind_that_the_folder_is_not(
    tmp_path: Path, name: str, kind: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        looked(name, tmp_path, kind)
