import json

import pytest

from checkpoints.kmnp_files import log, write_run
from vptft.checkpoints.native import load_run
from vptft.cli.app import app
from vptft.tuning import loop
from vptft.tuning.methods import METHODS


def test_train_prints_its_folder_on_stdout_and_the_rest_on_stderr(call, squares, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(
        "train", squares, "--method", "linear", "--backbone", "tiny", "--image-size", 32, "--epochs", 1, "--seed", 2
    )
    assert result.exit_code == 0
    assert result.stdout == "checkpoints/squares/linear/seed2\n"
    assert "linear on squares: test accuracy 0." in result.stderr
    info = load_run(tmp_path / "checkpoints/squares/linear/seed2").info
    assert (info.task, info.method, info.seed, info.settings["epochs"]) == ("squares", "linear", 2, 1)


def test_train_again_trains_nothing_and_says_the_same(call, squares, tmp_path, train, monkeypatch):
    folder = train(squares, tmp_path / "run", "--json")
    monkeypatch.setattr(loop, "_fit", None)
    again = call(
        "train", squares, "--backbone", "tiny", "--image-size", 32, "--epochs", 2, "--batch-size", 8, "--prompt-length",
        3, "-o", folder, "--json",
    )  # fmt: skip
    assert f"note: {folder} was finished before; it was not trained again." in again.stderr
    summary = json.loads(again.stdout)
    assert summary == {
        "run": str(folder), "task": squares, "method": "vpt_deep", "test_accuracy": load_run(folder).info.test_accuracy,
    }  # fmt: skip


@pytest.mark.parametrize("kept", [0, 1])
def test_an_interrupted_training_says_what_is_kept(call, squares, tmp_path, monkeypatch, kept):
    monkeypatch.setattr(loop, "RESUME_SECONDS", -1.0 if kept else 20.0)
    one_epoch, begun = loop._train_epoch, []

    def interrupted(state, *others):
        begun.append(state.epoch)
        if state.epoch == 1:
            raise KeyboardInterrupt
        return one_epoch(state, *others)

    words = (
        "train", squares, "--backbone", "tiny", "--image-size", 32, "--epochs", 2, "--method", "ft_then_pt",
        "--base", tmp_path / "base", "-o", tmp_path / "run",
    )  # fmt: skip
    before = ("train", squares, "--backbone", "tiny", "--image-size", 32, "--epochs", 1, "--method", "ft")
    assert call(*before, "-o", tmp_path / "base").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_epoch", interrupted)
        result = call(*words)
    assert result.exit_code == 130
    said = (
        f"Nothing is kept of {tmp_path / 'run'} yet: that begins with the first epoch that ends after 20 s. The same "
        "command starts it again.",
        f"What is finished is kept, 1 epoch(s) of {tmp_path / 'run'}; the same command goes on there.",
    )
    assert result.stderr.endswith(f"Interrupted. {said[kept]}\n")
    begun.clear()
    monkeypatch.setattr(
        loop, "_train_epoch", lambda state, *others: begun.append(state.epoch) or one_epoch(state, *others)
    )
    assert call(*words).exit_code == 0
    assert begun == list(range(kept, 2))


def test_more_images_than_a_task_holds_are_refused_by_the_settings_name(call, squares, tmp_path):
    result = call("train", squares, "--backbone", "tiny", "--image-size", 32, "--n-test", 7, "-o", tmp_path / "run")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "error: n_test (of the plan, or --n-test) asks for 7 test images of squares, which holds 6.\n"
        "Ask for 6 or fewer.\n"
    )


def test_every_option_of_train_reaches_the_run(train, squares, tmp_path):
    options = {"lr": 0.003, "weight_decay": 0.5, "n_train": 7, "n_test": 4, "seed": 3}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    info = load_run(train(squares, tmp_path / "run", *words)).info
    assert {name: info.settings[name] for name in options} == options
    assert (info.options["prompt_length"], info.settings["batch_size"], info.image_size) == (3, 8, 32)
    assert len(load_run(tmp_path / "run").predictions().labels) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("phto/count",), "no task named 'phto/count'. Did you mean photo/count"),
        (
            ("photo/count", "--method", "vpt"),
            "no method named 'vpt'. Did you mean vpt_deep?\nKnown: adapter, bias, ft, ft_then_pt, "
            "linear, lora, mixed, multi_layer_probe, partial_k, pt_then_ft, vpt_deep, vpt_shallow.",
        ),
        (("photo/count", "--method", "vpt_depe"), "Did you mean vpt_deep"),
        (("photo/count", "--backbone", "dino-s"), "no backbone named 'dino-s'. Did you mean dinov2-s?"),
        (("photo/count", "--backbone", "vit_tiny_patch16_224"), "timm's models are written timm/vit_tiny_patch16_224."),
        (("photo/count", "--backbone", "tiny", "--image-size", "30"), "patches of 8 px, so 30 px would lose a border"),
        (("dtd",), "its images are not registered on this machine"),
        (("photo/count", "--lr", "-1"), "lr must be positive, got -1.0"),
        (("photo/count", "--set", "prompt_layers=[: "), "prompt_layers is '[: ', which cannot be read"),
        (("photo/count", "--seed", str(10**17)), "seed must be at most 8796093022208"),
        (("photo/count", "--prompt-length", str(10**11)), "prompt_length must be at most 100000"),
    ],
    ids=str,
)
def test_what_train_does_not_know_it_says_with_the_nearest(call, words, said, tmp_path):
    result = call("train", *words, "-o", tmp_path / "run")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert said in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_rate_among_the_other_settings_is_the_rate(train, squares, tmp_path):
    assert load_run(train(squares, tmp_path / "run", "--set", "lr=0.05")).info.settings["lr"] == 0.05


