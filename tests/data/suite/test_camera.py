import numpy as np
import pytest

from oracles.tabletop import SIZE, to_pixels
from vptft.data.suite.camera import POSITION, on_table, project, rays, x_at


def test_projection_equals_a_pinhole_written_by_hand():
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (50, 3))
    u, v = project(points)
    columns, rows = to_pixels(*points.T)
    np.testing.assert_allclose((u + 1) * SIZE / 2 - 0.5, columns, atol=1e-12)
    np.testing.assert_allclose((1 - v) * SIZE / 2 - 0.5, rows, atol=1e-12)


def test_rays_go_through_the_points_they_see():
    directions = rays(8)
    seen = POSITION + 0.7 * directions
    u, v = project(seen)
    steps = (np.arange(8) + 0.5) / 4 - 1
    np.testing.assert_allclose(u, np.broadcast_to(steps, (8, 8)), atol=1e-12)
    np.testing.assert_allclose(v, np.broadcast_to(-steps[:, None], (8, 8)), atol=1e-12)


@pytest.mark.parametrize(("u", "v"), [(0.0, 0.0), (0.6, -0.7), (-0.9, 0.8)])
def test_a_place_on_the_table_is_seen_where_it_was_asked_for(u, v):
    x, y = on_table(u, v)
    np.testing.assert_allclose(project(np.array([x, y, 0.0])), (u, v), atol=1e-12)


def test_x_at_puts_a_point_into_its_column():
    x = x_at(0.4, 0.3, 0.05)
    assert project(np.array([x, 0.3, 0.05]))[0] == pytest.approx(0.4)
