from dataclasses import replace

import numpy as np
import pytest

from vptft.data.suite.raycast import NOTHING, see, table_points
from vptft.data.suite.sampling import sample_scene
from vptft.data.suite.shading import shade_solids, shade_table, sunlit, surface_normal

SCENE = sample_scene("train", 0, 3)


def test_normals_are_of_length_one_and_point_at_the_camera_side():
    sight = see(SCENE.solids, 96)
    for index, solid in enumerate(SCENE.solids):
        normal = surface_normal(solid, sight.position(sight.solid == index))
        np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-9)
        assert normal[:, 2].mean() > 0


def test_the_table_is_dark_under_solids_and_untouched_far_from_them():
    alone = replace(SCENE, solids=SCENE.solids[:1])
    target = alone.target
    points = np.array([[target.x, target.y, 0.0], [target.x + 2.0, target.y + 2.0, 0.0]])
    under, far = shade_table(alone, points)
    assert under < 0.4
    assert far == 1


@pytest.mark.parametrize("shape", ["ball", "peg"])
def test_shadows_fall_away_from_the_sun(shape):
    solid = replace(SCENE.target, shape=shape, x=0.0, y=0.0, size=0.12, height=0.24)
    scene = replace(SCENE, solids=(solid,))
    away = 0.2 * np.array(scene.sun) / np.hypot(*scene.sun[:2])
    points = np.array([[-away[0], -away[1], 0.0], [away[0], away[1], 0.0]])
    shaded, free = sunlit(scene, points, np.full(2, NOTHING))
    assert shaded < 0.5
    assert free == 1


def test_no_solid_shades_itself():
    target = SCENE.target
    on_top = np.array([[target.x, target.y, target.height / 2]])
    alone = replace(SCENE, solids=(target,))
    assert sunlit(alone, on_top, np.array([0])) == 1


def test_colours_are_finite_and_not_negative():
    colours = shade_solids(SCENE, see(SCENE.solids, 64))
    assert np.isfinite(colours).all()
    assert colours.min() >= 0


def test_the_table_keeps_its_light_where_nothing_stands():
    kept = shade_table(replace(SCENE, solids=()), table_points(16))
    assert (kept == 1).all()
