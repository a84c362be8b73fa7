import json

import pytest
from PIL import Image

from vptft.checkpoints.native import find_runs
from vptft.tuning import engines

PLAN = """
name: mine
backbone: tiny
tasks: [plain/count]
methods: [linear, vpt_deep]
n_train: [8]
seeds: [0, 1]
settings: {epochs: 1, batch_size: 4, image_size: 32, prompt_length: 2, n_val: 4, n_test: 6, n_curve: 4}
search: {rates: [1e-3], extra: 1}
"""
CELLS = 2 * (2 + 2)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "a plan.yaml"
    path.write_text(PLAN)
    return path


def test_a_plan_is_trained_once_and_its_state_told(call, parsed, plan, tmp_path):
    root = tmp_path / "runs"
    before = parsed("sweep", plan, "-o", root, "--status")
    assert {cell["state"] for cell in before["cells"]} == {"missing"}
    done = call("sweep", plan, "-o", root)
    assert done.exit_code == 0
    assert "Trials on validation, equal: linear 2, vpt_deep 2." in done.stderr
    assert len(find_runs([root])) == 4
    after = parsed("sweep", plan, "-o", root, "--status")
    assert [cell["state"] for cell in after["cells"]] == ["done"] * CELLS
    listed = parsed("runs", root)
    assert sum(row["stage"] == "search" for row in listed["runs"]) == 4


def test_a_dry_run_trains_nothing_and_estimates_every_cell(call, parsed, plan, tmp_path):
    rows = parsed("sweep", plan, "-o", tmp_path / "runs", "--dry-run")
    assert len(rows) == CELLS
    assert all(row["seconds"] > 0 for row in rows)
    assert not (tmp_path / "runs").exists()
    shown = call("sweep", plan, "-o", tmp_path / "runs", "--dry-run")
    assert f"{CELLS} of {CELLS} cells are missing" in shown.stderr
    assert "minutes" in shown.stdout


def test_a_dry_run_counts_what_must_be_rebuilt_first(call, tmp_path):
    plan, root = tmp_path / "plan.yaml", tmp_path / "runs"
    plan.write_text(PLAN.split("search:")[0].replace("[linear, vpt_deep]", "[ft]").replace("[0, 1]", "[0]"))
    assert call("sweep", plan, "-o", root).exit_code == 0
    (weights,) = root.glob("plain-count/ft/*/model.safetensors")
    plan.write_text(plan.read_text().replace("[ft]", "[ft, ft_then_pt]"))
    assert "again" not in call("sweep", plan, "-o", root, "--dry-run").stderr
    weights.unlink()
    shown = call("sweep", plan, "-o", root, "--dry-run")
    assert "1 of 2 cells are missing, 1 that others start from lack their weights and are trained again" in shown.stderr
    assert "rebuild" in shown.stdout


def test_a_dry_run_is_about_the_cells_that_would_be_trained(call, parsed, plan, tmp_path):
    root = tmp_path / "runs"
    cells = parsed("sweep", plan, "-o", root, "--status")["cells"]
    one = cells[0]["folder"]
    said = call("sweep", plan, "-o", root, "--dry-run", "--only", one).stderr
    assert f"1 of {CELLS} cells are missing" in said
    wrong = call("sweep", plan, "-o", root, "--dry-run", "--only", "no/such")
    assert (wrong.exit_code, "The plan has no cell no/such" in wrong.stderr) == (1, True)
    (root / one).mkdir(parents=True)
    (root / one / "failed.json").write_text('{"problem": "was", "diverged": false, "lr": null, "wd": 0}')
    assert f"{CELLS - 1} of {CELLS} cells" in call("sweep", plan, "-o", root, "--dry-run").stderr
    assert f"{CELLS} of {CELLS} cells" in call("sweep", plan, "-o", root, "--dry-run", "--retry").stderr


def test_the_commands_of_a_slurm_array_make_the_whole_sweep(call, plan, tmp_path):
    import shlex

    emitted = call("sweep", plan, "-o", tmp_path / "runs", "--emit", "commands").stdout.splitlines()
    commands = [line for line in emitted if not line.startswith("#")]
    assert [line.split(":")[0] for line in emitted if line.startswith("#")] == ["# wave 1", "# wave 2", "# wave 3"]
    assert len(commands) == CELLS
    for line in commands:
        program, *words = shlex.split(line)
        assert program == "vptft-analyze"
        assert call(*words).exit_code == 0
    assert len(find_runs([tmp_path / "runs"])) == 4


