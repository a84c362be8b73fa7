"""Small image folders and benchmark layouts, and a configuration folder of the test's own."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from vptft.data.folders import file_images
from vptft.data.tasks import Task

Paint = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("VPTFT_HOME", str(folder))
    return folder


@pytest.fixture
def paint() -> Paint:
    """``paint(path, grey=0, size=(6, 5), mode="RGB")`` writes one image and returns its path."""

    def write(path: Path, grey: int = 0, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, grey).convert(mode).save(path)
        return path

    return write


@pytest.fixture
def class_folder(paint: Paint) -> Callable[[Path, Mapping[str, int]], Path]:
    """``class_folder(root, {"cat": 3, "dog": 5})`` writes that many images a sub-folder, each of its own content."""

    def write(root: Path, counts: Mapping[str, int]) -> Path:
        for label, (name, count) in enumerate(counts.items()):
            for i in range(count):
                paint(root / name / f"{i:03}.png", grey=(17 * label + i) % 256)
        return root

    return write


@pytest.fixture
def vtab_folder(paint: Paint) -> Callable[..., Path]:
    """``vtab_folder(folder, train=8, val=4, test=6, classes=4)`` writes a VTAB-1k task, labels going round."""

    def write(folder: Path, train: int = 8, val: int = 4, test: int = 6, classes: int = 4) -> Path:
        for part, count in {"train800": train, "val200": val, "train800val200": train + val, "test": test}.items():
            names = [f"images/{part}/{i:06}.jpg" for i in range(count)]
            for i, name in enumerate(names):
                paint(folder / name, grey=i)
            lines = [f"{name} {i % classes}\n" for i, name in enumerate(names)]
            (folder / f"{part}.txt").write_text("".join(lines))
        return folder

    return write


@pytest.fixture
def fgvc_folder(paint: Paint) -> Callable[..., Path]:
    """``fgvc_folder(folder, {"train": {...}})`` writes the lists and every image they name, below ``images``."""

    def write(folder: Path, lists: Mapping[str, Mapping[str, object]], images: str = "images") -> Path:
        for split, labels in lists.items():
            for i, name in enumerate(labels):
                paint(folder / images / name, grey=i)
            (folder / f"{split}.json").write_text(json.dumps(labels))
        return folder

    return write


@pytest.fixture
def small_suite(tmp_path_factory: pytest.TempPathFactory, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two embedded tasks and a reference set in the place of the rendered ones."""
    folder = tmp_path_factory.mktemp("suite")
    paint(folder / "one.png", grey=10)

    def images(title: str) -> Callable[..., object]:
        return lambda *chosen, **drawn: file_images(f"{title} {chosen} {drawn}", folder, ["one.png"])

    def embedded(name: str, group: str) -> Task:
        return Task(
            name=name,
            group=group,
            objective="counting",
            classes=("1", "2"),
            load=images(name),  # type: ignore[arg-type]
        )

    module = ModuleType("vptft.data.suite")
    module.suite_tasks = lambda: (embedded("photo/count", "suite"),)  # type: ignore[attr-defined]
    module.observed_tasks = lambda: (embedded("digits", "observed"),)  # type: ignore[attr-defined]
    module.reference_set = images("photos")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vptft.data.suite", module)
