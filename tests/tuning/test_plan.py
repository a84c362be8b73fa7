import subprocess
import sys
from dataclasses import replace

import pytest

from vptft.errors import NotApplicable, SettingsError
from vptft.tuning.plan import Arm, Plan
from vptft.tuning.search import Search
from vptft.tuning.settings import TrainSettings

PLAN = Plan(
    name="toy",
    backbone="tiny",
    tasks=("toy/a", "toy/b"),
    arms=(Arm(method="ft"), Arm(method="vpt_deep")),
    sizes=(20, 40),
    seeds=(0, 1, 2),
    settings=TrainSettings(epochs=2, n_val=8),
    search=Search(extra=1),
)


def kinds(plan):
    cells = plan.cells().values()
    return {kind: sum(cell.kind == kind for cell in cells) for kind in ("trial", "base", "final")}


def test_cells_are_counted_by_the_product():
    groups = 2 * 2 * 2
    assert kinds(PLAN) == {"trial": groups * 4, "base": 0, "final": groups * 3}
    assert kinds(replace(PLAN, search=None)) == {"trial": 0, "base": 0, "final": groups * 3}
    wide = replace(PLAN, search=Search(rates=(0.1, 0.2), decays=(0, 0.1, 0.2), extra=2))
    assert kinds(wide)["trial"] == groups * 8
    assert wide.budgets() == {"ft": 8, "vpt_deep": 8}


def test_every_cell_comes_after_what_it_needs_and_folders_name_it():
    seen = set()
    for folder, cell in PLAN.cells().items():
        assert set(cell.needs) <= seen
        seen.add(folder)
        assert folder == cell.folder
        assert folder.startswith("search/") == (cell.kind != "final")
        assert cell.task.replace("/", "-") in folder.split("/")
        assert f"n{cell.settings.n_train}-" in folder


def test_trials_have_the_rates_of_the_method_and_the_last_waits_for_them():
    trials = [cell for cell in PLAN.cells().values() if cell.kind == "trial" and cell.method == "ft"][:4]
    assert [cell.settings.lr for cell in trials] == [3e-6, 1e-5, 3e-5, None]
    assert [cell.needs for cell in trials[:3]] == [[], [], []]
    assert trials[3].needs == [cell.folder for cell in trials[:3]]
    assert {cell.settings.seed for cell in trials} == {100}
    final = next(cell for cell in PLAN.cells().values() if cell.kind == "final")
    assert (final.settings.lr, final.needs) == (None, [cell.folder for cell in trials])


def test_a_larger_plan_keeps_the_folders_of_a_smaller():
    small = PLAN.cells()
    large = replace(
        PLAN, name="other", tasks=("toy/c", *PLAN.tasks), seeds=(0, 1, 2, 3), sizes=(20, 40, 80),
        arms=(*PLAN.arms, Arm(method="lora")),
    ).cells()  # fmt: skip
    assert small.keys() < large.keys()
    assert all(small[folder] == large[folder] for folder in small)


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "dinov2-s"},
        {"settings": TrainSettings(epochs=3, n_val=8)},
        {"settings": TrainSettings(epochs=2, n_val=9)},
        {"search": Search(extra=2)},
        {"search": Search(seed=99)},
        {"search": None},
        {"refit": True},
    ],
)
def test_what_changes_a_run_changes_every_folder_of_runs(change):
    finals = {folder for folder, cell in PLAN.cells().items() if cell.kind == "final"}
    others = {folder for folder, cell in replace(PLAN, **change).cells().items() if cell.kind == "final"}
    assert not finals & others


def test_a_wider_search_goes_on_with_the_trials_that_are_there():
    trials = {folder for folder, cell in PLAN.cells().items() if cell.kind == "trial"}
    wider = replace(PLAN, search=Search(extra=3)).cells()
    assert trials <= wider.keys()
    assert sum(cell.kind == "trial" for cell in wider.values()) == len(trials) * 6 // 4
    assert all(wider[folder] == PLAN.cells()[folder] for folder in trials)


def test_options_of_one_method_leave_the_others_folders_alone():
    longer = replace(PLAN, settings=replace(PLAN.settings, prompt_length=50))
    ft = {folder for folder, cell in PLAN.cells().items() if cell.method == "ft"}
    vpt = PLAN.cells().keys() - ft
    assert ft <= longer.cells().keys()
    assert not vpt & longer.cells().keys()


