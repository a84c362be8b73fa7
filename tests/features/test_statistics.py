import hashlib
import json
from dataclasses import asdict, replace
from itertools import pairwise, permutations
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_fid import fid_score

from features.builders import SPACE, make_features, make_statistics
from vptft.data.images import Skipped
from vptft.errors import DataError, StorageError
from vptft.features import statistics as module
from vptft.features.extraction import Features
from vptft.features.statistics import (
    Statistics,
    hash_of_ids,
    is_statistics,
    merged,
    missing_shards,
    read_statistics,
    require_same_space,
    rows_of,
    sample_keys,
)

D = 4


def values(n, seed=0, d=D):
    rng = np.random.default_rng(seed)
    return np.float32(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 20 * rng.normal(size=d))


def parts_of(rows, cuts):
    """Statistics of consecutive pieces, each image with the id it has in the whole."""
    edges = sorted({0, len(rows), *(cut % len(rows) for cut in cuts)})
    return [make_statistics(rows[a:b], ids=[f"{i}.png" for i in range(a, b)]) for a, b in pairwise(edges)]


def sample_of(statistics):
    return dict(zip(statistics.features.ids, map(tuple, statistics.features.values.tolist()), strict=True))


def test_moments_are_numpys_in_double_precision():
    rows = values(50)
    found = make_statistics(rows)
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(found.covariance(), np.cov(exact, rowvar=False), rtol=1e-12)
    np.testing.assert_allclose(found.second_moment(), 49 * np.cov(exact, rowvar=False), rtol=1e-12)
    assert (found.n, found.dimensions, found.complete, found.scatter) == (50, D, True, None)
    assert (found.name, found.distance_name, found.space) == ("a", "FD (made)", SPACE)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 60), st.lists(st.integers(1, 59), max_size=6), st.randoms(use_true_random=False), st.integers(0, 99)
)
def test_merging_is_exact_in_any_order_and_the_sample_the_same(n, cuts, random, seed):
    rows = values(n, seed)
    parts = parts_of(rows, cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SAMPLE", 7)
        while len(parts) > 1:  # any tree, not only one after another
            first, second = (parts.pop(random.randrange(len(parts))) for _ in range(2))
            parts.append(first.merge(second))
        (found,) = parts
        whole = make_statistics(rows, ids=[f"{i}.png" for i in range(n)])
        kept = sample_of(whole.shrunk(7))
    exact = rows.astype(np.float64)
    scale = np.trace(np.cov(exact, rowvar=False))
    assert found.n == n
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance(), np.cov(exact, rowvar=False), atol=1e-12 * scale)
    if len(found.features.values) <= 7:
        assert sample_of(found) == kept
    assert found.files == whole.files


def test_merged_samples_are_one_random_sample_whatever_the_order(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 5)
    rows = values(40)
    parts = parts_of(rows, [9, 10, 31])
    samples = [sample_of(merged(order)) for order in permutations(parts)]
    assert all(each == samples[0] for each in samples)
    assert len(samples[0]) == 5
    assert sample_of(make_statistics(rows, ids=[f"{i}.png" for i in range(40)]).shrunk(5)) == samples[0]
    assert all(tuple(rows[int(name.removesuffix(".png"))].tolist()) == row for name, row in samples[0].items())


def test_shards_far_apart_and_far_from_zero_lose_no_digits():
    rng = np.random.default_rng(3)
    low, high = np.float32(rng.normal(size=(30, 3)) - 4096), np.float32(rng.normal(size=(5, 3)) + 4096)
    exact = np.concatenate([low, high]).astype(np.float64)
    found = make_statistics(low).merge(make_statistics(high, name="b"))
    np.testing.assert_allclose(found.covariance(), np.cov(exact, rowvar=False), rtol=1e-13)


def test_images_add_up_with_what_was_skipped_and_whose_they_are():
    broken = Skipped(path="x.png", reason="empty"), Skipped(path="y.png", reason="truncated")
    first = make_statistics(values(3, 1), labels=np.array([0, 1, 0]), predicted=np.array([5, 6, 7]), skipped=broken[:1])
    second = make_statistics(values(2, 2), name="b", labels=np.array([1, 1]), predicted=np.array([8, 9]),
                             skipped=broken[1:], groups=("g", "g"))  # fmt: skip
    found = first.merge(second)
    assert (found.name, found.n, found.complete) == ("a", 5, True)
    assert found.skipped == broken
    assert found.features.ids == first.features.ids + second.features.ids
    assert found.features.groups[3:] == ("g", "g")
    assert found.features.labels.tolist() == [0, 1, 0, 1, 1]
    assert found.features.predicted.tolist() == [5, 6, 7, 8, 9]
    unlike = first.merge(
        Statistics.of(replace(second.features, classes=("cat", "dog"), predicted=None))
    )  # fmt: skip
    assert (unlike.features.labels, unlike.features.classes, unlike.features.predicted) == (None, (), None)


