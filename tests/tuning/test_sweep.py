import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from vptft.checkpoints.fairness import measure
from vptft.checkpoints.native import find_runs, load_run
from vptft.checkpoints.pairs import pair_runs
from vptft.checkpoints.recipe import of_run
from vptft.data.splits import drawn
from vptft.errors import DataError, SettingsError, StorageError, TrainingError
from vptft.tuning import cells as training
from vptft.tuning.cells import final_runs
from vptft.tuning.engines import Here
from vptft.tuning.estimates import to_rebuild
from vptft.tuning.plan import Arm, Plan
from vptft.tuning.search import Search, chosen, read_trial
from vptft.tuning.sweep import look, run_sweep, waves


@pytest.fixture
def plan(settings):
    return Plan(
        name="toy",
        backbone="tiny",
        tasks=("toy/colour",),
        arms=(Arm(method="ft"), Arm(method="vpt_deep")),
        sizes=(20,),
        seeds=(0, 1),
        settings=replace(settings, epochs=1),
        search=Search(extra=1),
    )


@pytest.fixture
def go(plan, toy_task, tmp_path):
    """``go(cells, ...)``: run a sweep of the toy task; gives its progress and the folders trained to the end."""

    def run(cells=None, *, stop_at=None, load_task=lambda name: toy_task, **others):
        cells = plan.cells() if cells is None else cells
        trained = []

        def on_start(job):
            if job.cell.folder == stop_at:
                raise KeyboardInterrupt(stop_at)

            def on_epoch(done, total):
                if done == total:
                    trained.append(job.cell.folder)

            return on_epoch

        engine = Here(on_start, load_task=load_task)
        return run_sweep(cells, tmp_path / "sweep", engine=engine, **others), trained

    return run


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def content(root):
    """Everything that must be equal between two ways to the same sweep: all but times and commands."""
    found = {}
    for path in sorted(root.rglob("run.json")):
        info = json.loads(path.read_text())
        info.pop("provenance")
        history = pd.read_csv(path.parent / "history.csv").drop(columns="seconds").to_csv()
        predictions = path.parent / "predictions.npz"
        logits = load_run(path.parent).predictions().logits.tobytes() if predictions.is_file() else b""
        found[str(path.parent.relative_to(root))] = (info, history, logits)
    return found


def test_a_sweep_trains_every_cell_once_and_chooses_on_validation(go, plan, tmp_path):
    progress, trained = go()
    cells = plan.cells()
    assert trained == list(cells)
    assert set(progress.states.values()) == {"done"}
    for run in final_runs(cells, tmp_path / "sweep"):
        cell = cells[str(run.folder.relative_to(tmp_path / "sweep"))]
        trials = [read_trial(tmp_path / "sweep" / folder) for folder in cell.trials]
        assert run.info.settings["lr"] == chosen(trials).lr
        assert run.info.search["budget"] == 4
        assert [row["val_accuracy"] for row in run.info.search["trials"]] == [trial.accuracy for trial in trials]
    assert {run.info.seed for run in find_runs([tmp_path / "sweep"])} == {0, 1}


def test_both_sides_get_the_same_search_and_nothing_else_differs(go, plan, tmp_path):
    go()
    pairs = [(of_run(pair.vpt), of_run(pair.ft)) for pair in pair_runs(final_runs(plan.cells(), tmp_path / "sweep"))]
    assert measure(pairs).differences() == []


def test_unequal_searches_are_a_confound(go, plan, tmp_path):
    go()
    wider = replace(plan, arms=(Arm(method="ft"),), search=Search(extra=2))
    go(wider.cells())
    root = tmp_path / "sweep"
    vpt = next(run for run in final_runs(plan.cells(), root) if run.info.method == "vpt_deep")
    found = measure([(of_run(vpt), of_run(final_runs(wider.cells(), root)[0]))]).differences()
    assert found == ["search: 4 trials on validation vs 5 trials on validation"]


def test_a_second_start_trains_nothing_and_touches_nothing(go, tmp_path):
    go()
    before = stamps(tmp_path)
    progress, trained = go()
    assert trained == []
    assert set(progress.states.values()) == {"done"}
    assert stamps(tmp_path) == before


def test_only_what_is_gone_is_trained_again_and_comes_out_the_same(go, plan, tmp_path):
    go()
    before = content(tmp_path / "sweep")
    gone = [folder for folder, cell in plan.cells().items() if cell.kind == "final"][1]
    (tmp_path / "sweep" / gone / "run.json").unlink()
    _, trained = go()
    assert trained == [gone]
    assert content(tmp_path / "sweep") == before