def test_one_command_of_an_array_answers_for_its_own_cells(call, plan, tmp_path):
    plan.write_text(PLAN.replace("[linear, vpt_deep]", "[linear, {method: vpt_deep, prompt_layers: 'last:99'}]"))
    emitted = call("sweep", plan, "-o", tmp_path / "runs", "--emit", "commands", "--device", "meta").stdout.splitlines()
    commands = [line for line in emitted if not line.startswith("#")]
    assert all(" --device meta --only " in line for line in commands)
    cells = [line.rpartition(" ")[2] for line in commands]
    bad, good = ([cell for cell in cells if method in cell] for method in ("vpt_deep", "linear"))
    assert call("sweep", plan, "-o", tmp_path / "runs", "--only", bad[0]).exit_code == 1
    assert [call("sweep", plan, "-o", tmp_path / "runs", "--only", cell).exit_code for cell in good] == [0] * len(good)


def test_trials_of_every_plan_are_counted(call, plan, tmp_path):
    other = PLAN.replace("[linear, vpt_deep]", "[ft]").replace("extra: 1", "extra: 0")
    plan.write_text(f"{PLAN}---\n{other}")
    said = call("sweep", plan, "-o", tmp_path / "runs", "--status").stderr
    assert "NOT EQUAL, which favours the larger: linear 2, vpt_deep 2, ft 1." in said


def test_a_failed_cell_is_the_exit_code_and_is_named(call, plan, tmp_path):
    text = PLAN.replace("backbone: tiny", "backbone: timm/no_such_network")
    plan.write_text(text)
    result = call("sweep", plan, "-o", tmp_path / "runs")
    assert result.exit_code == 1
    assert "failed: search/plain-count/linear/" in result.stderr
    assert "timm architecture" in result.stderr
    assert "blocked: plain-count/" in result.stderr


def test_the_engine_is_the_one_asked_for(call, plan, tmp_path, monkeypatch):
    made = []

    class Fake(engines.Here):
        def __init__(self, *arguments, **named):
            super().__init__()
            made.append((arguments, named))

    monkeypatch.setattr(engines, "Workers", Fake)
    monkeypatch.setattr(engines, "Ray", Fake)
    for number, words in enumerate([("--workers", 3), ("--engine", "ray", "--cpus", 2, "--gpus", 0.5), ()]):
        assert call("sweep", plan, "-o", tmp_path / str(number), *words).exit_code == 0
    assert made == [((3,), {}), ((), {"address": None, "cpus": 2, "gpus": 0.5})]


def test_a_protocol_is_a_plan_that_a_sweep_takes(call, parsed, tmp_path):
    words = (
        "photo/count",
        "--backbone",
        "tiny",
        "--methods",
        "ft,bias",
        "--seeds",
        1,
        "--epochs",
        1,
        "--image-size",
        32,
    )
    text = call("protocol", "suite", *words, "--emit", "plan").stdout
    (tmp_path / "plan.yaml").write_text(text)
    ours = parsed("protocol", "suite", *words, "-o", tmp_path, "--status")["cells"]
    assert ours == parsed("sweep", tmp_path / "plan.yaml", "-o", tmp_path, "--status")["cells"]
    assert [cell["method"] for cell in ours].count("bias") == 5


def test_what_a_protocol_cannot_do_is_said(call, tmp_path):
    result = call("protocol", "datasize", "digits", "--backbone", "tiny", "--status", "-o", tmp_path)
    assert "left out: digits: it cannot give 20000 training images" in result.stderr
    unequal = call("protocol", "vtab1k", "photo/count", "--recipe", "kmnp", "--status", "-o", tmp_path)
    assert "NOT EQUAL, which favours the larger: ft 4, vpt_deep 40" in unequal.stderr
    assert call("protocol", "nope").exit_code == 1


def test_weights_that_were_not_kept_are_trained_again(call, parsed, squares, train, tmp_path):
    folder = train(squares, tmp_path / "run")
    before = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    rows = parsed("checkpoints", "rebuild", folder)
    assert rows == [{"run": str(folder), "exact": True, "agreeing": 1.0}]
    assert (folder / "model.safetensors").read_bytes() == before
    assert json.loads((folder / "run.json").read_text())["notes"] == []


SMALL = ("--backbone", "tiny", "--methods", "linear", "--seeds", 1, "--epochs", 1, "--image-size", 32)
"""Of the registered squares: 18 are trained on, 6 validated on, 6 tested on."""


@pytest.fixture
def never_timed(monkeypatch):
    def estimate(*_, **__):
        raise AssertionError("nothing may be timed")

    monkeypatch.setattr("vptft.tuning.estimates.estimate", estimate)


@pytest.mark.parametrize("words", [("--dry-run",), ("--status",), ("--emit", "plan"), ()], ids=str)
def test_a_task_that_does_not_exist_is_refused_by_name_at_once(call, tmp_path, never_timed, words):
    result = call("protocol", "controls", "nosuch", *words, "-o", tmp_path / "runs")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "There is no task named 'nosuch'" in result.stderr
    assert "Known: " in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [("--dry-run",), ("--status",), ("--emit", "commands"), ()], ids=str)
