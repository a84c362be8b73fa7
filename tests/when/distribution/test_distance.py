import json
from dataclasses import asdict, fields, replace

import numpy as np
import pandas as pd
import pytest

from features.builders import SPACE, make_features, make_statistics
from oracles import frechet as oracle
from oracles import kernels
from vptft.data.images import Skipped
from vptft.errors import DataError, SettingsError
from vptft.features.statistics import Statistics
from vptft.when.distribution import debias, distance
from vptft.when.distribution.debias import Pair
from vptft.when.distribution.distance import DRIVERS, DistanceSettings, SetDistance, measure

TABLES = ("curve", "drivers", "classes")


def values(n, seed, *, d=6, shift=0.0, scale=1.0):
    return np.float32(scale * np.random.default_rng(seed).normal(size=(n, d)) + shift)


X, Y = values(40, 1), values(30, 2, shift=0.4, scale=1.3)


def both(**fields):
    return make_statistics(X, name="a", **fields), make_statistics(Y, name="b", **fields)


def moments_only(statistics, n="same"):
    n = statistics.n if n == "same" else n
    return replace(statistics, scatter=statistics.second_moment(), features=None, n=n)


def sampled(statistics, count):
    """Moments of all images and features of the first few."""
    features = statistics.features
    few = replace(
        features, values=features.values[:count], ids=features.ids[:count], groups=features.groups[:count],
        labels=None if features.labels is None else features.labels[:count],
        predicted=None if features.predicted is None else features.predicted[:count],
    )  # fmt: skip
    return replace(statistics, scatter=statistics.second_moment(), features=few)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"debias": "bootstrap"}, r"debias is one of jackknife, infinity, delta; got 'bootstrap'"),
        ({"neighbours": 0}, "neighbours must be at least 1, got 0"),
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"components": -3}, "components must be at least 1, got -3"),
    ],
)
def test_settings_out_of_range_are_refused_with_their_value(given, said):
    with pytest.raises(SettingsError, match=said):
        DistanceSettings(**given)


def test_settings_at_the_edge_of_their_range_are_taken():
    edge = DistanceSettings(neighbours=1, components=1, debias="delta")
    assert measure(*both(), options=edge).dimensions == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights": "cd3456ab78"}, r"a and b are in different feature spaces: weights \(ab12cd34\.\. and cd"),
        ({"resize": "40 px", "dtype": "float16"}, r"resize \(32 px and 40 px\) and dtype \(float32 and float16\)"),
    ],
)
def test_unlike_spaces_are_refused_naming_what_differs(changed, said):
    first, second = both()
    with pytest.raises(DataError, match=said):
        measure(first, make_statistics(Y, name="b", space=replace(SPACE, **changed)))
    with pytest.raises(DataError, match="a has 6 features an image, b 5"):
        measure(first, make_statistics(Y[:, :5], name="b"))
    assert measure(first, replace(second, space=None)).settings["space"] == asdict(SPACE)


@pytest.mark.parametrize("turned", [False, True])
def test_a_single_image_has_no_distance(turned):
    pair = [make_statistics(X), make_statistics(Y[:1], name="b")]
    with pytest.raises(DataError, match="b has 1 readable image; a distance needs at least 2"):
        measure(*(pair[::-1] if turned else pair))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("turned", [False, True])
def test_features_that_are_not_numbers_are_refused(bad, turned):
    broken = Y.copy()
    broken[4, 2] = bad
    with np.errstate(invalid="ignore"):
        pair = [make_statistics(X), make_statistics(broken, name="b")]
        with pytest.raises(DataError, match="b has features that are NaN or infinite"):
            measure(*(pair[::-1] if turned else pair))


