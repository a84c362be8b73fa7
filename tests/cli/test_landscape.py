import json
import os
from collections import Counter

import numpy as np
import pytest

from vptft.checkpoints.native import load_run
from vptft.errors import VptftError
from vptft.report.assembly import escape, pieces
from vptft.report.assembly.landscape import SurfaceSettings, _prepare, surfaces_of
from vptft.report.assembly.lines import lines_between
from vptft.why.landscape.curvature.measure import Curvature
from vptft.why.landscape.surfaces import Row, Surfaces

SMALL = ("--images", 6, "--points", 3, "--extent", 0.1, "--seeds", 1)


def test_slices_have_the_runs_own_loss_in_their_middle(parsed, both, call):
    found = parsed("landscape", both / "ft", *SMALL)["slices"]
    rows = [row for row in found["rows"] if row["split"] == "test"]
    assert len(rows) == 9 * 3  # three batches
    middle = [row["loss"] for row in rows if row["a"] == row["b"] == 0]
    assert len(middle) == 3
    assert np.isfinite(middle).all()
    assert {row["method"] for row in rows} == {"ft"}
    assert {rise["reading"] for rise in found["rises"]} == {"picture"}
    shown = call("landscape", both / "ft", *SMALL)
    assert "picture" in shown.stdout


def test_every_space_split_and_figure(parsed, both, tmp_path):
    out = tmp_path / "out"
    for space in ("prompts", "backbone"):
        found = parsed("landscape", both / "vpt_deep", *SMALL, "--space", space, "--split", "train", "-o", out)[
            "slices"
        ]
        assert {row["space"] for row in found["rows"]} == {space}
        assert {row["split"] for row in found["rows"]} == {"train"}
    assert {path.suffix for path in (out / "figures").glob("landscape*")} == {".pdf", ".svg", ".png"}


def test_snapshots_make_a_plane_of_the_trajectory(parsed, train, squares, tmp_path):
    train(squares, tmp_path / "run", "--epochs", 3, "--snapshots", 3)
    out = tmp_path / "out"
    rows = parsed("landscape", tmp_path / "run", *SMALL, "--split", "test", "-o", out)["slices"]["rows"]
    assert {row["plane"] for row in rows} == {"random 0", "trajectory"}
    (folder,) = (out / "results" / "landscape-slices").iterdir()
    path = Surfaces.load(folder).path
    assert list(path["epoch"]) == [1, 2, 3]
    assert path[["a", "b", "off_plane"]].iloc[-1].abs().max() < 1e-4  # the last is the run itself
    assert path["off_plane"].max() < 1e-2 * path["a"].abs().max()  # three points lie in one plane


def test_prompts_of_a_run_without_any(call, both):
    result = call("landscape", both / "ft", *SMALL, "--space", "prompts")
    assert result.exit_code == 1
    assert "no prompts" in result.stderr


def test_lines_follow_from_the_runs(parsed, both, train, squares, tmp_path):
    for seed in (1, 2):
        train(squares, both / f"ft{seed}", "--method", "ft", "--seed", seed)
    train(squares, both / "mixed", "--method", "mixed")
    out = tmp_path / "out"
    found = parsed("landscape", both, "--what", "lines", "--images", 6, "--points", 3, "-o", out)["lines"]
    kinds = {row["line"]: row["kind"] for row in found["barriers"]}
    starts = {"pretrained to ft": 3, "pretrained to mixed": 1, "pretrained to vpt_deep": 1}
    assert Counter(kinds.values()) == starts | {"ft seeds": 3, "ft to mixed": 1}
    assert kinds["ft seed 0 → mixed seed 0"] == "ft to mixed"
    start = [row for row in found["table"] if row["t"] == 0 and row["kind"] in starts]
    assert [row["loss"] for row in start] == pytest.approx([np.log(3)] * len(start), rel=1e-5)  # a head of zeros
    ends = {
        (row["line"], row["split"], row["t"]): row["loss"] for row in found["table"] if row["split"] == "test"
    }  # fmt: skip
    whole = ends["pretrained → ft seed 0", "test", 1.0]
    assert ends["ft seed 0 → ft seed 1", "test", 0.0] == pytest.approx(whole, rel=1e-5)
    (seeds,) = [row for row in found["pooled"] if row["kind"] == "ft seeds" and row["split"] == "test"]
    assert (seeds["n_lines"], seeds["n_seeds"]) == (3, 3)
    assert (out / "figures" / "landscape-barriers.png").is_file()
    again = parsed("landscape", both, "--what", "lines", "--images", 6, "--points", 3, "-o", out)["lines"]
    assert again == found


def test_a_run_without_its_weights_is_left_out_with_the_reason(both):
    runs = [load_run(both / name) for name in ("vpt_deep", "ft")]
    (both / "ft" / "model.safetensors").unlink()
    found, left_out = lines_between(runs)
    assert [line.second for line in found] == ["vpt_deep seed 0"]
    assert len(left_out) == 1
    assert "checkpoints rebuild" in left_out[0]


def test_lines_of_one_name_but_other_runs_are_kept_apart(both, train, squares, tmp_path):
    arms = [("--method", "ft", "--seed", seed, "--weight-decay", "0.3") for seed in (0, 1)]
    decayed = [train(squares, tmp_path / f"decayed{seed}", *words) for seed, words in enumerate(arms)]
    plain = [both / "ft", train(squares, tmp_path / "ft1", "--method", "ft", "--seed", 1)]
    found, _ = lines_between([load_run(folder) for folder in (*plain, *decayed)])
    kinds = [line.kind for line in found]
    arm = "ft, weight_decay 0.3"
    assert kinds.count("ft seeds") == kinds.count(f"{arm} seeds") == 1
    assert kinds.count(f"pretrained to {arm}") == 2
    assert len({line.ends for line in found}) == len({(line.kind, line.name) for line in found}) == len(found)