def test_a_plan_of_a_task_that_does_not_exist_is_refused_at_once(call, plan, tmp_path, never_timed, words):
    plan.write_text(PLAN.replace("[plain/count]", "[plain/count, plain/cuont]"))
    result = call("sweep", plan, *words, "-o", tmp_path / "runs")
    assert result.exit_code == 1
    assert "There is no task named 'plain/cuont'. Did you mean plain/count" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [("--dry-run",), ()], ids=str)
def test_what_no_cell_can_have_is_said_before_anything_is_timed_or_trained(call, squares, tmp_path, never_timed, words):
    result = call("protocol", "controls", squares, *SMALL, *words, "-o", tmp_path / "runs")
    assert result.exit_code == 1
    assert "None of the 5 missing cells can be trained:" in result.stderr
    assert "n_train (of the plan, or --n-train) asks for 300 train images of squares, which holds 18." in result.stderr
    assert "n_val (of the plan, or --n-val) asks for 100 val images of squares, which holds 6." in result.stderr
    assert "n_test (of the plan, or --n-test) asks for 1000 test images of squares, which holds 6." in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_protocol_is_trained_on_as_few_images_as_are_asked_for(call, parsed, squares, tmp_path):
    words = ("protocol", "controls", squares, *SMALL, "--n-train", 12, "--n-val", 4, "--n-test", 6)
    assert call(*words, "-o", tmp_path).exit_code == 0
    (run,) = find_runs([tmp_path])
    assert (run.info.n_train, run.info.settings["n_val"], len(run.predictions().labels)) == (12, 4, 6)
    (tmp_path / "plan.yaml").write_text(call(*words, "--emit", "plan").stdout)
    rows = parsed("sweep", tmp_path / "plan.yaml", "-o", tmp_path, "--status")["cells"]
    assert {row["state"] for row in rows} == {"done"}


def test_a_task_that_holds_too_few_is_left_out_and_the_others_trained(call, parsed, squares, plan, tmp_path):
    """Its trials would have their images; without a final run they would be in vain."""
    plan.write_text(PLAN.replace("[plain/count]", f"[plain/count, {squares}]").replace("n_test: 6", "n_test: 7"))
    said = "left out: n_test (of the plan, or --n-test) asks for 7 test images of squares, which holds 6."
    dry = call("sweep", plan, "-o", tmp_path / "runs", "--dry-run")
    assert dry.exit_code == 0
    assert said in dry.stderr
    assert f"{CELLS} of {2 * CELLS} cells are missing and can be trained ({CELLS} cannot): " in dry.stderr
    assert squares not in dry.stdout
    done = call("sweep", plan, "-o", tmp_path / "runs", "--json")
    assert done.exit_code == 1
    assert said in done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert {(cell["task"], cell["state"]) for cell in cells} == {("plain/count", "done"), (squares, "missing")}
    assert len(find_runs([tmp_path / "runs"])) == 4
    assert not list((tmp_path / "runs").rglob("*squares*"))
    alone = call("sweep", plan, "-o", tmp_path / "runs", "--only", cells[-1]["folder"])
    assert "None of the 1 missing cells can be trained" in alone.stderr


@pytest.mark.parametrize("again", [("--status",), ("--dry-run",), ()], ids=str)
def test_a_name_that_stands_for_other_images_by_now_is_not_done(call, parsed, squares, image_folder, tmp_path, again):
    words = ("protocol", "controls", squares, *SMALL, "--n-train", 12, "--n-val", 4, "--n-test", 6, "-o", tmp_path)
    assert call(*words).exit_code == 0
    assert {row["state"] for row in parsed(*words, "--status")["cells"]} == {"done"}
    for path in image_folder.rglob("*.png"):
        Image.open(path).rotate(90).save(path)
    result = call(*words, *again)
    assert result.exit_code == 1
    assert "was trained on other images than squares stands for now." in result.stderr
    assert call(*words[:-1], tmp_path / "others", "--status").exit_code == 0


@pytest.mark.parametrize("name", ["datasize", "oneshot", "vtab1k"])
@pytest.mark.parametrize("option", ["--n-train", "--n-val"])
def test_a_protocol_of_sizes_keeps_its_own(call, name, option):
    result = call("protocol", name, "photo/count", option, 50, "--dry-run")
    assert result.exit_code == 2
    assert f"{name} takes no --n-train or --n-val: it has its own sizes" in result.stderr


def test_a_folder_that_cannot_be_written_is_refused_before_a_cell_is_trained(call, plan, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("vptft.tuning.cells.train", None)
    result = call("sweep", plan, "-o", tmp_path / "file" / "runs")
    assert result.exit_code == 1
    assert f"error: {tmp_path / 'file' / 'runs'} could not be written: Not a directory." in result.stderr
    assert "failed.json" not in result.stderr
