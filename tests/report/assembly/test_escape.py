"""From runs to the escape test: what each point starts from, and what is saved."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from vptft.checkpoints.native import load_run
from vptft.data import registry
from vptft.errors import CheckpointError, DataError, NotApplicable, SettingsError
from vptft.report.assembly import escape as assembly
from vptft.report.assembly.escape import EscapeOptions, beside, escape, point_of
from vptft.why.landscape.escape.budget import Budget
from vptft.why.landscape.escape.measure import EscapeTest

OPTIONS = EscapeOptions(
    extensions=("prompts", "none"), variants=("joint",), prompts=2, n_fresh=9, n_held_out=9,
    budget=Budget(steps=1, batch_size=8, rates=(1e-3,), network_rates=(1e-4,)),
)  # fmt: skip


@pytest.fixture
def runs(finished, make_task, make_images, monkeypatch):
    """Runs of the toy task, whose training draws are named by their seeds."""

    def load(split, n=None, seed=0):
        return make_images(f"{split} {seed if split == 'train' else ''}", n or 24, (seed, 1) if split == "train" else 9)

    monkeypatch.setattr(registry, "task", lambda name: make_task(load=load))
    return finished


def test_the_finetuned_point_is_the_run_itself_on_its_own_images(runs):
    run = runs["ft"]
    point = point_of(run, "finetuned", OPTIONS)
    assert torch.equal(point.model(point.train.images), run.model()(point.train.images))
    history = run.history()
    assert len(point.train.labels) == run.info.n_train
    with torch.no_grad():
        loss = F.cross_entropy(point.model(point.held_out.images), point.held_out.labels).item()
    last = history[(history["split"] == "val") & (history["epoch"] == history["epoch"].max())]
    assert loss == pytest.approx(last["loss"].item(), rel=1e-4)
    assert (len(point.fresh.labels), point.fresh.split) == (9, "fresh")


def test_the_pretrained_point_is_the_backbone_as_it_was_under_a_head_of_its_own(runs):
    run = runs["ft"]
    point = point_of(run, "pretrained", OPTIONS)
    pretrained = run.backbone().module.state_dict()
    assert all(torch.equal(value, pretrained[key]) for key, value in point.model.backbone.state_dict().items())
    assert point.model.head.weight.any()


def test_a_test_goes_on_where_it_was_interrupted_and_is_saved_whole(runs, tmp_path, monkeypatch):
    options, told, calls = replace(OPTIONS, starts=("finetuned", "pretrained")), [], []
    measured = assembly.measure

    def interrupted(point, **settings):
        calls.append(point.start)
        if calls == ["finetuned", "pretrained"]:
            raise KeyboardInterrupt
        return measured(point, **settings)

    monkeypatch.setattr(assembly, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        escape([runs["ft"]], options=options, folder=tmp_path)
    found = escape([runs["ft"]], options=options, folder=tmp_path, on_point=lambda *done: told.append(done))
    assert calls == ["finetuned", "pretrained", "pretrained"]
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert EscapeTest.load(tmp_path).frame().equals(found.frame())
    assert found.frame()["start"].unique().tolist() == ["finetuned", "pretrained"]
    again = escape([runs["ft"]], options=options, folder=tmp_path)
    assert len(calls) == 3
    assert again.frame().equals(found.frame())
    escape([runs["ft"]], options=replace(options, seed=1), folder=tmp_path)
    assert len(calls) == 5


def test_mixed_and_ft_then_pt_stand_beside_their_ft_run(runs):
    rows = beside(list(runs.values())).set_index("method")
    assert sorted(rows.index) == ["ft_then_pt", "mixed"]
    for method in rows.index:
        assert rows.loc[method, "accuracy"] == runs[method].info.test_accuracy
        assert rows.loc[method, "accuracy_ft"] == runs["ft"].info.test_accuracy
    assert beside([runs["ft"], runs["linear"]]).empty
    assert beside([runs["mixed"]]).empty


def test_what_cannot_be_tested_is_said(runs, tmp_path, make_task, monkeypatch):
    with pytest.raises(NotApplicable, match="no run of ft is among these"):
        escape([runs["linear"]])
    with pytest.raises(SettingsError, match="At least one image"):
        EscapeOptions(n_fresh=0)
    for name in ("run.json", "history.csv"):
        (tmp_path / name).write_bytes((runs["ft"].folder / name).read_bytes())
    with pytest.raises(CheckpointError, match="does not hold its weights"):
        escape([load_run(tmp_path)], options=OPTIONS)
    monkeypatch.setattr(registry, "task", lambda name: make_task())  # one set of images, whatever the seed
    with pytest.raises(DataError, match="too few images that are new to"):
        escape([runs["ft"]], options=OPTIONS)
