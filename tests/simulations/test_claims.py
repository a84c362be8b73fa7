"""What the documentation says of the debiased distance and its interval, on fresh samples."""

import numpy as np
import pandas as pd
import pytest

from simulations.distances import gaussians, repetition
from simulations.summary import summarise, to_markdown

REPETITIONS = 40

pytestmark = pytest.mark.verify


@pytest.fixture(scope="module")
def table():
    rows = [
        repetition(case, n, number)
        for case in gaussians(96, (48, 96, 200, 500))
        for n in case.sizes
        for number in range(REPETITIONS)
    ]
    return summarise(pd.DataFrame(rows))


def test_from_n_equal_to_d_on_the_jackknife_leaves_no_bias_that_matters(table):
    enough = table[table["n"] >= 96]
    assert enough["jackknife"].abs().max() < 2
    assert (enough["plain"] > 3 * enough["jackknife"].abs()).all()


def test_below_d_bias_is_left_and_the_interval_knows(table):
    few = table[table["n"] == 48]
    assert few["jackknife"].min() > 2
    assert few["alone"].min() < 50
    assert few["coverage"].min() >= 90


def test_intervals_cover_and_standard_errors_are_calibrated(table):
    assert table["coverage"].mean() >= 93
    assert table["coverage"].min() >= 85
    ratios = table[table["n"] >= 96]["se_ratio"]
    assert 0.85 < np.exp(np.log(ratios).mean()) < 1.35


def test_the_table_shows_every_case(table):
    text = to_markdown(table)
    assert text.count("| 48 |") == 3
    assert "Gaussian, far (d = 96)" in text
