import numpy as np
import pytest

from vptft.data.suite.shapes import COMPANIONS, EXTENT, GRID, OUTLINES, TARGETS, relief

AXIS = np.linspace(-EXTENT, EXTENT, GRID)
STEP = AXIS[1] - AXIS[0]


@pytest.mark.parametrize("shape", OUTLINES)
def test_outlines_are_centred_and_reach_out_to_one(shape):
    inside = relief(shape).distance < 0
    y, x = np.meshgrid(AXIS, AXIS, indexing="ij")
    assert abs(x[inside].mean()) < STEP
    assert abs(y[inside].mean()) < STEP
    assert np.hypot(x, y)[inside].max() == pytest.approx(1, abs=2 * STEP)


@pytest.mark.parametrize("shape", TARGETS)
def test_a_target_is_its_own_mirror_image_about_its_front_and_has_one_front(shape):
    inside = relief(shape).distance < 0
    assert (inside ^ inside[:, ::-1]).sum() < 0.02 * inside.sum()
    for turned in (inside[::-1], inside.T, inside.T[::-1]):
        assert (inside ^ turned).sum() > 0.2 * inside.sum()


def test_distances_of_a_disc_are_those_of_a_disc():
    y, x = np.meshgrid(AXIS, AXIS, indexing="ij")
    np.testing.assert_allclose(relief("peg").distance, np.hypot(x, y) - 1, atol=0.02)


@pytest.mark.parametrize("shape", OUTLINES)
def test_heights_are_between_zero_and_one_and_end_at_the_outline(shape):
    maps = relief(shape)
    assert maps.height.min() == 0
    assert maps.height.max() == 1 or shape in TARGETS
    assert maps.height.max() > 0.9
    assert ((maps.height > 0) == (maps.distance < 0)).all()


def test_slopes_are_the_derivative_of_the_height_inside():
    maps = relief("heart")
    inner = (maps.distance < -0.08) & (maps.distance > -0.18)
    along_y, along_x = np.gradient(maps.height, STEP)
    np.testing.assert_allclose(maps.slope[0][inner], along_x[inner], atol=0.15)
    np.testing.assert_allclose(maps.slope[1][inner], along_y[inner], atol=0.15)


def test_only_balls_are_no_relief():
    assert set(COMPANIONS) - set(OUTLINES) == {"ball"}
