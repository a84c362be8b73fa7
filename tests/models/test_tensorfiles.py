"""Files of weights from strangers: opened by content, and nothing in them runs, escapes, or fills the memory."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vptft.errors import WeightsError
from vptft.models.tensorfiles import open_tensors, sniff, state_dict

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def packed(state=STATE, **options):
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def array(values):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values)
    return buffer.getvalue()


def zipped(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "npz", "deflated npz"])
def test_every_container_is_known_by_its_content(kind, tmp_path):
    path = tmp_path / "no_telling_name"
    arrays = {name: value.numpy() for name, value in STATE.items()}
    if kind == "safetensors":
        save_file(STATE, path)
    elif kind == "zip":
        write(path, packed())
    elif kind == "legacy":
        write(path, packed(_use_new_zipfile_serialization=False))
    else:
        with path.open("wb") as file:
            (np.savez if kind == "npz" else np.savez_compressed)(file, **arrays)
    found = open_tensors(path)
    assert found.container == {"zip": "torch", "legacy": "torch", "deflated npz": "npz"}.get(kind, kind)
    read = state_dict(found.content, path)
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[name], STATE[name]) for name in STATE)


def test_arrays_in_any_order_of_bytes_and_axes_are_read(tmp_path):
    values = np.arange(12.0).reshape(3, 4)
    np.savez(tmp_path / "x.npz", big=values.astype(">f8"), fortran=np.asfortranarray(values), flags=np.array([True]))
    read = open_tensors(tmp_path / "x.npz").content
    assert np.array_equal(read["big"].numpy(), values)
    assert np.array_equal(read["fortran"].numpy(), values)


class Hostile:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("where", ["alone", "beside tensors", "whole module"])
def test_pickled_objects_are_refused_by_name_and_do_not_run(where, legacy, tmp_path):
    ran = tmp_path / "ran"
    content = {
        "alone": Hostile(ran),
        "beside tensors": {"model": STATE, "args": Hostile(ran)},
        "whole module": torch.nn.Linear(2, 2),
    }[where]
    path = write(tmp_path / "x.pth", packed(content, _use_new_zipfile_serialization=not legacy))
    name = r"torch\.nn\.modules\.linear\.Linear" if where == "whole module" else r"_?io\.open"
    with pytest.raises(WeightsError, match=rf"(?s)pickled object of {name}: to load it would run code.*state_dict"):
        open_tensors(path)
    assert not ran.exists()


class Shell:
    """Unpickling it would run a command."""

    def __reduce__(self):
        return os.system, ("false",)


def test_a_command_is_refused_by_name(tmp_path):
    path = write(tmp_path / "x.pth", packed({"a": Shell()}))
    with pytest.raises(WeightsError, match=r"pickled object of (posix|nt)\.system: to load it would run code"):
        open_tensors(path)


def test_a_hostile_pickle_inside_npz_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([Hostile(tmp_path / "ran")], dtype=object))
    with pytest.raises(WeightsError, match="'a' holds object values, not numbers"):
        open_tensors(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["/etc/x.npy", "../x.npy", "a/../../x.npy", "a\\..\\x.npy"])
def test_members_that_leave_the_archive_are_refused(name, tmp_path):
    path = zipped(tmp_path / "x.npz", {name: array(np.zeros(3))})
    with pytest.raises(WeightsError, match="leaves the archive"):
        open_tensors(path)


@pytest.mark.parametrize("name", ["x.npy", "archive/data.pkl"])
def test_a_zip_bomb_is_not_unpacked(name, tmp_path):
    path = zipped(tmp_path / "x", {name: bytes(300 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(WeightsError, match=r"would unpack to far more than its \d+ bytes"):
        open_tensors(path)


def test_one_member_that_unpacks_to_many_times_its_size_is_refused(tmp_path):
    arrays = {"big.npy": np.random.default_rng(0).bytes(2 << 20), "bomb.npy": bytes(300 << 20)}
    path = zipped(tmp_path / "x.npz", arrays, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match=r"would unpack 'bomb\.npy' from \d+ to 314572800 bytes"):
        open_tensors(path)


def test_a_compressed_torch_archive_is_refused(tmp_path):
    with zipfile.ZipFile(io.BytesIO(packed())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path = zipped(tmp_path / "x.pth", members, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match=r"was not written by torch.save"):
        open_tensors(path)


def test_headers_that_claim_ten_gigabytes_are_held_against_the_file(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2_500_000_000], "data_offsets": [0, 10_000_000_000]}}).encode()
    claims = write(tmp_path / "claims.safetensors", struct.pack("<Q", len(header)) + header + bytes(64))
    with pytest.raises(WeightsError, match="is damaged"):
        open_tensors(claims)
    long = write(tmp_path / "long.safetensors", struct.pack("<Q", 10_000_000_000) + b"{" + bytes(64))
    with pytest.raises(WeightsError, match="a safetensors header longer than the file"):
        open_tensors(long)
    member = array(np.zeros(4)).replace(b"(4,)", b"(2500000000,)").replace(b" " * 10 + b"\n", b"\n")
    npz = zipped(tmp_path / "x.npz", {"a.npy": member})
    with pytest.raises(WeightsError, match=r"claims|damaged|could not be read"):
        open_tensors(npz)


def test_a_storage_that_claims_more_than_its_record_is_not_read_beyond_it(tmp_path):
    data = packed({"a": torch.zeros(4)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    claimed = (
        members[name].replace(b"K\x04tq", b"J\x00\x00\x00\x40tq").replace(b"K\x04\x85q", b"J\x00\x00\x00\x40\x85q")
    )
    assert claimed != members[name]
    path = zipped(tmp_path / "x.pth", {**members, name: claimed})
    with pytest.raises(WeightsError, match="damaged"):
        open_tensors(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "npz"])
def test_truncated_files_are_refused_at_every_length(kind, tmp_path):
    source = tmp_path / "whole"
    if kind == "safetensors":
        save_file(STATE, source)
    elif kind == "npz":
        with source.open("wb") as file:
            np.savez(file, **{name: value.numpy() for name, value in STATE.items()})
    else:
        write(source, packed(_use_new_zipfile_serialization=kind == "zip"))
    data = source.read_bytes()
    for length in {0, 1, 7, 8, 9, *np.linspace(1, len(data) - 1, 23, dtype=int)}:
        path = write(tmp_path / "cut", data[:length])
        with pytest.raises(WeightsError):
            open_tensors(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), r"HDF5 file \(Keras\)"),
        (b"\x1f\x8b" + bytes(64), "gzip file: unpack it first"),
        (array(np.zeros(3)), "single numpy array"),
        (b"PK\x03\x04" + bytes(64), "is damaged"),
        (b"just text, long enough to be anything", "of no kind this program knows"),
    ],
)
def test_what_is_no_file_of_weights_is_named(data, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        open_tensors(write(tmp_path / "x.pth", data))


def test_other_archives_are_named(tmp_path):
    with pytest.raises(WeightsError, match="a zip archive without weights"):
        sniff(zipped(tmp_path / "x.zip", {"readme.txt": b"hello"}))
    script = zipped(tmp_path / "script.pt", {"x/data.pkl": b"", "x/constants.pkl": b"", "x/code/a.py": b""})
    with pytest.raises(WeightsError, match="TorchScript program"):
        sniff(script)
    with pytest.raises(WeightsError, match="is not a file"):
        sniff(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3), {"state_dict": {"state_dict": {}}}])
def test_files_without_tensors_by_name_are_refused(content, tmp_path):
    path = write(tmp_path / "x.pth", packed(content))
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        state_dict(open_tensors(path).content, path)


def test_a_deep_nesting_ends(tmp_path):
    content = {"a": torch.zeros(1)}
    for _ in range(30):
        content = {"state_dict": content}
    path = write(tmp_path / "x.pth", packed(content))
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        state_dict(open_tensors(path).content, path)


def test_a_plain_pickle_of_a_newer_protocol_is_refused(tmp_path):
    path = write(tmp_path / "x.pth", pickle.dumps({"a": [1.0]}, protocol=5))
    with pytest.raises(WeightsError, match=r"holds something else than plain tensors|no tensors by name"):
        state_dict(open_tensors(path).content, path)
