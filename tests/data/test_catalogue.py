from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from vptft.data import catalogue, registry
from vptft.data.catalogue import Known, members, names, plugged_in
from vptft.data.tasks import Task
from vptft.errors import DataError

pytestmark = pytest.mark.usefixtures("home", "small_suite")

Layout = Callable[..., Path]


def plugged_task() -> Task:
    return Task(name="stamps", group="own", objective="classification", classes=("a", "b"), load=lambda *_: None)  # type: ignore[arg-type,return-value]


STAMPS = plugged_task()


@pytest.fixture
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"made": "plugged_task", "stamps": "STAMPS", "broken": "gone", "wrong": "__name__"}
    points = tuple(EntryPoint(name, f"{__name__}:{value}", "vptft.tasks") for name, value in values.items())
    points += (EntryPoint("missing", "no_such_package:task", "vptft.tasks"),)
    monkeypatch.setattr(catalogue, "entry_points", lambda group: points)


def by_name() -> dict[str, Known]:
    return {row.name: row for row in names()}


def test_the_table_lists_everything_with_its_origin(tmp_path: Path, class_folder: Layout) -> None:
    registry.register("mine", class_folder(tmp_path / "mine", {"cat": 3, "dog": 3}))
    rows = by_name()
    assert len(rows) == len(names()) == 1 + 2 + 19 + 5 + 1
    assert rows["photos"].group == "reference"
    assert rows["photo/count"] == Known("photo/count", "suite", "counting", 2, True, "embedded")
    assert rows["dtd"][:5] == ("dtd", "natural", "classification", 47, False)
    assert rows["dtd"].source == "run `vptft-analyze tasks add vtab PATH` or `vptft-analyze tasks add dtd PATH`"
    assert rows["nabirds"].source == "run `vptft-analyze tasks add nabirds PATH`"
    assert rows["mine"] == Known("mine", "own", "classification", 2, True, str(tmp_path / "mine"))


def test_registered_tasks_are_available_until_their_folder_is_gone(tmp_path: Path, vtab_folder: Layout) -> None:
    for folder in ("dtd", "clevr_dist"):
        vtab_folder(tmp_path / "vtab" / folder)
    registry.register("vtab", tmp_path / "vtab")
    assert {row.name for row in names() if row.available} == {
        "photos", "photo/count", "digits", "dtd", "clevr_distance",
    }  # fmt: skip
    assert by_name()["dtd"].source == str(tmp_path / "vtab")
    assert "vtab" not in by_name()
    (tmp_path / "vtab").rename(tmp_path / "moved")
    assert not by_name()["dtd"].available


def test_a_collection_stands_for_what_can_be_loaded(tmp_path: Path, vtab_folder: Layout) -> None:
    assert members("suite") == ("photo/count",)
    assert members("observed") == ("digits",)
    assert members("anything") == ("anything",)
    with pytest.raises(DataError, match=r"No task of vtab is registered\.\n.*NOAH.*tasks add vtab PATH`"):
        members("vtab")
    with pytest.raises(DataError, match=r"No task of fgvc is registered\.\n.*tasks add NAME PATH`"):
        members("fgvc")
    for folder in ("clevr_dist", "dtd"):
        vtab_folder(tmp_path / folder)
    registry.register("vtab", tmp_path)
    assert members("vtab") == ("dtd", "clevr_distance")


@pytest.mark.usefixtures("plug_ins")
def test_plug_ins_are_listed_unloaded_and_loaded_when_asked_for() -> None:
    assert by_name()["missing"] == Known("missing", "own", None, None, True, "package no_such_package")
    made = plugged_in("made")
    assert made is not None
    assert (made.name, made is STAMPS) == ("stamps", False)
    assert registry.task("stamps") is STAMPS
    assert plugged_in("other") is None


@pytest.mark.usefixtures("plug_ins")
def test_plug_ins_that_cannot_be_used() -> None:
    with pytest.raises(DataError, match=r"The entry point missing = no_such_package:task cannot be loaded: No module"):
        registry.task("missing")
    with pytest.raises(DataError, match=r"The entry point broken = .*:gone cannot be loaded"):
        registry.task("broken")
    with pytest.raises(DataError, match=r"The entry point wrong = .*:__name__ gives str, not a Task"):
        registry.task("wrong")
