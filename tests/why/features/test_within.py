"""Within-setting regression against statsmodels with a dummy a setting, its jackknives and permutations by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from vptft.errors import SettingsError
from vptft.why.features.within import within


def study(tasks=6, sizes=2, methods=5, slope=2.0, noise=1.0, offset=0.0, seed=0):
    """Cells of a study: y, the dose, and the names that :func:`within` takes; a method's offset is the same on all."""
    rng = np.random.default_rng(seed)
    setting = np.repeat(np.arange(tasks * sizes), methods)
    method = np.tile(np.arange(methods), tasks * sizes)
    task = setting // sizes
    x = np.linspace(0, 1, methods)[method] + 0.1 * rng.normal(size=len(setting)) + rng.normal(size=tasks)[task]
    own = offset * rng.permutation(rng.normal(size=methods))
    y = slope * x + own[method] + 30 * rng.normal(size=tasks * sizes)[setting] + noise * rng.normal(size=len(setting))
    return y, x, {"settings": setting, "tasks": task, "methods": method}


def dummies(setting):
    return (setting[:, None] == np.unique(setting)[None, :]).astype(float)


def slope_of(y, x, setting):
    return OLS(y, np.hstack([x[:, None], dummies(setting)])).fit().params[0]


def test_coefficients_are_those_of_dummies():
    y, x, names = study()
    columns = np.stack([x**2, x], axis=1)
    found = within(y, columns, **names)
    fit = OLS(y, np.hstack([columns, dummies(names["settings"])])).fit()
    assert [term.value for term in found.terms] == pytest.approx(fit.params[:2], rel=1e-8)
    assert (found.n_tasks, found.n_settings, found.n_methods, found.n_cells) == (6, 12, 5, 60)


def test_intervals_add_the_jackknives_over_tasks_and_methods():
    y, x, names = study()
    whole = slope_of(y, x, names["settings"])
    variance = 0.0
    for clusters, count in ((names["tasks"], 6), (names["methods"], 5)):
        rest = [clusters != name for name in range(count)]
        out = np.array([slope_of(y[each], x[each], names["settings"][each]) for each in rest])
        variance += (count - 1) / count * np.sum((out - whole) ** 2)
    (term,) = within(y, x[:, None], **names).terms
    half = stats.t.ppf(0.975, 4) * np.sqrt(variance)
    assert (term.low, term.high) == pytest.approx((whole - half, whole + half))


def test_the_p_of_a_line_is_that_of_every_order_of_the_methods():
    y, x, names = study(slope=0.3, sizes=1)
    whole = abs(slope_of(y, x, names["settings"]))
    doses = x.reshape(6, 5)
    orders = [doses[:, list(order)].ravel() for order in itertools.permutations(range(5))]
    as_far = [abs(slope_of(y, each, names["settings"])) >= whole * (1 - 1e-9) for each in orders]
    assert 0 < np.mean(as_far) < 1
    assert within(y, x[:, None], **names).ps[0] == pytest.approx(np.mean(as_far))


def test_the_p_of_a_bend_is_that_of_every_order_of_what_the_line_leaves():
    y, x, names = study(slope=3.0, sizes=1, seed=4)
    y = y - 3 * (x - x.reshape(6, 5).mean(axis=1)[names["tasks"]]) ** 2
    columns = np.stack([x**2, x], axis=1)
    levels = dummies(names["settings"])
    left = OLS(y, np.hstack([x[:, None], levels])).fit().resid.reshape(6, 5)
    orders = [left[:, list(order)].ravel() for order in itertools.permutations(range(5))]
    sizes = [abs(OLS(each, np.hstack([columns, levels])).fit().tvalues[0]) for each in orders]
    expected = np.mean(np.array(sizes) >= sizes[0] * (1 - 1e-9))
    assert 0 < expected < 1
    assert within(y, columns, **names).ps[0] == pytest.approx(expected)


def test_of_many_methods_orders_are_drawn_by_the_seed():
    y, x, names = study(methods=9, slope=0.5)
    one, same = (within(y, x[:, None], **names, seed=3).ps[0] for _ in range(2))
    assert one == same
    assert within(y, x[:, None], **names, seed=4).ps[0] == pytest.approx(one, abs=0.02)


def test_only_methods_of_every_setting_change_places():
    y, x, names = study(methods=6)
    there = ~((names["methods"] == 5) & (names["settings"] == 0))
    kept = names["methods"] < 5
    cut, block = (
        within(y[rows], x[rows, None], **{name: each[rows] for name, each in names.items()}) for rows in (there, kept)
    )
    assert cut.ps == block.ps
    assert (cut.n_methods, cut.n_cells) == (6, 71)
    few = names["methods"] < np.where(names["settings"] == 0, 4, 6)
    assert np.isnan(within(y[few], x[few, None], **{name: each[few] for name, each in names.items()}).ps[0])


def test_a_level_for_each_setting_takes_the_gap_for_the_accuracy():
    y, x, names = study()
    ft = y[::5][names["settings"]]  # the first method of each setting
    whole, gap = (within(each, x[:, None], **names) for each in (y, y - ft))
    assert whole.terms[0].value == pytest.approx(gap.terms[0].value)
    assert whole.terms[0].low == pytest.approx(gap.terms[0].low)
    assert whole.ps == pytest.approx(gap.ps)


def test_the_partial_correlation_of_one_column_is_that_of_centred_values():
    y, x, names = study()
    centred = [v - np.array([v[names["settings"] == s].mean() for s in range(12)])[names["settings"]] for v in (x, y)]
    assert within(y, x[:, None], **names).partial_r == pytest.approx(np.corrcoef(*centred)[0, 1])


@pytest.mark.parametrize("fields", [{"tasks": 2}, {"methods": 4}])
def test_what_cannot_be_told_has_no_interval(fields):
    y, x, names = study(**fields)
    found = within(y, x[:, None], **names)
    (term,) = found.terms
    assert np.isfinite(term.value)
    assert np.isnan([term.low, term.high, *found.ps]).all()


def test_what_does_not_differ_says_nothing():
    y, x, names = study()
    constant = within(y, np.ones((len(y), 1)), **names)
    assert np.isnan([constant.terms[0].value, constant.ps[0]]).all()
    three = {"settings": np.arange(3), "tasks": np.arange(3), "methods": np.zeros(3)}
    alone = within(y[:3], x[:3, None], **three)
    assert (alone.n_cells, alone.n_tasks) == (0, 0)
    with pytest.raises(SettingsError, match="finite numbers"):
        within(np.array([1.0, np.nan]), np.ones((2, 1)), **{name: np.zeros(2) for name in three})


@pytest.mark.verify
@pytest.mark.parametrize("tasks", [4, 8])
@pytest.mark.parametrize("offset", [0.0, 1.0, 2.0])
def test_offsets_between_methods_are_no_evidence_and_intervals_hold_their_level(tasks, offset):
    held, rejected = 0, np.zeros(2)
    for seed in range(400):
        y, x, names = study(tasks=tasks, sizes=1, methods=6, slope=0.0, offset=offset, seed=seed)
        line = within(y, x[:, None], **names)
        bend = within(y, np.stack([x**2, x], axis=1), **names)
        held += line.terms[0].low <= 0.0 <= line.terms[0].high
        rejected += [line.ps[0] < 0.05, bend.ps[0] < 0.05]
    assert held / 400 >= 0.92
    assert (rejected / 400 <= 0.085).all()
