import numpy as np
import pytest

from vptft.data import registry
from vptft.errors import SettingsError, UnknownNameError
from vptft.tuning.methods import METHODS
from vptft.tuning.plan import Arm
from vptft.tuning.protocols import (
    CONTROLS,
    CORE_TASKS,
    PROTOCOLS,
    QUICK,
    SUITE,
    SUITE_98,
    find_protocol,
    fitted,
)

BOTH = [Arm(method="ft"), Arm(method="vpt_deep")]


def cells_of(name, tasks, arms=None):
    arms = [Arm(method=each) for each in PROTOCOLS[name].methods] if arms is None else arms
    plans, left_out = PROTOCOLS[name].plans(tasks, arms, "tiny")
    return [cell for plan in plans for cell in plan.cells().values()], left_out


def test_the_standard_sizes_are_those_of_the_suite():
    assert len(CORE_TASKS) == len(set(CORE_TASKS)) == 10
    for plan, pixels in ((SUITE, 56), (SUITE_98, 98)):
        assert (plan.sizes, plan.settings.n_val, plan.settings.n_test) == ((300,), 100, 1000)
        assert (plan.settings.epochs, plan.settings.image_size, plan.seeds) == (20, pixels, (0, 1, 2))
        assert plan.settings.n_curve == 300
        assert plan.budgets() == {"ft": 4, "vpt_deep": 4}
    assert SUITE_98.settings.snapshots == 5
    assert (QUICK.seeds, QUICK.search, QUICK.settings.epochs, QUICK.sizes) == ((0,), None, 6, (160,))


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "vtab1k"])
def test_every_method_gets_as_many_trials_and_no_choice_sees_test_or_a_final_draw(name):
    cells, _ = cells_of(name, ("photo/count",))
    groups = {cell.search for cell in cells if cell.kind == "final"}
    assert len({sum(cell.search == group and cell.kind == "trial" for cell in cells) for group in groups}) == 1
    draws = {kind: {cell.settings.seed for cell in cells if cell.kind == kind} for kind in ("trial", "final")}
    assert not draws["trial"] & draws["final"]


def test_vtab1k_searches_on_800_200_and_refits_on_1000_with_five_seeds():
    cells, _ = cells_of("vtab1k", ("dtd",))
    trials, finals = ([cell for cell in cells if cell.kind == kind] for kind in ("trial", "final"))
    assert {(c.settings.train_split, c.settings.n_train) for c in trials} == {("train", None)}
    assert {(c.settings.train_split, c.settings.n_train) for c in finals} == {("trainval", None)}
    assert sorted({c.settings.seed for c in finals}) == [42, 44, 82, 100, 800]
    assert [sum(c.method == name for c in trials) for name in ("ft", "vpt_deep")] == [9, 9]
    assert {(c.settings.epochs, c.settings.image_size) for c in cells} == {(100, 224)}


def test_datasize_is_four_to_one_and_leaves_out_what_a_task_cannot_give():
    cells, left_out = cells_of("datasize", ("photo/count", "digits"), BOTH)
    for cell in cells:
        n = cell.settings.n_train
        if cell.kind == "trial":
            assert n == 4 * cell.settings.n_val
        else:
            assert cell.settings.train_split == "trainval"
            assert n % 5 == 0
    assert {c.settings.n_train for c in cells if c.kind == "trial" and c.task == "photo/count"} == {
        400, 800, 2000, 5000, 10000, 20000,
    }  # fmt: skip
    assert {c.settings.n_train for c in cells if c.kind == "trial" and c.task == "digits"} == {400}
    assert left_out[0] == "digits: it cannot give 800 training images and 200 to validate on"
    assert len({c.settings.seed for c in cells if c.kind == "final"}) == 5