def test_every_number_of_a_pair_is_what_it_says():
    found = measure(*both(), settings={"task": "t"})
    assert (found.first, found.second, found.measure_name) == ("a", "b", "FD (made)")
    assert (found.n_first, found.n_second, found.dimensions, found.skipped) == (40, 30, 6, [])
    assert found.distance == pytest.approx(oracle.distance(X, Y), rel=1e-7)
    assert found.variance == pytest.approx(Y.astype(float).var(axis=0, ddof=1).sum())
    assert found.route == "features: QR triangles, singular values"
    assert found.kid == pytest.approx(kernels.unbiased(X, Y, kernels.cubic), rel=1e-6)
    assert found.mmd == pytest.approx(kernels.unbiased(X, Y, kernels.gaussian), rel=1e-6)
    assert found.mmd_biased == pytest.approx(kernels.gaussian_v_statistic(X, Y), rel=1e-6)
    assert found.support_n == 30
    assert found.noise_floor_n == 15
    assert found.debiased < found.distance
    assert found.settings == {
        "task": "t", "seed": 0, "debias": "jackknife", "neighbours": 5, "components": None, "per_class": False,
        "space": asdict(SPACE),
    }  # fmt: skip
    assert found.curve.empty
    assert found.classes.empty
    assert (found.class_shift, found.class_shift_chance, found.class_shift_p) == (None, None, None)
    assert (found.conditional_kid, found.conditional_kid_se) == (None, None)
    assert all(getattr(found, name) is not None for name in ("kid_se", "mmd_se", "se", "noise_floor", "residual_bias"))


def test_neighbours_are_those_of_the_settings():
    x, y = X[:30], Y
    for k in (2, 5):
        found = measure(make_statistics(x), make_statistics(y, name="b"), options=DistanceSettings(neighbours=k))
        assert found.precision == pytest.approx(kernels.precision(x, y, k))
        assert found.recall == pytest.approx(kernels.precision(y, x, k))
        assert found.density == pytest.approx(kernels.density(x, y, k))
        assert found.coverage == pytest.approx(kernels.coverage(x, y, k))
    assert measure(*both(), options=DistanceSettings(neighbours=30)).support_n == 0
    assert measure(*both(), options=DistanceSettings(neighbours=30)).precision is None
    assert measure(*both(), options=DistanceSettings(neighbours=29)).support_n == 30


def test_the_interval_is_the_standard_error_widened_by_the_residual_bias():
    signs = set()
    for seed in range(12):
        found = measure(make_statistics(values(20, seed)), make_statistics(values(20, seed + 50), name="b"))
        below, above = found.debiased - found.low, found.high - found.debiased
        assert below == pytest.approx(1.96 * found.se + max(found.residual_bias, 0))
        assert above == pytest.approx(1.96 * found.se + max(-found.residual_bias, 0))
        signs.add(np.sign(found.residual_bias))
    assert signs == {-1, 1}


def test_the_standard_error_counts_the_second_order_once():
    """Both sets have as many images as are listed, so that the table of drivers holds every influence."""
    x, y = values(20, 7), values(20, 8)
    found = measure(make_statistics(x), make_statistics(y, name="b"))
    effects = [found.drivers[found.drivers["side"] == side]["influence"] for side in ("first", "second")]
    plain = sum(each.var(ddof=1) / 20 for each in effects)
    t = np.sqrt(np.linalg.eigvals(oracle.moments(x)[1] @ oracle.moments(y)[1]).real)
    crossed = sum((a * b / (a + b)) ** 2 for i, a in enumerate(t) for b in t[:i])
    twice = 2 * (2 / 20) ** 2 * (1.25 * (t**2).sum() + crossed)
    assert found.se == pytest.approx(np.sqrt(max(plain - twice, plain / 2)), rel=1e-6)
    assert found.se < 0.95 * np.sqrt(plain)


def test_the_noise_floor_is_the_mean_distance_of_halves_of_both_sets(monkeypatch):
    """Sets of few images in pairs, so that every way of halving can be listed."""
    monkeypatch.setattr(distance, "FOLDS", 1)  # without a jackknife the residual bias is the floor itself
    x, y = values(8, 3), values(12, 4, shift=3)
    pairs = [tuple(f"g{i // 2}" for i in range(n)) for n in (8, 12)]
    first, second = (make_statistics(v, name=n, groups=g) for v, n, g in zip((x, y), "ab", pairs, strict=True))
    alone = measure(first, moments_only(second))
    halves = {
        round(oracle.distance(x[kept], x[np.setdiff1d(np.arange(8), kept)]), 5)
        for other in (2, 4, 6) for kept in [np.array([0, 1, other, other + 1])]
    }  # fmt: skip
    assert round(alone.noise_floor, 5) in halves
    assert alone.noise_floor_n == 4
    floors = [measure(moments_only(first), second), measure(first, second)]
    assert [found.noise_floor_n for found in floors] == [6, 4]
    assert all(found.residual_bias == pytest.approx(found.noise_floor) for found in (alone, *floors))