@pytest.mark.parametrize("which", [0, 3, 5, 10])
def test_an_interrupted_sweep_goes_on_where_it_stopped(go, plan, which):
    folders = list(plan.cells())
    with pytest.raises(KeyboardInterrupt, match=folders[which]):
        go(stop_at=folders[which])
    _, trained = go()
    assert trained == folders[which:]


def test_a_broken_task_is_reported_and_does_not_stop_the_rest(go, plan, toy_task, tmp_path):
    def load_task(name):
        if name == "toy/broken":
            raise DataError("the disk is on fire", "Call somebody.")
        return toy_task

    cells = replace(plan, tasks=("toy/broken", "toy/colour")).cells()
    progress, trained = go(cells, load_task=load_task)
    broken = {folder for folder, cell in cells.items() if cell.task == "toy/broken"}
    assert set(trained) == cells.keys() - broken
    waiting = {folder for folder in broken if cells[folder].needs}
    assert {folder for folder, state in progress.states.items() if state == "failed"} == broken - waiting
    assert {folder for folder, state in progress.states.items() if state == "blocked"} == waiting
    assert progress.problems[min(broken - waiting)] == "the disk is on fire"
    assert all(
        "which failed" in progress.problems[f] or "could not be trained" in progress.problems[f] for f in waiting
    )
    with pytest.raises(TrainingError, match=r"4 of 8 runs are missing:\n[\s\S]*the disk is on fire"):
        final_runs(cells, tmp_path / "sweep")
    # What failed is not tried again unless asked for.
    assert go(cells)[1] == []
    assert set(go(cells, retry=True)[1]) == broken


def test_an_error_that_is_no_ones_is_kept_with_its_traceback(go, plan, tmp_path):
    def load_task(name):
        raise ZeroDivisionError("by nought")

    progress, _ = go(load_task=load_task)
    first = next(iter(plan.cells()))
    assert progress.problems[first] == "ZeroDivisionError: by nought"
    told = json.loads((tmp_path / "sweep" / first / "failed.json").read_text())
    assert "by nought" in told["traceback"]


def test_a_trial_that_diverges_is_an_answer(go, plan, tmp_path):
    plan = replace(plan, arms=(Arm(method="ft"),), search=Search(rates=(1e-3, 3e37), extra=0))
    cells = plan.cells()
    progress, _ = go(cells)
    assert sorted(progress.states.values()) == ["diverged", "done", "done", "done"]
    runs = final_runs(cells, tmp_path / "sweep")
    assert {run.info.settings["lr"] for run in runs} == {1e-3}
    assert runs[0].info.search["trials"][1] == {"lr": 3e37, "weight_decay": 0.01, "val_accuracy": None}
    assert go(cells)[1] == []


def test_a_search_in_which_all_diverged_leaves_no_run(go, plan):
    progress, _ = go(replace(plan, arms=(Arm(method="ft"),), search=Search(rates=(2e37, 3e37), extra=0)).cells())
    assert sorted(progress.states.values()) == ["diverged", "diverged", "failed", "failed"]
    assert all("diverged" in problem or "became" in problem for problem in progress.problems.values())


def test_where_all_diverged_there_is_no_further_trial_to_go_on_from(go, plan):
    progress, _ = go(replace(plan, arms=(Arm(method="ft"),), search=Search(rates=(2e37, 3e37), extra=1)).cells())
    assert sorted(progress.states.values()) == ["blocked", "blocked", "diverged", "diverged", "failed"]
    assert not any("TypeError" in problem for problem in progress.problems.values())
    assert sum("Every trial diverged" in problem for problem in progress.problems.values()) == 1


def test_an_optimum_at_an_end_is_said_in_the_run(go, plan, tmp_path):
    cells = replace(plan, arms=(Arm(method="ft"),), search=Search(rates=(1e-6, 1e-2), extra=0)).cells()
    go(cells)
    run = final_runs(cells, tmp_path / "sweep")[0]
    assert any("searched, of 1e-06, 0.01: the optimum may lie beyond" in note for note in run.info.notes)


def test_methods_that_start_from_another_are_trained_after_it(go, plan, tmp_path):
    cells = replace(plan, arms=(Arm(method="ft_then_pt"), Arm(method="pt_then_ft"))).cells()
    progress, _ = go(cells)
    assert set(progress.states.values()) == {"done"}
    for run in final_runs(cells, tmp_path / "sweep"):
        if run.info.base is not None:
            assert run.base_run().info.seed == run.info.seed
            assert run.model() is not None


