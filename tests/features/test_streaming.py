from dataclasses import replace

import numpy as np
import pytest

from features.builders import SPACE
from vptft.data.images import Skipped
from vptft.data.transforms import to_square
from vptft.errors import DataError, SettingsError
from vptft.features import extraction, streaming
from vptft.features import statistics as module
from vptft.features.extraction import extract
from vptft.features.extractors import Extractor
from vptft.features.statistics import Statistics, merged, missing_shards, read_statistics
from vptft.features.streaming import summarise


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of 2 and chunks of 6, so that a few images are many."""
    for where in (extraction, streaming):
        monkeypatch.setattr(where, "BATCH", 2)
    monkeypatch.setattr(streaming, "CHUNK", 6)


@pytest.fixture
def small_sample(monkeypatch):
    """Keep the features of eight images only."""
    for where in (module, streaming):
        monkeypatch.setattr(where, "SAMPLE", 8)


@pytest.fixture
def read():
    """Numbers of the images that were read, in order."""
    return []


@pytest.fixture
def make(make_images, read):
    """``make(n, bad=())``: images that note that they are read."""

    def build(n, bad=(), **fields):
        images = make_images("squares", n, 1, bad=bad)

        def noted(i):
            read.append(i)
            return images.read(i)

        return replace(images, read=noted, **fields)

    return build


@pytest.fixture
def extractor():
    """Nine colours: means of thirds of the picture."""
    return Extractor(
        name="mean",
        distance_name="FD (mean)",
        space=SPACE,
        prepare=lambda image: to_square(image, 9),
        embed=lambda batch: batch.float().unflatten(2, (3, 3)).mean(dim=(3, 4)).flatten(1),
        top_1=lambda values: (values[:, 0] > values[:, 1]).astype(np.int64),
    )


def same(first, second):
    """Bit for bit."""
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.second_moment(), second.second_moment())
    np.testing.assert_array_equal(first.features.values, second.features.values)
    for name in ("n", "name", "space", "files", "source", "shards", "skipped", "distance_name"):
        assert getattr(first, name) == getattr(second, name), name
    for name in ("ids", "groups", "classes"):
        assert getattr(first.features, name) == getattr(second.features, name), name
    np.testing.assert_array_equal(first.features.labels, second.features.labels)
    np.testing.assert_array_equal(first.features.predicted, second.features.predicted)


def close(first, second):
    scale = np.trace(second.covariance())
    np.testing.assert_allclose(first.mean, second.mean, rtol=1e-12)
    np.testing.assert_allclose(first.covariance(), second.covariance(), atol=1e-12 * scale)
    assert (first.n, first.files, first.space) == (second.n, second.files, second.space)


@pytest.mark.parametrize("n", [2, 5, 6, 7, 12, 25])
def test_streamed_statistics_are_those_of_extracted_features(make, extractor, tmp_path, n):
    images = make(n)
    found = summarise(images, extractor, tmp_path / "s.npz")
    features = extract(images, extractor)
    expected = Statistics.of(features)
    close(found, expected)
    np.testing.assert_array_equal(found.features.values, features.values)
    np.testing.assert_array_equal(found.features.labels, features.labels)
    np.testing.assert_array_equal(found.features.predicted, features.predicted)
    assert (found.features.ids, found.features.groups) == (features.ids, features.groups)
    assert found.features.classes == images.classes
    assert (found.name, found.distance_name, found.shards, found.complete) == ("squares", "FD (mean)", (), True)
    close(read_statistics(tmp_path / "s.npz"), expected)


def test_progress_is_told_and_ends_at_all(make, extractor, tmp_path):
    told = []
    summarise(make(7), extractor, tmp_path / "s.npz", on_batch=lambda done, total: told.append((done, total)))
    assert told == [(2, 7), (4, 7), (6, 7), (7, 7)]
    told.clear()
    summarise(make(7), extractor, tmp_path / "s.npz", on_batch=lambda done, total: told.append((done, total)))
    assert told == [(7, 7)]


def test_what_is_held_does_not_grow_with_the_number_of_images(make, extractor, tmp_path, small_sample):
    sizes = {}
    for n in (20, 40, 80):
        states = []

        def measure(done, total, states=states):
            states.extend(path.stat().st_size for path in tmp_path.glob(".*.partial.npz"))

        found = summarise(make(n), extractor, tmp_path / f"{n}.npz", on_batch=measure)
        assert len(found.features.values) == 8
        assert found.n == n
        held = sum(each.nbytes for each in (found.mean, found.scatter, found.features.values))
        sizes[n] = held, max(states), (tmp_path / f"{n}.npz").stat().st_size
    assert sizes[20][0] == sizes[40][0] == sizes[80][0] == 8 * (9 + 81) + 4 * 8 * 9
    for column in (1, 2):
        # A digit more in names and counts, and the padding of a header, is all that may differ.
        assert max(size[column] for size in sizes.values()) - min(size[column] for size in sizes.values()) < 100


def test_chunks_are_all_that_is_in_memory_at_once(make, extractor, tmp_path, small_sample, monkeypatch):
    most = []
    original = Statistics.of.__func__

    def counted(cls, features):
        most.append(len(features.values))
        return original(cls, features)

    monkeypatch.setattr(Statistics, "of", classmethod(counted))
    summarise(make(40), extractor, tmp_path / "s.npz")
    assert max(most) == 6
    assert sum(most) == 40


def test_the_sample_is_the_same_however_the_set_is_divided(make, extractor, tmp_path, small_sample):
    images = make(40)
    whole = summarise(images, extractor, tmp_path / "whole.npz")
    expected = Statistics.of(extract(images, extractor)).shrunk(8)
    assert whole.features.ids == expected.features.ids
    shards = [summarise(images, extractor, tmp_path / f"{i}.npz", shard=(i, 3)) for i in (2, 0, 1)]
    assert set(merged(shards).features.ids) == set(whole.features.ids)


def stopping_at(done_at):
    def on_batch(done, total):
        if done == done_at:
            raise KeyboardInterrupt("stopped")

    return on_batch


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize(("stop", "kept"), [(2, 0), (6, 0), (8, 6), (12, 6), (20, 18), (25, 24)])
def test_an_interrupted_call_goes_on_at_its_chunk_and_gives_the_same_bits(
    make, extractor, tmp_path, read, stop, kept, sampled, request
):
    if sampled:
        request.getfixturevalue("small_sample")
    bad = (1, 7, 13, 23)
    whole = summarise(make(25, bad), extractor, tmp_path / "whole.npz")
    read.clear()
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        summarise(make(25, bad), extractor, tmp_path / "s.npz", on_batch=stopping_at(stop))
    assert not (tmp_path / "s.npz").exists()
    read.clear()
    found = summarise(make(25, bad), extractor, tmp_path / "s.npz")
    assert read == list(range(kept, 25))
    same(found, whole)
    assert (tmp_path / "s.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert [item.path for item in found.skipped] == [f"squares/{i}.png" for i in bad]
    assert list(tmp_path.glob(".*.partial.npz")) == []


def test_two_interruptions_lose_nothing_either(make, extractor, tmp_path, read):
    whole = summarise(make(25), extractor, tmp_path / "whole.npz")
    for stop in (8, 20):
        with pytest.raises(KeyboardInterrupt, match="stopped"):
            summarise(make(25), extractor, tmp_path / "s.npz", on_batch=stopping_at(stop))
    read.clear()
    same(summarise(make(25), extractor, tmp_path / "s.npz"), whole)
    assert read == list(range(18, 25))


@pytest.mark.parametrize("bad", [range(6), range(12), (0, 2, 3, 4, 5), range(6, 12), (24,), range(18, 25)])
def test_chunks_of_unreadable_images_are_resumed_right_too(make, extractor, tmp_path, bad):
    bad = tuple(bad)
    whole = summarise(make(25, bad), extractor, tmp_path / "whole.npz")
    for stop in (8, 14, 20):
        with pytest.raises(KeyboardInterrupt, match="stopped"):
            summarise(make(25, bad), extractor, tmp_path / "s.npz", on_batch=stopping_at(stop))
    same(summarise(make(25, bad), extractor, tmp_path / "s.npz"), whole)
    assert whole.n == 25 - len(bad)
    assert [item.path for item in whole.skipped] == [f"squares/{i}.png" for i in bad]
    expected = Statistics.of(extract(make(25, bad), extractor))
    close(whole, expected)


@pytest.mark.parametrize(("readable", "kept"), [(1, 0), (2, 6)])
def test_a_chunk_is_kept_once_it_has_a_covariance(make, extractor, tmp_path, read, readable, kept):
    bad = tuple(range(readable, 6))
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        summarise(make(25, bad), extractor, tmp_path / "s.npz", on_batch=stopping_at(8))
    read.clear()
    found = summarise(make(25, bad), extractor, tmp_path / "s.npz")
    assert read == list(range(kept, 25))
    assert (found.n, len(found.skipped)) == (25 - len(bad), len(bad))


def test_a_sample_smaller_than_a_chunk_is_drawn_of_the_first_chunk_too(make, extractor, tmp_path, monkeypatch):
    for where in (module, streaming):
        monkeypatch.setattr(where, "SAMPLE", 4)
    images = make(6)
    found = summarise(images, extractor, tmp_path / "s.npz")
    assert found.features.ids == Statistics.of(extract(images, extractor)).shrunk(4).features.ids
    close(found, Statistics.of(extract(images, extractor)))


def test_a_finished_file_is_read_instead_of_the_images(make, extractor, tmp_path, read):
    first = summarise(make(9, (2,)), extractor, tmp_path / "s.npz")
    written = (tmp_path / "s.npz").stat().st_mtime_ns
    read.clear()
    same(summarise(make(9, (2,)), extractor, tmp_path / "s.npz"), first)
    assert read == []
    assert (tmp_path / "s.npz").stat().st_mtime_ns == written


@pytest.mark.parametrize("change", ["content", "number", "space", "shard"])
def test_anything_else_is_measured_anew(make, extractor, tmp_path, read, change):
    summarise(make(9), extractor, tmp_path / "s.npz")
    read.clear()
    images = make(8 if change == "number" else 9)
    if change == "content":
        images = replace(images, fingerprint=lambda: "other")
    other = replace(extractor, space=replace(SPACE, resize="9 px")) if change == "space" else extractor
    found = summarise(images, other, tmp_path / "s.npz", shard=(0, 2) if change == "shard" else (0, 1))
    assert read == list(range({"number": 8, "shard": 4}.get(change, 9)))
    assert read_statistics(tmp_path / "s.npz").source == found.source
    assert found.space == other.space


def test_a_partial_state_of_other_images_is_not_resumed(make, extractor, tmp_path, read):
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        summarise(make(25), extractor, tmp_path / "s.npz", on_batch=stopping_at(20))
    read.clear()
    summarise(replace(make(25), fingerprint=lambda: "other"), extractor, tmp_path / "s.npz")
    assert read == list(range(25))


@pytest.mark.parametrize("n", [2, 3, 7])
def test_merged_shards_are_the_whole(make, extractor, tmp_path, n):
    images = make(25, (3, 11))
    whole = summarise(images, extractor, tmp_path / "whole.npz")
    shards = [summarise(images, extractor, tmp_path / f"{i}.npz", shard=(i, n)) for i in range(n)]
    rng = np.random.default_rng(n)
    for order in (range(n), rng.permutation(n), reversed(range(n))):
        found = merged([read_statistics(tmp_path / f"{i}.npz") for i in order])
        close(found, whole)
        assert missing_shards(found) == []
        assert {item.path for item in found.skipped} == {"squares/3.png", "squares/11.png"}
        assert set(found.features.ids) == set(whole.features.ids)
    assert sum(each.n for each in shards) == 23
    assert missing_shards(merged(shards[1:])) == [f"0/{n}"]
    with pytest.raises(DataError, match=f"both hold shard 0/{n}; it would count twice"):
        merged([*shards, shards[0]])
    with pytest.raises(DataError, match=f"shards of {n} and of 5 of one set"):
        merged([shards[0], summarise(images, extractor, tmp_path / "other.npz", shard=(1, 5))])


def test_what_listing_skipped_belongs_to_the_first_shard(make, extractor, tmp_path):
    listed = (Skipped(path="x.txt", reason="no image"),)
    images = make(9, (0, 8), skipped=listed)
    found = [summarise(images, extractor, tmp_path / f"{i}.npz", shard=(i, 2)).skipped for i in (0, 1)]
    bad = [Skipped(path=f"squares/{i}.png", reason="broken on purpose") for i in (0, 8)]
    assert found == [(*listed, bad[0]), (bad[1],)]
    assert summarise(images, extractor, tmp_path / "whole.npz").skipped == (*listed, *bad)


@pytest.mark.parametrize(
    ("shard", "said"),
    [
        ((2, 2), "A shard is I/N with 0 <= I < N; got 2/2"),
        ((-1, 2), "got -1/2"),
        ((0, 0), "got 0/0"),
        ((0, 4), "Shard 0/4 of squares holds no image: there are 3 in all"),
    ],
)
def test_a_shard_that_is_not_there_is_refused(make, extractor, tmp_path, shard, said):
    with pytest.raises(SettingsError, match=said):
        summarise(make(3), extractor, tmp_path / "s.npz", shard=shard)
    assert list(tmp_path.iterdir()) == []


def test_a_set_without_a_readable_image_leaves_nothing(make, extractor, tmp_path):
    images = make(8, range(8), skipped=(Skipped(path="x.txt", reason="no image"),))
    match = r"squares holds no image that can be read\.\n  x\.txt: no image\n  squares/0\.png: broken on purpose\n"
    with pytest.raises(DataError, match=match) as caught:
        summarise(images, extractor, tmp_path / "s.npz")
    assert str(caught.value).count("broken on purpose") == 8
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".npz"] == []


def test_of_one_readable_image_there_are_no_statistics(make, extractor, tmp_path):
    with pytest.raises(DataError, match="squares has 1 readable image; a covariance needs at least 2"):
        summarise(make(8, range(1, 8)), extractor, tmp_path / "s.npz")
    assert not (tmp_path / "s.npz").exists()


WORKER = """
import time
from pathlib import Path
from features.builders import SPACE
from vptft.data.transforms import to_square
from vptft.features.extractors import Extractor
from vptft.features.streaming import summarise


def embed(batch):
    with Path(log).open("a") as file:
        file.write("embedded\\n")
    time.sleep(0.3)
    return batch.float().mean(dim=(2, 3))


extractor = Extractor(
    name="mean", distance_name="FD", space=SPACE, prepare=lambda image: to_square(image, 8), embed=embed
)
found = summarise(conftest.toy_images("squares", 5, 1), extractor, Path(target))
Path(out).write_text(str(found.second_moment().sum()))
"""


def test_two_processes_make_one_file(tmp_path, start_process):
    outs = [tmp_path / "a", tmp_path / "b"]
    names = {"log": str(tmp_path / "log"), "target": str(tmp_path / "s.npz")}
    workers = [start_process(WORKER, out=str(out), **names) for out in outs]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "log").read_text().splitlines() == ["embedded"]
    assert outs[0].read_text() == outs[1].read_text()
