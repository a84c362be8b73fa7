from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.builders import pack, picture
from vptft.data import registry
from vptft.errors import DataError, SettingsError, UnknownNameError

pytestmark = pytest.mark.usefixtures("home", "small_suite")

Layout = Callable[..., Path]


@pytest.fixture
def two_vtab_tasks(tmp_path: Path, vtab_folder: Layout) -> Path:
    for folder in ("dtd", "clevr_dist"):
        vtab_folder(tmp_path / "vtab" / folder)
    return tmp_path / "vtab"


def test_embedded_tasks_are_there() -> None:
    assert registry.task("photo/count").group == "suite"
    assert registry.task("digits").group == "observed"


@pytest.mark.parametrize(("name", "match"), [
    ("dtd", r"dtd is a task of VTAB-1k, and its images are not registered on this machine\.\n"
            r".*NOAH.* Then run `vptft-analyze tasks add vtab PATH` or `vptft-analyze tasks add dtd PATH`\."),
    ("vtab-cifar(num_classes=100)", r"cifar100 is a task of VTAB-1k"),
    ("CUB", r"cub_200_2011 is a task of FGVC.*\n.*FGVC splits.* Then run `vptft-analyze tasks add cub_200_2011 P"),
    ("vtab", r"vtab stands for several tasks, not one\.\nOne of them: cifar100, caltech101"),
    ("photos", "photos is the reference set of distances, not a task"),
])  # fmt: skip
def test_names_that_are_known_and_give_no_task(name: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        registry.task(name)


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no task named 'photo/cuont'\. Did you mean photo/count"):
        registry.task("photo/cuont")
    with pytest.raises(UnknownNameError, match=r"clevr stands for clevr_count and clevr_distance\."):
        registry.task("clevr")


def test_vtab_is_registered_at_once(two_vtab_tasks: Path) -> None:
    found = registry.register("vtab", two_vtab_tasks)
    assert found.tasks == ("dtd", "clevr_distance")
    task = registry.task("clevr_dist")
    assert (task.name, task.objective, len(task.load("trainval"))) == ("clevr_distance", "distance", 12)
    with pytest.raises(DataError, match="svhn is a task of VTAB-1k, and its images are not registered"):
        registry.task("svhn")
    assert registry.forget("vtab") == found
    with pytest.raises(DataError, match="dtd is a task of VTAB-1k, and its images are not registered"):
        registry.task("dtd")


def test_a_task_registered_by_itself_comes_before_the_collection(
    two_vtab_tasks: Path, tmp_path: Path, vtab_folder: Layout
) -> None:
    registry.register("vtab", two_vtab_tasks)
    registry.register("dtd", vtab_folder(tmp_path / "mine", train=4))
    assert len(registry.task("dtd").load("train")) == 4
    assert {row.name: row.source for row in registry.names()}["dtd"] == str(tmp_path / "mine")


def test_fgvc_is_registered_under_any_of_its_names(tmp_path: Path, fgvc_folder: Layout) -> None:
    fgvc_folder(tmp_path / "cub", {"train": {"a.jpg": 1, "b.jpg": 2}, "test": {"c.jpg": 1}})
    assert registry.register("CUB", tmp_path / "cub").name == "cub_200_2011"
    assert registry.task("CUB_200_2011").classes == ("1", "2")
    assert len(registry.images("cub_200_2011")) == 2


def test_two_registered_sets_for_a_distance(tmp_path: Path, two_vtab_tasks: Path, class_folder: Layout) -> None:
    for split in ("train", "val"):
        class_folder(tmp_path / "ilsvrc" / split, {"n01": 4, "n02": 4})
    found = registry.register("imagenet", tmp_path / "ilsvrc")
    assert (found.kind, found.images, found.classes) == ("folder", 16, 2)
    registry.register("dtd", two_vtab_tasks / "dtd")
    near, far = registry.images("imagenet"), registry.images("dtd", n=6, seed=1)
    assert (near.name, len(near)) == ("imagenet (trainval)", 8)
    assert (far.name, len(far)) == ("dtd (trainval)", 6)
    assert len(near.pixels(4)) + len(far.pixels(4)) == 14


def test_images_by_name_and_split(tmp_path: Path, two_vtab_tasks: Path) -> None:
    registry.register("vtab", two_vtab_tasks)
    assert len(registry.images("dtd:test")) == len(registry.images("dtd", split="test")) == 6
    assert len(registry.images("dtd:test", split="test", n=3)) == 3
    assert registry.images("photo/count").name == "photo/count ('trainval',) {'n': None, 'seed': 0}"
    assert registry.images("photo/count:test", n=5, seed=2).name == "photo/count ('test',) {'n': 5, 'seed': 2}"
    assert registry.images("photos").name == "photos () {'seed': 0}"
    assert registry.images("photos", n=7, seed=1).name == "photos (7,) {'seed': 1}"
    with pytest.raises(SettingsError, match="dtd:test names the split test, and val is asked for as well"):
        registry.images("dtd:test", split="val")
    with pytest.raises(SettingsError, match="A split is one of train, val, trainval, test; got 'dev'"):
        registry.images("dtd", split="dev")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="photos is a reference set without splits"):
        registry.images("photos:test")
    with pytest.raises(DataError, match="vtab stands for several tasks"):
        registry.images("vtab")


