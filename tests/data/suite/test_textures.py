import numpy as np
import pytest

from vptft.data.suite.textures import SIDE, TEXTURES, look_up, pattern


@pytest.mark.parametrize("name", TEXTURES)
def test_patterns_are_grey_in_range_and_repeat_without_a_seam(name):
    grey = pattern(name)
    assert grey.shape == (SIDE, SIDE)
    assert grey.min() >= 0
    assert grey.max() <= 1
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).max()
        seam = np.abs(np.take(grey, 0, axis) - np.take(grey, -1, axis)).max()
        assert seam <= 1.5 * steps


def test_patterns_differ():
    assert len({pattern(name).tobytes() for name in TEXTURES}) == len(TEXTURES)


def test_look_up_meets_grid_points_and_is_linear_between_them():
    grey = pattern("wood")
    at = (np.array([3, 200]) / SIDE, np.array([7, 90]) / SIDE)
    np.testing.assert_allclose(look_up("wood", *at), [grey[7, 3], grey[90, 200]], atol=1e-12)
    np.testing.assert_allclose(look_up("wood", at[0] + 2, at[1] - 1), look_up("wood", *at), atol=1e-9)
    halfway = look_up("wood", np.array([3.5 / SIDE]), np.array([7 / SIDE]))
    assert halfway[0] == pytest.approx((grey[7, 3] + grey[7, 4]) / 2)