def test_an_interrupted_grid_goes_on_where_it_was(both, monkeypatch):
    run = load_run(both / "vpt_deep")
    settings = SurfaceSettings(n_images=6, points=3, seeds=(0,), splits=("test",))
    whole = surfaces_of(run, settings)
    put, made = pieces.Pieces.put, []

    def interrupt(self, name, arrays):
        put(self, name, arrays)
        made.append(name)
        if len(made) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(pieces.Pieces, "put", interrupt)
    with pytest.raises(KeyboardInterrupt):
        surfaces_of(run, settings)
    resumed = surfaces_of(run, settings)
    assert made == ["0-0-0", "0-0-1", "0-0-2"]
    assert resumed.frame().equals(whole.frame())


def test_workers_give_the_same_numbers(both):
    run = load_run(both / "vpt_deep")
    settings = SurfaceSettings(n_images=6, points=3, seeds=(0,))
    alone, spread = (surfaces_of(run, settings, workers=workers) for workers in (1, 2))
    assert spread.frame().equals(alone.frame())


@pytest.mark.cluster
def test_a_ray_cluster_gives_the_same_numbers_though_its_actors_die(both, tmp_path):
    """One ends its own process as it makes its first piece; Ray starts it again."""
    pytest.importorskip("ray", reason="ray is not installed")
    run, rows = load_run(both / "vpt_deep"), [Row(0, 0, i) for i in range(3)]
    settings = SurfaceSettings(n_images=6, points=3, seeds=(0,), splits=("test",))
    alone = surfaces_of(run, settings)
    assert surfaces_of(run, settings, workers=2, engine="ray").frame().equals(alone.frame())
    made = dict(pieces.on_ray(2, dies_once, (tmp_path / "died", both / "vpt_deep", settings), rows))
    assert (tmp_path / "died").is_file()
    expected = dict(pieces.in_processes(2, _prepare, (both / "vpt_deep", settings), rows))
    assert all(np.array_equal(made[row]["loss"], expected[row]["loss"]) for row in rows)


@pytest.mark.cluster
def test_a_piece_that_always_takes_its_actor_down_ends_in_an_error(monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setattr(pieces, "ATTEMPTS", 1)
    with pytest.raises(VptftError, match="Ray lost the same piece of work again and again"):
        list(pieces.on_ray(1, always_dies, None, [1]))


def dies_once(job):
    died, *rest = job
    make = _prepare(tuple(rest))

    def piece(row):
        if not died.exists():
            died.touch()
            os._exit(1)
        return make(row)

    return piece


def always_dies(job):
    return lambda piece: os._exit(1)


def test_curvature_is_measured_as_it_is_asked_for(parsed, both, tmp_path):
    out = tmp_path / "out"
    asked = ("--what", "curvature", "--images", 6, "--batches", 1, "--space", "head", "--scaling", "element")
    found = parsed("landscape", both / "ft", *asked, "--density", 1, "-o", out)["curvature"]
    assert {row["space"] for row in found["rows"]} == {"head"}
    assert {row["scaling"] for row in found["rows"]} == {"element", "none"}  # the loss and its gradient have none
    assert {"eigenvalue", "trace"} <= {row["quantity"] for row in found["summary"]}
    assert {row["reading"] for row in found["summary"]} == {"picture"}
    assert len(list((out / "figures").glob("density-*head*.png"))) == 1
    (folder,) = (out / "results" / "curvature").iterdir()
    assert set(Curvature.load(folder).density["space"]) == {"head"}


def test_curvature_of_several_spaces_is_measured_and_a_slice_moves_one(parsed, call, both):
    asked = ("--space", "head", "--space", "prompts", "--images", 6)
    few = ("--what", "curvature", "--batches", 1, "--scaling", "none")
    found = parsed("landscape", both / "vpt_deep", *asked, *few)["curvature"]
    assert {row["space"] for row in found["rows"]} == {"head", "prompts"}
    assert call("landscape", both / "vpt_deep", *asked).exit_code == 2


def test_curvature_of_three_batches_is_no_picture(parsed, both):
    asked = ("--what", "curvature", "--images", 4, "--space", "head", "--scaling", "element", "--split", "train")
    found = parsed("landscape", both / "ft", *asked)["curvature"]
    assert {row["reading"] for row in found["summary"]} == {"average of this run"}


def test_the_escape_test_starts_where_it_is_told_with_the_budget_it_is_given(parsed, both, monkeypatch):
    """What it measures has tests of its own, and needs a task of which there are ever new images."""
    asked_of = []
    monkeypatch.setattr(escape, "escape", lambda runs, *, options, **_: asked_of.append((runs, options)) or fail())
    with pytest.raises(LookupError):
        parsed("landscape", both / "ft", "--what", "escape", "--start", "pretrained", "--steps", 3)
    with pytest.raises(LookupError):
        parsed("landscape", both / "ft", "--what", "escape")
    (runs, options), (_, default) = asked_of
    assert [run.info.method for run in runs] == ["ft"]
    assert (options.starts, options.budget.steps) == (("pretrained",), 3)
    assert default == escape.DEFAULTS


def fail():
    raise LookupError


def test_a_folder_that_is_not_there(call, tmp_path):
    result = call("landscape", tmp_path / "none")
    assert result.exit_code == 1
    assert "There is no folder" in result.stderr


def test_json_is_one_object_with_what_was_asked(call, both):
    result = call("landscape", both, "--what", "lines", "--what", "slices", *SMALL, "--json")
    assert list(json.loads(result.stdout)) == ["lines", "slices"]
