from dataclasses import replace

import numpy as np
import pytest

from vptft.data.suite.camera import POSITION, rays
from vptft.data.suite.raycast import NOTHING, sample, see, to_local, visible_shares
from vptft.data.suite.scenes import Material, Solid
from vptft.data.suite.shapes import EXTENT, GRID, relief

STONE = Material(texture="plain", colours=((1.0, 1.0, 1.0), (0.5, 0.5, 0.5)), scale=1.0, offset=(0.0, 0.0), gloss=0.0)
BALL = Solid(shape="ball", x=0.1, y=-0.2, size=0.3, height=0.6, turn=0.0, material=STONE)
ARROW = Solid(shape="arrow", x=-0.1, y=0.1, size=0.4, height=0.15, turn=0.8, material=STONE)


def test_hits_on_a_ball_lie_on_its_surface_and_face_the_camera():
    sight = see([BALL], 64)
    hits = sight.position(sight.solid == 0)
    offset = hits - np.array([0.1, -0.2, 0.3])
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), 0.3, atol=1e-12)
    assert ((POSITION - hits) * offset).sum(1).min() >= -1e-9


def test_everything_else_is_the_table():
    sight = see([BALL], 32)
    np.testing.assert_allclose(sight.position(sight.solid == NOTHING)[:, 2], 0, atol=1e-12)


def test_a_relief_is_hit_where_a_slow_march_in_tiny_steps_hits_it():
    size = 48
    sight = see([ARROW], size)
    directions = rays(size)
    enter = (ARROW.height - POSITION[2]) / directions[..., 2]
    leave = -POSITION[2] / directions[..., 2]
    hit = np.full((size, size), np.inf)
    for share in np.linspace(1, 0, 400):
        reach = enter + share * (leave - enter)
        point = POSITION + reach[..., None] * directions
        ground = ARROW.height * sample(relief("arrow").height, *to_local(ARROW, point[..., 0], point[..., 1]))
        hit = np.where(ground > np.maximum(point[..., 2], 0), reach, hit)
    both = np.isfinite(hit) & (sight.solid == 0)
    assert (np.isfinite(hit) ^ (sight.solid == 0)).sum() <= 3
    assert np.quantile(np.abs(hit - sight.reach)[both], 0.98) < 0.004


def test_the_nearer_solid_hides_the_farther_whatever_their_order():
    behind = replace(BALL, x=0.1, y=0.35, size=0.2, height=0.4)
    for order in ([BALL, behind], [behind, BALL]):
        shares = visible_shares(order)
        assert shares[order.index(BALL)] == 1
        assert 0.2 < shares[order.index(behind)] < 0.9


def test_local_units_undo_the_turn():
    front = np.array([[-np.sin(ARROW.turn)], [np.cos(ARROW.turn)]]) * ARROW.size
    across, along = to_local(ARROW, ARROW.x + front[0], ARROW.y + front[1])
    assert across[0] == pytest.approx(0, abs=1e-12)
    assert along[0] == pytest.approx(1)


def test_sampling_a_map_is_exact_for_a_plane():
    axis = np.linspace(-EXTENT, EXTENT, GRID)
    plane = 2 * axis[None, :] - 3 * axis[:, None]
    x, y = np.random.default_rng(0).uniform(-1.4, 1.4, (2, 40))
    np.testing.assert_allclose(sample(plane, x, y), 2 * x - 3 * y, atol=1e-9)
