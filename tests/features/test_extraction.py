import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.builders import SPACE
from vptft.data.images import Skipped
from vptft.data.transforms import to_square
from vptft.errors import DataError, StorageError
from vptft.features import extraction
from vptft.features.extraction import extract
from vptft.features.extractors import Extractor, load_extractor
from vptft.storage import cache_folder


@pytest.fixture
def embedded():
    """Sizes of the batches that were embedded."""
    return []


@pytest.fixture
def extractor(embedded):
    """Mean colours, counting its work."""

    def embed(batch):
        embedded.append(len(batch))
        return batch.float().mean(dim=(2, 3))

    return Extractor(
        name="mean",
        distance_name="FD (mean)",
        space=SPACE,
        prepare=lambda image: to_square(image, 8),
        embed=embed,
    )


def cached():
    folder = cache_folder() / "features"
    return sorted(path for path in folder.iterdir() if path.suffix == ".npz") if folder.exists() else []


def parts():
    """Batches that an unfinished extraction left."""
    return sorted((cache_folder() / "features").glob("*.parts/*.npz"))


def test_features_are_those_of_the_images_in_their_order(extractor, make_images):
    images = make_images("squares", 7, 1)
    found = extract(images, extractor)
    expected = [np.asarray(to_square(images.read(i), 8)).reshape(3, -1).mean(axis=1) for i in range(7)]
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    assert found.values.dtype == np.float32
    assert (found.ids, found.groups, found.name) == (images.ids, images.groups, "squares")
    np.testing.assert_array_equal(found.labels, images.labels)
    assert (found.distance_name, found.space) == ("FD (mean)", SPACE)
    assert (found.classes, found.predicted) == (images.classes, None)
    assert found.skipped == ()


def test_a_classifier_on_the_features_names_the_most_probable_class(extractor, make_images):
    images = make_images("squares", 7, 1, bad=(3,))
    found = extract(images, replace(extractor, top_1=lambda values: values.argmax(axis=1)))
    assert found.predicted.tolist() == found.labels.tolist() == [0, 1, 2, 1, 2, 0]
    assert extract(images, extractor).predicted is None


def test_batches_cover_every_image_once_and_progress_is_told(extractor, make_images, embedded, monkeypatch):
    monkeypatch.setattr(extraction, "BATCH", 3)
    told = []
    found = extract(make_images("squares", 8, 1), extractor, on_batch=lambda done, total: told.append((done, total)))
    assert embedded == [3, 3, 2]
    assert told == [(3, 8), (6, 8), (8, 8)]
    assert len(found.values) == 8


def test_equal_content_is_embedded_once_whatever_its_name(extractor, make_images, embedded):
    first = extract(make_images("squares", 5, 1), extractor)
    images = make_images("squares", 5, 1)
    again = extract(replace(images, name="copy", labels=None), replace(extractor, distance_name="other"))
    assert embedded == [5]
    np.testing.assert_array_equal(first.values, again.values)
    assert (again.name, again.distance_name, again.labels) == ("copy", "other", None)


def test_other_content_or_another_extractor_is_embedded_anew(extractor, make_images, embedded):
    extract(make_images("squares", 5, 1), extractor)
    extract(make_images("squares", 5, 2), extractor)
    extract(make_images("squares", 4, 1), extractor)
    for change in ({"extractor": "mean:9"}, {"weights": "cd34"}, {"resize": "9 px"}, {"dtype": "float16"}):
        extract(make_images("squares", 5, 1), replace(extractor, space=replace(SPACE, **change)))
    assert embedded == [5, 5, 4, 5, 5, 5, 5]
    assert len(cached()) == 7


