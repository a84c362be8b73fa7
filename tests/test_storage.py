import errno
import hashlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vptft import storage
from vptft.errors import StorageError
from vptft.storage import atomic_path, key_of, lock, read_arrays, read_json, slug, write_json, write_text

LIMITED = """
import resource, signal, sys
from pathlib import Path
from vptft.storage import atomic_path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with atomic_path(Path(sys.argv[1])) as path:
    path.write_bytes(b"x" * 5000)
"""

COUNT = """
import sys, time
from pathlib import Path
from vptft.storage import lock
target = Path(sys.argv[1])
for _ in range(40):
    with lock(target):
        count = int(target.read_text())
        time.sleep(0.001)
        target.write_text(str(count + 1))
"""


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_home_variable_moves_cache_and_configuration(own_home):
    assert storage.cache_folder() == own_home / "cache"
    assert storage.config_folder() == own_home / "config"


def test_without_the_variable_the_platforms_folders_are_used(monkeypatch):
    monkeypatch.delenv("VPTFT_HOME")
    assert storage.cache_folder().name == storage.config_folder().name == "vptft-analyze"


def test_a_written_file_is_whole_and_readable_by_others(tmp_path):
    target = tmp_path / "new" / "folder" / "text.txt"
    old = os.umask(0o022)
    try:
        write_text(target, "first\n")
        write_text(target, "second\r\n\u03c0")
    finally:
        os.umask(old)
    assert target.read_bytes() == "second\r\n\u03c0".encode()
    assert target.stat().st_mode & 0o777 == 0o644
    assert files(target.parent) == ["text.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError], ids=lambda error: error.__name__)
def test_what_fails_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "file.bin"
    target.write_text("old")

    def interrupted():
        with atomic_path(target) as path:
            path.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        interrupted()
    assert target.read_text() == "old"
    assert files(tmp_path) == ["file.bin"]


def test_a_full_disk_is_a_storage_error_that_says_so(tmp_path):
    target = tmp_path / "file.bin"
    target.write_text("old")
    full = r"file\.bin could not be written: No space left on device\.\nNothing half-written"

    def write():
        with atomic_path(target) as path:
            path.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match=full) as caught:
        write()
    assert isinstance(caught.value.__cause__, OSError)
    assert target.read_text() == "old"
    assert files(tmp_path) == ["file.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_refusal_of_the_system_itself_leaves_nothing_behind(tmp_path):
    target = tmp_path / "file.bin"
    done = subprocess.run([sys.executable, "-c", LIMITED, target], capture_output=True, text=True, check=False)
    assert "StorageError" in done.stderr
    assert "file.bin could not be written" in done.stderr
    assert files(tmp_path) == []


def test_a_folder_in_the_way_is_a_storage_error(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageError, match="taken could not be written"):
        write_text(tmp_path / "taken", "x")
    write_text(tmp_path / "file", "x")
    with pytest.raises(StorageError, match="could not be written"):
        write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(StorageError, match="could not be written"), lock(tmp_path / "file" / "below"):
        pass
    assert files(tmp_path) == ["file", "taken"]


def test_a_lock_that_cannot_be_taken_is_a_storage_error(tmp_path):
    (tmp_path / ".run.lock").mkdir()
    with pytest.raises(StorageError, match="run could not be written"), lock(tmp_path / "run"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a place where no file can be made")
def test_a_lock_where_no_file_can_be_made_is_refused_at_once():
    with pytest.raises(StorageError, match="could not be written"), lock(Path("/proc/run")):
        pass


def test_an_error_under_a_lock_is_itself_and_frees_the_lock(tmp_path):
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="mine"), lock(tmp_path / "run"):
            raise FileNotFoundError("mine")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_without_numbers_is_refused_and_nothing_written(tmp_path, value):
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "x.json", {"loss": [1.0, value]})
    assert files(tmp_path) == []


def test_json_round_trip_keeps_every_bit_and_every_letter(tmp_path):
    value = {"third": 1 / 3, "tiny": 5e-324, "name": "\u00fc/\u732b", "none": None, "list": [1, 2.0, True]}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert "\u732b" in (tmp_path / "x.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\x00"])
def test_json_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"x\.json could not be read as JSON"):
        read_json(path)


def test_arrays_with_damage_or_objects_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).random(500))
    whole = path.read_bytes()
    np.testing.assert_array_equal(read_arrays(path)["a"], np.random.default_rng(0).random(500))
    middle = len(whole) // 2
    inside = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for damaged in (b"", whole[:10], whole[:-5], inside):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"x\.npz could not be read as arrays"):
            read_arrays(path)
    np.savez(path, a=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(StorageError, match="allow_pickle=False"):
        read_arrays(path)


SAME_LETTERS = [
    "photo/count", "photo-count", "photo count", "photo_count", "photo//count", "/photo/count", "photo/count/",
    "photo/count.", ".photo/count", "photo:count", "photo/co\u00fcnt",
    "photo/count" + "x" * 80, "photo/count" + "x" * 81,
]  # fmt: skip


def test_names_that_differ_only_in_what_is_lost_stay_apart():
    slugs = [slug(name) for name in SAME_LETTERS]
    assert len(set(slugs)) == len(SAME_LETTERS)
    assert slug("photo/count") == "photo-count"
    assert slug("dsprites_location") == "dsprites_location"
    assert slug("timm/vit_base_patch16_224.orig_in21k") == "timm-vit_base_patch16_224.orig_in21k"


@pytest.mark.parametrize(
    "name", ["../..", "..", ".", "/", "", "<script>alert(1)</script>", "a\0b", "con\n", "\u732b", "-rf"]
)
def test_a_hostile_name_becomes_one_harmless_folder(name):
    made = slug(name)
    assert made
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert made[0] not in ".-"
    assert len(made) <= 89
    assert slug(name) == made


def test_hashes_are_what_they_say(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.sha256_of(tmp_path / "x") == known


def test_keys_depend_on_content_alone_and_never_change_between_versions():
    assert key_of({"a": 1, "b": [1.5, None]}, "\u00fc") == key_of({"b": [1.5, None], "a": 1}, "\u00fc")
    distinct = [
        key_of("ab", "c"),
        key_of("a", "bc"),
        key_of(["ab", "c"]),
        key_of("1"),
        key_of(1),
        key_of(None),
        key_of(),
    ]
    assert len(set(distinct)) == len(distinct)
    assert key_of("a", 1) == hashlib.sha256(b'["a", 1]').hexdigest()


def test_two_processes_never_hold_one_lock(tmp_path):
    target = tmp_path / "count"
    target.write_text("0")
    workers = [subprocess.Popen([sys.executable, "-c", COUNT, target]) for _ in range(2)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    assert target.read_text() == "80"


def test_a_reader_never_sees_half_a_file(tmp_path):
    target = tmp_path / "x.json"
    writer = (
        "import sys\nfrom pathlib import Path\nfrom vptft.storage import write_json\n"
        "for i in range(50): write_json(Path(sys.argv[1]), [i] * 20000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", writer, target])
    seen, start = set(), time.monotonic()
    while process.poll() is None and time.monotonic() - start < 60:
        if target.is_file():
            numbers = json.loads(target.read_text())
            assert len(numbers) == 20000
            assert len(set(numbers)) == 1
            seen.add(numbers[0])
    assert process.wait() == 0
    assert seen
    assert files(tmp_path) == ["x.json"]
