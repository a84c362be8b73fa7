import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vptft.data import folders
from vptft.data.folders import class_labels, open_rgb, read_folder
from vptft.data.images import UnreadableImageError
from vptft.errors import DataError, SettingsError

Paint = Callable[..., Path]


def test_a_flat_folder_has_no_labels(tmp_path: Path, paint: Paint) -> None:
    for name in ("b.JPEG", "a.png", "c.bmp", "d.WebP", "e.TIF", "f.ppm", "g.gif"):
        paint(tmp_path / name)
    (tmp_path / "README.txt").write_text("about")
    images = read_folder(tmp_path, "mine")
    assert images.name == "mine"
    assert images.ids == images.groups == ("a.png", "b.JPEG", "c.bmp", "d.WebP", "e.TIF", "f.ppm", "g.gif")
    assert images.labels is None
    assert images.classes == ()
    assert images.skipped == ()
    assert {images.read(i).mode for i in range(7)} == {"RGB"}


def test_first_level_sub_folders_are_classes(tmp_path: Path, paint: Paint) -> None:
    for name in ("dog/deep/x.png", "cat/b.png", "cat/a.png"):
        paint(tmp_path / name)
    images = read_folder(tmp_path)
    assert images.ids == ("cat/a.png", "cat/b.png", "dog/deep/x.png")
    assert images.classes == ("cat", "dog")
    assert images.labels is not None
    assert images.labels.tolist() == [0, 0, 1]


def test_an_image_outside_the_sub_folders_takes_the_labels_away(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "cat/a.png")
    paint(tmp_path / "cover.png")
    assert read_folder(tmp_path).labels is None


def test_class_labels_below_a_level() -> None:
    labels, classes = class_labels(["train/dog/1.png", "test/cat/1.png"], level=1)
    assert labels is not None
    assert labels.tolist() == [1, 0]
    assert classes == ("cat", "dog")
    assert class_labels([], level=0) == (None, ())


def test_what_is_no_image_is_listed_and_what_is_damaged_shows_when_read(tmp_path: Path, paint: Paint) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:400])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.jpg").write_text("not an image")
    images = read_folder(tmp_path)
    assert images.ids == ("cut.png", "whole.png")
    assert [(item.path, item.reason) for item in images.skipped] == [
        ("empty.jpg", "the file is empty (0 bytes)"),
        ("notes.jpg", "its content is no image format known here"),
    ]
    with pytest.raises(UnreadableImageError, match=r"cut\.png cannot be read as an image: .*truncated"):
        images.read(0)
    with pytest.raises(DataError, match=r"1 of 2 images cannot be read:\n  .*cut\.png"):
        images.pixels(8)
    assert images.subset([1]).pixels(8).shape == (1, 3, 8, 8)


def test_hidden_files_and_folders_are_ignored(tmp_path: Path, paint: Paint) -> None:
    for name in ("a.png", ".hidden.png", ".cache/b.png", "__MACOSX/._a.png"):
        paint(tmp_path / name)
    images = read_folder(tmp_path)
    assert images.ids == ("a.png",)
    assert images.skipped == ()


def test_hostile_names_are_only_names(tmp_path: Path, paint: Paint) -> None:
    names = ["<script>alert(1)<", "Größe ✓", "a b'\"&", "$(id)", "-rf", "new\nline"]
    for name in names:
        paint(tmp_path / f"{name}.png")
    images = read_folder(tmp_path)
    assert set(images.ids) == {f"{name}.png" for name in names}
    assert images.pixels(4).shape[0] == len(names)


def test_names_that_are_no_text_are_skipped(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff.png")  # noqa: PTH104 - not a str
    paint(tmp_path / "b.png")
    images = read_folder(tmp_path)
    assert images.ids == ("b.png",)
    assert images.skipped[0].reason == "its name is not valid UTF-8"
    assert images.skipped[0].path.encode() == rb"\udcff.png"


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path, paint: Paint) -> None:
    root = tmp_path / "mine"
    paint(root / "a.png")
    secret = paint(tmp_path / "elsewhere" / "secret.png")
    (root / "out.png").symlink_to(secret)
    (root / "folder").symlink_to(secret.parent)
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "again").symlink_to(root)
    images = read_folder(root)
    assert images.ids == ("a.png",)
    assert {item.path: item.reason.split(";")[0] for item in images.skipped} == {
        "out.png": "a link that leads out of the folder",
        "folder": "a link that leads out of the folder",
        "gone.png": "a link to a file that is not there",
        "again": "a link to a folder that is listed already",
    }


