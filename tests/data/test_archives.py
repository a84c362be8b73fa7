import gc
import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.builders import MODES, add, noisy, pack, peak_memory, picture
from vptft.data import archives, containers
from vptft.data.archives import expand, is_pattern, read_archive
from vptft.data.containers import archive_kind
from vptft.data.folders import read_folder
from vptft.data.images import ImageSet, UnreadableImageError
from vptft.errors import DataError, SettingsError


def reasons(images: ImageSet) -> dict[str, str]:
    return {item.path: item.reason for item in images.skipped}


def greys(images: ImageSet) -> list[int]:
    return [int(np.asarray(images.read(i))[0, 0, 0]) for i in range(len(images))]


@pytest.mark.parametrize("suffix", MODES)
def test_every_kind_of_archive_holds_what_the_folder_holds(tmp_path: Path, suffix: str) -> None:
    files = {f"{name}/{i}.PNG": picture(10 * i + len(name)) for name in ("cat", "horse") for i in range(3)}
    path = pack(tmp_path / f"pets{suffix}", {**files, "README": b"about", "cat/notes.md": b""})
    for name, content in files.items():
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(content)
    packed, folder = read_archive(path, "pets"), read_folder(tmp_path / "pets", "pets")
    assert (packed.name, packed.ids, packed.groups) == ("pets", folder.ids, folder.groups)
    assert (packed.classes, packed.skipped) == (("cat", "horse"), ())
    assert packed.labels is not None
    assert packed.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for i in (0, 1, 5, 2, 5, 0):
        assert packed.read(i).tobytes() == folder.read(i).tobytes()


def test_archives_are_told_by_their_content(tmp_path: Path) -> None:
    zipped = pack(tmp_path / "a.zip", {"a.png": picture()})
    tar = pack(tmp_path / "b.tar.gz", {"b.png": picture()})
    (tmp_path / "c.tar").write_bytes(zipped.read_bytes())
    (tmp_path / "d.zip").write_bytes(tar.read_bytes())
    (tmp_path / "e").write_bytes(
        pack(tmp_path / "e.tar", {"e.zip": zipped.read_bytes(), "e.png": picture()}).read_bytes()
    )
    kinds = {name: archive_kind(tmp_path / name) for name in ("a.zip", "b.tar.gz", "c.tar", "d.zip", "e")}
    assert kinds == {"a.zip": "zip", "b.tar.gz": "tar", "c.tar": "zip", "d.zip": "tar", "e": "tar"}
    assert [read_archive(tmp_path / name).ids for name in ("c.tar", "d.zip", "e")] == [
        ("a.png",),
        ("b.png",),
        ("e.png",),
    ]
    (tmp_path / "f.tar").write_bytes(picture())
    (tmp_path / "g.tar").write_bytes(b"")
    assert archive_kind(tmp_path / "f.tar") is archive_kind(tmp_path / "g.tar") is None


@pytest.mark.parametrize(("names", "classes"), [
    (["dtd/woven/a.png", "dtd/dotted/b.png"], ("dotted", "woven")),
    (["./dtd/images/woven/a.png", "./dtd/images/dotted/b.png", "./dtd/images/dotted/deep/c.png"], ("dotted", "woven")),
    (["woven/a.png", "dotted/b.png"], ("dotted", "woven")),
    (["dtd/a.png", "dtd/b.png"], ()),
    (["dtd/a.png", "dtd/woven/b.png"], ()),
    (["a.png", "woven/b.png"], ()),
    (["a.png"], ()),
])  # fmt: skip
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_classes_are_the_folders_in_which_images_part_ways(
    tmp_path: Path, names: list[str], classes: tuple[str, ...], suffix: str
) -> None:
    images = read_archive(pack(tmp_path / f"x{suffix}", [(name, picture()) for name in names]))
    assert images.classes == classes
    assert (images.labels is None) == (not classes)
    assert images.ids == tuple(name.removeprefix("./") for name in names)