def test_any_folder_will_do(tmp_path: Path, class_folder: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folder(tmp_path / "here" / "mine", {"cat": 10, "dog": 10})
    monkeypatch.chdir(tmp_path / "here")
    for name in (str(root), "mine", "./mine"):
        images = registry.images(name)
        assert (images.name, len(images), images.classes) == (name, 20, ("cat", "dog"))
    assert len(registry.images("mine", n=6, seed=1)) == 6
    assert registry.images("./mine:test").name == "./mine (test)"
    assert len(registry.images("./mine:test")) == 4
    with pytest.raises(DataError, match=r"There is no folder \./missing"):
        registry.images("./missing")
    with pytest.raises(UnknownNameError, match=r"named 'mien'.*\n.*The path of a folder or file of images will do"):
        registry.images("mien")


def test_a_task_comes_before_a_folder_of_its_name(
    tmp_path: Path, class_folder: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folder(tmp_path / "dtd", {"cat": 2})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"not registered on this machine.*\n.*folder of that name here, write \./dtd"):
        registry.images("dtd")
    assert len(registry.images("./dtd")) == 2


def test_a_folder_of_the_users_own_is_a_task(tmp_path: Path, class_folder: Layout) -> None:
    root = class_folder(tmp_path / "beans", {"one": 10, "two": 10})
    assert registry.register("beans", root, objective="counting").layout.startswith("one sub-folder a class")
    task = registry.task("beans")
    assert (task.group, task.objective, len(task.load("test"))) == ("own", "counting", 4)
    assert len(registry.images("beans")) == 20
    assert len(registry.images("beans:test")) == 4


def test_a_benchmark_task_kept_in_sub_folders(tmp_path: Path, class_folder: Layout) -> None:
    registry.register("dtd", class_folder(tmp_path / "dtd", {"dotted": 10, "woven": 10}))
    task = registry.task("dtd")
    assert (task.group, task.classes) == ("natural", ("dotted", "woven"))
    assert "64/16/20" in task.source


def test_a_folder_without_labels(tmp_path: Path, paint: Callable[..., Path]) -> None:
    paint(tmp_path / "flat" / "a.png")
    assert registry.register("flat", tmp_path / "flat").classes == 0
    assert len(registry.images("flat")) == 1
    with pytest.raises(DataError, match=r"flat cannot be trained on: .* labels are missing"):
        registry.task("flat")


def test_a_folder_that_is_gone(tmp_path: Path, class_folder: Layout) -> None:
    root = class_folder(tmp_path / "beans", {"one": 3, "two": 3})
    registry.register("beans", root)
    root.rename(tmp_path / "moved")
    for ask in (registry.task, registry.images):
        with pytest.raises(
            DataError, match=r"beans was registered for .*, which is not there any more\.\n.*forget beans"
        ):
            ask("beans")


@pytest.mark.parametrize("name", ["", "/abs", "a b", "a:test", ".hidden", "-n", "~", "a\\b", "_x", "x" * 101, "a\n"])
def test_names_that_are_not_allowed(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be a name: it must start with a letter or digit"):
        registry.register(name, tmp_path)


@pytest.mark.parametrize("name", ["photos", "suite", "observed", "fgvc", "photo/count", "digits"])
def test_names_that_are_built_in(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is built in and cannot be given to a folder"):
        registry.register(name, tmp_path)


def test_folders_that_cannot_be_registered(tmp_path: Path, paint: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"There is no folder .*missing to register as mine"):
        registry.register("mine", tmp_path / "missing")
    with pytest.raises(DataError, match="holds no usable image"):
        registry.register("mine", tmp_path)
    with pytest.raises(SettingsError, match=r"An objective is one of classification, .*; got 'fun'"):
        registry.register("mine", tmp_path, objective="fun")  # type: ignore[arg-type]
    paint(tmp_path / "a.png")
    with pytest.raises(DataError, match="does not hold VTAB-1k tasks, which the name vtab is for"):
        registry.register("vtab", tmp_path)
    assert registry.registrations() == ()


def test_relative_paths_are_kept_absolute(
    tmp_path: Path, paint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "mine" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert registry.register("mine", "mine").path == str(tmp_path / "mine")
    monkeypatch.chdir("/")
    assert len(registry.images("mine")) == 1


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, current, of images in every shape but folders of images."""
    monkeypatch.chdir(tmp_path)
    for file in ("cats.zip", "shards/0.tar", "shards/1.tar"):
        Path(file).parent.mkdir(exist_ok=True)
        pack(Path(file), {"cat/a.png": picture(1), "dog/b.png": picture(2), "dog/c.png": b"none"})
    np.save("grey.npy", np.zeros((4, 2, 2, 3), np.uint8))
    np.savez("adm.npz", np.zeros((4, 2, 2, 3), np.uint8), np.array([0, 1, 0, 1]))
    np.savez("statistics.npz", mu=np.zeros(2), sigma=np.eye(2))
    Path("lone.png").write_bytes(picture())
    Path("words.txt").write_text("none")
    return tmp_path


@pytest.mark.parametrize(("name", "count", "kind"), [
    ("cats.zip", 2, "archive"), ("shards", 4, "archive"), ("shards/{0..1}.tar", 4, "archive"),
    ("./shards/{0,1}.tar", 4, "archive"), ("grey.npy", 4, "arrays"), ("./adm.npz", 4, "arrays"),
])  # fmt: skip
def test_archives_and_arrays_by_path_and_by_name(places: Path, name: str, count: int, kind: str) -> None:
    for path in (name, str(places / name)):
        images = registry.images(path)
        assert (images.name, len(images), images.read(0).mode) == (path, count, "RGB")
        assert len(registry.images(path, n=2, seed=1)) == 2
    found = registry.register("mine", name)
    assert (found.kind, found.path, found.images) == (kind, str(places / name), count)
    assert (found.classes, found.unusable) == (len(images.classes), len(images.skipped))
    named = registry.images("mine")
    assert (named.name, named.ids, named.fingerprint()) == ("mine", images.ids, images.fingerprint())
    assert {row.name: row.available for row in registry.names()}["mine"]
    with pytest.raises(
        DataError, match=r"mine cannot be trained on: .* an a.* It serves distances\.\nUnpack its images"
    ):
        registry.task("mine")
    for split in ("mine:test", f"{name}:test"):
        with pytest.raises(DataError, match="has no splits: archives and arrays are one set each"):
            registry.images(split)


@pytest.mark.parametrize("name", ["cats.zip", "shards", "shards/{0..1}.tar", "grey.npy"])
def test_archives_and_arrays_that_are_gone(places: Path, name: str) -> None:
    registry.register("mine", name)
    for path in (places / "cats.zip", places / "shards" / "1.tar", places / "grey.npy"):
        path.unlink()
    if name == "shards":
        (places / "shards" / "0.tar").unlink()
        (places / "shards").rmdir()
    assert not {row.name: row.available for row in registry.names()}["mine"]
    with pytest.raises(DataError, match=r"mine was registered for .*, which is not there any more"):
        registry.images("mine")


@pytest.mark.usefixtures("places")
def test_files_that_are_no_set_of_images() -> None:
    for name, match in {
        "lone.png": r"lone\.png is a single image; a distance takes a set of them\.\nTaken are a folder of images",
        "words.txt": r"words\.txt is neither an archive nor an array\.\nTaken are a folder of images",
        "statistics.npz": r"statistics\.npz holds statistics \(mu and sigma\), not images\.\n`vptft-analyze fid` takes",
    }.items():
        for ask in (registry.images, lambda path: registry.register("mine", path)):
            with pytest.raises(DataError, match=match):
                ask(f"./{name}")
    with pytest.raises(DataError, match=r"There is no folder \./gone\.zip"):
        registry.images("./gone.zip")
    with pytest.raises(DataError, match=r"there is no archive shards/2\.tar"):
        registry.images("shards/{0..2}.tar")
    with pytest.raises(DataError, match=r"There is no folder shards/\{0\.\.2\}\.tar to register as mine, and no file"):
        registry.register("mine", "shards/{0..2}.tar")


def test_a_folder_of_images_and_archives_is_a_folder(tmp_path: Path, class_folder: Layout) -> None:
    class_folder(tmp_path, {"cat": 2, "dog": 2})
    pack(tmp_path / "more.tar", {"a.png": picture()})
    assert len(registry.images(str(tmp_path))) == 4
    assert registry.register("mine", tmp_path).kind == "folder"


def test_a_benchmark_task_kept_in_an_archive(places: Path) -> None:
    found = registry.register("dtd", "cats.zip")
    assert (found.name, found.objective, found.classes) == ("dtd", "classification", 2)
    assert {row.name: row for row in registry.names()}["dtd"][3:] == (2, True, str(places / "cats.zip"))
    assert registry.images("dtd").name == "dtd"


def test_data_sets_by_address_and_by_name(tmp_path: Path, class_folder: Layout) -> None:
    root = class_folder(tmp_path / "pets", {"cat": 2, "dog": 3})
    address = f"torchvision:ImageFolder@{root}"
    images = registry.images(address, n=4)
    assert (images.name, len(images), images.classes) == (address, 4, ("cat", "dog"))
    found = registry.register("mine", f"torchvision:ImageFolder@{tmp_path}/there/../pets", objective="counting")
    assert (found.kind, found.path, found.objective) == ("dataset", address, "counting")
    assert (found.images, found.classes, found.layout) == (5, 2, "a data set")
    assert len(registry.images("mine")) == 5
    with pytest.raises(DataError, match=r"torchvision's ImageFolder has no splits; got 'test'"):
        registry.images("mine:test")
    with pytest.raises(DataError, match=r"mine cannot be trained on: torchvision:ImageFolder.* is a data set, without"):
        registry.task("mine")
    root.rename(tmp_path / "moved")
    assert not {row.name: row.available for row in registry.names()}["mine"]
    with pytest.raises(
        DataError, match=r"mine was registered for torchvision:ImageFolder.*, which is not there any more"
    ):
        registry.images("mine")


def test_a_data_set_without_a_folder_is_always_there() -> None:
    registry.register("fake", "torchvision:FakeData")
    assert {row.name: row.available for row in registry.names()}["fake"]
    assert len(registry.images("fake", n=3)) == 3
