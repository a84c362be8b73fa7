from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from vptft.errors import NotApplicable, SettingsError
from vptft.evidence.statistics.components import nested_interval
from vptft.when.datasize.measure import ALL, measure
from when.datasize.studies import published, study

SLOPES = (-3.0, -2.0, -4.0, -2.5, -3.5, -3.0)


def studies(slopes=SLOPES, **settings):
    rng = np.random.default_rng(0)
    named = [(f"t{i}", slope) for i, slope in enumerate(slopes)]
    return [c for name, slope in named for c in study(rng, task=name, slope=slope, **settings)]


@pytest.fixture(scope="module")
def result():
    return measure(studies(), settings={"key": "k"})


def test_points_hold_means_ranges_and_intervals(result):
    cells = [c for c in studies() if c.task == "t0" and c.n_train == 400]
    row = result.frame().iloc[0]
    gap = nested_interval(
        [[replace(c.images, differences=100 * c.images.differences) for c in cells]], [1.0]
    )  # fmt: skip
    assert (row["task"], row["n_train"], row["n_draws"]) == ("t0", 400, 3)
    assert row["accuracy_vpt"] == pytest.approx(np.mean([c.accuracy_vpt for c in cells]))
    assert (row["ft_low"], row["ft_high"]) == (min(c.accuracy_ft for c in cells), max(c.accuracy_ft for c in cells))
    found = row[["gap_points", "low_points", "high_points"]].to_numpy(dtype=float)
    assert found == pytest.approx([gap.value, gap.low, gap.high])
    assert row["line_low"] < row["line_points"] < row["line_high"]


def test_the_mean_slope_is_tested_over_tasks(result):
    slopes = result.tasks["slope_points"].to_numpy()
    (row,) = result.groups.to_dict("records")
    half = stats.t.ppf(0.975, 5) * slopes.std(ddof=1) / np.sqrt(6)
    expected = (slopes.mean(), slopes.mean() - half, slopes.mean() + half)
    assert (row["slope_points"], row["slope_low"], row["slope_high"]) == pytest.approx(expected)
    assert row["p"] == pytest.approx(2 / 2**6)
    assert row["region_points"] == pytest.approx(1 / np.log2(25))
    (finding,) = result.findings()
    assert (finding.hypothesis, finding.verdict, finding.n) == ("W3", "supported", 6)
    assert finding.unit == "points a doubling"
    assert "mean of 6 tasks over 4.6 doublings; supervised pretraining" in finding.statement


def test_crossings_are_near_the_planted_one(result):
    assert (np.abs(np.log2(result.tasks["crossing_n"] / 2000)) < 1.5).all()
    assert np.log2(result.groups["crossing_n"].iloc[0] / 2000) == pytest.approx(0, abs=0.7)
    held = (result.tasks["crossing_low"] <= 2000) & (result.tasks["crossing_high"] >= 2000)
    assert held.all()
    assert set(result.tasks["outcome"]) == {"ft overtakes"}
    assert result.tasks["observed"].tolist() == ["ft passes"] * 6


@pytest.mark.parametrize(
    ("slopes", "verdict"), [((3.0, 2.0, 4.0, 2.5, 3.5, 3.0), "refuted"), ((-3, 3, -2, 2, -1, 1), "inconclusive")]
)
def test_the_other_way_is_refuted_and_both_ways_are_inconclusive(slopes, verdict):
    (finding,) = measure(studies(slopes)).findings()
    assert finding.verdict == verdict


def test_a_slope_within_the_region_is_refuted():
    flat = measure(studies((-0.01, 0.01, 0.0, 0.02, -0.02, 0.01), draw_sd=0.01, image_sd=0.01))
    (finding,) = flat.findings()
    assert (finding.verdict, "practically no effect" in finding.reason) == ("refuted", True)


@pytest.mark.parametrize(("draws", "reason"), [(1, "one seed: no verdict"), (2, "2 seeds: no verdict")])
def test_few_draws_give_no_verdict(draws, reason):
    (finding,) = measure(studies(draws=draws)).findings()
    assert (finding.verdict, finding.reason) == ("inconclusive", reason)


