import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vptft.data.recognise import Registration
from vptft.data.registrations import add, forget, registrations, table_name
from vptft.errors import DataError, StorageError, UnknownNameError

ONE = Registration(
    name="mine", path="/data/mine", kind="folder", objective="classification",
    images=10, classes=2, unusable=0, layout="one sub-folder a class",
)  # fmt: skip


ADD_MANY = """
import sys
from dataclasses import replace
from vptft.data.recognise import Registration
from vptft.data.registrations import add

for i in range(8):
    add(Registration(name=f"{sys.argv[1]}{i}", path="/data/mine", kind="folder", objective="classification",
                     images=10, classes=2, unusable=0, layout="flat"))
"""


def test_what_is_added_is_found_again(home: Path) -> None:
    assert registrations() == ()
    other = replace(ONE, name="a/b", kind="vtab", objective=None, tasks=("dtd", "svhn"))
    add(ONE)
    add(other)
    assert registrations() == (other, ONE)
    assert (home / "config" / "tasks.json").is_file()


def test_the_same_folder_is_refreshed_and_another_refused(home: Path) -> None:
    add(ONE)
    add(replace(ONE, images=12))
    assert registrations() == (replace(ONE, images=12),)
    with pytest.raises(DataError, match=r"mine is registered already, for /data/mine\.\n.*tasks forget mine` first"):
        add(replace(ONE, path="/data/other"))
    assert registrations()[0].path == "/data/mine"


def test_forgetting(home: Path) -> None:
    add(replace(ONE, name="flowers102"))
    add(ONE)
    assert forget("oxford_flowers102").name == "flowers102"
    assert forget("mine") == ONE
    with pytest.raises(UnknownNameError, match=r"no registered task named 'mine'\.\nNo registered task is registered"):
        forget("mine")


def test_names_of_the_tables() -> None:
    assert [table_name(name) for name in ("CUB", "cifar", "mine")] == ["cub_200_2011", "cifar100", "mine"]


@pytest.mark.parametrize("text", [
    "[]", '{"schema": 2, "tasks": {}}', '{"schema": 1}', '{"schema": 1, "tasks": []}',
    '{"schema": 1, "tasks": {"mine": {}}}', '{"schema": 1, "tasks": {"mine": {"kind": "folder", "path": 3}}}',
    '{"schema": 1, "tasks": {"mine": {"kind": "tar", "path": "/data"}}}',
])  # fmt: skip
def test_a_damaged_list_is_named_and_left_alone(home: Path, text: str) -> None:
    file = home / "config" / "tasks.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(StorageError, match=r"tasks\.json does not hold registered tasks: .*\nRepair it, or move"):
        registrations()
    with pytest.raises(StorageError, match=r"tasks\.json does not hold registered tasks"):
        add(ONE)
    assert file.read_text() == text


def test_two_processes_at_once_lose_nothing(home: Path) -> None:
    # The children inherit VPTFT_HOME.
    children = [subprocess.Popen([sys.executable, "-c", ADD_MANY, prefix]) for prefix in "ab"]
    assert [child.wait(timeout=120) for child in children] == [0, 0]
    assert {entry.name for entry in registrations()} == {f"{prefix}{i}" for prefix in "ab" for i in range(8)}