def test_a_run_that_others_start_from_is_rebuilt_where_its_weights_went(go, plan, tmp_path):
    """Finetuned weights of the suite are not committed; what starts from them comes out as if they were."""
    arms = (Arm(method="ft"), Arm(method="ft_then_pt"))
    cells = replace(plan, arms=arms, search=None, seeds=(0,)).cells()
    go(cells)
    before = content(tmp_path / "sweep")
    base, after = cells.values()
    (tmp_path / "sweep" / base.folder / "model.safetensors").unlink()
    shutil.rmtree(tmp_path / "sweep" / after.folder)
    assert to_rebuild(cells, cells.values(), tmp_path / "sweep") == [base]
    progress, trained = go(cells)
    assert (trained, set(progress.states.values())) == ([after.folder], {"done"})
    assert content(tmp_path / "sweep") == before
    assert to_rebuild(cells, cells.values(), tmp_path / "sweep") == []


def test_one_cell_alone_can_be_trained(go, plan):
    cells = plan.cells()
    first = next(iter(cells))
    assert go(only=frozenset({first}))[1] == [first]
    progress, trained = go(only=frozenset({list(cells)[3]}))
    assert trained == []
    assert progress.states[list(cells)[3]] == "blocked"
    with pytest.raises(SettingsError, match="The plan has no cell nowhere"):
        go(only=frozenset({"nowhere"}))


def test_more_images_than_there_are_fail_by_the_settings_name(go, plan, make_task, make_images, tmp_path):
    def load(split, n=None, seed=0):
        return drawn(make_images(split, 9, 1), n, seed)

    progress, _ = go(load_task=lambda name: make_task(load=load))
    said = "n_train (of the plan, or --n-train) asks for 20 train images of toy/colour, which holds 9."
    assert said in progress.problems.values()


def test_a_folder_that_cannot_be_written_is_refused_unless_all_is_there(go, plan, tmp_path):
    (tmp_path / "sweep").touch()
    with pytest.raises(StorageError, match=r"sweep could not be written: .*\nChoose another place") as refused:
        go()
    assert "failed.json" not in str(refused.value)
    (tmp_path / "sweep").unlink()
    go()
    (tmp_path / "sweep").chmod(0o555)
    try:
        assert set(go()[0].states.values()) == {"done"}
    finally:
        (tmp_path / "sweep").chmod(0o755)


def test_a_cell_that_can_leave_nothing_stops_no_other(go, plan, tmp_path):
    (tmp_path / "sweep" / "search" / "toy-colour").mkdir(parents=True)
    (tmp_path / "sweep" / "search" / "toy-colour" / "ft").write_text("in the way")
    progress, _ = go()
    states = {plan.cells()[folder].method: set() for folder in progress.states}
    for folder, state in progress.states.items():
        states[plan.cells()[folder].method].add(state)
    assert states["vpt_deep"] == {"done"}
    assert states["ft"] == {"failed", "blocked"}


@pytest.mark.parametrize("content", ["{}", "", "[1]"])
def test_a_damaged_failure_is_a_failure_that_can_be_tried_again(go, plan, tmp_path, content):
    cells = replace(plan, arms=(Arm(method="linear"),), search=None, seeds=(0,)).cells()
    (folder,) = cells
    (tmp_path / "sweep" / folder).mkdir(parents=True)
    (tmp_path / "sweep" / folder / "failed.json").write_text(content)
    progress, trained = go(cells)
    assert (progress.states[folder], trained) == ("failed", [])
    assert "is damaged" in progress.problems[folder]
    assert go(cells, retry=True)[0].states[folder] == "done"


def test_waves_hold_what_can_be_trained_at_once(plan):
    cells = replace(plan, arms=(Arm(method="ft_then_pt"),)).cells()
    order = waves(cells)
    place = {folder: number for number, wave in enumerate(order) for folder in wave}
    assert place.keys() == cells.keys()
    for folder, cell in cells.items():
        assert place[folder] == 1 + max((place[need] for need in cell.needs), default=-1)


def test_looking_reads_files_alone(plan, go, tmp_path, monkeypatch):
    go()
    monkeypatch.setattr(training, "train", None)
    assert set(look(plan.cells(), tmp_path / "sweep").states.values()) == {"done"}
    assert set(look(plan.cells(), tmp_path / "elsewhere").states.values()) == {"missing"}