def test_a_sample_of_one_half_is_no_sample_of_the_whole():
    first, second = make_statistics(values(5)), make_statistics(values(6, 1), name="b")
    bare = replace(second, scatter=second.second_moment(), features=None)
    for found in (first.merge(bare), bare.merge(first)):
        assert found.features is None
        assert not found.complete
        assert found.n == 11


def shard(i, n, *, whole="ab12", name="a"):
    return replace(make_statistics(values(4, i), name=f"{name}{i}"), shards=(f"{whole} {i}/{n}",), name=name)


def test_a_shard_does_not_count_twice():
    once = shard(0, 3).merge(shard(2, 3))
    assert once.shards == ("ab12 0/3", "ab12 2/3")
    for again in (shard(0, 3, name="b"), shard(2, 3, name="b"), once):
        with pytest.raises(DataError, match=r"a and . both hold shard [02]/3; it would count twice"):
            once.merge(again)
    assert once.merge(shard(1, 3)).shards == ("ab12 0/3", "ab12 1/3", "ab12 2/3")


def test_shards_of_two_divisions_of_one_set_overlap_and_are_refused():
    with pytest.raises(DataError, match=r"a and b are shards of 3 and of 2 of one set; images would count twice"):
        shard(0, 3).merge(shard(1, 2, name="b"))
    assert shard(0, 3).merge(shard(1, 2, whole="ff00")).n == 8


def test_the_same_statistics_do_not_count_twice():
    one = replace(make_statistics(values(5)), source="ab12")
    with pytest.raises(DataError, match="a and b are of the same images; they would count twice"):
        one.merge(replace(one, name="b"))
    assert one.merge(replace(one, source="cd34")).n == 10


def test_missing_shards_are_named():
    assert missing_shards(make_statistics(values(3))) == []
    assert missing_shards(shard(1, 4).merge(shard(3, 4))) == ["0/4", "2/4"]
    assert missing_shards(merged([shard(i, 12) for i in (11, 2, 10, 0, 1, 3, 4, 5, 6, 7, 8, 9)])) == []
    two = shard(0, 2).merge(shard(1, 2, whole="ff00"))
    assert missing_shards(two) == ["1/2", "0/2"]


def test_shards_are_ordered_by_number():
    assert merged([shard(10, 11), shard(9, 11), shard(2, 11)]).shards == ("ab12 2/11", "ab12 9/11", "ab12 10/11")


def test_what_cannot_be_merged_is_refused():
    first = make_statistics(values(4))
    with pytest.raises(DataError, match=r"different feature spaces: resize \(32 px and 40 px\)"):
        first.merge(make_statistics(values(4), name="b", space=replace(SPACE, resize="40 px")))
    unknown = replace(first, n=None, scatter=first.second_moment(), features=None, name="u")
    for pair in ((first, unknown), (unknown, first)):
        with pytest.raises(DataError, match="u does not say how many images it is of, so it cannot be merged"):
            pair[0].merge(pair[1])
    with pytest.raises(DataError, match="nothing to merge"):
        merged([])
    assert merged([first]) is first


def test_widths_and_spaces_must_agree_and_a_silent_file_is_taken_at_its_width():
    first = make_statistics(values(4))
    require_same_space(first, replace(first, space=None))
    with pytest.raises(DataError, match="a has 4 features an image, b 3"):
        require_same_space(first, make_statistics(values(4, d=3), name="b", space=replace(SPACE, dtype="float64")))


def test_single_images_have_no_covariance_but_can_be_merged():
    one, other = make_statistics(values(1)), make_statistics(values(1, 1), name="b")
    with pytest.raises(DataError, match="a has 1 readable image; a covariance needs at least 2"):
        one.covariance()
    rows = np.concatenate([values(1), values(1, 1)]).astype(np.float64)
    np.testing.assert_allclose(one.merge(other).covariance(), np.cov(rows, rowvar=False), rtol=1e-12)