def test_halves_share_no_group_and_a_set_of_one_group_has_none():
    one = tuple("g" for _ in range(40))
    x = make_statistics(X, groups=one)
    found = measure(x, moments_only(make_statistics(Y, name="b")))
    assert (found.noise_floor, found.noise_floor_n, found.residual_bias) == (None, 0, None)
    assert (found.se, found.low, found.high) == (None, None, None)
    assert found.debiased == pytest.approx(found.distance)
    doubled = np.concatenate([X, X])
    apart = make_statistics(doubled, name="b", groups=[*range(40), *range(40)])
    # Every image has its double in its own half, so no half is nearer to the other than to a fresh sample.
    alone = make_statistics(doubled, name="b")
    floors = [measure(moments_only(make_statistics(Y)), each, options=DistanceSettings(seed=1)).noise_floor
              for each in (apart, alone)]  # fmt: skip
    assert floors[0] > 1.3 * floors[1]


def test_too_few_images_to_halve_have_no_noise_floor():
    found = measure(make_statistics(X[:3]), make_statistics(Y[:3], name="b"))
    assert (found.noise_floor, found.noise_floor_n, found.residual_bias) == (None, 0, None)
    assert found.low == pytest.approx(found.debiased - 1.96 * found.se)
    assert measure(make_statistics(X[:4]), make_statistics(Y[:3], name="b")).noise_floor_n == 2


