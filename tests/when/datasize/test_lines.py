"""Lines in log n against statsmodels and against each draw's own least squares."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from vptft.when.datasize.cells import complete_draws, mean_gaps, sizes_of
from vptft.when.datasize.crossing import crossing_of
from vptft.when.datasize.lines import fit, sign_changes
from when.datasize.studies import published, study


def without_images(cells):
    return [replace(cell, images=None) for cell in cells]


def coefficients(cells, x):
    """Level at the mean of x and slope of each draw, by numpy."""
    return np.array([np.polyfit(x - x.mean(), [c.gap for c in row], 1)[::-1] for row in complete_draws(cells)])


def test_published_means_have_the_covariance_of_ordinary_least_squares():
    linear_model = pytest.importorskip("statsmodels.regression.linear_model")
    cells = published(np.random.default_rng(0), sizes=np.array([400, 800, 5000, 10000]), crossing=2000, slope=-2, sd=1)
    x = np.log2(sizes_of(cells))
    design = np.column_stack([np.ones(len(x)), x - x.mean()])
    expected = linear_model.OLS(mean_gaps(cells), design).fit()
    found = fit(cells)
    line = found.line
    assert (line.level, line.slope) == pytest.approx(tuple(expected.params))
    covariance = [[line.level_variance, line.covariance], [line.covariance, line.slope_variance]]
    np.testing.assert_allclose(covariance, expected.cov_params(), atol=1e-12)
    assert (found.slope.low, found.slope.high) == pytest.approx(tuple(expected.conf_int()[1]))
    assert line.t == pytest.approx(stats.t.ppf(0.975, 2))
    assert (found.noise, found.n_draws, found.bends) == ("misfit", 0, None)


def test_of_draws_alone_level_and_slope_vary_as_those_of_each_draw():
    cells = without_images(study(np.random.default_rng(1), draws=5, common_sd=2.0))
    x = np.log2(sizes_of(cells))
    each = coefficients(cells, x)
    found = fit(cells)
    line = found.line
    covariance = [[line.level_variance, line.covariance], [line.covariance, line.slope_variance]]
    np.testing.assert_allclose(covariance, np.cov(each.T) / 5, rtol=1e-9)
    assert (line.level, line.slope) == pytest.approx(tuple(each.mean(axis=0)))
    half = stats.t.ppf(0.975, 4) * each[:, 1].std(ddof=1) / np.sqrt(5)
    assert (found.slope.low, found.slope.high) == pytest.approx((line.slope - half, line.slope + half))
    assert line.t == pytest.approx(stats.t.ppf(0.975, 4))
    assert (found.noise, found.n_draws) == ("draws", 5)


def test_test_images_that_all_sizes_share_move_the_level_and_not_the_slope():
    few, sure = (study(np.random.default_rng(2), draws=4, images=60, draw_sd=0.5, image_sd=sd) for sd in (0.5, 1e-3))
    for cells, large in ((few, True), (sure, False)):
        alone, both = fit(without_images(cells)).line, fit(cells).line
        assert (both.level, both.slope) == pytest.approx((alone.level, alone.slope))
        assert (both.level_variance > 2 * alone.level_variance) == large
        assert both.slope_variance == pytest.approx(alone.slope_variance, rel=0.5)
    assert fit(few).line.t < stats.t.ppf(0.975, 3)


def test_two_sizes_without_draws_have_no_noise():
    found = fit(published(np.random.default_rng(0), sizes=np.array([400, 800]), crossing=500, slope=-1, sd=0))
    assert found.noise == "none"
    assert np.isinf(found.line.t)
    assert np.isnan(found.slope.low)
    assert crossing_of(found.line).kind == "everywhere"


def test_two_sizes_with_three_draws_do():
    found = fit(study(np.random.default_rng(0), sizes=(400, 4000), image_sd=0.01, draw_sd=0.1))
    assert (found.noise, found.bends) == ("draws", None)
    assert found.slope.low < -3 < found.slope.high < -2


@pytest.mark.parametrize("draws", [1, 2])
def test_with_few_draws_the_noise_is_what_the_line_leaves_and_the_images(draws):
    cells = study(np.random.default_rng(3), draws=draws)
    found, alone = fit(cells), fit(without_images(cells))
    assert (found.noise, found.n_draws) == ("misfit", draws)
    assert found.line.t == pytest.approx(stats.t.ppf(0.975, 3))
    assert found.line.level_variance > alone.line.level_variance


def test_draws_that_lack_a_size_do_not_enter():
    cells = study(np.random.default_rng(4), draws=4)
    assert fit(cells[:-1]).line == fit(cells[:15]).line
    assert fit(cells[:-1]).n_draws == 3


def test_where_the_gap_bends_the_crossing_lies_between_the_sizes_around_it():
    quiet = {"image_sd": 0.01, "draw_sd": 0.2, "draws": 4}
    bent = study(np.random.default_rng(5), bend=1.5, crossing=4000, **quiet)
    found = fit(bent)
    assert found.bends
    (change,) = sign_changes(mean_gaps(bent))
    sizes, gaps = sizes_of(bent)[change : change + 2], mean_gaps(bent)[change : change + 2]
    interpolated = np.interp(0, -gaps, np.log2(sizes))
    assert np.log2(crossing_of(found.secant).n) == pytest.approx(interpolated)
    straight = fit(study(np.random.default_rng(5), **quiet))
    assert (straight.bends, straight.secant) == (False, None)
    above = fit(study(np.random.default_rng(5), bend=1.5, crossing=1e9, **quiet))
    assert (above.bends, above.secant) == (True, None)


def test_sign_changes_skip_zeros():
    assert sign_changes(np.array([3.0, 0.0, -1.0, -2.0])) == [0]
    assert sign_changes(np.array([0.0, 1.0, 2.0])) == []
    assert sign_changes(np.array([1.0, -1.0, 1.0])) == [0, 1]


STUDIES = {
    "three draws": {},
    "five draws": {"draws": 5},
    "nested draws": {"draws": 5, "common_sd": 1.0},
    "draws are most of the noise": {"image_sd": 0.02},
    "six sizes": {"draws": 5, "sizes": (400, 800, 2000, 5000, 10000, 20000)},
}


@pytest.mark.verify
@pytest.mark.parametrize("settings", STUDIES.values(), ids=STUDIES)
def test_intervals_of_slope_and_crossing_cover(settings):
    rng = np.random.default_rng(7)
    fits = [fit(study(rng, **settings)) for _ in range(1500)]
    slopes = np.mean([f.slope.low <= -3 <= f.slope.high for f in fits])
    crossings = np.mean([holds(crossing_of(f.secant or f.line), 2000) for f in fits])
    assert 0.93 <= slopes <= 0.97
    assert 0.93 <= crossings <= 0.97


@pytest.mark.verify
@pytest.mark.parametrize("count", [4, 6])
def test_intervals_of_published_means_cover(count):
    rng, sizes = np.random.default_rng(8), np.array([400, 800, 2000, 5000, 10000, 20000])[:count]
    fits = [fit(published(rng, sizes=sizes, crossing=2000, slope=-2, sd=1.5)) for _ in range(1500)]
    assert 0.93 <= np.mean([f.slope.low <= -2 <= f.slope.high for f in fits]) <= 0.97
    assert 0.93 <= np.mean([holds(crossing_of(f.line), 2000) for f in fits]) <= 0.97


def holds(crossing, n):
    inside = crossing.low <= n <= crossing.high
    return {"interval": inside, "outside": not crossing.low < n < crossing.high, "everywhere": True}[crossing.kind]