def test_what_cannot_be_read_is_listed_and_nothing_else_lost(extractor, make_images, embedded):
    images = replace(make_images("squares", 6, 1, bad=(0, 4)), skipped=(Skipped(path="x.png", reason="empty"),))
    found = extract(images, extractor)
    assert found.skipped == (
        Skipped(path="x.png", reason="empty"),
        Skipped(path="squares/0.png", reason="broken on purpose"),
        Skipped(path="squares/4.png", reason="broken on purpose"),
    )
    kept = [1, 2, 3, 5]
    assert found.ids == tuple(images.ids[i] for i in kept)
    assert found.groups == tuple(images.groups[i] for i in kept)
    np.testing.assert_array_equal(found.labels, images.labels[kept])
    np.testing.assert_array_equal(found.values, extract(make_images("squares", 6, 1), extractor).values[kept])
    again = extract(images, extractor)
    assert embedded == [4, 6]
    assert again.skipped == found.skipped


def test_a_batch_of_unreadable_images_only_is_skipped(extractor, make_images, monkeypatch):
    monkeypatch.setattr(extraction, "BATCH", 2)
    found = extract(make_images("squares", 6, 1, bad=(2, 3)), extractor)
    assert found.ids == tuple(f"squares/{i}.png" for i in (0, 1, 4, 5))


def test_a_set_without_a_readable_image_is_an_error_that_lists_them_all(extractor, make_images):
    images = replace(make_images("squares", 2, 1, bad=(0, 1)), skipped=(Skipped(path="x.png", reason="empty"),))
    match = (
        r"squares holds no image that can be read\.\n  x\.png: empty\n  squares/0\.png: broken on purpose\n"
        r"  squares/1\.png: broken on purpose$"
    )
    with pytest.raises(DataError, match=match):
        extract(images, extractor)
    assert cached() == []
    assert parts() == []


def test_an_interrupted_extraction_leaves_no_cache(extractor, make_images):
    def interrupted(batch):
        raise KeyboardInterrupt("stopped")

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        extract(make_images("squares", 5, 1), replace(extractor, embed=interrupted))
    assert cached() == []
    assert len(extract(make_images("squares", 5, 1), extractor).values) == 5


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_an_interrupted_extraction_goes_on_at_its_batch_and_gives_the_same_bits(
    extractor, make_images, embedded, monkeypatch, stop
):
    monkeypatch.setattr(extraction, "BATCH", 3)
    bad = (1, 6, 7, 8)
    expected = extract(make_images("squares", 11, 1, bad=bad), replace(extractor, space=replace(SPACE, dtype="once")))
    embedded.clear()

    def on_batch(done, total):
        if done == 3 * stop:
            raise KeyboardInterrupt("stopped")

    images = make_images("squares", 11, 1, bad=bad)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        extract(images, extractor, on_batch=on_batch)
    assert embedded == [2, 3][:stop]
    assert len(parts()) == stop
    embedded.clear()
    read, told = [], []
    noted = replace(images, read=lambda i: read.append(i) or images.read(i))
    found = extract(noted, extractor, on_batch=lambda done, total: told.append((done, total)))
    assert embedded == [2, 3, 2][stop if stop < 3 else 2 :]
    assert read == list(range(3 * stop, 11))
    assert told == [(3, 11), (6, 11), (9, 11), (11, 11)]
    np.testing.assert_array_equal(found.values, expected.values)
    assert (found.ids, found.skipped) == (expected.ids, expected.skipped)
    assert [item.path for item in found.skipped] == [f"squares/{i}.png" for i in bad]
    assert parts() == []
    assert len(cached()) == 2


def test_an_interruption_within_a_batch_loses_that_batch_only(extractor, make_images, embedded, monkeypatch):
    monkeypatch.setattr(extraction, "BATCH", 3)
    images = make_images("squares", 8, 1)

    def read(i):
        if i == 4:
            raise KeyboardInterrupt("stopped")
        return images.read(i)

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        extract(replace(images, read=read), extractor)
    assert embedded == [3]
    assert extract(images, extractor).ids == images.ids
    assert embedded == [3, 3, 2]


