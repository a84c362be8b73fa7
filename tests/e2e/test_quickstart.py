"""The main job from command to page, on a random backbone and a few scenes."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from vptft.cli import quickstart as command
from vptft.cli.app import app
from vptft.report.assembly import study
from vptft.tuning import protocols


@pytest.fixture
def quickstart(monkeypatch, tmp_path):
    settings = replace(protocols.QUICK.settings, epochs=1, batch_size=4, n_val=4, n_test=40, n_curve=4, image_size=32)
    small = replace(protocols.QUICK, settings=settings, sizes=(8,), tasks=("photo/category", "plain/count"))
    monkeypatch.setattr(protocols, "QUICK", small)
    for name, few in (("N_SLICE", 4), ("SLICE_POINTS", 3), ("N_ATTENTION", 4)):
        monkeypatch.setattr(command, name, few)
    arguments = ["quickstart", "--backbone", "tiny", "-o", str(tmp_path / "page"), "--runs", str(tmp_path / "runs")]
    return lambda *more: CliRunner().invoke(app, [*arguments, *more], catch_exceptions=False)


def written(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("svg_alone")
def test_interrupted_resumed_and_repeated(quickstart, monkeypatch, tmp_path):
    measured = study.loss_slice

    def interrupted(run, **settings):
        if run.info.method == "ft":
            raise KeyboardInterrupt
        return measured(run, **settings)

    monkeypatch.setattr(study, "loss_slice", interrupted)
    stopped = quickstart()
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("run.json")}
    assert len(trained) == 4
    assert not (tmp_path / "page" / "index.html").exists()

    monkeypatch.setattr(study, "loss_slice", measured)
    finished = quickstart("--json")
    assert finished.exit_code == 0
    assert json.loads(finished.stdout)["page"].endswith("index.html")
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "One seed: no verdict" in page
    for task in protocols.QUICK.tasks:
        assert task in page
    assert page.count(">supported<") == 1  # C0: that the recipes are equal needs no seeds
    assert ">refuted<" not in page

    first = written(tmp_path / "page")
    assert quickstart("--json").exit_code == 0
    assert written(tmp_path / "page") == first
