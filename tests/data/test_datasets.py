import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from vptft.data import datasets as ours
from vptft.data.datasets import address_of, dataset_images, is_address, open_dataset
from vptft.data.images import ImageSet, UnreadableImageError
from vptft.errors import DataError, MissingExtraError, UnknownNameError


class Listed:
    """A map-style data set over a list."""

    def __init__(self, items: list[Any], **attributes: object) -> None:
        self.items = items
        vars(self).update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        return self.items[i]


def colour(image: Image.Image) -> tuple[int, ...]:
    assert image.mode == "RGB"
    return tuple(np.asarray(image)[0, 0].tolist())


RED = np.full((4, 4, 3), (200, 10, 20), np.uint8)


@pytest.mark.parametrize("item", [
    Image.fromarray(RED), RED, torch.from_numpy(RED).permute(2, 0, 1), torch.from_numpy(RED).permute(2, 0, 1) / 255,
    (Image.fromarray(RED), 3), [RED, "label"], (RED,), {"image": RED, "label": 1}, {"img": Image.fromarray(RED)},
])  # fmt: skip
def test_items_of_any_kind(item: object) -> None:
    assert colour(dataset_images(Listed([item]), name="mine").read(0)) == (200, 10, 20)


def test_images_are_treated_as_those_of_files(tmp_path: Path) -> None:
    glass = Image.new("RGBA", (2, 2), (200, 0, 0, 0))
    deep = Image.fromarray(np.full((2, 2), 32896, np.uint16))
    grey = np.full((5, 3), 7, np.uint8)
    images = dataset_images(Listed([glass, deep, grey]), name="mine")
    assert [colour(images.read(i)) for i in range(3)] == [(255,) * 3, (128,) * 3, (7,) * 3]
    assert images.read(2).size == (3, 5)


def test_items_that_are_no_images_are_unreadable() -> None:
    class Broken(Listed):
        def __getitem__(self, i: int) -> Any:
            if i == 1:
                raise OSError("the file is truncated")
            return super().__getitem__(i)

    images = dataset_images(Broken(["words", None, torch.full((3, 2, 2), 2.0), {"text": "a"}]), name="mine")
    for i, reason in enumerate(
        [
            "an image, array or tensor was expected, got str",
            "the file is truncated",
            r"mine\[2\]: floats must lie in \[0, 1\], got 2 to 2",
            "an image, array or tensor was expected, got dict",
        ]
    ):
        with pytest.raises(UnreadableImageError, match=rf"mine\[{i}\] cannot be read as an image: {reason}"):
            images.read(i)


def test_labels_are_taken_where_no_image_has_to_be_decoded() -> None:
    class Undecodable(Listed):
        def __getitem__(self, i: int) -> Any:
            raise AssertionError("decoded")

    items: list[Any] = [None] * 3
    found = dataset_images(Undecodable(items, targets=[1, 0, 1], classes=["cat", "dog"]), name="mine")
    assert found.labels is not None
    assert (found.labels.tolist(), found.classes) == ([1, 0, 1], ("cat", "dog"))
    nameless = dataset_images(Undecodable(items, labels=np.array([5, 9, 5])), name="mine")
    assert nameless.labels is not None
    assert (nameless.labels.tolist(), nameless.classes) == ([0, 1, 0], ("5", "9"))
    for unusable in ([[1], [2], [3]], [1, 2], [0.5, 1.0, 2.0], [1, -1, 2], [{"box": 1}, {}, {}], [[1, 2], [3], []]):
        none = dataset_images(Undecodable(items, targets=unusable), name="mine")
        assert (none.labels, none.classes) == (None, ())


def test_what_is_no_data_set() -> None:
    class Stream:
        def __iter__(self) -> Iterator[int]:
            return iter([])

    with pytest.raises(DataError, match="expected a data set with a length and items by index, got Stream"):
        dataset_images(Stream(), name="mine")
    with pytest.raises(DataError, match="mine: the data set is empty"):
        dataset_images(Listed([]), name="mine")


def test_the_fingerprint_is_that_of_the_decoded_images_and_computed_once() -> None:
    decoded: list[int] = []

    class Counted(Listed):
        def __getitem__(self, i: int) -> Any:
            decoded.append(i)
            return super().__getitem__(i)

    images = dataset_images(Counted([RED, RED + 1]), name="mine")
    assert images.fingerprint() == images.fingerprint()
    assert decoded == [0, 1]
    same = dataset_images(Listed([(Image.fromarray(RED), 1), (RED + 1, 2)]), name="other").fingerprint()
    assert same == images.fingerprint()
    others = ([RED + 1, RED], [RED], [RED, "broken"], [RED, "broken", "broken"])
    assert len({same, *(dataset_images(Listed(each), name="mine").fingerprint() for each in others)}) == 5


