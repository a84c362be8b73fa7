import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from vptft.evidence.statistics.families import holm


def test_holm_gives_what_r_gives():
    """R 4.2.2: p.adjust(c(.01, .04, .03, .005, .2), "holm")."""
    assert holm([0.01, 0.04, 0.03, 0.005, 0.2]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.2])


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_holm_gives_what_statsmodels_gives(n):
    ps = np.round(np.random.default_rng(n).random(n) / 10, 2)  # with ties
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1])


def test_what_was_not_tested_does_not_make_the_family_larger():
    adjusted = holm([np.nan, 0.01, np.nan, 0.04])
    assert adjusted[[1, 3]] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted[[0, 2]]).all()
    assert np.isnan(holm([np.nan])).all()
    assert len(holm([])) == 0
