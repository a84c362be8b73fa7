import json

import pytest

from vptft.errors import SettingsError, TrainingError
from vptft.tuning.search import Search, Trial, at_an_end, chosen, next_rate, read_trial, summary


def trials(**accuracies):
    """Trials of one decay: ``trials(r1=0.5, r10=None)`` has rates 1 and 10."""
    return [Trial(float(name[1:].replace("_", ".")), 0.01, accuracy) for name, accuracy in accuracies.items()]


@pytest.mark.parametrize(
    ("found", "rate"),
    [
        (trials(r1=0.5, r3=0.7, r10=0.6), 3),
        (trials(r10=0.7, r3=0.7, r1=0.6), 3),
        (trials(r1=0.5, r3=0.5, r10=0.5), 1),
        (trials(r1=None, r3=0.0), 3),
    ],
)
def test_the_best_rate_is_chosen_and_of_equals_the_smaller(found, rate):
    assert chosen(found).lr == rate


def test_of_equal_rates_the_smaller_decay_is_chosen():
    assert chosen([Trial(1, 0.1, 0.5), Trial(1, 0.0, 0.5), Trial(2, 0.0, 0.5)]) == Trial(1, 0.0, 0.5)


def test_a_search_in_which_all_diverged_chooses_nothing():
    with pytest.raises(TrainingError, match=r"Every trial diverged; learning rates 1, 3"):
        chosen(trials(r1=None, r3=None))


@pytest.mark.parametrize(
    ("found", "rate"),
    [
        (trials(r1=0.5, r3=0.6, r9=0.7), 27),
        (trials(r1=0.7, r3=0.6, r9=0.5), 0.333),
        (trials(r1=0.6, r4=0.7, r16=0.5), 2),
        (trials(r1=0.5, r4=0.7, r16=0.6), 8),
        (trials(r1=0.5, r4=0.7, r16=0.5), 2),
        (trials(r1=None, r4=0.7, r16=None), 2),
        (trials(r4=0.7), 12.6),
        (trials(r1=0.5, r3=0.6, r9=0.7, r27=0.8), 81),
    ],
)
def test_one_more_trial_lies_beyond_an_end_or_between_the_best(found, rate):
    assert next_rate(found) == (pytest.approx(rate), 0.01)


def test_an_end_is_told_and_the_middle_is_not():
    assert at_an_end(trials(r1=0.5, r3=0.7, r10=0.6)) is None
    assert at_an_end(trials(r3=0.7)) is None
    assert at_an_end(trials(r1=0.5, r3=0.6, r10=0.7)) == "learning rate 10 is the largest searched, of 1, 3, 10"
    assert at_an_end(trials(r1=0.5, r3=0.5)) == "learning rate 1 is the smallest searched, of 1, 3"


def test_trials_are_read_from_their_folders(tmp_path):
    done, failed = tmp_path / "done", tmp_path / "failed"
    for folder, name, content in (
        (done, "run.json", {"settings": {"lr": 0.1, "weight_decay": 0.2}, "val_accuracy": 0.75}),
        (failed, "failed.json", {"lr": 3, "wd": 0, "problem": "loss", "diverged": True}),
    ):
        folder.mkdir()
        (folder / name).write_text(json.dumps(content))
    assert [read_trial(done), read_trial(failed)] == [Trial(0.1, 0.2, 0.75), Trial(3, 0, None)]
    assert summary([read_trial(done), read_trial(failed)]) == {
        "budget": 2,
        "trials": [
            {"lr": 0.1, "weight_decay": 0.2, "val_accuracy": 0.75},
            {"lr": 3, "weight_decay": 0, "val_accuracy": None},
        ],
    }


def test_a_run_that_is_complete_stands_before_an_earlier_failure(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"settings": {"lr": 0.1, "weight_decay": 0.2}, "val_accuracy": 0.7}))
    (tmp_path / "failed.json").write_text(json.dumps({"lr": 0.1, "wd": 0.2, "problem": "loss", "diverged": True}))
    assert read_trial(tmp_path) == Trial(0.1, 0.2, 0.7)


@pytest.mark.parametrize("bad", [{"rates": (0.1, -1)}, {"decays": (-0.1,)}, {"extra": -1}, {"seed": -2}])
def test_a_search_outside_its_ranges_is_refused(bad):
    with pytest.raises(SettingsError, match="must"):
        Search(**bad)
