from dataclasses import replace

import pytest

from vptft.checkpoints.native import Run
from vptft.checkpoints.pairs import pair_runs, require_one_setting, unlike_seeds
from vptft.errors import CheckpointError, SettingsError


@pytest.fixture
def make_run(finished):
    """``make_run(method, folder="x", settings={}, **fields)``: a finished run with some of its fields changed."""

    def make(method, *, folder=None, settings=None, **fields):
        run = finished[method]
        info = replace(run.info, settings={**run.info.settings, **(settings or {})}, **fields)
        return Run(folder=run.folder.parent / (folder or f"{method}-{len(fields)}"), info=info)

    return make


def test_runs_pair_by_task_size_seed_image_size_and_backbone(make_run):
    runs = [
        make_run(method, task=task, seed=seed)
        for method in ("vpt_deep", "ft", "linear")
        for task in ("a", "b")
        for seed in (0, 1)
    ]
    pairs = pair_runs(reversed(runs))
    assert len(pairs) == 4
    for pair in pairs:
        assert (pair.vpt.info.method, pair.ft.info.method) == ("vpt_deep", "ft")
        assert (pair.vpt.info.task, pair.vpt.info.seed) == (pair.ft.info.task, pair.ft.info.seed)


@pytest.mark.parametrize(
    "other", [{"task": "b"}, {"n_train": 7}, {"seed": 5}, {"image_size": 64}, {"backbone_sha256": "0"}], ids=str
)
def test_runs_of_another_cell_are_no_partners(make_run, other):
    vpt, ft, stray = make_run("vpt_deep"), make_run("ft"), make_run("ft", folder="stray", **other)
    assert [pair.ft for pair in pair_runs([vpt, stray, ft])] == [ft]
    with pytest.raises(CheckpointError, match="No pair of vpt_deep and ft with the same task, training size"):
        pair_runs([vpt, stray])


def test_other_methods_pair_when_asked(make_run):
    (pair,) = pair_runs([make_run("vpt_shallow"), make_run("linear"), make_run("ft")], method="vpt_shallow",
                        against="linear")  # fmt: skip
    assert (pair.vpt.info.method, pair.ft.info.method) == ("vpt_shallow", "linear")


def test_two_runs_of_one_cell_are_refused_by_folder(make_run):
    runs = [make_run("ft", folder="first"), make_run("vpt_deep"), make_run("ft", folder="second")]
    with pytest.raises(CheckpointError, match=r"Two ft runs of the same task, size and seed: .*first and .*second"):
        pair_runs(runs)


def test_nothing_to_pair_is_an_error():
    with pytest.raises(CheckpointError, match=r"No pair .*\n.*lists what is there"):
        pair_runs([])


@pytest.mark.parametrize("other", [{"n_train": 7}, {"image_size": 64}], ids=str)
def test_pairs_of_several_settings_are_no_seeds_of_one(make_run, other):
    def pairs_of(**fields):
        return pair_runs([make_run(method, **fields) for method in ("vpt_deep", "ft")])

    one, another = pairs_of(seed=0), pairs_of(seed=1)
    require_one_setting([*one, *another])
    with pytest.raises(SettingsError, match=r"several settings, which are no seeds of one: .*; .*px"):
        require_one_setting([*one, *pairs_of(seed=1, **other)])


def test_seeds_that_differ_in_more_are_named_with_what_differs(make_run):
    runs = [make_run(method, seed=seed) for method in ("vpt_deep", "ft") for seed in (0, 1)]
    assert unlike_seeds(pair_runs(runs)) == []
    other = make_run("ft", seed=2, settings={"lr": 0.5})
    told = unlike_seeds(pair_runs([*runs, make_run("vpt_deep", seed=2), other]))
    rates = f"lr {runs[2].info.settings['lr']}, 0.5"
    assert told == [f"runs of ft on {other.info.task} count as seeds and differ in more: {rates}"]
