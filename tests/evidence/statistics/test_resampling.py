import numpy as np
import pytest

from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import PairedDraw, bca, hierarchical_bootstrap, no_interval


def mean_of_tasks(means):
    return means.mean(axis=-1)


def draw(differences, groups=None):
    differences = np.asarray(differences, dtype=float)
    return PairedDraw(differences=differences, groups=np.arange(len(differences)) if groups is None else groups)


def simulate(rng, *, n_tasks, n_seeds, n_groups, of_seed, of_image, of_both):
    """Differences with mean zero: a seed's effect, an image's that all seeds share, and what is left."""
    tasks = []
    for _ in range(n_tasks):
        shared = rng.normal(0, of_image, n_groups)
        tasks.append([draw(rng.normal(0, of_seed) + shared + rng.normal(0, of_both, n_groups)) for _ in range(n_seeds)])
    return tasks


def coverage(repetitions=200, **sizes):
    rng = np.random.default_rng(12)
    hits = 0
    for i in range(repetitions):
        interval = hierarchical_bootstrap(simulate(rng, **sizes), mean_of_tasks, seed=i, draws=200)
        hits += interval.low <= 0 <= interval.high
    return hits / repetitions


def test_the_interval_of_one_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(0.2, 1, 400)
    interval = hierarchical_bootstrap([[draw(values)]], mean_of_tasks, seed=1, draws=20_000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval.value == pytest.approx(values.mean(), rel=1e-12)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_a_contrast_is_a_weighted_sum_with_the_variances_added():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.5, 1, 300), rng.normal(0.1, 2, 300)
    interval = hierarchical_bootstrap(
        [[draw(first)], [draw(second)]], lambda means: means @ np.array([1.0, -1.0]), seed=2, draws=20_000
    )
    half = 1.96 * np.sqrt(first.var() / 300 + second.var() / 300)
    assert interval.value == pytest.approx(first.mean() - second.mean(), rel=1e-12)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.05)


def test_the_spread_between_seeds_has_its_unbiased_size():
    """Differences without image noise: the variance of the mean of k seeds is s^2 / k with s^2 over k - 1."""
    values = np.array([0.1, 0.4, -0.2, 0.7])
    resampled = []

    def keep(means):
        resampled.append(means)
        return mean_of_tasks(means)

    hierarchical_bootstrap([[draw(np.full(5, value)) for value in values]], keep, seed=0, draws=40_000)
    (means,) = [means for means in resampled if means.shape == (40_000, 1)]
    assert means.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.05)


def test_images_that_all_seeds_share_do_not_count_anew_for_every_seed():
    values = np.random.default_rng(5).normal(0, 1, 300)
    one = hierarchical_bootstrap([[draw(values)]], mean_of_tasks, seed=0, draws=10_000)
    five = hierarchical_bootstrap([[draw(values)] * 5], mean_of_tasks, seed=0, draws=10_000)
    assert five.high - five.low == pytest.approx(one.high - one.low, rel=0.03)


def test_seeds_tested_on_images_of_their_own_average_them_out():
    values = np.random.default_rng(5).normal(0, 1, 300)
    groups = np.arange(300)
    task = [draw(values, groups + 300 * i) for i in range(5)]
    one = hierarchical_bootstrap([[draw(values)]], mean_of_tasks, seed=0, draws=10_000)
    five = hierarchical_bootstrap([task], mean_of_tasks, seed=0, draws=10_000)
    assert five.high - five.low < 0.75 * (one.high - one.low)


def test_the_order_of_a_seeds_images_does_not_matter():
    rng = np.random.default_rng(8)
    values, groups = rng.normal(0, 1, 60), np.repeat(np.arange(20), 3)
    order = rng.permutation(60)
    straight = hierarchical_bootstrap([[draw(values, groups)] * 3], mean_of_tasks, seed=0)
    shuffled = hierarchical_bootstrap(
        [[draw(values, groups), draw(values[order], groups[order]), draw(values, groups)]], mean_of_tasks, seed=0
    )
    assert (straight.low, straight.high) == pytest.approx((shuffled.low, shuffled.high))