def test_statistics_without_features_or_scatter_are_a_mistake():
    with pytest.raises(TypeError, match="features or a scatter"):
        replace(make_statistics(values(3)), features=None).second_moment()


def everything():
    rows = values(9)
    features = make_features(
        rows, groups=[f"g{i // 2}" for i in range(9)], labels=np.arange(9) % 2, classes=("cat", "dög"),
        predicted=np.arange(9) + 100, skipped=(Skipped(path="ü/x.png", reason="truncated"),),
    )  # fmt: skip
    return replace(Statistics.of(features), shards=("ab12 0/2",), source="cd34")


@pytest.mark.parametrize("form", ["complete", "sample", "moments", "plain"])
def test_a_file_gives_back_what_was_saved(tmp_path, form):
    given = everything()
    if form == "sample":
        given = given.shrunk(5)
    elif form == "moments":
        given = replace(given, scatter=given.second_moment(), features=None, space=None)
    elif form == "plain":
        given = make_statistics(values(9))
    given.save(tmp_path / "s.npz")
    found = read_statistics(tmp_path / "s.npz")
    for name in ("name", "distance_name", "space", "n", "shards", "files", "source", "skipped", "complete"):
        assert getattr(found, name) == getattr(given, name), name
    np.testing.assert_array_equal(found.mean, given.mean)
    np.testing.assert_allclose(found.second_moment(), given.second_moment(), rtol=1e-14)
    assert (found.features is None) == (form == "moments")
    if found.features:
        np.testing.assert_array_equal(found.features.values, given.features.values)
        for name in ("name", "distance_name", "space", "ids", "groups", "classes"):
            assert getattr(found.features, name) == getattr(given.features, name), name
        for name in ("labels", "predicted"):
            mine, read = getattr(given.features, name), getattr(found.features, name)
            assert read is None if mine is None else read.tolist() == mine.tolist()
    assert found.key() == given.key()
    found.save(tmp_path / "again.npz")
    again = read_statistics(tmp_path / "again.npz")
    np.testing.assert_allclose(again.second_moment(), given.second_moment(), rtol=1e-14)


@pytest.mark.parametrize("n", [2, 7, 50])
def test_as_saved_is_what_the_file_gives_back_to_the_last_bit(tmp_path, n):
    given = make_statistics(values(n))
    given.save(tmp_path / "s.npz")
    np.testing.assert_array_equal(read_statistics(tmp_path / "s.npz").scatter, given.as_saved().scatter)
    np.testing.assert_allclose(given.as_saved().scatter, given.second_moment(), rtol=1e-15)


def test_pytorch_fid_reads_the_file(tmp_path):
    given = make_statistics(values(30))
    given.save(tmp_path / "s.npz")
    mean, covariance = fid_score.compute_statistics_of_path(str(tmp_path / "s.npz"), None, 1, D, "cpu")
    exact = values(30).astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(exact, rowvar=False), rtol=1e-12)
    assert (mean.dtype, covariance.dtype) == (np.float64, np.float64)


def test_a_file_of_pytorch_fid_is_read_as_moments_of_an_unknown_set(tmp_path):
    exact = values(30).astype(np.float64)
    path = tmp_path / "reference.npz"
    np.savez_compressed(path, mu=exact.mean(axis=0), sigma=np.cov(exact, rowvar=False))
    found = read_statistics(path)
    assert (found.name, found.distance_name, found.space, found.n) == ("reference.npz", "FD", None, None)
    assert (found.features, found.complete, found.shards, found.skipped) == (None, False, (), ())
    np.testing.assert_array_equal(found.mean, exact.mean(axis=0))
    np.testing.assert_array_equal(found.covariance(), np.cov(exact, rowvar=False))
    found.save(tmp_path / "again.npz")
    again = read_statistics(tmp_path / "again.npz")
    assert again.n is None
    np.testing.assert_array_equal(again.covariance(), found.covariance())


def test_files_of_pytorch_fid_with_one_mean_are_told_apart(tmp_path):
    keys = set()
    for scale in (1.0, 2.0):
        np.savez(tmp_path / "same.npz", mu=np.zeros(3), sigma=scale * np.eye(3))
        keys.add(read_statistics(tmp_path / "same.npz").key())
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("sigma", "said"),
    [
        (-np.eye(3), "negative variances"),
        (np.eye(3) + 0.9 * np.eye(3, k=1), "not symmetric"),
        (np.ones((3, 3)) - 0.5 * np.eye(3), "covariances exceed its variances"),
    ],
)
def test_what_is_no_covariance_is_refused(tmp_path, sigma, said):
    np.savez(tmp_path / "s.npz", mu=np.zeros(3), sigma=sigma)
    with pytest.raises(StorageError, match=said):
        read_statistics(tmp_path / "s.npz")


