import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from data.builders import peak_memory
from vptft.data.arrays import MAGIC, array_images, is_array_file, read_arrays
from vptft.data.images import ImageSet, UnreadableImageError
from vptft.errors import DataError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pixels(images: ImageSet, order: list[int] | None = None) -> np.ndarray:
    return np.stack([np.asarray(images.read(i)) for i in order or range(len(images))])


def test_colours_and_greys_from_numpy() -> None:
    values = noise(3, 4, 5, 3)
    images = array_images(values, name="mine")
    assert (images.name, images.ids, images.groups) == ("mine", ("0", "1", "2"), ("0", "1", "2"))
    assert (images.labels, images.classes, images.skipped) == (None, (), ())
    np.testing.assert_array_equal(pixels(images), values)
    for grey in (values[..., 0], values[..., :1]):
        np.testing.assert_array_equal(pixels(array_images(grey, name="grey")), np.repeat(values[..., :1], 3, axis=-1))
    np.testing.assert_array_equal(pixels(array_images(values[::-1, ::2, 1:], name="view")), values[::-1, ::2, 1:])


def test_tensors_of_bytes_and_of_floats() -> None:
    values = noise(3, 4, 5, 3)
    tensor = torch.from_numpy(values).permute(0, 3, 1, 2)
    for given in (tensor, tensor / 255, (tensor / 255).double(), (tensor / 255).requires_grad_()):
        np.testing.assert_array_equal(pixels(array_images(given, name="mine")), values)
    half = (tensor[:, :1] / 255).bfloat16()
    grey = pixels(array_images(half, name="grey"))
    assert np.abs(grey.astype(int) - values[..., :1]).max() <= 1


@pytest.mark.parametrize(("values", "match"), [
    (torch.full((1, 3, 2, 2), 1.5), r"floats must lie in \[0, 1\], got 1\.5 to 1\.5\.\nUndo the normalisation"),
    (torch.full((1, 3, 2, 2), -1e-3), r"got -0\.001 to -0\.001"),
    (torch.tensor([float("nan")]).expand(1, 3, 2, 2), "got nan to nan"),
    (torch.zeros(1, 3, 2, 2, dtype=torch.int64), r"got torch\.int64 of shape \(1, 3, 2, 2\)"),
    (torch.zeros(3, 2, 2), r"expected a tensor \(n, 3, h, w\).* got torch\.float32 of shape \(3, 2, 2\)"),
    (torch.zeros(1, 2, 2, 3), r"got torch\.float32 of shape \(1, 2, 2, 3\)"),
    (np.zeros((2, 4, 4, 3)), r"expected images as uint8 of shape .*, got float64 of shape \(2, 4, 4, 3\)\.\nScale the"),
    (np.zeros((2, 3, 8, 8), np.uint8), r"got uint8 of shape \(2, 3, 8, 8\)\.\nBring the colours to the end"),
    (np.zeros((8, 8, 3), np.uint8), r"got uint8 of shape \(8, 8, 3\)\.\nThat looks like one image"),
    (np.zeros(8, np.uint8), r"got uint8 of shape \(8,\)"),
    (np.zeros((0, 4, 4, 3), np.uint8), r"got uint8 of shape \(0, 4, 4, 3\)\.\nExpected 1 to 20,000,000 images"),
    (np.zeros((2, 0, 4, 3), np.uint8), r"got uint8 of shape \(2, 0, 4, 3\)\.\nExpected 1 to"),
    ([[1, 2]], r"expected a numpy array or torch tensor of images, got list\.\nStack the images first"),
])  # fmt: skip
def test_arrays_that_are_no_images(values: object, match: str) -> None:
    with pytest.raises(DataError, match=match):
        array_images(values, name="mine")  # type: ignore[arg-type]


def test_labels_ids_and_groups() -> None:
    values = noise(4, 2, 2, 3)
    images = array_images(values, name="mine", labels=[7, 3, 7, 9], ids="abcd", groups="xxyy")
    assert images.labels is not None
    assert (images.labels.tolist(), images.classes) == ([1, 0, 1, 2], ("3", "7", "9"))
    assert (images.ids, images.groups) == (tuple("abcd"), tuple("xxyy"))
    named = array_images(values, name="mine", labels=["dog", "cat", "dog", "dog"])
    assert named.labels is not None
    assert (named.labels.tolist(), named.classes) == ([1, 0, 1, 1], ("cat", "dog"))
    with pytest.raises(DataError, match=r"4 images need as many labels, \(4,\); got labels of shape \(3,\)"):
        array_images(values, name="mine", labels=[1, 2, 3])
    with pytest.raises(DataError, match=r"labels must be whole numbers or names, got float64"):
        array_images(values, name="mine", labels=np.zeros(4))
    with pytest.raises(DataError, match=r"ids must be unique; 2 of 4 are repeats"):
        array_images(values, name="mine", ids="aabb")
    with pytest.raises(DataError, match=r"4 ids, 3 groups"):
        array_images(values, name="mine", groups="abc")


def test_the_fingerprint_is_that_of_the_pixels() -> None:
    values = noise(3, 4, 5, 3)
    before = array_images(values, name="a").fingerprint()
    assert array_images(values.copy(), name="b").fingerprint() == before
    assert array_images(torch.from_numpy(values).permute(0, 3, 1, 2) / 255, name="c").fingerprint() == before
    others = (values[:2], values[::-1], values.reshape(3, 5, 4, 3), noise(3, 4, 5, 3, seed=1))
    assert len({before, *(array_images(other, name="a").fingerprint() for other in others)}) == 5


