"""Curvature of a run on disk: kept when it is made, and a stopped one goes on where it was."""

import pandas as pd
import pytest

from conftest import toy
from vptft.data import registry
from vptft.report.assembly.curvature import curvature
from vptft.why.landscape.curvature import measure as module
from vptft.why.landscape.curvature.measure import CurvatureSettings

FEW = CurvatureSettings(
    spaces=("prompts", "head"), k=1, max_products=6, probes=2, scalings=("element",), m=4, batches=2
)


@pytest.fixture
def run(finished, monkeypatch):
    monkeypatch.setattr(registry, "task", lambda name: toy())
    return finished["vpt_deep"]


def test_a_result_is_made_once_and_its_images_are_the_runs(run, tmp_path, monkeypatch):
    told = []
    first = curvature(run, n_images=6, options=FEW, folder=tmp_path, on_cell=lambda *counts: told.append(counts))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert (first.method, first.split, first.settings["n_images"]) == ("vpt_deep", "train", 12)
    monkeypatch.setattr("vptft.report.assembly.curvature.measure", None)
    pd.testing.assert_frame_equal(curvature(run, n_images=6, options=FEW, folder=tmp_path).frame(), first.frame())


def test_an_interrupted_one_goes_on_with_the_next_space(run, tmp_path, monkeypatch):
    whole = curvature(run, n_images=6, options=FEW).frame()
    done, compute = [], module.CellCurvature.__call__

    def stops(self, cell):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(cell)
        return compute(self, cell)

    monkeypatch.setattr(module.CellCurvature, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        curvature(run, n_images=6, options=FEW, folder=tmp_path)
    monkeypatch.setattr(module.CellCurvature, "__call__", lambda self, cell: done.append(cell) or compute(self, cell))
    again = curvature(run, n_images=6, options=FEW, folder=tmp_path)
    assert len(done) == len(set(done)) == 4
    pd.testing.assert_frame_equal(again.frame(), whole, check_exact=True)
