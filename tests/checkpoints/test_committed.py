"""The suite's runs that are kept with the source: each can be read, and is what it says."""

from pathlib import Path

import pytest

from vptft.checkpoints.native import WEIGHTS_FILE, find_runs
from vptft.models.fingerprint import state_hash
from vptft.storage import read_json
from vptft.tuning.protocols import SUITE

SUITE_FOLDER = Path(__file__).parents[2] / "checkpoints" / "suite"
LARGE = ("ft", "mixed", "pt_then_ft")

pytestmark = pytest.mark.skipif(not SUITE_FOLDER.is_dir(), reason="the source distribution holds no runs")


def test_every_run_is_what_it_says():
    from safetensors.torch import load_file

    for run in find_runs([SUITE_FOLDER]):
        info = run.info
        assert run.predictions().accuracy == info.test_accuracy
        assert len(run.predictions().labels) == SUITE.settings.n_test
        assert run.history()["epoch"].max() == SUITE.settings.epochs
        assert info.search["budget"] == SUITE.budgets()["ft"]
        if (run.folder / WEIGHTS_FILE).is_file():
            assert state_hash(load_file(run.folder / WEIGHTS_FILE)) == info.model_sha256
        else:
            assert info.method in LARGE


def test_the_accuracies_a_run_was_chosen_by_are_those_of_its_trials():
    trials = {}
    for path in SUITE_FOLDER.glob("search/*/*/*/trial*/run.json"):
        told = read_json(path)
        trials.setdefault((told["task"], told["method"]), set()).add((told["settings"]["lr"], told["val_accuracy"]))
    for run in find_runs([SUITE_FOLDER]):
        told = {(trial["lr"], trial["val_accuracy"]) for trial in run.info.search["trials"]}
        assert told == trials[run.info.task, run.info.method]
