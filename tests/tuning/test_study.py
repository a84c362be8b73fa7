import json
from dataclasses import replace

import pytest

from vptft.checkpoints.fairness import measure
from vptft.checkpoints.native import find_runs, load_run
from vptft.checkpoints.pairs import pair_runs
from vptft.checkpoints.recipe import of_run
from vptft.tuning import study
from vptft.tuning.methods import METHODS
from vptft.tuning.study import (
    CORE_TASKS,
    QUICK,
    SEARCH_SEED,
    SIZES,
    SUITE,
    SUITE_98,
    StudySize,
    chosen_lr,
    edges_of_search,
    run_study,
    search_file,
    trainings_of,
)


@pytest.fixture
def size(settings):
    """Two methods, two seeds, a searched learning rate."""
    return StudySize(
        name="toy", tasks=("toy/colour",), settings=replace(settings, epochs=1), seeds=(0, 1), searched=True
    )


@pytest.fixture
def recorded(size, toy_task, tmp_path):
    """``recorded(tasks=...)``: run the study; gives its runs and the labels of what was trained to the end."""

    def go(tasks=(toy_task,), stop_at=None):
        trained = []

        def on_run(label):
            if label == stop_at:
                raise KeyboardInterrupt(label)

            def on_epoch(done, total):
                if done == total:
                    trained.append(label)

            return on_epoch

        return run_study(size, tasks, backbone="tiny", folder=tmp_path / "study", on_run=on_run), trained

    return go


def search_of(method, task="toy/colour"):
    return [f"search {lr:g}: {method} on {task}" for lr in METHODS[method].learning_rates]


def runs_of(method, task="toy/colour"):
    return [f"{method} on {task}, seed {seed}" for seed in (0, 1)]


EVERYTHING = [label for method in ("ft", "vpt_deep") for label in (*search_of(method), *runs_of(method))]


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({"0.001": 0.5, "0.005": 0.7, "0.02": 0.6}, 0.005),
        ({"0.02": 0.7, "0.005": 0.7, "0.001": 0.6}, 0.005),
        ({"1e-05": 0.5, "5e-05": 0.5, "0.0002": 0.5}, 1e-5),
        ({"0.02": 0.0}, 0.02),
    ],
)
def test_the_best_rate_is_chosen_and_of_equals_the_smaller(scores, chosen):
    assert chosen_lr(scores) == chosen


def test_both_methods_get_the_same_search_and_the_same_seeds(recorded, size, tmp_path):
    runs, trained = recorded()
    assert trained == EVERYTHING
    assert len(trained) == trainings_of(size, 1)
    assert [(run.info.method, run.info.seed) for run in runs] == [
        ("ft", 0), ("ft", 1), ("vpt_deep", 0), ("vpt_deep", 1),
    ]  # fmt: skip
    pairs = [(of_run(pair.vpt), of_run(pair.ft)) for pair in pair_runs(runs)]
    assert measure(pairs).differences() == []
    for run in runs:
        scores = json.loads(search_file(tmp_path / "study", "toy/colour", run.info.method).read_text())
        assert [float(lr) for lr in scores] == list(METHODS[run.info.method].learning_rates)
        assert run.info.settings["lr"] == chosen_lr(scores)


def test_the_search_leaves_its_scores_and_no_weights(recorded, tmp_path):
    runs, _ = recorded()
    folder = tmp_path / "study"
    assert sorted(path.name for path in (folder / "search").iterdir() if not path.name.startswith(".")) == [
        "toy-colour-ft.json", "toy-colour-vpt_deep.json",
    ]  # fmt: skip
    assert find_runs([folder]) == sorted(runs, key=lambda run: run.folder)
    assert runs[0].folder == folder / "toy-colour" / "ft" / "seed0"


def test_the_search_scores_validation_on_a_draw_of_its_own(size, toy_task, tmp_path, make_task):
    asked = []

    def load(split, n=None, seed=0):
        asked.append((split, seed))
        return toy_task.load(split, n=n, seed=seed)

    size = replace(size, settings=replace(size.settings, n_val=7))
    run_study(size, [make_task(load=load)], backbone="tiny", folder=tmp_path / "study")
    assert {seed for split, seed in asked if split == "train"} == {0, 1, SEARCH_SEED}
    assert SEARCH_SEED not in size.seeds
    scores = json.loads(search_file(tmp_path / "study", "toy/colour", "ft").read_text())
    assert all(score * 7 == pytest.approx(round(score * 7)) for score in scores.values())


