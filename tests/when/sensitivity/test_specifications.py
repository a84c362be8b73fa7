import numpy as np
import pytest

from vptft.errors import SettingsError
from vptft.when.sensitivity.specifications import in_order, specifications, text_of, varied_choices
from when.sensitivity.studies import trained


def test_every_vpt_setting_meets_every_ft_setting_of_its_task_and_shared_settings():
    runs = [
        trained(side, 0.5, draw, task=task, shared={"epochs": epochs}, choices=choices)
        for draw in (0, 1)
        for task in ("a", "b")
        for epochs in (20, 100)
        for side, all_choices in {
            "vpt": [{"prompt length": 1}, {"prompt length": 10}],
            "ft": [{"FT learning rate": 1e-5}, {"FT learning rate": 3e-5}, {"FT learning rate": 1e-4}],
        }.items()
        for choices in all_choices
    ]
    found = specifications(runs)
    assert len(found) == 2 * 2 * 2 * 3
    assert len({tuple(spec.levels.items()) for spec in found if spec.task == "a"}) == 12
    assert found[0].levels == {"prompt length": "1", "FT learning rate": "1e-05", "epochs": "20"}
    assert all(spec.draws == [0, 1] for spec in found)


def test_only_draws_of_both_sides_count():
    runs = [trained("vpt", 0.6, draw) for draw in (0, 1, 2)] + [trained("ft", 0.5, draw) for draw in (1, 2, 3)]
    (spec,) = specifications(runs)
    assert spec.draws == [1, 2]
    assert spec.gap(1) == pytest.approx(10)
    assert np.mean([image.differences.mean() for image in spec.images()]) == pytest.approx(10)
    assert specifications(runs[:3]) == []
    assert specifications([trained("vpt", 0.6, 0), trained("ft", 0.6, 1)]) == []


def test_what_never_varies_is_no_choice():
    runs = [trained(s, 0.5, choices={"x": i, "y": True}) for i, s in enumerate(("vpt", "vpt"))]
    assert varied_choices(runs) == ["x"]


def test_twice_the_same_and_other_images_are_refused():
    with pytest.raises(SettingsError, match="Two VPT runs on t have the same settings and draw 0"):
        specifications([trained("vpt", 0.5), trained("vpt", 0.6)])
    with pytest.raises(SettingsError, match="tested on different images"):
        specifications([trained("vpt", 0.5), trained("ft", 0.5, n=100)])


def test_levels_are_in_the_order_a_reader_expects():
    assert in_order(["100", "5", "all", "10", "first:3", "5"]) == ["5", "10", "100", "all", "first:3"]
    assert [text_of(value) for value in (True, False, 3e-5, 10, "all")] == ["yes", "no", "3e-05", "10", "all"]
