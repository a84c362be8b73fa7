from dataclasses import replace

import pytest

from vptft.checkpoints.native import load_run
from vptft.errors import NotApplicable
from vptft.report.assembly import overfitting as assembly
from vptft.tuning.loop import kept_epoch


@pytest.fixture
def pair(go, settings, tmp_path):
    settings = replace(settings, n_test=40, epochs=3)
    return [go(method, tmp_path / method, settings) for method in ("ft", "vpt_deep")]


def test_the_gap_and_the_rises_are_those_of_the_runs(pair):
    shown = assembly.curves(pair)
    point = assembly.explained(pair, shown).frame().iloc[0]
    rises = shown.runs.set_index("method")["rise_nats"]
    assert point["gap_points"] == pytest.approx(100 * (pair[1].info.test_accuracy - pair[0].info.test_accuracy))
    assert point["rise_nats"] == pytest.approx(rises["ft"] - rises["vpt_deep"])
    table = assembly.calibrations(pair, shown).frame().set_index("method")
    assert table["accuracy"].to_dict() == {run.info.method: run.info.test_accuracy for run in pair}
    assert table["rise_nats"].to_dict() == pytest.approx(rises.to_dict())
    with pytest.raises(NotApplicable, match="no gap to explain"):
        assembly.explained(pair[:1], shown)


def test_arms_of_one_method_are_told_apart_by_what_differs(go, settings, tmp_path, pair):
    settings = replace(settings, n_test=40, epochs=3)
    stopped = go("ft", tmp_path / "stopped", replace(settings, keep="best_val"))
    decayed = go("ft", tmp_path / "decayed", replace(settings, weight_decay=0.1))
    runs = [*pair, stopped, decayed]
    assert assembly.labels_of(pair) == ["ft", "vpt_deep"]
    assert assembly.labels_of(runs) == ["ft", "vpt_deep", "ft, keep best_val", "ft, weight_decay 0.1"]
    found = assembly.curves(runs).runs.set_index("method")
    assert found.loc["ft, keep best_val", "end_epoch"] == kept_epoch(stopped.history())


def test_runs_that_differ_in_more_than_their_seed_are_no_seeds_of_one_another(go, settings, tmp_path, pair):
    settings = replace(settings, n_test=40, epochs=3)
    other = go("ft", tmp_path / "other", replace(settings, label_smoothing=0.1, seed=1))
    assert assembly.labels_of([*pair, other]) == ["ft", "vpt_deep", "ft, label_smoothing 0.1"]


def test_networks_of_other_image_sizes_are_not_paired(go, settings, tmp_path, pair):
    settings = replace(settings, n_test=40, epochs=3, image_size=2 * settings.image_size)
    runs = [pair[0], go("vpt_deep", tmp_path / "large", settings)]
    with pytest.raises(NotApplicable, match="no gap to explain"):
        assembly.explained(runs, assembly.curves(runs))


def test_a_run_without_a_history_is_left_out_and_named(pair, tmp_path):
    (pair[1].folder / "history.csv").unlink()
    runs = [load_run(run.folder) for run in pair]
    result = assembly.curves(runs)
    assert result.runs["method"].tolist() == ["ft"]
    assert "history.csv could not be read" in result.settings["left_out"][0]


def test_a_saved_result_is_loaded_where_nothing_changed(pair, tmp_path):
    first = assembly.curves(pair, folder=tmp_path / "out")
    again = assembly.curves(pair, folder=tmp_path / "out")
    assert again.runs.equals(first.runs)
    assert again.settings == first.settings