def test_few_groups_give_wider_intervals_than_the_same_rows_with_groups_of_their_own():
    rng = np.random.default_rng(1)
    n, count = 100, 5
    rows = np.float32(rng.normal(size=(n, 6)) + 1.5 * np.repeat(rng.normal(size=(count, 6)), n // count, axis=0))
    few = tuple(f"g{i * count // n}" for i in range(n))
    free, grouped = (
        measure(make_statistics(values(300, 6)), make_statistics(rows, name="b", **given))
        for given in ({}, {"groups": few})
    )
    assert grouped.distance == free.distance
    assert grouped.se > 2 * free.se
    assert grouped.high - grouped.low > 2 * (free.high - free.low)
    assert grouped.low < free.low < free.high < grouped.high
    assert grouped.kid_se > 2 * free.kid_se
    assert grouped.mmd_se > 2 * free.mmd_se
    assert grouped.noise_floor > free.noise_floor


def test_a_seed_repeats_and_another_does_not():
    first, again, other = (
        measure(*both(), options=DistanceSettings(seed=seed)) for seed in (3, 3, 4)
    )  # fmt: skip
    pd.testing.assert_frame_equal(first.frame(), again.frame(), check_exact=True)
    assert other.debiased != first.debiased
    assert other.noise_floor != first.noise_floor
    assert other.distance == first.distance


def test_the_random_state_of_the_caller_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - what must not be touched
    measure(*both())
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_every_way_of_debiasing_takes_bias_off():
    rng = np.random.default_rng(9)
    errors = {"jackknife": [], "infinity": [], "delta": []}
    plain = []
    for _ in range(6):
        x, y = rng.normal(size=(2, 80, 6))
        for name, found in errors.items():
            result = measure(make_statistics(x), make_statistics(y, name="b"), options=DistanceSettings(debias=name))
            found.append(result.debiased)
            assert result.settings["debias"] == name
            assert result.curve.empty == (name != "infinity")
        plain.append(result.distance)
    for name, found in errors.items():
        assert abs(np.mean(found)) < 0.3 * np.mean(plain), name
    assert len({round(np.mean(found), 6) for found in errors.values()}) == 3


def test_fd_infinity_shows_its_curve():
    curve = measure(*both(), options=DistanceSettings(debias="infinity")).curve
    assert list(curve.columns) == ["n", "distance", "fitted"]
    assert (curve["n"].iloc[0], curve["n"].iloc[-1]) == (15, 30)
    assert curve["distance"].iloc[-1] == pytest.approx(oracle.distance(X, Y), rel=1e-6)
    assert curve["distance"].iloc[0] > curve["distance"].iloc[-1]


def test_the_delta_method_is_exact_arithmetic_on_moments():
    first, second = (moments_only(each) for each in both())
    (mean_1, s1), (mean_2, s2) = oracle.moments(X), oracle.moments(Y)
    t = np.sqrt(np.linalg.eigvals(s1 @ s2).real)
    share = (sum(a * b / (a + b) for a in t for b in t) + t.sum() / 2) / 2
    expected = oracle.distance_of_moments(mean_1, s1, mean_2, s2)
    expected -= (np.trace(s1) + share) / 40 + (np.trace(s2) + share) / 30
    for name in ("delta", "jackknife", "infinity"):
        found = measure(first, second, options=DistanceSettings(debias=name))
        assert found.debiased == pytest.approx(expected, rel=1e-6), name
        assert found.route == "moments: Cholesky, symmetric eigenvalues"


def test_statistics_without_features_have_what_moments_tell():
    first, second = both()
    found = measure(moments_only(first), moments_only(second))
    assert found.distance == pytest.approx(oracle.distance(X, Y), rel=1e-7)
    assert found.variance == pytest.approx(Y.astype(float).var(axis=0, ddof=1).sum())
    nothing = (
        "se", "low", "high", "noise_floor", "residual_bias", "kid", "kid_se", "mmd", "mmd_se", "mmd_biased",
        "precision", "recall", "density", "coverage", "class_shift", "conditional_kid",
    )  # fmt: skip
    assert [name for name in nothing if getattr(found, name) is not None] == []
    assert (found.support_n, found.noise_floor_n) == (0, 0)
    assert found.drivers.empty
    row = found.frame()
    assert row[list(nothing)].isna().all(axis=None)


def test_one_side_without_features_leaves_the_others_sampling_error():
    first, second = both()
    found = measure(moments_only(first), second)
    assert found.route == "features against moments: pivoted Cholesky, singular values"
    assert found.distance == pytest.approx(oracle.distance(X, Y), rel=1e-7)
    assert set(found.drivers["side"]) == {"second"}
    assert 0 < found.se < measure(first, second).se
    assert found.noise_floor_n == 15
    assert found.kid is None
    assert found.debiased < found.distance


def test_a_sample_of_the_features_gives_kernels_but_moments_give_the_distance():
    first, second = both()
    found = measure(sampled(first, 12), second)
    assert found.distance == pytest.approx(oracle.distance(X, Y), rel=1e-7)
    assert found.route == "features against moments: pivoted Cholesky, singular values"
    assert found.n_first == 40
    assert found.kid == pytest.approx(kernels.unbiased(X[:12], Y, kernels.cubic), rel=1e-6)
    assert found.support_n == 12
    assert found.noise_floor_n == 6
    assert set(found.drivers["side"]) == {"second"}


def test_a_side_too_large_to_resample_is_kept_whole(monkeypatch):
    monkeypatch.setattr(debias, "RESAMPLED", 35)
    found = measure(*both())
    assert found.distance == pytest.approx(oracle.distance(X, Y), rel=1e-7)
    assert found.debiased < found.distance
    assert set(found.drivers["side"]) == {"first", "second"}
    monkeypatch.setattr(debias, "RESAMPLED", 5)
    by_formula = measure(*both(), options=DistanceSettings(debias="delta"))
    assert measure(*both()).debiased == pytest.approx(by_formula.debiased, rel=1e-6)


def test_the_images_that_drive_the_distance_come_first():
    x, y = X.copy(), Y.copy()
    x[11, :3] += 8
    y[7, 3:] -= 8
    groups = tuple(f"g{i // 2}" for i in range(40))
    found = measure(make_statistics(x, groups=groups), make_statistics(y, name="b")).drivers
    assert list(found.columns) == ["side", "image", "group", "influence"]
    first, second = (found[found["side"] == side] for side in ("first", "second"))
    assert (first["image"].iloc[0], first["group"].iloc[0]) == ("a/11.png", "g5")
    assert second["image"].iloc[0] == "b/7.png"
    assert len(first) == len(second) == DRIVERS == 20
    for side in (first, second):
        assert (np.diff(side["influence"]) <= 0).all()
    gain = oracle.distance(np.concatenate([x, x[[11]]]), y) - oracle.distance(x, y)
    assert first["influence"].iloc[0] / 40 == pytest.approx(gain, rel=0.2)


def test_a_warning_says_n_d_and_rank_where_there_are_fewer_images_than_dimensions():
    few = measure(make_statistics(values(5, 1)), make_statistics(Y, name="b"))
    assert few.warnings() == [
        "a (N=5) vs b (N=30): fewer images than the 6 dimensions, so a covariance has rank 4 of 6 and the plug-in "
        "value is far too high; read the debiased one.",
        "a (N=5) vs b (N=30): too few images for 5 neighbours, so no precision or recall.",
    ]
    three = measure(make_statistics(values(3, 1)), make_statistics(values(3, 2), name="b"))
    assert three.debiased == three.distance
    assert "nothing could be taken off of so few" in three.warnings()[0]
    assert measure(make_statistics(values(7, 1)), make_statistics(Y, name="b")).warnings() == []
    assert len(measure(make_statistics(Y), make_statistics(values(6, 1), name="b")).warnings()) == 1


def test_warnings_list_what_was_skipped_and_what_is_unknown():
    many = tuple(Skipped(path=f"{i}.png", reason="truncated") for i in range(13))
    first, second = make_statistics(X, skipped=many[:2]), make_statistics(Y, name="b", skipped=many[2:])
    found = measure(first, second)
    assert found.skipped == [f"{i}.png: truncated" for i in range(13)]
    listed = "; ".join(f"{i}.png: truncated" for i in range(10))
    assert found.warnings() == [f"images that could not be read and are not counted, 13: {listed}; and 3 more"]
    assert found.frame()["skipped"].tolist() == [13]
    eleven = measure(first, replace(second, skipped=many[2:11]))
    assert eleven.warnings()[0].endswith("9.png: truncated; and 1 more")
    few = measure(first, replace(second, skipped=()))
    assert few.warnings() == [
        "images that could not be read and are not counted, 2: 0.png: truncated; 1.png: truncated"
    ]
    unknown = measure(moments_only(make_statistics(X), n=None), make_statistics(Y, name="b"))
    assert unknown.warnings() == [
        "a (N=unknown) vs b (N=30): a file does not say how many images it is of, so its share of the bias stays in."
    ]
    assert unknown.n_first is None


def test_classes_are_measured_when_asked_for():
    labels = np.arange(40) % 2, np.arange(30) % 3
    first = make_statistics(X, labels=labels[0], classes=("cat", "dog"))
    second = make_statistics(Y, name="b", labels=labels[1], classes=("dog", "cat", "eel"))
    assert measure(first, second).classes.empty
    found = measure(first, second, options=DistanceSettings(per_class=True))
    table = found.classes
    assert list(zip(table["class"], table["against"], strict=True)) == [
        ("cat", "all"), ("cat", "same class"), ("dog", "all"), ("dog", "same class"), ("eel", "all"),
    ]  # fmt: skip
    cats = table[(table["class"] == "cat") & (table["against"] == "same class")]
    expected = oracle.distance(X[labels[0] == 0], Y[labels[1] == 1])
    assert cats["distance"].item() == pytest.approx(expected, rel=1e-6)
    pairs = [(X[labels[0] == i], Y[labels[1] == j]) for i, j in ((0, 1), (1, 0))]
    kids = [kernels.unbiased(x, y, kernels.cubic) for x, y in pairs]
    assert found.conditional_kid == pytest.approx(np.mean(kids), rel=1e-6)
    assert found.conditional_kid_se > 0


@pytest.mark.parametrize("named", [True, False])
def test_without_common_classes_each_is_measured_against_all(named):
    labels = {"labels": np.arange(40) % 2, "classes": ("cat", "dog")} if named else {}
    second = make_statistics(Y, name="b", labels=np.arange(30) % 2, classes=("eel", "fox"))
    found = measure(make_statistics(X, **labels), second, options=DistanceSettings(per_class=True))
    assert found.classes["against"].tolist() == ["all", "all"]
    assert found.conditional_kid is None
    unlabelled = measure(second, make_statistics(X), options=DistanceSettings(per_class=True))
    assert unlabelled.classes.empty


def test_the_shift_of_classes_needs_a_classifier_on_both_sides():
    seen = np.arange(40) % 4, np.arange(30) % 2
    first, second = make_statistics(X, predicted=seen[0]), make_statistics(Y, name="b", predicted=seen[1])
    found = measure(first, second)
    assert found.class_shift == pytest.approx(0.5)
    assert found.class_shift_p < 0.05
    assert 0 < found.class_shift_chance < found.class_shift
    assert measure(first, make_statistics(Y, name="b")).class_shift is None
    assert measure(make_statistics(X), second).class_shift is None


def test_components_are_in_the_name_and_the_numbers():
    found = measure(*both(), options=DistanceSettings(components=3))
    assert found.measure_name == "FD (made), 3 components"
    assert found.dimensions == 3
    axes = np.linalg.svd(X - X.mean(axis=0))[2][:3].T
    assert found.distance == pytest.approx(oracle.distance(X @ axes, Y @ axes), rel=1e-5)
    whole = measure(*both(), options=DistanceSettings(components=6))
    assert whole.distance == measure(*both()).distance
    assert whole.measure_name == "FD (made), 6 components"


def test_a_file_without_a_space_is_called_as_the_other_set():
    first, second = both()
    foreign = Statistics(
        name="ref.npz", distance_name="FD", space=None, n=None, mean=first.mean, scatter=first.covariance(),
        features=None,
    )  # fmt: skip
    for pair in ((foreign, second), (second, foreign)):
        found = measure(*pair)
        assert found.measure_name == "FD (made)"
        assert found.settings["space"] == asdict(SPACE)
        assert found.distance == pytest.approx(oracle.distance(X, Y), rel=1e-7)
    assert measure(foreign, foreign).settings["space"] is None
    assert measure(foreign, foreign).distance == pytest.approx(0, abs=1e-12)


def test_the_frame_has_one_row_without_tables():
    found = measure(*both(), options=DistanceSettings(per_class=True))
    frame = found.frame()
    assert len(frame) == 1
    assert set(frame.columns) == {field.name for field in fields(SetDistance)} - {"settings", *TABLES}
    assert frame["distance"].item() == found.distance
    assert frame["class_shift"].isna().all()


@pytest.mark.parametrize("debias", ["jackknife", "infinity"])
def test_a_result_is_saved_and_read_back(tmp_path, debias):
    labels = {"labels": np.arange(40) % 2, "classes": ("cat", "dog")}
    first = make_statistics(X, skipped=(Skipped(path="x.png", reason="empty"),), **labels)
    second = make_statistics(Y, name="b", labels=np.arange(30) % 2, classes=("cat", "eel"))
    found = measure(first, second, options=DistanceSettings(per_class=True, debias=debias))
    found.save(tmp_path)
    again = SetDistance.load(tmp_path)
    for field in fields(found):
        mine, read = getattr(found, field.name), getattr(again, field.name)
        if isinstance(mine, pd.DataFrame):
            pd.testing.assert_frame_equal(read, mine, check_exact=True)
        else:
            assert read == mine, field.name
    assert json.loads((tmp_path / "result.json").read_text())["analysis"] == "distance"


def test_features_are_not_changed_by_measuring():
    first = make_features(X)
    before = first.values.copy()
    measure(Statistics.of(first), Statistics.of(make_features(Y, name="b")))
    np.testing.assert_array_equal(first.values, before)


def test_a_reference_is_halved_once_however_many_sets_it_is_compared_with(monkeypatch):
    counted = []
    monkeypatch.setattr(distance, "Pair", lambda *sides, **more: counted.append(sides) or Pair(*sides, **more))
    reference = make_statistics(X)
    others = [make_statistics(Y + i, name=f"b{i}") for i in range(3)]
    floors = [measure(reference, other).noise_floor for other in others]
    assert len(counted) == 3 + 1 + 3  # the distances, the reference's halves, and those of each other set
    alone = measure(make_statistics(X.copy()), make_statistics(Y + 2, name="b2"))
    assert floors[2] == alone.noise_floor