def test_a_second_call_trains_nothing(recorded, tmp_path):
    runs, _ = recorded()
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("*") if path.is_file()}
    again, trained = recorded()
    assert trained == []
    assert again == runs
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("*") if path.is_file()}


def test_a_run_that_is_gone_is_trained_again_and_no_other(recorded, tmp_path):
    runs, _ = recorded()
    (runs[1].folder / "run.json").unlink()
    again, trained = recorded()
    assert trained == ["ft on toy/colour, seed 1"]
    assert [run.info.model_sha256 for run in again] == [run.info.model_sha256 for run in runs]


@pytest.mark.parametrize("stop_at", [EVERYTHING[i] for i in (1, 3, 8)])
def test_an_interrupted_study_goes_on_where_it_stopped(recorded, stop_at):
    with pytest.raises(KeyboardInterrupt, match=stop_at):
        recorded(stop_at=stop_at)
    _, trained = recorded()
    assert trained == EVERYTHING[EVERYTHING.index(stop_at) :]


def test_a_search_interrupted_while_it_cleans_up_cleans_up_later(recorded, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt("cleaning")

    with monkeypatch.context() as patch:
        patch.setattr(study.shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt, match="cleaning"):
            recorded()
    _, trained = recorded()
    assert trained[-7:] == EVERYTHING[-7:]
    assert not [path for path in (tmp_path / "study" / "search").iterdir() if path.is_dir()]


def test_without_a_search_the_default_rate_is_taken(size, toy_task, tmp_path):
    plain = replace(size, searched=False, methods=("linear",), seeds=(4,))
    (run,) = run_study(plain, [toy_task], backbone="tiny", folder=tmp_path)
    assert (run.info.settings["lr"], run.info.seed) == (METHODS["linear"].default_lr, 4)
    assert not (tmp_path / "search").exists()
    assert trainings_of(plain, 3) == 3


def test_tasks_whose_names_differ_in_punctuation_alone_stay_apart(size, make_task, tmp_path):
    plain = replace(size, searched=False, methods=("linear",), seeds=(0,))
    tasks = [make_task("mine/one"), make_task("mine-one")]
    runs = run_study(plain, tasks, backbone="tiny", folder=tmp_path)
    assert [load_run(run.folder).info.task for run in runs] == ["mine/one", "mine-one"]


def test_a_rate_chosen_at_the_end_of_the_search_is_reported(recorded, tmp_path):
    runs, _ = recorded()
    folder = tmp_path / "study"
    rates = METHODS["ft"].learning_rates

    def found(method, *scores):
        path = search_file(folder, "toy/colour", method)
        path.write_text(json.dumps(dict(zip(map("{:g}".format, METHODS[method].learning_rates), scores, strict=True))))

    found("ft", 0.1, 0.2, 0.3)
    found("vpt_deep", 0.1, 0.3, 0.2)
    assert edges_of_search(folder, runs) == [
        f"ft on toy/colour: chose {rates[2]:g}, an end of {', '.join(f'{rate:g}' for rate in rates)}"
    ]
    found("vpt_deep", 0.3, 0.3, 0.2)
    assert [text.split(":")[0] for text in edges_of_search(folder, runs)] == [
        "ft on toy/colour",
        "vpt_deep on toy/colour",
    ]
    assert edges_of_search(tmp_path / "elsewhere", runs) == []


def test_the_standard_sizes_are_those_of_the_suite():
    assert set(SIZES) == {"quick", "suite", "suite-98"}
    assert len(CORE_TASKS) == len(set(CORE_TASKS)) == 10
    assert (SUITE.settings.n_train, SUITE.settings.n_val, SUITE.settings.n_test) == (300, 100, 1000)
    assert (SUITE.settings.image_size, SUITE_98.settings.image_size, SUITE.settings.epochs) == (56, 98, 20)
    assert SUITE.seeds == (0, 1, 2)
    assert SUITE.searched
    assert (QUICK.seeds, QUICK.searched, QUICK.settings.epochs, QUICK.settings.n_train) == ((0,), False, 6, 160)
    assert trainings_of(SUITE, 10) == 10 * 2 * (3 + 3)
    assert all({"ft", "vpt_deep"} == set(size.methods) for size in SIZES.values())