def test_a_method_after_another_brings_it_and_a_base_for_its_search():
    plan = replace(PLAN, tasks=("toy/a",), sizes=(20,), seeds=(0, 1), arms=(Arm(method="ft_then_pt"),))
    cells = plan.cells()
    assert kinds(plan) == {"trial": 8, "base": 1, "final": 4}
    base = next(cell for cell in cells.values() if cell.kind == "base")
    assert (base.method, base.settings.seed) == ("ft", 100)
    for cell in cells.values():
        if cell.method == "ft_then_pt":
            start = cells[cell.base]
            assert (start.method, start.settings.seed) == ("ft", cell.settings.seed)
            assert start.kind == ("base" if cell.kind == "trial" else "final")
    # FT in the plan itself is the same FT.
    both = replace(plan, arms=(Arm(method="ft"), *plan.arms)).cells()
    assert both.keys() == cells.keys()


def test_what_it_starts_from_has_the_same_options():
    plan = replace(
        PLAN, tasks=("toy/a",), sizes=(20,), arms=(Arm(method="pt_then_ft", options={"prompt_length": 7}),), search=None
    )
    assert {cell.settings.prompt_length for cell in plan.cells().values()} == {7}
    assert {cell.method for cell in plan.cells().values()} == {"vpt_deep", "pt_then_ft"}


def test_a_refit_adds_the_validation_images():
    plan = replace(PLAN, refit=True, val_share=0.25)
    cells = plan.cells().values()
    assert {(c.settings.n_train, c.settings.n_val, c.settings.train_split) for c in cells if c.kind == "trial"} == {
        (20, 5, "train"), (40, 10, "train"),
    }  # fmt: skip
    assert {(c.settings.n_train, c.settings.train_split) for c in cells if c.kind == "final"} == {
        (25, "trainval"), (50, "trainval"),
    }  # fmt: skip
    whole = replace(plan, sizes=(None,)).cells().values()
    assert {c.settings.n_train for c in whole} == {None}


def test_snapshots_are_kept_of_final_runs_alone():
    plan = replace(PLAN, settings=replace(PLAN.settings, snapshots=3))
    assert {(cell.kind, cell.settings.snapshots) for cell in plan.cells().values()} == {("trial", 0), ("final", 3)}


def test_a_recipe_reaches_every_cell_but_what_was_given():
    plan = replace(PLAN, recipe="kmnp", given=frozenset({"epochs"}), search=Search(extra=0))
    assert plan.budgets() == {"ft": 4, "vpt_deep": 40}
    cells = plan.cells().values()
    assert {cell.settings.epochs for cell in cells} == {2}
    assert {(cell.method, cell.settings.optimizer) for cell in cells} == {("ft", "adamw"), ("vpt_deep", "sgd")}
    assert {c.settings.weight_decay for c in cells if c.kind == "trial" and c.method == "vpt_deep"} == {
        0, 1e-4, 1e-3, 1e-2,
    }  # fmt: skip
    with pytest.raises(NotApplicable, match="recipe kmnp does not cover lora"):
        replace(plan, arms=(Arm(method="lora"),)).cells()


def test_a_weight_decay_that_was_given_is_not_searched_for_by_the_recipe():
    own = replace(PLAN.settings, weight_decay=0.05)
    plan = replace(PLAN, recipe="kmnp", settings=own, given=frozenset({"weight_decay"}), search=Search(extra=0))
    assert {cell.settings.weight_decay for cell in plan.cells().values() if cell.kind == "trial"} == {0.05}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tasks": ()}, "The plan toy has no tasks"),
        ({"seeds": ()}, "has no seeds"),
        ({"seeds": (1, 100)}, "Seed 100 is the search's"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change, match):
    with pytest.raises(SettingsError, match=match):
        replace(PLAN, **change)


def test_an_option_of_another_method_is_refused():
    with pytest.raises(SettingsError, match=r"ft has no option prompt_length\.\nIts options: none"):
        Arm(method="ft", options={"prompt_length": 3})


def test_planning_imports_no_network():
    source = (
        "import sys\nfrom vptft.tuning.plan_files import plan_of\nfrom vptft.tuning import engines, sweep\n"
        "plan_of({'tasks': ['suite'], 'methods': ['ft', 'ft_then_pt'], 'search': True}).cells()\n"
        "print([name for name in ('torch', 'timm', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
