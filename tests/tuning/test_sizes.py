from dataclasses import replace

import pytest

from vptft.data.splits import drawn
from vptft.errors import DataError, UnknownNameError
from vptft.tuning.plan import Arm, Plan
from vptft.tuning.search import Search
from vptft.tuning.sizes import check_known, draw, out_of_reach

HELD = {"train": 33, "val": 9, "trainval": 42, "test": 21}


@pytest.fixture
def plan(settings):
    return Plan(
        name="toy",
        backbone="tiny",
        tasks=("toy/a", "toy/b"),
        arms=(Arm(method="ft_then_pt"),),
        sizes=(20,),
        settings=settings,
        search=Search(extra=1),
    )


@pytest.fixture
def small(make_task, make_images):
    """A task that holds as many images as ``HELD`` says."""

    def load(split, n=None, seed=0):
        return drawn(make_images(f"small ({split})", HELD[split], 1), n, seed)

    return make_task(name="small", load=load)


def reach(plan, **tasks):
    cells = plan.cells()
    return out_of_reach(cells, list(cells), lambda name: tasks[name.removeprefix("toy/")])


def test_what_a_plan_asks_for_and_every_task_holds_is_within_reach(plan, small):
    assert reach(plan, a=small, b=small) == (set(), [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sizes": (300,)}, "n_train (of the plan, or --n-train) asks for 300 train images of small, which holds 33."),
        ({"n_val": 10}, "n_val (of the plan, or --n-val) asks for 10 val images of small, which holds 9."),
        ({"n_test": 22}, "n_test (of the plan, or --n-test) asks for 22 test images of small, which holds 21."),
        (
            {"refit": True, "sizes": (33,), "n_val": 10},
            "n_val (of the plan, or --n-val) asks for 10 val images of small, which holds 9.",
        ),
    ],
    ids=str,
)
def test_each_setting_is_told_by_name_with_what_the_task_holds(plan, small, toy_task, changes, reason):
    """No cell of that task is left: a trial serves nothing without the run it is for."""
    numbers = {name: value for name, value in changes.items() if name.startswith("n_")}
    fields = {name: value for name, value in changes.items() if not name.startswith("n_")}
    plan = replace(plan, settings=replace(plan.settings, **numbers), **fields)
    left, reasons = reach(plan, a=small, b=toy_task)
    assert left == {folder for folder, cell in plan.cells().items() if cell.task == "toy/a"}
    assert reasons[0] == reason
    with pytest.raises(DataError, match=r"None of the \d+ missing cells can be trained:\n  n_"):
        reach(plan, a=small, b=small)


def test_of_several_sizes_only_the_larger_is_out_of_reach(plan, small):
    plan = replace(plan, sizes=(20, 40), tasks=("toy/a",))
    left, reasons = reach(plan, a=small)
    assert left == {folder for folder, cell in plan.cells().items() if cell.settings.n_train == 40}
    assert len(reasons) == 1


def test_only_what_would_be_trained_is_looked_at(plan, small):
    cells = replace(plan, sizes=(20, 40)).cells()
    done = [folder for folder, cell in cells.items() if cell.settings.n_train == 40]
    assert out_of_reach(cells, [folder for folder in cells if folder not in done], lambda name: small) == (set(), [])


def test_a_tasks_own_number_is_never_too_many_and_never_counted(plan, small, make_task):
    def load(split, n=None, seed=0):
        assert n is not None
        return small.load(split, n=n, seed=seed)

    plan = replace(plan, sizes=(None,), settings=replace(plan.settings, n_test=None))
    task = make_task(load=load)
    assert reach(plan, a=task, b=task) == (set(), [])


def test_another_fault_of_a_task_is_told_as_it_is(settings, make_task, make_images):
    def load(split, n=None, seed=0):
        if n is None:
            return make_images(split, 50, 1)
        raise DataError("There is no val.json.")

    with pytest.raises(DataError, match=r"^There is no val\.json\.$"):
        draw(make_task(load=load), "val", settings)


def test_a_task_whose_images_are_not_here_is_left_out_and_the_others_are_not(plan, small):
    def load(name):
        if name == "a":
            raise DataError("a is not here.", "Register it.")
        return small

    both = replace(plan, tasks=("a", "b"))
    cells = both.cells()
    left, reasons = out_of_reach(cells, list(cells), load)
    assert {cells[folder].task for folder in left} == {"a"}
    assert len(left) == len(cells) / 2
    assert reasons == ["a is not here. Register it."]
    with pytest.raises(DataError, match=r"None of the \d+ missing cells can be trained:\n  a is not here"):
        out_of_reach(replace(plan, tasks=("a",)).cells(), list(replace(plan, tasks=("a",)).cells()), load)


def test_a_task_whose_images_are_not_here_is_known():
    check_known(["photo/count", "dtd"])
    with pytest.raises(UnknownNameError, match=r"no task named 'photo/cuont'. Did you mean photo/count"):
        check_known(["photo/count", "photo/cuont"])
