"""LEEP and NCE by hand on small tables."""

import numpy as np
import pytest

from vptft.errors import DataError
from vptft.when.objective.leep import leep
from vptft.when.objective.nce import nce


def test_leep_by_hand():
    """Two images of class 0 at (0.8, 0.2) and (0.6, 0.4), one of class 1 at (0.1, 0.9).

    P(y, z): class 0 (1.4, 0.6) / 3, class 1 (0.1, 0.9) / 3; P(0 | z) = (1.4 / 1.5, 0.6 / 1.5).
    """
    q = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    first, second = 1.4 / 1.5, 0.6 / 1.5
    by_hand = (
        np.log(0.8 * first + 0.2 * second)
        + np.log(0.6 * first + 0.4 * second)
        + np.log(0.1 * (1 - first) + 0.9 * (1 - second))
    ) / 3
    assert leep(q, np.array([0, 0, 1])) == pytest.approx(by_hand, rel=1e-12)
    assert leep(q[:, ::-1], np.array([5, 5, 2])) == pytest.approx(by_hand, rel=1e-12)


def test_a_head_that_knows_the_classes_leaves_nothing_and_one_that_says_nothing_leaves_the_entropy():
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert leep(np.eye(3)[labels], labels) == pytest.approx(0, abs=1e-12)
    assert nce(labels, labels) == pytest.approx(0, abs=1e-12)
    assert leep(np.full((6, 4), 0.25), labels) == pytest.approx(-np.log(3), rel=1e-12)
    assert nce(np.zeros(6, int), labels) == pytest.approx(-np.log(3), rel=1e-12)


def test_nce_by_hand():
    """Source class 0 holds labels 0, 0, 1; source class 1 holds label 1: -H = 3/4 (2/3 log 2/3 + 1/3 log 1/3)."""
    value = nce(np.array([4, 4, 4, 9]), np.array([0, 0, 1, 1]))
    assert value == pytest.approx(0.75 * (2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)), rel=1e-12)


def test_leep_of_certain_probabilities_is_nce():
    rng = np.random.default_rng(0)
    labels, assigned = rng.integers(0, 3, 50), rng.integers(0, 5, 50)
    assert leep(np.eye(5)[assigned], labels) == pytest.approx(nce(assigned, labels), rel=1e-9)


@pytest.mark.parametrize("q", [np.array([[0.5, 0.6]] * 2), np.array([[1.5, -0.5]] * 2), np.ones((3, 1)), np.ones(2)])
def test_what_are_no_probabilities_of_these_images_is_refused(q):
    with pytest.raises(DataError, match="one row of probabilities an image for 2 images"):
        leep(q, np.array([0, 1]))