def test_hidden_members_are_ignored(tmp_path: Path) -> None:
    names = ["a.png", ".b.png", "__MACOSX/._a.png", ".cache/c.png", "x/__MACOSX/d.png"]
    for suffix in (".zip", ".tar"):
        images = read_archive(pack(tmp_path / f"x{suffix}", [(name, picture()) for name in names]))
        assert (images.ids, images.skipped) == (("a.png",), ())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_of_a_zip_file_are_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("good.png", "/etc/a.png", "../b.png", "x/../../c.png", "C:/d.png", "x\\e.png", "twice.png"):
            archive.writestr(name, picture(1))
        archive.writestr("twice.png", picture(2))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        device = zipfile.ZipInfo("device.png")
        device.external_attr = 0o020666 << 16
        archive.writestr(device, "")
        archive.writestr("folder.png/", "")
    images = read_archive(path)
    assert images.ids == ("good.png", "twice.png")
    assert greys(images) == [1, 1]
    assert reasons(images) == {
        "/etc/a.png": "'/etc/a.png' is not a relative path with forward slashes",
        "../b.png": "'../b.png' leads out of the folder",
        "x/../../c.png": "'x/../../c.png' leads out of the folder",
        "C:/d.png": "'C:/d.png' is not a relative path with forward slashes",
        "x\\e.png": "'x\\\\e.png' is not a relative path with forward slashes",
        "twice.png": "its name occurs twice in the archive; the first is used",
        "link.png": "a link; links in archives are not followed",
        "device.png": "not a regular file",
    }


def test_names_of_a_tar_file_are_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name in ("good.png", "/etc/a.png", "../b.png", "twice.png", "./twice.png", f"{'deep/' * 60}c.png"):
            add(archive, name, picture(1))
        add(archive, "link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "hard.png", type=tarfile.LNKTYPE, linkname="good.png")
        add(archive, "device.png", type=tarfile.CHRTYPE)
        add(archive, "pipe.png", type=tarfile.FIFOTYPE)
        add(archive, "folder.png", type=tarfile.DIRTYPE)
        add(archive, "bytes\udcff.png", picture(1))
    images = read_archive(path)
    assert images.ids == ("good.png", "twice.png", f"{'deep/' * 60}c.png")
    assert reasons(images) == {
        "/etc/a.png": "'/etc/a.png' is not a relative path with forward slashes",
        "../b.png": "'../b.png' leads out of the folder",
        "twice.png": "its name occurs twice in the archive; the first is used",
        "link.png": "a link; links in archives are not followed",
        "hard.png": "a link; links in archives are not followed",
        "device.png": "not a regular file",
        "pipe.png": "not a regular file",
        r"bytes\udcff.png": "its name is not valid UTF-8",
    }


@pytest.mark.parametrize("suffix", MODES)
def test_what_is_no_image_is_listed_and_what_is_damaged_shows_when_read(tmp_path: Path, suffix: str) -> None:
    whole = noisy(0)
    late = b"P6\n#" + b"x" * 20_000 + b"\n1 1\n255\nabc"  # its header is longer than what is read of it at first
    path = pack(tmp_path / f"x{suffix}", {
        "cut.png": whole[:400], "empty.jpg": b"", "late.ppm": late, "notes.jpg": b"not an image", "whole.png": whole,
    })  # fmt: skip
    images = read_archive(path)
    assert images.ids == ("cut.png", "late.ppm", "whole.png")
    assert reasons(images) == {
        "empty.jpg": "the file is empty (0 bytes)",
        "notes.jpg": "its content is no image format known here",
    }
    assert np.asarray(images.read(1)).tolist() == [[list(b"abc")]]
    with pytest.raises(UnreadableImageError, match=rf"x{suffix}/cut\.png cannot be read as an image: .*truncated"):
        images.read(0)
    assert images.read(2).tobytes() == Image.open(io.BytesIO(whole)).tobytes()


def test_encrypted_members_are_listed(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a.png": picture(), "b.png": picture()})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1  # the flag of the second member, in the directory
    path.write_bytes(content)
    images = read_archive(path)
    assert (images.ids, reasons(images)) == (("a.png",), {"b.png": "it is encrypted"})


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 97])
def test_methods_of_compression_that_unpack_without_bound_are_listed(tmp_path: Path, method: int) -> None:
    path = pack(tmp_path / "x.zip", {"a.png": picture(), "b.png": picture()})
    content = bytearray(path.read_bytes())
    for start in (content.rindex(b"PK\x01\x02") + 10, content.rindex(b"PK\x03\x04") + 8):
        content[start] = method
    path.write_bytes(content)
    images = read_archive(path)
    assert images.ids == ("a.png",)
    assert "does not bound what is unpacked at a time; pack it again by deflate" in reasons(images)["b.png"]


