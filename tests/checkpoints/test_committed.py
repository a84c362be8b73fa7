"""The runs that are kept with the source: each can be read, and is what it says."""

from itertools import product
from pathlib import Path

import pytest

from vptft.checkpoints.native import WEIGHTS_FILE, find_runs
from vptft.models.fingerprint import state_hash
from vptft.storage import read_json
from vptft.tuning.protocols import QUADRANT_TASKS, SUITE

SUITE_FOLDER = Path(__file__).parents[2] / "checkpoints" / "suite"
SIZES_FOLDER = SUITE_FOLDER.parent / "datasize"
LARGE = ("ft", "mixed", "partial_k", "pt_then_ft")

pytestmark = pytest.mark.skipif(not SUITE_FOLDER.is_dir(), reason="the source distribution holds no runs")


def suite_runs():
    return find_runs([SUITE_FOLDER])


def test_every_run_is_what_it_says():
    from safetensors.torch import load_file

    for run in find_runs([SUITE_FOLDER, SIZES_FOLDER]):
        info = run.info
        assert run.predictions().accuracy == info.test_accuracy
        assert len(run.predictions().labels) == SUITE.settings.n_test
        assert run.history()["epoch"].max() == SUITE.settings.epochs
        if (run.folder / WEIGHTS_FILE).is_file():
            assert state_hash(load_file(run.folder / WEIGHTS_FILE)) == info.model_sha256
        else:
            assert info.method in LARGE


def test_runs_of_the_suite_were_searched_with_equal_budgets():
    assert {run.info.search["budget"] for run in suite_runs()} == {SUITE.budgets()["ft"]}


def test_other_sizes_take_the_rates_that_were_found_at_the_suites():
    found = {(run.info.task, run.info.method): run.info.settings["lr"] for run in suite_runs()}
    runs = find_runs([SIZES_FOLDER])
    for run in runs:
        assert run.info.search is None
        assert run.info.settings["lr"] == found[run.info.task, run.info.method]
    cells = {(run.info.task, run.info.method, run.info.n_train, run.info.seed) for run in runs}
    methods, draws = ("ft", "vpt_deep"), (0, 1, 2)
    counting = product(("photo/count", "plain/count"), methods, (100, 600), draws)
    assert cells == {*counting, *product(("plain/category",), methods, (100, 1000), draws)}


def test_the_accuracies_a_run_was_chosen_by_are_those_of_its_trials():
    trials = {}
    for path in SUITE_FOLDER.glob("search/*/*/*/trial*/run.json"):
        told = read_json(path)
        trials.setdefault((told["task"], told["method"]), set()).add((told["settings"]["lr"], told["val_accuracy"]))
    for run in suite_runs():
        told = {(trial["lr"], trial["val_accuracy"]) for trial in run.info.search["trials"]}
        assert told == trials[run.info.task, run.info.method]


def test_what_starts_from_a_run_starts_from_a_committed_one_of_its_seed():
    started = [run for run in suite_runs() if run.info.method == "ft_then_pt"]
    assert {run.base_run().info.method for run in started} == {"ft"}
    for run in started:
        base = run.base_run()
        assert (base.info.task, base.info.seed) == (run.info.task, run.info.seed)


def test_ten_methods_stand_on_the_four_quadrant_tasks():
    there = {(run.info.task, run.info.method, run.info.seed) for run in suite_runs()}
    methods = (
        "ft", "mixed", "partial_k", "lora", "bias", "vpt_deep", "vpt_shallow", "ft_then_pt", "linear",
        "multi_layer_probe",
    )  # fmt: skip
    assert there >= set(product(QUADRANT_TASKS, methods, (0, 1, 2)))


def test_a_linear_probe_stands_on_every_observed_task_that_needs_no_package():
    runs = find_runs([SUITE_FOLDER.parent / "observed"])
    tasks = ("digits", "digits/orientation", "digits/location", "faces", "materials", "instruments")
    probes = {(run.info.task, run.info.seed) for run in runs if run.info.method == "linear"}
    assert probes == set(product(tasks, (0, 1, 2)))
    assert {run.info.search["budget"] for run in runs} == {SUITE.budgets()["ft"]}
    for run in runs:
        assert run.predictions().accuracy == run.info.test_accuracy