def test_parts_of_other_content_are_not_taken(extractor, make_images, embedded, monkeypatch):
    monkeypatch.setattr(extraction, "BATCH", 3)

    def on_batch(done, total):
        raise KeyboardInterrupt("stopped")

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        extract(make_images("squares", 8, 1), extractor, on_batch=on_batch)
    embedded.clear()
    found = extract(make_images("squares", 8, 2), extractor)
    assert embedded == [3, 3, 2]
    embedded.clear()
    extract(make_images("squares", 8, 1), extractor)
    assert embedded == [3, 2]
    assert not np.array_equal(found.values, extract(make_images("squares", 8, 1), extractor).values)


def test_a_damaged_cache_is_named(extractor, make_images):
    extract(make_images("squares", 5, 1), extractor)
    (path,) = cached()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StorageError, match=rf"{path.name} could not be read"):
        extract(make_images("squares", 5, 1), extractor)


def test_features_of_a_network_do_not_depend_on_the_batch(make_images, monkeypatch):
    extractor = load_extractor("tiny:32")
    whole = extract(make_images("squares", 5, 1), extractor)
    monkeypatch.setattr(extraction, "BATCH", 2)
    parts = extract(make_images("squares", 5, 1), replace(extractor, space=replace(SPACE, resize="in parts")))
    assert whole.values.shape == (5, 32)
    np.testing.assert_allclose(whole.values, parts.values, rtol=1e-4, atol=1e-5)


def test_extraction_keeps_no_gradients(make_images):
    seen = []
    extractor = load_extractor("tiny:32")

    def embed(batch):
        seen.append(torch.is_grad_enabled())
        return extractor.embed(batch)

    extract(make_images("squares", 3, 1), replace(extractor, embed=embed))
    assert seen == [False]


WORKER = """
import time
from pathlib import Path
import numpy as np
from features.builders import SPACE
from vptft.data.transforms import to_square
from vptft.features.extraction import extract
from vptft.features.extractors import Extractor


def embed(batch):
    with Path(log).open("a") as file:
        file.write("embedded\\n")
    time.sleep(0.5)
    return batch.float().mean(dim=(2, 3))


extractor = Extractor(
    name="mean", distance_name="FD", space=SPACE, prepare=lambda image: to_square(image, 8), embed=embed
)
Path(out).write_text(str(extract(conftest.toy_images("squares", 5, 1), extractor).values.sum()))
"""


def test_two_processes_share_one_extraction(tmp_path, start_process):
    outs = [tmp_path / "a", tmp_path / "b"]
    workers = [start_process(WORKER, log=str(tmp_path / "log"), out=str(out)) for out in outs]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert Path(tmp_path / "log").read_text().splitlines() == ["embedded"]
    assert outs[0].read_text() == outs[1].read_text()


SLOW_WORKER = """
import time
from pathlib import Path
from features.builders import SPACE
from vptft.data.transforms import to_square
from vptft.features import extraction
from vptft.features.extractors import Extractor


def embed(batch):
    time.sleep(0.2)
    return batch.float().mean(dim=(2, 3))


extraction.BATCH = 3
extraction.extract(conftest.toy_images("squares", 60, 1), Extractor(
    name="mean", distance_name="FD", space=SPACE, prepare=lambda image: to_square(image, 8), embed=embed
))
"""


@pytest.mark.verify
def test_a_killed_process_loses_one_batch_and_its_lock(extractor, make_images, embedded, monkeypatch, start_process):
    monkeypatch.setattr(extraction, "BATCH", 3)
    worker = start_process(SLOW_WORKER)
    deadline = time.monotonic() + 60
    while len(parts()) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    worker.kill()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    done = len(parts())
    assert 4 <= done < 20
    images = make_images("squares", 60, 1)
    found = extract(images, extractor)
    assert embedded == [3] * (20 - done)
    whole = extract(images, replace(extractor, space=replace(SPACE, dtype="once")))
    np.testing.assert_array_equal(found.values, whole.values)
    assert parts() == []