def bomb(path: Path, method: int = zipfile.ZIP_DEFLATED, size: int = 16 * 2**20) -> int:
    """Write a zip file with an image that goes on as zeros; return how many bytes it has."""
    start = b"BM" + picture(kind="BMP")[2:]
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("good.png", picture())
        archive.writestr("bomb.bmp", start + bytes(size))
    return len(start) + size


def test_members_over_the_limit_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MEMBER_LIMIT", 2**20)
    size = bomb(tmp_path / "x.zip")
    images = read_archive(tmp_path / "x.zip")
    assert reasons(images) == {"bomb.bmp": f"it has {size:,} bytes; at most 1,048,576 are unpacked of one file"}
    assert images.ids == ("good.png",)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_member_is_unpacked_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    monkeypatch.setattr(containers, "MEMBER_LIMIT", 2**20)
    bomb(tmp_path / "x.zip", method)
    archive = containers.open_archive(tmp_path / "x.zip")
    member = next(each for each in archive.members() if each.name == "bomb.bmp")
    with peak_memory() as peak, pytest.raises(ValueError, match="it unpacks to more than the 1,048,576 bytes"):
        containers.read_member(archive, member)
    archive.close()
    assert peak[0] < 4 * 2**20


def test_a_member_is_not_unpacked_beyond_what_it_claims(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    bomb(path)
    content = bytearray(path.read_bytes())
    for start in (content.rindex(b"PK\x01\x02") + 24, content.rindex(b"PK\x03\x04") + 22):
        content[start : start + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    with peak_memory() as peak:
        assert reasons(read_archive(path)) == {"bomb.bmp": "Bad CRC-32 for file 'bomb.bmp'"}
    assert peak[0] < 2**20


def test_a_tar_file_that_claims_more_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "good.png", picture())
        add(archive, "huge.png", picture())
    content = bytearray((tmp_path / "x.tar").read_bytes())
    start = content.index(b"huge.png")
    info = tarfile.TarInfo("huge.png")
    for size, reason in (
        (2**40, "it has 1,099,511,627,776 bytes; at most 536,870,912 are"),
        (2**20, "archive ends within"),
    ):
        info.size = size
        content[start : start + 512] = info.tobuf()
        (tmp_path / "x.tar").write_bytes(content)
        images = read_archive(tmp_path / "x.tar")
        assert images.ids == ("good.png",)
        assert reason in reasons(images)["huge.png"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_headers_of_a_tar_file_take_no_more_than_headers_need(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    with tarfile.open(path, MODES[suffix], format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
        add(archive, "good.png", picture())
        add(archive, "././@LongLink", bytes(24 * 2**20), type=tarfile.GNUTYPE_LONGNAME)
        add(archive, "named.png", picture())
    with peak_memory() as peak:
        images = read_archive(path)
    assert peak[0] < 8 * 2**20
    assert images.ids == ("good.png",)
    assert reasons(images) == {
        path.name: "the archive is damaged after good.png: a header has more than 1,048,576 bytes; "
        "what follows is not read"
    }


def test_headers_of_a_tar_file_that_go_on_without_end(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "good.png", picture())
        for _ in range(1_200):
            add(archive, "x", b"11 path=a\n", type=tarfile.XHDTYPE)
    assert "damaged after good.png" in reasons(read_archive(path))["x.tar"]


def test_a_header_that_points_back_ends_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "good.png", picture())
        add(archive, "x", b"15 size=-2048\n0", type=tarfile.XHDTYPE)
        add(archive, "back.png", picture())
    images = read_archive(path)
    assert images.ids[0] == "good.png"
    assert "damaged after" in reasons(images)["x.tar"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_of_a_truncated_archive_the_beginning_is_used(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"x{suffix}", {f"{i}.png": noisy(i, (100, 100)) for i in range(40)})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    images = read_archive(path)
    unreadable = []
    for i, name in enumerate(images.ids):
        try:
            found = images.read(i).tobytes()
        except UnreadableImageError as error:
            unreadable.append(error.skipped.path)
            continue
        assert found == Image.open(io.BytesIO(noisy(int(name[:-4]), (100, 100)))).tobytes()
    assert unreadable == [f"{path}/{name}" for name in images.ids[len(images) - len(unreadable) :]]
    assert len(images) - len(unreadable) >= 10
    assert len(images) < 40
    assert any("damaged after" in reason or "ends within" in reason for reason in reasons(images).values())


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_damaged_header_is_no_end(tmp_path: Path, suffix: str) -> None:
    inner = pack(tmp_path / "x.tar", {f"{i}.png": picture(i) for i in range(9)})
    content = bytearray(inner.read_bytes())
    content[content.index(b"5.png") + 100] ^= 1
    inner.write_bytes(content)
    path = tmp_path / f"y{suffix}"
    gzipped = zlib.compressobj(wbits=31)
    path.write_bytes(content if suffix == ".tar" else gzipped.compress(content) + gzipped.flush())
    images = read_archive(path)
    assert images.ids == tuple(f"{i}.png" for i in range(5))
    assert "damaged after 4.png: there is no valid header at byte" in reasons(images)[path.name]


@pytest.mark.parametrize(("name", "content", "match"), [
    ("x.zip", b"PK\x03\x04" + bytes(200), r"x\.zip holds no usable image.*\n  x\.zip: the archive is damaged"),
    ("x.tgz", b"\x1f\x8b" + bytes(200), r"x\.tgz holds no usable image.*\n  x\.tgz: the archive is damaged"),
    ("x.tar.xz", b"\xfd7zXZ\0" + bytes(9), r"x\.tar\.xz holds no usable image.*\n  x\.tar\.xz: the archive is damaged"),
    ("x.tar", bytes(10240), r"x\.tar holds no usable image, in it or below it\.\nExpected files named"),
])  # fmt: skip
def test_archives_without_a_usable_image(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_archive(tmp_path / name)


def test_a_compressed_tar_file_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "x.tar.gz", {f"{i}.png": noisy(i) for i in range(60)})
    images = read_archive(path)
    unpacked = 0
    read = containers.gzip._GzipReader.read  # type: ignore[attr-defined]

    def counted(self: object, size: int = -1) -> bytes:
        nonlocal unpacked
        found = read(self, size)
        unpacked += len(found)
        return found  # type: ignore[no-any-return]

    monkeypatch.setattr(containers.gzip._GzipReader, "read", counted)  # type: ignore[attr-defined]
    size = 60 * 5_500
    for i in range(60):
        images.read(i)
    assert size * 0.8 < unpacked < size * 2
    images.read(0)
    assert images.read(59).tobytes() == Image.open(io.BytesIO(noisy(59))).tobytes()


def test_a_draw_is_balanced_repeatable_and_looks_at_no_more_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{name}/{i}.png": picture(i) for name in ("cat", "dog") for i in range(10)}
    path = pack(tmp_path / "x.zip", {"cat/bad.png": b"", **files})
    images = read_archive(path, n=6, seed=3)
    assert images.labels is not None
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.ids == read_archive(path, n=6, seed=3).ids != read_archive(path, n=6, seed=4).ids
    looked: list[object] = []
    monkeypatch.setattr(archives, "header_problem", lambda _, member: looked.append(member))
    read_archive(path, n=6)
    assert len(looked) == 6
    with pytest.raises(DataError, match="22 images were asked for; it holds 21"):
        read_archive(path, n=22)
    with pytest.raises(SettingsError, match="n must be at least 1, got 0"):
        read_archive(path, n=0)


def test_a_draw_of_more_than_can_be_used_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar.gz", {"a.png": picture(), "b.png": b""})
    with pytest.raises(DataError, match="2 images were asked for; it holds 1"):
        read_archive(path, n=2)


def test_the_fingerprint_follows_content_and_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "x.zip", {"a.png": picture(1), "b.png": picture(2)})
    hashed: list[Path] = []
    sha256_of = containers.sha256_of
    monkeypatch.setattr(containers, "sha256_of", lambda file: (hashed.append(file), sha256_of(file))[1])
    images = read_archive(path)
    before = images.fingerprint()
    assert read_archive(path, "other").fingerprint() == before == images.fingerprint()
    assert hashed == [path]
    assert read_archive(path, n=1).fingerprint() != before
    pack(path, {"a.png": picture(1), "b.png": picture(3)})
    os.utime(path, (1, 1))
    assert read_archive(path).fingerprint() != before
    assert hashed == [path, path]


def shards(folder: Path, count: int = 3, **extra: Callable[[int], bytes]) -> Path:
    """Write ``count`` tar files of four samples each, with the companions asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(count):
        files: list[tuple[str, bytes]] = []
        for number in range(4 * shard, 4 * shard + 4):
            files.append((f"{number:04}.jpg", picture(number, (16, 16), "JPEG")))
            files += [(f"{number:04}.{kind}", make(number)) for kind, make in extra.items()]
        pack(folder / f"train-{shard:03}.tar", files)
    return folder


def test_webdataset_shards_are_one_set(tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards", cls=lambda i: f"{(7, 3, 12)[i % 3]}\n".encode(), json=lambda i: b"{}")
    for source in (folder, folder / "train-{000..002}.tar", str(folder / "train-{000,001,002}.tar")):
        images = read_archive(source)
        assert len(images) == 12
        assert images.ids[:5] == (*(f"train-000.tar/{i:04}.jpg" for i in range(4)), "train-001.tar/0004.jpg")
        assert images.classes == ("3", "7", "12")
        assert images.labels is not None
        assert images.labels.tolist() == [1, 0, 2] * 4
        assert images.groups[:5] == ("0/0000", "0/0001", "0/0002", "0/0003", "1/0004")
        assert [abs(grey - i) < 3 for i, grey in enumerate(greys(images))] == [True] * 12
    assert read_archive(folder).fingerprint() == read_archive(folder / "train-{000..002}.tar").fingerprint()
    one = read_archive(folder / "train-001.tar")
    assert (one.ids[0], one.classes) == ("0004.jpg", ("3", "7", "12"))


@pytest.mark.parametrize("broken", ["missing", "word", "negative"])
def test_without_a_whole_number_for_every_sample_there_are_no_classes(tmp_path: Path, broken: str) -> None:
    files = {"a/1.jpg": picture(kind="JPEG"), "a/1.cls": b"1", "b/2.jpg": picture(kind="JPEG")}
    if broken != "missing":
        files["b/2.cls"] = {"word": b"cat", "negative": b"-1"}[broken]
    images = read_archive(pack(tmp_path / "x.tar", files))
    assert (len(images), images.labels, images.classes) == (2, None, ())


def test_other_parts_of_a_sample_are_no_images_of_the_set(tmp_path: Path) -> None:
    files = {"1.jpg": picture(kind="JPEG"), "1.mask.png": picture(), "1.json": b"{}"}
    images = read_archive(pack(tmp_path / "x.tar", files))
    assert images.ids == ("1.jpg",)
    assert reasons(images) == {
        "1.mask.png": "another part of a webdataset's sample, whose image is named KEY.EXTENSION"
    }
    plain = read_archive(pack(tmp_path / "y.tar", {"photo.v1.png": picture(), "photo.v2.png": picture()}))
    assert plain.ids == plain.groups == ("photo.v1.png", "photo.v2.png")
    named = read_archive(pack(tmp_path / "z.tar", {"1.rgb.png": picture(), "1.cls": b"4"}))
    assert (named.ids, named.classes) == (("1.rgb.png",), ("4",))


def test_images_of_one_sample_are_one_group(tmp_path: Path) -> None:
    files = {"1.jpg": picture(kind="JPEG"), "1.png": picture(), "1.cls": b"4", "2.png": picture(), "2.cls": b"4"}
    images = read_archive(pack(tmp_path / "x.tar", files))
    assert images.groups == ("0/1", "0/1", "0/2")


def test_a_damaged_shard_is_listed_and_the_others_are_read(tmp_path: Path) -> None:
    folder = shards(tmp_path)
    (folder / "train-001.tar").write_bytes(b"no archive" * 100)
    images = read_archive(folder)
    assert len(images) == 8
    assert reasons(images) == {
        "train-001.tar": "the archive is damaged after its beginning: it is neither a zip nor a tar file; "
        "what follows is not read"
    }  # fmt: skip


def test_shards_that_are_missing_are_named(tmp_path: Path) -> None:
    shards(tmp_path)
    with pytest.raises(
        DataError, match=r"there is no archive .*train-003\.tar, .*train-007\.tar and 2 more\.\nGive a zip"
    ):
        read_archive(tmp_path / "train-{000..009}.tar")
    with pytest.raises(DataError, match=r"there is no archive .*gone\.zip"):
        read_archive(tmp_path / "gone.zip")
    with pytest.raises(DataError, match="is no folder of archives"):
        read_archive(tmp_path.parent)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files by /proc")
def test_few_archives_are_open_at_a_time_and_none_once_the_set_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_OPEN", 2)
    folder = shards(tmp_path / "shards", 5)
    gc.collect()
    before = open_files()
    images = read_archive(folder)
    for i in (0, 19, 4, 8, 0):
        images.read(i)
    assert open_files() == before + 2
    del images
    gc.collect()
    assert open_files() == before


def test_patterns() -> None:
    assert [str(path) for path in expand("a/{8..11}-{x,y}.tar")[:4]] == [
        "a/8-x.tar",
        "a/8-y.tar",
        "a/9-x.tar",
        "a/9-y.tar",
    ]
    assert [path.name for path in expand("{008..010}")] == ["008", "009", "010"]
    assert [is_pattern(name) for name in ("a.tar", "{a}.tar", "{}.tar", "{a,b}.tar", "x-{1..2}")] == [0, 0, 0, 1, 1]
    assert [path.name for path in expand("{a,a}.tar")] == ["a.tar"]
    with pytest.raises(DataError, match=r"\{9\.\.1\} is no range of 1 to 100,000 numbers"):
        expand("x-{9..1}.tar")
    with pytest.raises(DataError, match=r"names 250,000 files; at most 100,000 are read as one set"):
        expand("x-{1..500}-{1..500}.tar")


def test_an_archive_that_is_gone_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_OPEN", 1)
    folder = shards(tmp_path)
    images = read_archive(folder)
    (folder / "train-000.tar").unlink()
    with pytest.raises(
        UnreadableImageError, match=r"train-000\.tar/0000\.jpg cannot be read as an image: .*No such file"
    ):
        images.read(0)
    assert images.read(4).size == (16, 16)
