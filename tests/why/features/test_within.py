"""Within-setting regression against statsmodels with a dummy a setting, and its jackknife by hand."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from vptft.errors import SettingsError
from vptft.why.features.within import within


def study(tasks=6, sizes=2, methods=4, slope=2.0, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    setting = np.repeat(np.arange(tasks * sizes), methods)
    task = setting // sizes
    x = rng.uniform(size=len(setting)) + rng.normal(size=tasks)[task]
    y = slope * x + 30 * rng.normal(size=tasks * sizes)[setting] + noise * rng.normal(size=len(setting))
    return y, x, setting, task


def dummies(setting):
    return (setting[:, None] == np.unique(setting)[None, :]).astype(float)


def test_coefficients_are_those_of_dummies():
    y, x, setting, task = study()
    columns = np.stack([x**2, x], axis=1)
    found = within(y, columns, settings=setting, tasks=task)
    fit = OLS(y, np.hstack([columns, dummies(setting)])).fit()
    assert [term.value for term in found.terms] == pytest.approx(fit.params[:2], rel=1e-8)
    assert (found.n_tasks, found.n_settings, found.n_cells) == (6, 12, 48)


def test_intervals_are_the_jackknife_over_tasks():
    y, x, setting, task = study()
    found = within(y, x[:, None], settings=setting, tasks=task)
    whole = OLS(y, np.hstack([x[:, None], dummies(setting)])).fit().params[0]
    out = []
    for name in range(6):
        rest = task != name
        out.append(OLS(y[rest], np.hstack([x[rest, None], dummies(setting[rest])])).fit().params[0])
    se = np.sqrt(5 / 6 * np.sum((np.array(out) - whole) ** 2))
    (term,) = found.terms
    half = stats.t.ppf(0.975, 5) * se
    assert (term.low, term.high) == pytest.approx((whole - half, whole + half))
    assert found.ps[0] == pytest.approx(2 * stats.t.sf(abs(whole) / se, 5))


def test_a_level_for_each_setting_takes_the_gap_for_the_accuracy():
    y, x, setting, task = study()
    ft = y[::4][setting]  # the first method of each setting
    whole, gap = (within(each, x[:, None], settings=setting, tasks=task) for each in (y, y - ft))
    assert whole.terms[0].value == pytest.approx(gap.terms[0].value)
    assert whole.terms[0].low == pytest.approx(gap.terms[0].low)


def test_the_partial_correlation_of_one_column_is_that_of_centred_values():
    y, x, setting, task = study()
    centred = [v - np.array([v[setting == s].mean() for s in range(12)])[setting] for v in (x, y)]
    found = within(y, x[:, None], settings=setting, tasks=task)
    assert found.partial_r == pytest.approx(np.corrcoef(*centred)[0, 1])


def test_what_cannot_be_told_has_no_interval():
    y, x, setting, task = study(tasks=2)
    (term,) = within(y, x[:, None], settings=setting, tasks=task).terms
    assert np.isfinite(term.value)
    assert np.isnan([term.low, term.high]).all()
    constant = within(y, np.ones((len(y), 1)), settings=setting, tasks=task)
    assert np.isnan(constant.terms[0].value)
    alone = within(y[:3], x[:3, None], settings=np.arange(3), tasks=np.arange(3))
    assert (alone.n_cells, alone.n_tasks) == (0, 0)
    with pytest.raises(SettingsError, match="finite numbers"):
        within(np.array([1.0, np.nan]), np.ones((2, 1)), settings=np.zeros(2), tasks=np.zeros(2))


@pytest.mark.verify
@pytest.mark.parametrize("tasks", [4, 10])
def test_intervals_hold_their_level(tasks):
    held = 0
    for seed in range(1000):
        y, x, setting, task = study(tasks=tasks, seed=seed)
        (term,) = within(y, x[:, None], settings=setting, tasks=task).terms
        held += term.low <= 2.0 <= term.high
    assert 0.93 <= held / 1000 <= 0.99