@pytest.mark.parametrize("task", ["photo/count", "digits", "plain/location"])
def test_one_shot_is_one_image_of_every_class_in_many_draws(task):
    cells, _ = cells_of("oneshot", (task,), BOTH)
    found = registry.task(task)
    for seed in sorted({cell.settings.seed for cell in cells}):
        labels = found.load("train", n=len(found.classes), seed=seed).labels
        assert sorted(labels) == list(range(len(found.classes)))
    finals = [cell for cell in cells if cell.kind == "final"]
    assert len({cell.settings.seed for cell in finals}) == 20
    assert {cell.settings.n_train for cell in cells} == {len(found.classes)}
    assert np.unique([cell.settings.n_val for cell in cells]) == [len(found.classes)]


def test_the_controls_are_the_papers_and_more():
    assert {"mixed", "ft_then_pt", "linear", "multi_layer_probe", "vpt_deep", "ft"} <= set(CONTROLS) <= METHODS.keys()


def test_prompt_choices_vary_one_thing_at_a_time():
    cells, _ = cells_of("prompts", ("photo/count",))
    finals = [cell for cell in cells if cell.kind == "final" and cell.settings.seed == 0]
    plain = next(c.settings for c in finals if c.method == "vpt_deep" and c.settings.prompt_length == 10)
    options = [
        {name: getattr(c.settings, name) for name in METHODS["vpt_deep"].options if
         getattr(c.settings, name) != getattr(plain, name)}
        for c in finals if c.method == "vpt_deep"
    ]  # fmt: skip
    assert all(len(changed) <= 1 for changed in options)
    assert {c.settings.prompt_length for c in finals if c.method == "vpt_deep"} == {1, 5, 10, 50, 100}
    assert {c.settings.prompt_layers for c in finals} >= {"all", "first:3", "last:9"}
    assert any(c.method == "ft" for c in finals)


def test_a_user_changes_size_epochs_seeds_and_recipe():
    plan = fitted(SUITE, recipe="kmnp", image_size=98, epochs=3, seeds=1)
    assert (plan.settings.image_size, plan.settings.epochs, plan.seeds) == (98, 3, (0,))
    assert plan.given == {"image_size", "epochs"}
    small = fitted(SUITE, n_train=30, n_val=8, n_test=20)
    assert (small.sizes, small.settings.n_val, small.settings.n_test) == ((30,), 8, 20)
    assert fitted(SUITE) == SUITE


def test_a_recipe_changes_neither_what_a_protocol_is_about_nor_gets_another_search():
    plans, _ = find_protocol("overfitting").plans(["photo/count"], [Arm(method="ft")], "dinov2-s")
    arms = [
        {(c.settings.weight_decay, c.settings.backbone_dropout, c.settings.augment, c.settings.label_smoothing,
          c.settings.keep) for c in fitted(plan, recipe="kmnp").cells().values() if c.kind == "final"}
        for plan in plans
    ]  # fmt: skip
    # KMnP/vpt finetunes with that dropout anyway: one arm is its plain one.
    assert len(set().union(*arms)) == len(plans) - 1 == 6
    large = find_protocol("suite-98").plans(["photo/count"], [Arm(method="ft")], "dinov2-s")[0][0]
    assert {c.settings.image_size for c in fitted(large, recipe="kmnp").cells().values()} == {98}
    vtab = find_protocol("vtab1k").plans(["digits"], [Arm(method="ft"), Arm(method="vpt_deep")], "dinov2-s")[0][0]
    assert fitted(vtab).budgets() == {"ft": 9, "vpt_deep": 9}
    assert fitted(vtab, recipe="kmnp").budgets() == {"ft": 4, "vpt_deep": 40}


def test_more_seeds_than_a_protocol_has_are_refused():
    with pytest.raises(SettingsError, match=r"suite has 3 seeds, not 4"):
        fitted(SUITE, seeds=4)


def test_an_unknown_protocol_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"no protocol named 'vtab'. Did you mean vtab1k\?\nKnown: controls"):
        find_protocol("vtab")
