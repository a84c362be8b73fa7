import shutil
from typing import get_args

from vptft.cli import tasks
from vptft.data.tasks import Objective


def test_objectives_offered_are_those_a_task_may_have():
    assert get_args(tasks.Objective) == get_args(Objective)


def test_a_folder_is_added_listed_and_forgotten(call, parsed, image_folder):
    added = call("tasks", "add", "squares", image_folder, "--objective", "counting")
    assert (added.exit_code, added.stdout) == (0, "")
    assert "squares" in added.stderr
    (row,) = [row for row in parsed("tasks", "list") if row["name"] == "squares"]
    assert (row["objective"], row["classes"], row["available"]) == ("counting", 3, True)
    assert str(image_folder) in row["source"]
    assert parsed("tasks", "forget", "squares") == {"forgotten": "squares"}
    assert not [row for row in parsed("tasks", "list") if row["name"] == "squares"]
    assert (image_folder / "red" / "0.png").is_file()


def test_what_was_added_is_told_in_json(parsed, image_folder):
    told = parsed("tasks", "add", "squares", image_folder)
    assert (told["name"], told["images"], told["classes"]) == ("squares", 30, 3)


def test_everything_with_a_name_is_listed_with_where_it_comes_from(call, parsed):
    rows = {row["name"]: row for row in parsed("tasks", "list")}
    assert {"photos", "photo/count", "plain/category", "dtd"} <= rows.keys()
    assert rows["photo/count"]["available"] is True
    assert rows["dtd"]["available"] is False
    assert "vptft-analyze tasks add" in rows["dtd"]["source"]
    assert rows["photos"]["objective"] is None
    shown = call("tasks", "list")
    assert all(name in shown.stdout for name in rows)


def test_what_cannot_be_added_is_said(call, tmp_path, squares, image_folder):
    (tmp_path / "empty").mkdir()
    for words, said in {
        ("x", tmp_path / "missing"): "There is no folder",
        ("x", tmp_path / "empty"): "holds no usable image",
        ("photos", image_folder): "photos is built in and cannot be given to a folder",
        ("a b", image_folder): "'a b' cannot be a name",
        (squares, image_folder / "red"): "squares is registered already, for",
    }.items():
        result = call("tasks", "add", *words)
        assert result.exit_code == 1, words
        assert said in result.stderr


def test_archives_arrays_and_data_sets_are_added(call, parsed, tmp_path, image_folder):
    packed = shutil.make_archive(str(tmp_path / "squares"), "gztar", image_folder)
    for name, place, classes in (("packed", packed, 3), ("listed", f"torchvision:ImageFolder@{image_folder}", 3)):
        added = call("tasks", "add", name, place)
        assert added.exit_code == 0, added.stderr
        assert "30 images in 3 classes" in " ".join(added.stderr.split())
        (row,) = [row for row in parsed("tasks", "list") if row["name"] == name]
        assert (row["classes"], row["available"], row["source"]) == (classes, True, place)
    refused = call("tasks", "add", "alone", image_folder / "red" / "0.png")
    assert refused.exit_code == 1
    assert "is a single image; a distance takes a set of them" in " ".join(refused.stderr.split())


def test_forgetting_what_was_never_added_lists_what_was(call, squares):
    result = call("tasks", "forget", "sqares")
    assert result.exit_code == 1
    assert "no registered task named 'sqares'. Did you mean squares?\nKnown: squares." in result.stderr