def test_groups_widen_the_interval_to_that_of_independent_pictures():
    per_group = np.random.default_rng(6).normal(0, 1, 50)
    values = np.repeat(per_group, 8)
    alone = hierarchical_bootstrap([[draw(values)]], mean_of_tasks, seed=0, draws=10_000)
    grouped = hierarchical_bootstrap([[draw(values, np.repeat(np.arange(50), 8))]], mean_of_tasks, seed=0, draws=10_000)
    pictures = hierarchical_bootstrap([[draw(per_group)]], mean_of_tasks, seed=0, draws=10_000)
    assert grouped.high - grouped.low == pytest.approx(pictures.high - pictures.low, rel=0.03)
    assert grouped.high - grouped.low == pytest.approx(np.sqrt(8) * (alone.high - alone.low), rel=0.05)


def test_groups_of_unequal_size_keep_the_mean_over_images():
    values, groups = [1.0] * 9 + [0.0], np.array(["big"] * 9 + ["small"])
    interval = hierarchical_bootstrap([[draw(values, groups)]], mean_of_tasks, seed=0)
    assert interval.value == pytest.approx(0.9)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_pairing_takes_out_what_both_methods_share():
    """Two methods right on mostly the same images: the paired interval is far narrower than the sum of two."""
    rng = np.random.default_rng(7)
    ft = rng.random(500) < 0.5
    vpt = ft ^ (rng.random(500) < 0.04)
    paired = hierarchical_bootstrap([[draw(vpt.astype(float) - ft)]], mean_of_tasks, seed=0)
    unpaired = hierarchical_bootstrap([[draw(vpt)], [draw(ft)]], lambda means: means @ np.array([1.0, -1.0]), seed=0)
    assert paired.value == pytest.approx(unpaired.value)
    assert paired.high - paired.low < 0.4 * (unpaired.high - unpaired.low)


def test_no_spread_gives_no_width():
    interval = hierarchical_bootstrap([[draw([0.25] * 8)] * 3], mean_of_tasks, seed=0)
    assert (interval.low, interval.value, interval.high) == (0.25, 0.25, 0.25)


def test_a_seed_gives_one_interval_and_another_seed_another():
    task = [draw(np.random.default_rng(1).normal(0, 1, 50))]
    first, again, other = (hierarchical_bootstrap([task], mean_of_tasks, seed=seed, draws=500) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first.value == other.value


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_tasks": 1, "n_seeds": 1, "n_groups": 30, "of_seed": 0.0, "of_image": 1.0, "of_both": 0.0},
        {"n_tasks": 1, "n_seeds": 3, "n_groups": 30, "of_seed": 0.0, "of_image": 1.0, "of_both": 0.3},
        {"n_tasks": 1, "n_seeds": 3, "n_groups": 30, "of_seed": 0.1, "of_image": 1.0, "of_both": 0.0},
        {"n_tasks": 6, "n_seeds": 3, "n_groups": 30, "of_seed": 0.1, "of_image": 1.0, "of_both": 0.3},
        {"n_tasks": 6, "n_seeds": 3, "n_groups": 30, "of_seed": 0.5, "of_image": 0.2, "of_both": 0.2},
    ],
    ids=["one seed", "images that seeds share", "seeds and images", "six tasks", "six tasks, seeds dominate"],
)
def test_the_interval_covers_the_truth_about_as_often_as_it_says(sizes):
    assert 0.88 <= coverage(**sizes) <= 0.99


def test_differences_and_groups_must_fit():
    with pytest.raises(SettingsError, match=r"Differences \(3,\) and groups \(2,\) must be equally long"):
        draw([1, 0, 1], np.arange(2))
    with pytest.raises(SettingsError, match="not empty"):
        draw([])


TEN = np.array([2.1, -0.4, 3.3, 5.1, 0.2, 1.7, 4.4, -1.2, 2.8, 3.9])


def test_bca_gives_what_r_gives():
    """R 4.2.2, boot 1.3-28: boot.ci(boot(TEN, function(d, i) mean(d[i]), 200000), type = "bca") is (0.85, 3.35)."""
    interval = bca(TEN, seed=0, draws=100_000, least=10)
    assert interval.value == pytest.approx(2.19)
    assert (interval.low, interval.high) == pytest.approx((0.85, 3.35), abs=0.02)


def test_bca_of_another_statistic_and_of_no_spread():
    assert bca(TEN, np.median, seed=0, draws=999, least=10).value == pytest.approx(2.45)
    flat = bca(np.full(50, 2.0), seed=0)
    assert (flat.low, flat.high) == (2.0, 2.0)
    assert np.isnan([no_interval().value, no_interval().low, no_interval().high]).all()


def test_bca_is_not_given_where_it_misses_its_level():
    with pytest.raises(SettingsError, match="A BCa interval of 10 values holds less than the 95%"):
        bca(TEN, seed=0)