def test_published_means_are_judged_over_tasks():
    rng = np.random.default_rng(1)
    sizes = np.array([400, 800, 5000, 10000])
    cells = [c for i in range(8) for c in published(rng, sizes=sizes, crossing=3000, slope=-2, sd=0.5, task=f"t{i}")]
    short = published(rng, sizes=sizes[:2], crossing=3000, slope=10, sd=0.5, task="short")
    result = measure([*cells, *short])
    (finding,) = result.findings()
    assert (finding.verdict, finding.n) == ("supported", 8)
    assert "(1 more have too few sizes or groups)" in finding.statement
    assert set(result.frame()["n_draws"]) == {0}
    assert result.frame()["low_points"].isna().all()
    assert result.tasks.set_index("task")["says"]["short"] == "cannot tell: nothing shows the noise"


def test_groups_are_judged_apart_and_pretrainings_never_together():
    cells = studies(SLOPES[:4], task_group="a")
    cells += [replace(c, task=f"b{c.task}", task_group="b") for c in studies(SLOPES[:3])]
    other = [replace(c, pretraining="masked") for c in cells]
    result = measure([*cells, *other])
    rows = result.groups
    assert rows["task_group"].tolist() == [ALL, "a", "b"] * 2
    assert rows["pretraining"].tolist() == ["masked"] * 3 + ["supervised"] * 3
    assert rows["n_tasks"].tolist() == [7, 4, 3] * 2
    of_groups = rows[rows["task_group"] != ALL].head(2)
    assert of_groups["p_holm"].to_numpy() == pytest.approx([0.25, 0.25])
    assert [f.n for f in result.findings()] == [7, 7]
    assert all(f.p_adjusted == pytest.approx(2 * 2 / 2**7) for f in result.findings())


def test_few_groups_are_shown_and_not_judged():
    few = [replace(c, task="few", few_groups=True) for c in studies((50.0,), crossing=2000)]
    result = measure([*studies(), *few])
    assert "few" in set(result.frame()["task"])
    assert result.findings()[0].n == 6
    assert measure(few).groups.empty
    assert measure(few).findings() == ()


def test_one_task_is_judged_by_its_own_draws():
    result = measure(studies((-3.0,), draw_sd=0.3))
    (finding,) = result.findings()
    row = result.tasks.iloc[0]
    assert (finding.low, finding.high) == (row["slope_low"], row["slope_high"])
    assert (finding.p, finding.n) == (None, 1)


def test_a_bent_gap_is_said_to_be():
    quiet = {"image_sd": 0.01, "draw_sd": 0.2, "draws": 4}
    rows = measure([
        *study(np.random.default_rng(5), bend=1.5, crossing=4000, task="changes", **quiet),
        *study(np.random.default_rng(5), bend=1.5, crossing=1e6, slope=-2, task="stays", **quiet),
        *study(np.random.default_rng(5), bend=4.0, crossing=2000, slope=0.1, task="twice", **quiet),
    ]).tasks.set_index("task")  # fmt: skip
    assert rows["bends"].tolist() == ["yes"] * 3
    assert rows["says"]["changes"].endswith(", between two sizes: the gap bends")
    assert rows["outcome"].to_dict() == {"changes": "ft overtakes", "stays": "vpt ahead", "twice": "open"}
    assert rows["says"]["twice"] == "cannot tell: the gap bends, and its line does not say where"
    assert rows["observed"]["twice"] == "mixed"


def test_learning_curves_are_extrapolated_where_there_are_four_sizes():
    cells = studies((-3.0,)) + study(np.random.default_rng(0), task="three", sizes=(400, 800, 1600))
    curves = measure(cells, curves=True).curves
    assert curves["task"].tolist() == ["t0"] * 4
    assert sorted(set(curves["n_train"])) == [20_000, 100_000]
    assert measure(cells).curves.empty


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(NotApplicable, match="No task has runs at two training sizes"):
        measure(study(np.random.default_rng(0), sizes=(400,)))
    with pytest.raises(SettingsError, match="at least 2 and region not negative; got 1"):
        measure(studies(), least_sizes=1)