def write_mnist(root: Path, split: str, labels: list[int]) -> np.ndarray:
    """Write one split in the layout of MNIST; the n-th image is of grey 10 n."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    images = np.stack([np.full((28, 28), 10 * i, np.uint8) for i in range(len(labels))])
    header = np.array([0x803, len(labels), 28, 28], ">u4").tobytes()
    (folder / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = np.array([0x801, len(labels)], ">u4").tobytes()
    (folder / f"{split}-labels-idx1-ubyte").write_bytes(header + bytes(labels))
    for kind in ("images-idx3", "labels-idx1"):
        (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(b""))
    return images


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    write_mnist(tmp_path, "train", [3, 1, 3, 0])
    write_mnist(tmp_path, "t10k", [7, 7])
    return tmp_path


def test_a_data_set_of_torchvision(mnist: Path) -> None:
    images = open_dataset(address_of(f"torchvision:MNIST@{mnist}"))
    assert images.name == f"torchvision:MNIST@{mnist}"
    assert images.labels is not None
    assert (images.labels.tolist(), images.classes[3]) == ([3, 1, 3, 0], "3 - three")
    assert [colour(images.read(i))[0] for i in range(4)] == [0, 10, 20, 30]
    assert len(open_dataset(address_of(f"torchvision:MNIST:test@{mnist}"))) == 2
    assert len(open_dataset(address_of(f"torchvision:MNIST@{mnist}"), "mine", split="test")) == 2
    drawn = open_dataset(address_of(f"torchvision:MNIST@{mnist}"), "mine", n=3, seed=1)
    assert drawn.labels is not None
    assert sorted(drawn.labels) == [0, 1, 3]


def test_a_data_set_of_torchvision_without_files() -> None:
    images = open_dataset(address_of("torchvision:FakeData"))
    assert (images.name, len(images), images.labels) == ("torchvision:FakeData", 1000, None)
    assert images.read(3).size == (224, 224)
    small = dataset_images(torchvision.datasets.FakeData(size=4, image_size=(3, 8, 8)), name="fake")
    again = dataset_images(torchvision.datasets.FakeData(size=4, image_size=(3, 8, 8)), name="fake")
    other = dataset_images(torchvision.datasets.FakeData(size=4, image_size=(3, 8, 8), random_offset=9), name="fake")
    assert small.fingerprint() == again.fingerprint() != other.fingerprint()


def test_of_a_draw_no_other_image_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: set[int] = set()
    fake = torchvision.datasets.FakeData
    get = fake.__getitem__
    monkeypatch.setattr(fake, "__getitem__", lambda self, i: (decoded.add(i), get(self, i))[1])
    images = open_dataset(address_of("torchvision:FakeData"), n=3, seed=1)
    assert images.fingerprint() == open_dataset(address_of("torchvision:FakeData"), n=3, seed=1).fingerprint()
    assert images.fingerprint() != open_dataset(address_of("torchvision:FakeData"), n=3, seed=2).fingerprint()
    assert {int(name) for name in images.ids} < decoded
    assert len(decoded) == 6


@pytest.mark.parametrize(("address", "error", "match"), [
    ("torchvision:MNITS@.", UnknownNameError, r"no torchvision data set named 'MNITS'\. Did you mean .*MNIST"),
    ("torchvision:DatasetFolders", UnknownNameError, r"no torchvision data set named 'DatasetFolders'"),
    ("torchvision:CIFAR10", DataError, r"torchvision's CIFAR10 needs the folder that holds its files\.\nWrite torch"),
    ("torchvision:CIFAR10@gone", DataError, r"There is no folder .*gone for torchvision's CIFAR10\.\nWrite torch"),
    ("torchvision:CIFAR10@.", DataError, r"torchvision:CIFAR10@.* cannot be opened: .*not found.*\n*.*Nothing is"),
    ("torchvision:CIFAR10:val@.", DataError, r"torchvision's CIFAR10 has train and test; got 'val'"),
    ("torchvision:DTD:all@.", DataError, r"torchvision:DTD:all@.* cannot be opened: .*all.*\nNothing is downloaded"),
    ("torchvision:FakeData:test", DataError, r"torchvision's FakeData has no splits; got 'test'"),
    ("torchvision:CocoDetection@.", DataError, r"cannot be opened: .*missing.*annFile"),
    ("torchvision:", DataError, r"'torchvision:' names no data set\.\nWrite torchvision:CIFAR10@~/data"),
    ("hf:", DataError, r"'hf:' names no data set"),
])  # fmt: skip
def test_data_sets_of_torchvision_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, error: type[Exception], match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=match):
        open_dataset(address_of(address))


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "saved:test").mkdir()
    texts = {
        "torchvision:CIFAR10:test@~/data": "torchvision:CIFAR10:test@/home/me/data",
        "torchvision:FakeData": "torchvision:FakeData",
        "torchvision:MNIST@rel": f"torchvision:MNIST@{tmp_path}/rel",
        "hf:saved:test": f"hf:{tmp_path}/saved:test",
        "hf:user/name:validation": "hf:user/name:validation",
    }
    for text, whole in texts.items():
        assert is_address(text)
        assert str(address_of(text)) == whole
        assert address_of(whole) == address_of(text)
    assert [address_of(text).split for text in texts] == ["test", None, None, None, "validation"]
    assert not any(map(is_address, ("cifar", "./hf:x", "huggingface:x", "torchvision")))


class TestHuggingFace:
    """Data sets made in the test; nothing is fetched."""

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("datasets")

    def made(self, count: int = 4, **columns: list[Any]) -> Any:
        from datasets import ClassLabel, Dataset, Features, Value
        from datasets import Image as ImageFeature

        def png(i: int) -> bytes:
            file = io.BytesIO()
            Image.new("L", (4, 4), 10 * i).save(file, "PNG")
            return file.getvalue()

        features = {"image": ImageFeature(), "label": ClassLabel(names=["cat", "dog"]), "text": Value("string")}
        rows = {
            "image": [{"bytes": png(i), "path": None} for i in range(count)],
            "label": [i % 2 for i in range(count)],
            "text": ["about"] * count,
        } | columns
        return Dataset.from_dict(rows, features=Features({name: features[name] for name in rows}))

    def test_images_labels_and_fingerprint(self) -> None:
        images = dataset_images(self.made(), name="mine")
        assert images.labels is not None
        assert (images.labels.tolist(), images.classes) == ([0, 1, 0, 1], ("cat", "dog"))
        assert [colour(images.read(i))[0] for i in range(4)] == [0, 10, 20, 30]
        assert images.fingerprint() == dataset_images(self.made(), name="other").fingerprint()
        assert images.fingerprint() != dataset_images(self.made(3), name="mine").fingerprint()
        torch_like = dataset_images(self.made().with_format("torch"), name="mine")
        assert colour(torch_like.read(3)) == (30, 30, 30)

    def test_unknown_labels_are_none(self) -> None:
        assert dataset_images(self.made(2, label=[-1, -1]), name="mine").labels is None
        assert dataset_images(self.made().remove_columns("label"), name="mine").labels is None

    def test_other_names_of_columns(self) -> None:
        renamed = self.made().rename_columns({"image": "scan", "label": "labels"})
        images = dataset_images(renamed, name="mine")
        assert (colour(images.read(1)), images.classes) == ((10, 10, 10), ("cat", "dog"))
        with pytest.raises(DataError, match=r"mine: no column holds images: it has label, text\.\nName it image"):
            dataset_images(self.made().remove_columns("image"), name="mine")

    def test_a_damaged_image_is_unreadable(self) -> None:
        broken = self.made(2, image=[{"bytes": b"no image", "path": None}, {"bytes": None, "path": "gone.png"}])
        images = dataset_images(broken, name="mine")
        with pytest.raises(UnreadableImageError, match=r"mine\[0\] cannot be read as an image: its content is no"):
            images.read(0)
        with pytest.raises(UnreadableImageError, match=r"mine\[1\] cannot be read as an image: there is no such file"):
            images.read(1)

    def test_sets_saved_to_disk(self, tmp_path: Path) -> None:
        from datasets import DatasetDict

        self.made().save_to_disk(tmp_path / "one")
        DatasetDict(train=self.made(), test=self.made(2)).save_to_disk(tmp_path / "two")
        DatasetDict(test=self.made(2)).save_to_disk(tmp_path / "three")
        found = {name: self.opened(f"hf:{tmp_path}/{name}").fingerprint() for name in ("one", "two:test", "three")}
        assert found == {name: self.opened(f"hf:{tmp_path}/{name}").fingerprint() for name in found}
        assert found["one"] != found["two:test"]
        counts = {text: len(self.opened(f"hf:{tmp_path}/{text}")) for text in ("one", "two:train", "two:test", "three")}
        assert counts == {"one": 4, "two:train": 4, "two:test": 2, "three": 2}
        assert len(self.opened(f"hf:{tmp_path}/two", split="test")) == 2
        for text, match in {
            "two": r"it has several splits\.\nWrite hf:.*/two:train or :test\.",
            "two:val": r"it has no split val\.\nWrite hf:.*/two:train or :test\.",
            "one:test": r"is one data set without splits; got 'test'",
            "gone": "There is no folder .*/gone of a Hugging Face data set",
        }.items():
            with pytest.raises(DataError, match=match):
                self.opened(f"hf:{tmp_path}/{text}")

    def test_names_on_the_hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import datasets

        def load(name: str) -> Any:
            if name != "user/name":
                raise ConnectionError("couldn't reach the Hub")
            return datasets.DatasetDict(train=self.made(), test=self.made(2))

        monkeypatch.setattr(datasets, "load_dataset", load)
        assert len(self.opened("hf:user/name:test")) == 2
        with pytest.raises(DataError, match=r"hf:other/name cannot be opened: couldn't reach the Hub\nGive a folder"):
            self.opened("hf:other/name")

    def opened(self, text: str, **settings: Any) -> ImageSet:
        return open_dataset(address_of(text), **settings)


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"needs the package datasets.*\n.*vptft-analyze\[hub\]"):
        open_dataset(address_of("hf:user/name"))
    assert ours.HUGGING_FACE == "hf"