def test_a_covariance_in_single_precision_is_one(tmp_path):
    exact = values(30).astype(np.float64)
    sigma = np.cov(np.concatenate([exact, 3 * exact[:, :1]], axis=1), rowvar=False).astype(np.float32)
    np.savez(tmp_path / "s.npz", mu=np.zeros(len(sigma)), sigma=sigma)
    assert read_statistics(tmp_path / "s.npz").dimensions == len(sigma)


def test_only_a_file_with_a_mean_and_a_covariance_is_one_of_statistics(tmp_path):
    everything().save(tmp_path / "ours.npz")
    np.savez(tmp_path / "images.npz", arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez(tmp_path / "half.npz", mu=np.zeros(2))
    (tmp_path / "text.npz").write_text("no archive")
    with ZipFile(tmp_path / "empty.npz", "w"):
        pass
    found = {path.name: is_statistics(path) for path in tmp_path.iterdir()}
    assert [name for name, yes in found.items() if yes] == ["ours.npz"]
    assert not is_statistics(tmp_path / "missing.npz")
    assert not is_statistics(tmp_path)


def damaged(tmp_path, **changes):
    """Our file with some arrays changed, or left out where None."""
    path = tmp_path / "s.npz"
    everything().save(path)
    with np.load(path) as arrays:
        kept = {**arrays, **changes}
    np.savez(path, **{name: value for name, value in kept.items() if value is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mu": None}, r"s\.npz holds sample, sample_labels, sample_predicted, sigma, vptft, and no mu"),
        ({"sigma": None}, "and no sigma"),
        ({"mu": np.zeros((4, 1))}, r"mu \(4, 1\) and sigma \(4, 4\); they do not fit"),
        ({"sigma": np.zeros((4, 3))}, r"sigma \(4, 3\); they do not fit"),
        ({"sigma": np.zeros((3, 3))}, r"sigma \(3, 3\); they do not fit"),
        ({"sigma": np.zeros(4)}, r"sigma \(4,\); they do not fit"),
        ({"mu": np.array([0, 0, 0, np.nan])}, "NaN or infinite"),
        ({"sigma": np.full((4, 4), np.inf)}, "NaN or infinite"),
        ({"mu": np.array(["a", "b", "c", "d"])}, "mu or sigma that are not real numbers"),
        ({"sigma": np.zeros((4, 4), complex)}, "mu or sigma that are not real numbers"),
        ({"sample": np.zeros((8, 4), np.float32)}, r"its sample has shape \(8, 4\)"),
        ({"sample": np.zeros((9, 5), np.float32)}, r"its sample has shape \(9, 5\)"),
        ({"sample": np.zeros(9, np.float32)}, r"its sample has shape \(9,\)"),
        ({"sample": np.full((9, 4), np.nan, np.float32)}, "its sample holds NaN or infinite values"),
        ({"sample": None}, "damaged note: 'sample'"),
        ({"sample_labels": np.zeros(3, np.int64)}, "its sample has 9 images and 3 labels"),
        ({"sample_predicted": np.zeros(3, np.int64)}, "its sample has 9 images and 3 predicted"),
        ({"vptft": np.array("not json")}, "another version or a damaged note"),
        ({"vptft": np.array("[1, 2]")}, "another version or a damaged note"),
        ({"vptft": np.array("{}")}, "damaged note: 'schema'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, changes, said):
    with pytest.raises(StorageError, match=said):
        read_statistics(damaged(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "its schema is 2, this version reads 1"),
        ({"n": "many"}, "damaged note"),
        ({"n": -3}, "its number of images is -3"),
        ({"n": 0}, "its number of images is 0"),
        ({"n": 1}, "its number of images is 1"),
        ({"n": 2.5}, r"its number of images is 2\.5"),
        ({"space": {"extractor": "x"}}, "damaged note"),
        ({"skipped": [{"path": "x"}]}, "damaged note"),
        ({"sample": {"ids": ["a"] * 9, "groups": ["g"], "classes": []}}, "its sample has 9 images and 1 groups"),
        ({"sample": {"ids": ["a"] * 9}}, "damaged note: 'groups'"),
    ],
)
def test_a_note_that_does_not_fit_is_refused(tmp_path, changes, said):
    note = json.loads(json.dumps(everything()._meta())) | changes
    with pytest.raises(StorageError, match=said):
        read_statistics(damaged(tmp_path, vptft=np.array(json.dumps(note))))


def test_pickled_and_truncated_files_are_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    path = tmp_path / "pickled.npz"
    np.savez(path, mu=np.array([Hostile()], dtype=object), sigma=np.zeros((1, 1)))
    with pytest.raises(StorageError, match=r"pickled\.npz could not be read as arrays: Object arrays cannot"):
        read_statistics(path)
    assert not (tmp_path / "opened").exists()
    whole = damaged(tmp_path).read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        short = tmp_path / "short.npz"
        short.write_bytes(whole[:size])
        with pytest.raises(StorageError, match=r"short\.npz could not be read as arrays"):
            read_statistics(short)
    with pytest.raises(StorageError, match=r"none\.npz could not be read as arrays"):
        read_statistics(tmp_path / "none.npz")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "s.npz"
    everything().save(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match="needs at least 2"):
        make_statistics(values(1)).save(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["s.npz"]


def test_the_key_tells_spaces_files_counts_and_moments_apart():
    base = make_statistics(values(6))
    others = [
        make_statistics(values(6), space=replace(SPACE, resize="40 px")),
        make_statistics(values(6), ids=[f"other {i}" for i in range(6)]),
        make_statistics(values(6, seed=1)),
        replace(base, n=7),
        replace(base, space=None),
    ]
    assert len({each.key() for each in (base, *others)}) == 6
    assert make_statistics(values(6)).key() == base.key()
    assert replace(base, skipped=(Skipped(path="x", reason="y"),)).key() == base.key()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=8), unique=True, max_size=12), st.integers(0, 12), st.randoms(use_true_random=False))
def test_the_hash_of_ids_has_no_order_and_adds_up(ids, cut, random):
    whole = hash_of_ids(ids)
    shuffled = list(ids)
    random.shuffle(shuffled)
    assert hash_of_ids(shuffled) == whole
    added = (int(hash_of_ids(ids[:cut]), 16) + int(hash_of_ids(ids[cut:]), 16)) % 2**256
    assert int(whole, 16) == added
    assert len(whole) == 64
    assert ids == [] or hash_of_ids(ids[1:]) != whole


def test_sample_keys_are_the_same_everywhere_and_spread():
    keys = sample_keys([f"{i}" for i in range(2000)])
    assert keys.dtype == np.uint64
    assert len(set(keys.tolist())) == 2000
    assert sample_keys(["0"])[0] == keys[0]
    # SHA-256 of "sample 0", its first eight bytes: what a file on another machine was sampled by.
    assert keys[0] == int(hashlib.sha256(b"sample 0").hexdigest()[:16], 16)
    shares = np.histogram(keys.astype(float) / 2**64, bins=10, range=(0, 1))[0] / 2000
    np.testing.assert_allclose(shares, 0.1, atol=0.03)


def test_a_sample_is_in_the_sets_order_and_a_small_set_is_kept_whole():
    given = make_statistics(values(30))
    small = given.shrunk(8)
    places = [int(name.removeprefix("a/").removesuffix(".png")) for name in small.features.ids]
    assert places == sorted(places)
    assert len(places) == 8
    keys = sample_keys(given.features.ids)
    assert set(places) == set(np.argsort(keys)[:8].tolist())
    assert given.shrunk(30).features is given.features
    assert given.shrunk().features is given.features
    assert (small.n, small.complete) == (30, False)
    np.testing.assert_array_equal(small.scatter, given.second_moment())


def test_rows_take_everything_of_an_image_along():
    features = everything().features
    found = rows_of(features, np.array([7, 2]))
    np.testing.assert_array_equal(found.values, features.values[[7, 2]])
    assert found.ids == ("a/7.png", "a/2.png")
    assert found.groups == ("g3", "g1")
    assert (found.labels.tolist(), found.predicted.tolist()) == ([1, 0], [107, 102])
    bare = rows_of(make_features(values(3)), np.array([1]))
    assert (bare.labels, bare.predicted) == (None, None)
    assert isinstance(found, Features)
    assert asdict(found)["name"] == "a"