def test_a_seed_among_the_other_settings_is_sent_to_its_option(call, squares):
    result = call("train", squares, "--set", "seed=3")
    assert result.exit_code == 2
    assert "--seed" in result.stderr


def test_the_folder_one_stands_in_is_a_folder(call, squares, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    words = ("train", squares, "--backbone", "tiny", "--image-size", 32, "--epochs", 1, "--method", "ft_then_pt")
    assert call(*words, "-o", ".").exit_code == 0
    assert load_run(tmp_path / "here").info.method == "ft_then_pt"


def test_an_image_size_that_the_patches_do_not_fill_is_refused(call, squares, tmp_path):
    result = call("train", squares, "--backbone", "tiny", "--image-size", 13, "-o", tmp_path / "run")
    assert result.exit_code == 1
    assert "patches of 8 px, so 13 px would lose a border" in result.stderr


def test_a_setting_that_changes_nothing_is_said(call, squares, tmp_path):
    words = ("train", squares, "--backbone", "tiny", "--image-size", 32, "--epochs", 1, "--prompt-length", 3)
    assert "note: ft has no prompt_length" in call(*words, "--method", "ft", "-o", tmp_path / "ft").stderr
    assert "has no" not in call(*words, "--method", "vpt_deep", "-o", tmp_path / "vpt").stderr


def test_a_folder_that_is_no_task_is_told_how_it_becomes_one(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    result = call("train", "mine")
    assert result.exit_code == 1
    assert "`vptft-analyze tasks add NAME mine` makes it a task" in result.stderr


def test_a_folder_of_another_run_is_refused(call, train, squares, tmp_path):
    folder = train(squares, tmp_path / "run")
    result = call("train", squares, "--backbone", "tiny", "--image-size", 32, "-o", folder)
    assert result.exit_code == 1
    assert result.stderr.endswith(
        f"error: {folder} holds a finished run with other settings.\nGive another folder, or remove that one.\n"
    )


def test_runs_are_listed_with_their_folders(parsed, call, finished):
    root = finished["ft"].folder.parent
    found = parsed("runs", root)
    rows = found["runs"]
    assert [row["method"] for row in rows] == sorted(finished)
    info = finished["linear"].info
    assert rows[sorted(finished).index("linear")] == {
        "task": "toy/colour", "group": None, "method": "linear", "stage": "run", "seed": 0, "lr": 1e-3, "base_lr": None,
        "wd": info.settings["weight_decay"], "accuracy": pytest.approx(info.test_accuracy), "accuracy_split": "test",
        "epochs": 2, "complete": True, "producer": "vptft", "backbone": "tiny",
        "experiment": "32 px, 20 training images", "superseded": False, "problems": "",
        "folder": str(finished["linear"].folder),
    }  # fmt: skip
    assert [(row["n"], row["mean"], row["std"]) for row in found["means"]] == [
        (1, pytest.approx(finished[row["method"]].info.test_accuracy), None) for row in rows
    ]
    assert found["vtab_means"] == found["searches"] == []
    shown = call("runs", root).stdout
    assert shown.count("toy/colour") == 2 * len(finished)
    assert "VTAB mean" not in shown
    assert "Chosen by search" not in shown
    assert "std" not in shown
    assert parsed("runs", "list", root) == found


def test_where_weights_were_made_again_is_no_problem_of_a_run(parsed, call, both):
    path = both / "ft" / "run.json"
    notes = ["rebuilt on another machine: 100.0% of the test predictions agree with those kept", "still improving"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": notes}))
    shown = call("runs", both).stdout
    assert "rebuilt" not in shown
    assert "still improving" in shown
    assert {row["problems"] for row in parsed("runs", both)["runs"]} == {"", "; ".join(notes)}


def test_runs_of_kmnp_are_summed_up(parsed, call, tmp_path):
    for name, test in (("vtab-dtd", 40.0), ("vtab-eurosat", 50.0), ("vtab-dmlab", 70.0)):
        for lr, val in ((0.25, 30.0), (0.5, 20.0)):
            write_run(tmp_path / "x", suffix="_val", name=name, lr=lr, val=(10.0, val))
        for run, seed in enumerate((42, 44), start=1):
            write_run(tmp_path / "x", suffix="_finalfinal", name=name, run=run, seed=seed, test=(1.0, test + run))
    (tmp_path / "y_finalfinal" / "vtab-dtd" / "f" / "lrNone_wdNone" / "run1").mkdir(parents=True)
    found = parsed("runs", tmp_path)
    assert len(found["runs"]) == 13
    assert "torch 2.6 and newer refuse" in found["runs"][-1]["problems"]
    (row,) = found["vtab_means"]
    assert row["mean"] == pytest.approx((0.415 + 0.515 + 0.715) / 3)
    assert row["incomplete"].startswith("lacks 16 of 19 tasks: cifar100, ")
    assert [(row["task"], row["lr"], row["val_accuracy"], row["used"]) for row in found["searches"]] == [
        (task, 0.25, 0.3, True) for task in ("dmlab", "dtd", "eurosat")
    ]
    shown = call("runs", tmp_path).stdout
    for title in ("Runs", "Mean over seeds, on test", "Chosen by search", "VTAB mean"):
        assert f"{title} " in shown


def test_a_log_given_by_itself_is_listed(parsed, tmp_path):
    (tmp_path / "slurm.out").write_text(log({"seed": 1}, {"seed": 2, "folder": "other"}))
    assert [row["seed"] for row in parsed("runs", tmp_path / "slurm.out")["runs"]] == [1, 2]


def test_backbones_are_listed_with_what_they_were_pretrained_for(parsed):
    rows = {row["backbone"]: row["pretraining"] for row in parsed("backbones")}
    assert rows["dinov2-s"] == "self-distilled"
    assert {"tiny", "timm/NAME", "ARCHITECTURE@FILE"} <= rows.keys()


def test_the_quickstart_knows_no_other_backbone(call, tmp_path):
    result = call("quickstart", "--backbone", "nope", "-o", tmp_path / "page", "--runs", tmp_path / "runs")
    assert result.exit_code == 1
    assert "no backbone named 'nope'" in result.stderr
    assert "Known: dinov2-s, tiny." in result.stderr
    assert not (tmp_path / "page").exists()


def test_a_method_that_starts_from_another_trains_that_first(train, squares, tmp_path):
    options = ("--method", "ft_then_pt", "--lr", "0.003", "--set", "prompt_layers=last:2", "--set", "head_lr=1e-2")
    run = load_run(train(squares, tmp_path / "run", *options))
    assert run.base_run().folder == tmp_path / "run-base"
    assert run.base_run().info.settings["lr"] == METHODS["ft"].default_lr
    assert (run.info.settings["lr"], run.info.settings["head_lr"]) == (0.003, 0.01)
    assert run.info.prompts["layers"] == [1, 2]
    other = load_run(train(squares, tmp_path / "other", *options, "--base", run.base_run().folder))
    assert other.info.model_sha256 == run.info.model_sha256


def test_the_recipe_of_kmnp_reaches_the_run_but_what_is_given(train, squares, tmp_path):
    settings = load_run(train(squares, tmp_path / "run", "--recipe", "kmnp", "--n-train", 8)).info.settings
    assert (settings["optimizer"], settings["schedule"], settings["warmup_epochs"]) == ("sgd", "epoch", 10)
    assert (settings["epochs"], settings["batch_size"]) == (2, 8)
    assert settings["lr"] == pytest.approx(1.0 / 256 * 8)


@pytest.mark.parametrize(
    ("word", "said"),
    [("prompt_layers", "--set takes NAME=VALUE"), ("warp=9", "settings has no 'warp'"), ("epochs=x", "epochs is 'x'")],
)
def test_a_setting_that_is_none_is_refused(call, word, said, tmp_path):
    result = call("train", "photo/count", "--backbone", "tiny", "--set", word, "-o", tmp_path / "run")
    assert result.exit_code in (1, 2)
    assert said in result.stderr


def test_methods_are_listed_with_what_they_tune(parsed):
    rows = {row["method"]: row for row in parsed("methods")}
    assert rows.keys() == METHODS.keys()
    assert rows["lora"]["own settings"] == "lora_alpha, lora_rank"


def test_the_program_has_the_commands_of_the_manual():
    named = {command.callback.__name__ for command in app.registered_commands}
    assert named == {
        "quickstart", "quadrants", "overfitting", "landscape", "attention", "train", "sweep", "protocol", "profile",
        "methods", "backbones", "extractors", "objective", "datasize", "sensitivity", "why", "advise", "features",
        "gallery",
    }  # fmt: skip
    assert {group.name for group in app.registered_groups} == {"checkpoints", "fid", "runs", "tasks", "published"}