@pytest.mark.parametrize("file", ["x.npy", "x.npz", "packed.npz"])
def test_files_of_arrays_are_read_by_rows_in_any_order(tmp_path: Path, file: str) -> None:
    values, path = noise(9, 4, 5, 3), tmp_path / file
    if file == "x.npy":
        np.save(path, values)
    else:
        {"x.npz": np.savez, "packed.npz": np.savez_compressed}[file](path, values)
    images = read_arrays(path, "mine")
    assert (images.name, len(images), images.labels) == ("mine", 9, None)
    order = [0, 1, 8, 3, 3, 0, 7]
    np.testing.assert_array_equal(pixels(images, order), values[order])
    assert images.fingerprint() == read_arrays(path).fingerprint()
    drawn = read_arrays(path, n=4, seed=2)
    np.testing.assert_array_equal(pixels(drawn), values[[int(i) for i in drawn.ids]])
    assert drawn.ids == tuple(sorted(drawn.ids)) != read_arrays(path, n=4, seed=3).ids


def test_samples_of_adm_have_their_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", noise(6, 4, 4, 3), np.array([5, 2, 5, 2, 2, 5]))
    images = read_arrays(tmp_path / "x.npz")
    assert images.labels is not None
    assert (images.labels.tolist(), images.classes) == ([1, 0, 1, 0, 0, 1], ("2", "5"))
    drawn = read_arrays(tmp_path / "x.npz", n=2)
    assert drawn.labels is not None
    assert sorted(drawn.labels) == [0, 1]


@pytest.mark.parametrize("file", ["x.npy", "x.npz"])
def test_rows_are_read_one_at_a_time(tmp_path: Path, file: str) -> None:
    values = np.zeros((64, 256, 256, 3), np.uint8)  # 12 MiB, which compress to almost nothing
    (np.save if file == "x.npy" else np.savez_compressed)(tmp_path / file, values)
    with peak_memory() as peak:
        images = read_arrays(tmp_path / file)
        for i in range(64):
            images.read(i)
    assert peak[0] < 2 * 2**20


def test_statistics_are_no_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(DataError, match=r"x\.npz holds statistics \(mu and sigma\), not images\.\n`vptft-analyze fid`"):
        read_arrays(tmp_path / "x.npz")


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    def saved(**arrays: np.ndarray) -> Path:
        np.savez(tmp_path / "x.npz", allow_pickle=True, **arrays)
        return tmp_path / "x.npz"

    with pytest.raises(DataError, match=r"x\.npz holds a, b; its images are expected in arr_0\.\nWrite them"):
        read_arrays(saved(a=np.zeros(1), b=np.zeros(1)))
    with pytest.raises(DataError, match=r"got float32 of shape \(2, 4, 4, 3\)"):
        read_arrays(saved(arr_0=np.zeros((2, 4, 4, 3), np.float32)))
    with pytest.raises(DataError, match=r"got uint8 of shape \(2, 3, 8, 8\)"):
        read_arrays(saved(arr_0=np.zeros((2, 3, 8, 8), np.uint8)))
    with pytest.raises(DataError, match=r"2 images need as many labels, \(2,\); got labels of shape \(2, 9\)"):
        read_arrays(saved(arr_0=noise(2, 4, 4, 3), arr_1=np.zeros((2, 9), int)))
    with pytest.raises(DataError, match=r"cannot be read as an array: .*object"):
        read_arrays(saved(arr_0=np.array([{}, {}], dtype=object)))
    with pytest.raises(DataError, match="arr_0 is in Fortran order, which cannot be read by rows"):
        read_arrays(saved(arr_0=np.asfortranarray(noise(2, 4, 4, 3))))
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"x\.npy cannot be read as an array: .*\nWrite it again with numpy\.save"):
        read_arrays(tmp_path / "x.npy")


def test_headers_that_claim_more_than_the_file_can_hold(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", np.zeros((9, 4, 4, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        content = archive.read("arr_0.npy")
    for claim in (b"(9e9, 4, 4, 3), }", b"(99999999999, 4, 4, 3), }"):
        start = content.index(b"(9, 4, 4, 3)")
        longer = content[:start] + claim + content[start + len(claim) :]
        with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("arr_0.npy", longer)
        (tmp_path / "x.npy").write_bytes(longer)
        for file in ("x.npz", "x.npy"):
            with peak_memory() as peak, pytest.raises(DataError, match=rf"{file} cannot be read as an array"):
                read_arrays(tmp_path / file)
            assert peak[0] < 2**20


def test_a_damaged_row_is_unreadable_and_the_others_are_not(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", noise(20, 32, 32, 3))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) * 3 // 4] ^= 0xFF
    (tmp_path / "x.npz").write_bytes(content)
    images = read_arrays(tmp_path / "x.npz")
    np.testing.assert_array_equal(pixels(images, [0, 5]), noise(20, 32, 32, 3)[[0, 5]])
    with pytest.raises(UnreadableImageError, match=r"x\.npz\[19\] cannot be read as an image: "):
        images.read(19)
    np.testing.assert_array_equal(pixels(images, [2]), noise(20, 32, 32, 3)[[2]])


def test_arrays_are_told_by_their_content(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(2, 4, 4, 3))
    np.savez(tmp_path / "b.npz", noise(2, 4, 4, 3))
    (tmp_path / "a.npy").rename(tmp_path / "a.bin")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("a.png", b"")
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04damaged")
    (tmp_path / "e.npy").write_bytes(MAGIC[:3])
    told = {file.name: is_array_file(file) for file in sorted(tmp_path.iterdir())}
    assert told == {"a.bin": True, "b.npz": True, "c.npz": False, "d.npz": False, "e.npy": False}