def test_a_link_within_the_folder_is_of_the_group_of_its_target(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "real" / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "real" / "a.png")
    images = read_folder(tmp_path)
    assert images.ids == ("b.png", "real/a.png")
    assert images.groups == ("real/a.png", "real/a.png")


def test_the_folder_itself_may_be_a_link(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "real" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_folder(tmp_path / "link").ids == ("a.png",)


def test_pipes_are_not_opened(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert read_folder(tmp_path).skipped[0].reason == "not a regular file"


def test_a_part_is_known_by_its_own_files_alone(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        paint(tmp_path / f"{i}.png", grey=i)
    read: list[str] = []
    whole = folders.sha256_of
    monkeypatch.setattr(folders, "sha256_of", lambda path: read.append(path.name) or whole(path))
    part = read_folder(tmp_path).subset([3, 1])
    fingerprint = part.fingerprint()
    assert read == ["3.png", "1.png"]
    assert part.subset([1]).fingerprint() == read_folder(tmp_path).subset([1]).fingerprint() != fingerprint
    assert fingerprint != read_folder(tmp_path).subset([1, 3]).fingerprint()


def test_the_fingerprint_follows_names_and_content(tmp_path: Path, paint: Paint) -> None:
    for name in ("a.png", "b.png"):
        paint(tmp_path / name, grey=5)
    images = read_folder(tmp_path)
    before = images.fingerprint()
    assert read_folder(tmp_path, "another name").fingerprint() == before
    paint(tmp_path / "b.png", grey=6)
    changed = images.fingerprint()
    assert changed != before
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    assert len({before, changed, read_folder(tmp_path).fingerprint(), images.fingerprint()}) == 4


def test_a_draw_opens_no_more_files_than_it_needs(
    tmp_path: Path, class_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folder(tmp_path / "mine", {"cat": 10, "dog": 10})
    for i in range(5):
        (root / "cat" / f"bad{i}.png").touch()
    images = read_folder(root, n=6, seed=3)
    assert len(images) == 6
    assert images.ids == tuple(sorted(images.ids))
    assert images.ids == read_folder(root, n=6, seed=3).ids
    assert images.ids != read_folder(root, n=6, seed=4).ids
    opened: list[str] = []
    monkeypatch.setattr("vptft.data.folders.not_an_image", lambda path: opened.append(path.name))
    read_folder(root, n=6)
    assert len(opened) == 6


@pytest.mark.parametrize(("n", "error", "match"), [
    (0, SettingsError, "n must be at least 1, got 0"),
    (9, DataError, "9 images were asked for; it holds 3"),
    (3, DataError, "3 images were asked for; it holds 2"),
])  # fmt: skip
def test_draws_that_cannot_be_made(tmp_path: Path, paint: Paint, n: int, error: type[Exception], match: str) -> None:
    paint(tmp_path / "a.png")
    paint(tmp_path / "b.png")
    (tmp_path / "c.png").touch()
    with pytest.raises(error, match=match):
        read_folder(tmp_path, n=n)


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no folder .*missing"):
        read_folder(tmp_path / "missing")
    (tmp_path / "file.png").touch()
    with pytest.raises(DataError, match=r"file\.png is a file, not a folder"):
        read_folder(tmp_path / "file.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no usable image, in it or below it\.\nExpected files named"):
        read_folder(tmp_path / "empty")
    with pytest.raises(DataError, match=r"1 were skipped:\n  file\.png: the file is empty"):
        read_folder(tmp_path)


def test_open_rgb_is_the_decoder_of_every_file_set(tmp_path: Path, paint: Paint) -> None:
    path = paint(tmp_path / "a.png", grey=77)
    assert read_folder(tmp_path).read(0).tobytes() == open_rgb(path).tobytes()
