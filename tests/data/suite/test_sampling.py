from dataclasses import fields, replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, kruskal

from vptft.data.suite.raycast import visible_shares
from vptft.data.suite.sampling import COMPANION_SHOWS, TARGET_SHOWS, in_frame, label_of, sample_scene, tile_of
from vptft.data.suite.scenes import FACTORS, Scene
from vptft.data.suite.shapes import COMPANIONS, TARGETS
from vptft.data.suite.tiles import PARTS

SCENES = [sample_scene("train", 5, i) for i in range(240)]


@pytest.mark.parametrize("factor", FACTORS)
def test_every_class_is_equally_frequent_in_any_number_of_scenes(factor):
    for n in (48, 100, 300):
        counts = np.bincount([label_of("train", 0, i, factor) for i in range(n)], minlength=FACTORS[factor])
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("one", "other"), list(combinations(FACTORS, 2)))
def test_factors_are_independent(one, other):
    table = np.zeros((FACTORS[one], FACTORS[other]))
    for i in range(2400):
        table[label_of("train", 1, i, one), label_of("train", 1, i, other)] += 1
    assert chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    "nuisance",
    [
        lambda scene: scene.target.size,
        lambda scene: scene.target.height,
        lambda scene: scene.target.material.gloss,
        lambda scene: scene.target.material.colours[0][0],
        lambda scene: scene.sun[0],
        lambda scene: scene.sun[2],
        lambda scene: scene.warmth,
        lambda scene: scene.tile.left,
    ],
    ids=["size", "height", "gloss", "red", "sun's side", "sun's height", "warmth", "tile"],
)
def test_nuisances_are_drawn_alike_for_every_class(factor, nuisance):
    classes = [[] for _ in range(FACTORS[factor])]
    for scene in SCENES:
        classes[scene.labels[factor]].append(nuisance(scene))
    assert kruskal(*classes).pvalue > 1e-4


def test_a_scene_depends_on_its_split_seed_and_number_alone():
    first = sample_scene("val", 0, 17)
    assert first == sample_scene("val", 0, 17)
    for other in (sample_scene("test", 0, 17), sample_scene("val", 1, 17), sample_scene("val", 0, 18)):
        assert first.solids != other.solids


def test_labels_and_tile_are_known_without_drawing_the_scene():
    for i, scene in enumerate(SCENES[:20]):
        assert scene.labels == {factor: label_of("train", 5, i, factor) for factor in FACTORS}
        assert scene.tile == tile_of("train", 5, i)


def test_scenes_show_tiles_of_their_own_split_only():
    for part in PARTS:
        assert {tile_of(part, 0, i).part for i in range(200)} == {part}


def test_every_solid_is_in_frame_and_shows_enough_of_itself():
    for scene in SCENES:
        shows = visible_shares(scene.solids)
        assert shows[0] >= TARGET_SHOWS
        assert min(shows) >= COMPANION_SHOWS
        assert all(in_frame(replace(solid, size=solid.size * 0.99)) for solid in scene.solids[1:])


def test_the_target_is_by_far_the_largest_and_alone_has_a_front():
    for scene in SCENES:
        assert scene.target.shape == TARGETS[scene.labels["category"]]
        assert len(scene.solids) == scene.labels["count"] + 1
        for companion in scene.solids[1:]:
            assert companion.shape in COMPANIONS
            assert companion.size < 0.45 * scene.target.size


def test_scenes_are_frozen():
    assert Scene.__dataclass_params__.frozen
    assert {field.name for field in fields(Scene)} == {"solids", "sun", "warmth", "tile", "mirrored", "labels"}
