import numpy as np
import pytest
from scipy import stats

from vptft.errors import SettingsError
from vptft.evidence.statistics.components import components, nested_interval
from vptft.evidence.statistics.resampling import PairedDraw


def task_of(table, per_group=1):
    """A (draws, groups) table of differences, each group with as many equal images."""
    groups = np.repeat(np.arange(table.shape[1]), per_group)
    return [PairedDraw(differences=np.repeat(row, per_group), groups=groups) for row in table]


def mean_squares(table):
    """The textbook two-way layout without replication, by loops."""
    k, g = table.shape
    grand = table.mean()
    draws = g * sum((row.mean() - grand) ** 2 for row in table) / (k - 1)
    groups = k * sum((column.mean() - grand) ** 2 for column in table.T) / (g - 1)
    rest = sum(
        (table[i, j] - table[i].mean() - table[:, j].mean() + grand) ** 2 for i in range(k) for j in range(g)
    ) / ((k - 1) * (g - 1))  # fmt: skip
    return draws, groups, rest


def test_the_variance_is_that_of_the_two_way_layout():
    rng = np.random.default_rng(0)
    table = rng.normal(0, 1, (4, 1)) + rng.normal(0, 2, (1, 30)) + rng.normal(0, 1, (4, 30))
    draws, groups, rest = mean_squares(table)
    variance = (draws + groups - rest) / table.size
    quantile = (draws * stats.t.ppf(0.975, 3) + (groups - rest) * stats.t.ppf(0.975, 29)) / (draws + groups - rest)
    found = nested_interval([task_of(table)], [1.0])
    half = quantile * np.sqrt(variance)
    assert (found.low, found.value, found.high) == pytest.approx(
        (table.mean() - half, table.mean(), table.mean() + half)
    )


@pytest.mark.parametrize("per_group", [2, 7])
def test_images_of_one_group_count_once(per_group):
    table = np.random.default_rng(1).normal(0.3, 1, (3, 25))
    one, many = (nested_interval([task_of(table, size)], [1.0]) for size in (1, per_group))
    assert (many.low, many.high) == pytest.approx((one.low, one.high))


def test_one_draw_leaves_the_interval_of_the_images():
    values = np.random.default_rng(2).normal(0.2, 1, 200)
    found = nested_interval([task_of(values[None])], [1.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_draws_tested_on_their_own_images_are_the_sample():
    rng = np.random.default_rng(3)
    task = [PairedDraw(differences=rng.normal(0, 1, 40), groups=np.arange(40) + 100 * i) for i in range(4)]
    expected = stats.ttest_1samp([draw.differences.mean() for draw in task], 0).confidence_interval()
    found = nested_interval([task], [1.0])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_contrast_adds_the_variances_of_its_tasks():
    rng = np.random.default_rng(4)
    tasks = [task_of(rng.normal(0, 1, (5, 1)) + rng.normal(0, 1, (5, 40))) for _ in range(2)]
    variances = [components(task).variance for task in tasks]
    found = nested_interval(tasks, [1.0, -1.0])
    assert found.value == pytest.approx(components(tasks[0]).value - components(tasks[1]).value)
    ratio = (found.high - found.value) / np.sqrt(sum(variances))
    assert stats.t.ppf(0.975, 20) < ratio < stats.t.ppf(0.975, 3)


def test_no_part_is_less_than_a_source_alone_allows():
    """Pure noise: draws and groups each hold the rest, and taking it off twice must not leave less than either."""
    for seed in range(50):
        table = np.random.default_rng(seed).normal(0, 1, (3, 12))
        found = components(task_of(table))
        of_groups = table.mean(axis=0).var(ddof=1) / 12
        assert found.variance >= max(found.draws.variance, of_groups) - 1e-15


def test_no_spread_gives_no_width_and_one_group_no_interval():
    flat = nested_interval([task_of(np.full((3, 8), 0.25))], [1.0])
    assert (flat.low, flat.high) == pytest.approx((0.25, 0.25))
    assert np.isnan(nested_interval([task_of(np.ones((3, 1)))], [1.0]).low)


def test_weights_and_tasks_must_be_as_many():
    with pytest.raises(SettingsError, match="1 tasks and 2 weights: there must be as many"):
        nested_interval([task_of(np.ones((2, 3)))], [1.0, 2.0])


@pytest.mark.parametrize("of_draw", [0.0, 0.2, 1.0])
def test_the_interval_of_one_task_with_three_draws_covers_the_truth(of_draw):
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(600):
        table = rng.normal(0, of_draw, (3, 1)) + rng.normal(0, 1, (1, 40)) + rng.normal(0, 0.7, (3, 40))
        found = nested_interval([task_of(table)], [1.0])
        hits += found.low <= 0 <= found.high
    assert 0.93 <= hits / 600 <= 0.985


def test_the_p_is_that_of_the_interval():
    """An effect is significant at 5% exactly where its interval excludes 0."""
    values = np.random.default_rng(9).normal(0.1, 1, 200)
    found = nested_interval([task_of(values[None])], [1.0])
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    edge = nested_interval([task_of(values[None] - found.low)], [1.0])
    assert edge.p == pytest.approx(0.05)
    assert nested_interval([task_of(np.zeros((3, 4)))], [1.0]).p == 1.0
    assert nested_interval([task_of(np.ones((3, 4)))], [1.0]).p == 0.0


def test_a_draw_that_lacks_an_image_changes_little():
    rng = np.random.default_rng(5)
    table = rng.normal(0, 0.1, (3, 1)) + rng.normal(0.3, 1, (1, 100)) + rng.normal(0, 0.2, (3, 100))
    whole = task_of(table)
    lacking = [PairedDraw(differences=table[0][1:], groups=np.arange(1, 100)), *whole[1:]]
    one, other = (nested_interval([draws], [1.0]) for draws in (whole, lacking))
    assert (other.high - other.low) == pytest.approx(one.high - one.low, rel=0.1)
    apart = [PairedDraw(differences=row, groups=np.arange(100) + 100 * i) for i, row in enumerate(table)]
    assert components(apart).images.variance == 0
