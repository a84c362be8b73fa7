from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vptft.data import vtab
from vptft.errors import DataError, StorageError, UnknownNameError

Layout = Callable[..., Path]


def test_the_table_is_vtab_1k() -> None:
    assert len({row.name for row in vtab.TASKS}) == 19
    assert Counter(row.group for row in vtab.TASKS) == {"natural": 7, "specialized": 4, "structured": 8}
    assert all((row.objective == "classification") == (row.group != "structured") for row in vtab.TASKS)
    assert sum(row.classes for row in vtab.TASKS) == 795 + 62 + 83
    assert len({row.folder for row in vtab.TASKS}) == len({row.kmnp for row in vtab.TASKS}) == 19


@pytest.mark.parametrize(("name", "expected"), [
    ("cifar", "cifar100"),
    ("vtab-cifar(num_classes=100)", "cifar100"),
    ("DTD", "dtd"),
    ('vtab-clevr(task="count_all")', "clevr_count"),
    ("vtab-clevr(task=closest_object_distance)", "clevr_distance"),
    ("clevr_dist", "clevr_distance"),
    ('vtab-dsprites(predicted_attribute="label_x_position", num_classes=16)', "dsprites_location"),
    ("svhn_cropped", "svhn"),
    ("sun397/tfds", "sun397"),
    ("diabetic_retinopathy_detection", "retinopathy"),
    ("smallnorb_evaluation", "smallnorb_elevation"),
    ("oxford_iiit_pet", "pets"),
])  # fmt: skip
def test_any_conventions_name_is_understood(name: str, expected: str) -> None:
    assert vtab.find(name).name == expected


def test_every_name_in_the_table_leads_back_to_its_row() -> None:
    for row in vtab.TASKS:
        for name in (row.name, row.folder, row.yaml, row.kmnp, f"vtab-{row.kmnp}"):
            assert vtab.find(name) is row


def test_unknown_and_ambiguous_names() -> None:
    with pytest.raises(UnknownNameError, match=r"no VTAB-1k task named 'clevr_cuont'\. Did you mean clevr_count"):
        vtab.find("clevr_cuont")
    with pytest.raises(UnknownNameError, match=r"clevr is the builder of clevr_count and clevr_distance"):
        vtab.find("clevr")
    assert vtab.known("clevr") is None
    assert vtab.known("photo/category") is None


def test_a_task_from_its_own_folder_or_from_that_of_all(tmp_path: Path, vtab_folder: Layout) -> None:
    vtab_folder(tmp_path / "clevr_dist")
    for root in (tmp_path, tmp_path / "clevr_dist"):
        task = vtab.vtab_task(root, "clevr_distance")
        assert (task.name, task.group, task.objective) == ("clevr_distance", "structured", "distance")
        assert task.objective_is_far
        assert task.classes == ("0", "1", "2", "3", "4", "5")
        assert [len(task.load(split)) for split in ("train", "val", "trainval", "test")] == [8, 4, 12, 6]
        assert task.load("train").ids[0] == "images/train800/000000.jpg"
        assert task.load("test", n=4).pixels(4).shape == (4, 3, 4, 4)
    assert vtab.task_folders(tmp_path) == {"clevr_distance": tmp_path / "clevr_dist"}


def test_paths_may_hold_blanks_and_lines_any_line_ends(tmp_path: Path, paint: Callable[..., Path]) -> None:
    paint(tmp_path / "images" / "a b.jpg", grey=40)
    (tmp_path / "train800.txt").write_bytes(b"\xef\xbb\xbfimages/a b.jpg\t46\r\n\r\n")
    images = vtab.vtab_task(tmp_path, "dtd").load("train")
    assert images.ids == ("images/a b.jpg",)
    assert images.labels is not None
    assert images.labels.tolist() == [46]
    images.read(0)


def test_every_bad_line_is_listed_with_its_file_and_number(tmp_path: Path) -> None:
    bad = ["images/a.jpg 1", "images/b.jpg", "7", "images/c.jpg one", "images/d.jpg 47", "images/e.jpg -1",
           "/etc/f.jpg 1", "../g.jpg 1", "images/a.jpg 2"]  # fmt: skip
    (tmp_path / "train800.txt").write_text("\n".join(bad))
    (tmp_path / "val200.txt").write_text("")
    with pytest.raises(DataError, match="dtd: its lists cannot be used") as caught:
        vtab.vtab_task(tmp_path, "dtd").load("train")
    for line in (
        "train800.txt line 2: expected 'images/NAME.jpg CLASS', got 'images/b.jpg'",
        "train800.txt line 3: expected",
        "train800.txt line 4: expected",
        "train800.txt line 5: class 47 is not one of 0 to 46",
        "train800.txt line 6: expected",
        "train800.txt line 7: '/etc/f.jpg' is not a relative path",
        "train800.txt line 8: '../g.jpg' leads out of the folder",
        "train800.txt line 9: images/a.jpg is listed already in train800.txt line 1",
        "val200.txt: the list is empty",
    ):
        assert line in str(caught.value)


def test_a_test_image_that_is_trained_on_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train800.txt").write_text("images/a.jpg 0\n")
    (tmp_path / "test.txt").write_text("images/b.jpg 0\nimages/a.jpg 0\n")
    with pytest.raises(DataError, match=r"test\.txt line 2: images/a\.jpg is also in train800\.txt line 1"):
        vtab.vtab_task(tmp_path, "dtd").load("train")


def test_missing_lists(tmp_path: Path, vtab_folder: Layout) -> None:
    with pytest.raises(DataError, match=r"no VTAB-1k task pets in .*sub-folder oxford_iiit_pet holds train800\.txt"):
        vtab.vtab_task(tmp_path / "nowhere", "pets")
    (vtab_folder(tmp_path / "dtd") / "test.txt").unlink()
    task = vtab.vtab_task(tmp_path, "dtd")
    assert len(task.load("trainval")) == 12
    with pytest.raises(DataError, match=r"dtd: there is no test\.txt in .*dtd"):
        task.load("test")


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "train800.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StorageError, match=r"train800\.txt could not be read as text"):
        vtab.vtab_task(tmp_path, "dtd").load("train")
