"""What two networks are right on, image by image."""

import numpy as np
import pytest
from scipy import stats

from vptft.errors import SettingsError
from vptft.evidence.statistics.families import holm
from vptft.evidence.statistics.resampling import PairedDraw
from vptft.when.quadrants.outcomes import TestedPair, measure


def pair(only_vpt, only_ft, both=20, neither=20, *, groups=None, **told):
    differences = np.repeat([1.0, -1.0, 0.0], [only_vpt, only_ft, both + neither])
    groups = np.arange(len(differences)) if groups is None else groups
    return TestedPair(task="t", draw=PairedDraw(differences=differences, groups=groups), both=both, **told)


def test_images_of_their_own_take_mcnemars_mid_p():
    row = measure([pair(14, 5, seed=1, n_train=300)]).frame().iloc[0]
    mid = 2 * stats.binom.cdf(5, 19, 0.5) - stats.binom.pmf(5, 19, 0.5)
    assert row["p"] == pytest.approx(mid)
    counted = row[["n_test", "n_groups", "both", "only_vpt", "only_ft", "neither"]]
    assert counted.tolist() == [59, 59, 20, 14, 5, 20]
    assert (row["seed"], row["n_train"]) == (1, 300)
    assert row["gap_points"] == pytest.approx(100 * 9 / 59)
    assert row["low_points"] < row["gap_points"] < row["high_points"]
    assert "McNemar" in row["method"]
    assert "BCa" in row["method"]


def test_images_of_one_photograph_count_once():
    alone = measure([pair(60, 20, 60, 60)]).frame().iloc[0]
    # Four images each of 50 photographs, of which both networks get all right or wrong together.
    groups = np.repeat(np.arange(50), 4)
    together = measure([pair(60, 20, 60, 60, groups=groups)]).frame().iloc[0]
    assert together["gap_points"] == alone["gap_points"]
    assert together["p"] > 30 * alone["p"]
    width = [row["high_points"] - row["low_points"] for row in (alone, together)]
    assert width[1] == pytest.approx(2 * width[0], rel=0.15)  # an effective n of a quarter
    assert "groups" in together["method"]
    assert "cluster" in together["method"]


def test_the_interval_is_that_of_a_mean_of_independent_images():
    row = measure([pair(180, 120, 400, 300)]).frame().iloc[0]
    values = 100 * pair(180, 120, 400, 300).draw.differences
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert row["low_points"] == pytest.approx(row["gap_points"] - half, abs=0.25)
    assert row["high_points"] == pytest.approx(row["gap_points"] + half, abs=0.25)


def test_few_groups_get_a_test_and_no_interval():
    row = measure([pair(10, 2, 20, 17, groups=np.arange(49))]).frame().iloc[0]
    assert np.isnan(row["low_points"])
    assert row["p"] < 0.05
    assert row["method"].endswith("no interval of 49 groups")


def test_equal_networks_differ_on_nothing():
    row = measure([pair(0, 0, 30, 30)]).frame().iloc[0]
    assert (row["gap_points"], row["low_points"], row["high_points"], row["p"]) == (0, 0, 0, 1)


def test_every_pair_makes_the_family_larger_and_keeps_its_place():
    frame = measure([pair(14, 5), pair(30, 5), pair(8, 8)]).frame()
    assert frame["only_vpt"].tolist() == [14, 30, 8]
    assert frame["p_holm"].tolist() == pytest.approx(holm(frame["p"].to_numpy()).tolist())
    assert frame["seed"].tolist() == [-1] * 3


def test_no_pair_is_refused():
    with pytest.raises(SettingsError, match="no task with both"):
        measure([])
