import numpy as np
import pytest

from vptft.errors import SettingsError
from vptft.when.objective import disparity
from vptft.when.objective.calibration import DEFAULT
from vptft.when.objective.calibration import disparity as calibrated
from vptft.when.objective.disparity import DISPARITY, measure
from vptft.when.objective.measures import COMPOSITES, MEASURES
from vptft.when.objective.structure import class_likeness
from when.objective.builders import line, make_task, simplex

FAST = [each.name for each in MEASURES if not each.slow]


def value(result, name, task="toy"):
    frame = result.frame()
    (found,) = frame[(frame["measure"] == name) & (frame["task"] == task)]["value"]
    return found


@pytest.fixture(scope="module")
def two():
    near, far = make_task(simplex(6), task="near"), make_task(line(6), task="far", objective="counting")
    return measure([near, far], workers=2)


def test_every_measure_has_a_row_for_every_task(two):
    frame = two.frame()
    expected = [*FAST, *(each.name for each in COMPOSITES), DISPARITY]
    assert list(frame["measure"]) == expected * 2
    assert list(dict.fromkeys(frame["task"])) == ["near", "far"]
    assert (frame["seconds"] >= 0).all()
    assert list(frame.columns) == list(disparity.KINDS)


def test_classes_apart_are_near_and_classes_in_a_line_are_far_though_both_are_read_alike(two):
    assert value(two, "linear", "near") > 0.9
    assert value(two, "linear", "far") > 0.8
    assert value(two, DISPARITY, "near") < 0.1
    assert value(two, DISPARITY, "far") > 0.8


def test_the_score_is_the_calibrated_product(two):
    for task in ("near", "far"):
        product = value(two, "linear", task) * class_likeness(value(two, "label_order", task))
        assert value(two, DEFAULT, task) == pytest.approx(product)
        assert value(two, DISPARITY, task) == pytest.approx(calibrated(product))


def test_what_is_not_applicable_is_nan_with_the_reason(two):
    frame = two.frame().set_index(["task", "measure"])
    assert np.isnan(frame.loc[("near", "leep"), "value"])
    assert frame.loc[("near", "leep"), "note"] == "tiny:32 has no source head."
    binary = measure([make_task(simplex(2))])
    noted = binary.frame().set_index("measure")
    assert noted.loc["label_order", "note"] == "2 classes have no structure; it takes 3."
    assert noted.loc[DISPARITY, "note"] == "the order of the labels could not be measured; they count as classes"
    assert noted.loc[DISPARITY, "value"] < 0.1


def test_few_pictures_are_noted():
    result = measure([make_task(simplex(3), groups=np.arange(240) % 3)])
    assert result.scores()["note"].iloc[0].startswith("a class has few groups")


def test_a_source_head_gives_leep_and_nce():
    labels = np.arange(240) % 3
    known = measure([make_task(simplex(3), probabilities=np.eye(4)[labels])])
    assert value(known, "leep") == pytest.approx(0, abs=1e-9)
    assert value(known, "nce") == pytest.approx(0, abs=1e-9)


def test_slow_measures_come_on_demand():
    pytest.importorskip("ot")
    result = measure([make_task(simplex(3), spread=0.1)], slow=True)
    assert value(result, "otdd") == pytest.approx(0, abs=0.02)
    assert value(result, "task2vec") == pytest.approx(0, abs=0.01)


def test_draws_are_averaged_and_their_range_is_given():
    tasks = [make_task(simplex(4), spread=2.5, seed=draw, draw=draw) for draw in range(3)]
    result = measure(tasks)
    (row,) = result.scores().to_dict("records")
    of_draws = result.frame().query("measure == 'disparity'")["value"]
    assert (row["draws"], row["n"], row["n_classes"], row["n_groups"]) == (3, 240, 4, 120)
    assert row[DISPARITY] == pytest.approx(of_draws.mean())
    assert (row["low"], row["high"]) == (of_draws.min(), of_draws.max())
    assert row["low"] < row["high"]


def test_the_same_seed_gives_the_same_numbers_with_any_number_of_threads():
    tasks = [make_task(simplex(4), task=str(i), spread=2.0, seed=i) for i in range(3)]
    one, other = (measure(tasks, workers=count, seed=5).frame()["value"] for count in (1, 3))
    np.testing.assert_array_equal(one, other)


def test_rotated_features_have_the_same_score():
    from vptft.features.probes import knn_above_chance
    from when.objective.builders import rotation

    task = make_task(simplex(4), spread=1.5)
    turned = type(task)(**{**task.__dict__, "values": task.values @ rotation(4)})
    for name in ("logme", "h_score", "label_order", "ordinality", "spread", "variance_share", "own_agreement"):
        assert value(measure([turned]), name) == pytest.approx(value(measure([task]), name), abs=1e-6), name
    args = task.labels, task.groups
    assert knn_above_chance(turned.values, *args) == pytest.approx(knn_above_chance(task.values, *args), abs=1e-9)


def test_what_far_means_is_kept_with_the_result():
    result = measure([make_task(), make_task(pretraining="masked"), make_task(pretraining="something new")])
    assert set(result.settings["far"]) == {"random", "masked", "something new"}
    assert "not known" in result.settings["far"]["something new"]
    assert result.findings() == ()


def test_nothing_to_measure_is_refused():
    with pytest.raises(SettingsError, match="There is no task to measure"):
        measure([])
