import json
import os
import shutil
import time

import pytest
import torch

from checkpoints.foreign_files import HEADS, Network, kmnp
from checkpoints.kmnp_files import config, log, results, write_run
from vptft.checkpoints import native, trees
from vptft.checkpoints.conversion import convert
from vptft.checkpoints.found import Asked
from vptft.checkpoints.histories.kmnp import method_of
from vptft.checkpoints.listed import NO_LR, ON_TEST
from vptft.checkpoints.readers import read_checkpoint
from vptft.checkpoints.trees import list_runs, summaries, table
from vptft.errors import CheckpointError

LOCATION = 'vtab-dsprites(predicted_attribute="label_x_position",num_classes=16)'


def only(folder, **fields):
    """The one run of a folder, with what is asked of it."""
    (run,) = list_runs([folder])
    assert {name: getattr(run, name) for name in fields} == fields
    return run


def test_the_peers_tree(peers):
    runs = list_runs([peers / "kmnp" / "runtree"])
    found = [
        (run.task, run.method, run.stage, run.seed, run.lr, run.base_lr, run.wd, run.accuracy_split,
         round(run.accuracy, 4), run.epochs, run.group)
        for run in runs
    ]  # fmt: skip
    # Read by eye in the logs.
    tiny, kitti, clevr, camelyon = "vtab-tiny5", "kitti_distance", "clevr_count", "patch_camelyon"
    assert found == [
        (tiny, "vpt_deep", "final", 42, 0.0625, 0.5, 0.01, "test", 0.2833, 4, None),
        (tiny, "vpt_deep", "final", 44, 0.0625, 0.5, 0.01, "test", 0.4333, 4, None),
        (tiny, "vpt_deep", "search", None, 0.03125, 0.25, 0.001, "val", 0.2, 4, None),
        (tiny, "vpt_deep", "search", None, 0.03125, 0.25, 0.01, "val", 0.35, 4, None),
        (tiny, "vpt_deep", "search", None, 0.0625, 0.5, 0.001, "val", 0.4, 4, None),
        (tiny, "vpt_deep", "search", None, 0.0625, 0.5, 0.01, "val", 0.45, 4, None),
        (kitti, "vpt_deep", "final", 42, 0.03125, 0.25, 0.001, "test", 0.65, 4, "structured"),
        (kitti, "vpt_deep", "search", None, 0.03125, 0.25, 0.001, "val", 0.3, 4, "structured"),
        (clevr, "ft", "final", 42, 0.0025, 0.02, 0.0001, "test", 0.85, 4, "structured"),
        (clevr, "ft", "final", 44, 0.0025, 0.02, 0.0001, "test", 0.7667, 4, "structured"),
        (clevr, "ft", "search", None, 0.0025, 0.02, 0.0001, "val", 1.0, 4, "structured"),
        (clevr, "ft", "search", None, 0.0025, 0.02, 0.01, "val", 0.75, 4, "structured"),
        (camelyon, "vpt_deep", "final", 42, 0.03125, 0.25, 0.001, "test", 0.8, 4, "specialized"),
        (camelyon, "vpt_deep", "search", None, 0.03125, 0.25, 0.001, "val", 0.5, 4, "specialized"),
    ]
    assert all(run.complete and run.problems == () and run.producer == "kmnp" for run in runs)
    assert {run.backbone for run in runs} == {"sup_vittiny8"}


def test_a_folder_taken_out_of_its_tree_is_read_by_its_settings(peers):
    run = only(peers / "kmnp" / "linear", method="linear", stage="final", task="vtab-tiny5", wd=0.0)
    assert run.experiment == "/data/vpt/out/kmnp/linear"


def test_names_of_all_conventions_become_ours(tmp_path):
    write_run(tmp_path / "x", suffix="_finalfinal", name=LOCATION, lr=5e-05, wd=0.0001, test=(30.0, 40.0), seed=42)
    run = only(tmp_path, task="dsprites_location", group="structured", lr=5e-05, wd=0.0001, stage="final", seed=42)
    assert run.experiment == str(tmp_path / "x")
    assert run.folder.parent.name == "lr5e-05_wd0.0001"


def test_a_clock_in_the_path_and_more_behind_the_cell_do_not_hide_it(tmp_path):
    folder = tmp_path / "out_finalfinal" / "12:59:59" / "vtab-dtd" / "feature" / "lr0.5_wd0.01_mt1_mtr2" / "run1"
    folder.mkdir(parents=True)
    results(folder / "eval_results.pth", test=(1.0, 2.0))
    only(tmp_path, task="dtd", lr=0.5, wd=0.01, stage="final", backbone="feature", accuracy=0.02)


def test_the_layout_of_train_py_is_a_run(tmp_path):
    folder = tmp_path / "out" / "CUB" / "feature" / "lr0.5_wd0.01" / "run1"
    folder.mkdir(parents=True)
    job = {"folder": folder, "name": "CUB", "lr": 0.5, "wd": 0.01, "trained_on": "train"}
    (folder / "logs.txt").write_text(log({**job, "test": (30.0, 40.0)}))
    only(folder, task="CUB", group=None, stage="run", accuracy=0.4, accuracy_split="test", complete=True)
    (folder / "logs.txt").write_text(log(job))
    only(folder, stage="run", accuracy=0.2, accuracy_split="val")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "vpt_deep"), ({"deep": False}, "vpt_shallow"), ({"mixed": True}, "mixed"), ({"mixed": False}, "vpt_deep"),
        ({"kind": "end2end"}, "ft"), ({"kind": "linear"}, "linear"), ({"kind": "tinytl-bias"}, "bias"),
        ({"kind": "partial-2"}, "partial_k"), ({"kind": "adapter"}, "adapter"), ({"kind": "side"}, "side"),
    ],
    ids=str,
)  # fmt: skip
def test_methods_in_our_words(tmp_path, options, expected):
    write_run(tmp_path / "x", suffix="_val", **options)
    only(tmp_path, method=expected)


def test_methods_from_odd_settings():
    assert method_of({"MODEL": {"TRANSFER_TYPE": "linear", "MLP_NUM": 2}}) == "linear"
    assert method_of({"MODEL": {"TRANSFER_TYPE": "prompt", "PROMPT": 3}}) == "vpt_shallow"
    assert [method_of(odd) for odd in ({}, {"MODEL": 1}, {"MODEL": {"TRANSFER_TYPE": 5}})] == [None] * 3


def test_without_a_log_method_and_seed_are_unknown(tmp_path):
    folder = write_run(tmp_path / "x", suffix="_val", val=(10.0, 30.0))
    (folder / "logs.txt").unlink()
    run = only(folder, method=None, seed=None, complete=None, accuracy=0.3, accuracy_split="val", epochs=2, lr=0.25)
    assert run.problems == ("no logs.txt: method, seed and planned epochs are unknown",)


def test_without_metrics_the_log_tells(tmp_path):
    folder = write_run(tmp_path / "x", suffix="_finalfinal", test=(10.0, 33.33), seed=82)
    (folder / "eval_results.pth").unlink()
    only(folder, accuracy=0.3333, seed=82, complete=True, problems=())


def test_the_known_failure_of_torch_2_6_is_named(tmp_path):
    (tmp_path / "x_finalfinal" / "vtab-dtd" / "f" / "lrNone_wdNone" / "run1").mkdir(parents=True)
    run = only(tmp_path, producer="kmnp", task="dtd", stage="final", lr=None, wd=None, accuracy=None, complete=False)
    assert run.problems == (
        "it holds neither logs.txt nor eval_results.pth", NO_LR, "no accuracy on the test images"
    )  # fmt: skip


def test_a_run_that_stopped_says_where_and_why(tmp_path):
    run = only(write_run(tmp_path / "x", suffix="_val", epochs=5), complete=False, epochs=2, accuracy=0.2)
    assert run.problems == ("stopped after 2 of 5 epochs",)
    folder = write_run(tmp_path / "y", suffix="_val", val=(10.0, 20.0), epochs=2)
    text = (folder / "logs.txt").read_text()
    (folder / "logs.txt").write_text(text.replace("average train loss: 2.5000", "average train loss: nan"))
    run = only(folder, complete=False, epochs=1)
    assert run.problems[0].startswith("the loss became NaN or infinite (line ")


def test_contradictions_are_reported(tmp_path):
    folder = write_run(tmp_path / "x", suffix="_val")
    moved = folder.parent.with_name("lr0.5_wd0.001")
    shutil.move(folder.parent, moved)
    results(moved / "run1" / "eval_results.pth", val=(10.0, 70.0))
    run = only(moved, lr=0.25, accuracy=0.2)
    assert run.problems == (
        "the folder says lr 0.5, the log 0.25",
        "eval_results.pth has 0.7000 in epoch 2, the log 0.2000 in epoch 2: they are not of the same training",
    )


def test_a_final_run_without_test_images_has_no_accuracy(tmp_path):
    folder = write_run(tmp_path / "x", suffix="_finalfinal", trained_on="trainval")
    assert "no accuracy on the test images" in only(folder, accuracy=None, accuracy_split=None, stage="final").problems


def test_hostile_metrics_are_not_run_and_the_log_tells(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/hacked",)

    folder = write_run(tmp_path / "x", suffix="_val")
    torch.save(Harmful(), folder / "eval_results.pth")
    run = only(tmp_path, accuracy=0.2)
    assert "eval_results.pth" in run.problems[0]
    assert not (tmp_path / "hacked").exists()


def test_a_log_that_is_none_is_listed(tmp_path):
    folder = write_run(tmp_path / "x", suffix="_val")
    (folder / "logs.txt").write_bytes(b"\x00\xff" * 50)
    run = only(tmp_path, accuracy=0.2, method=None)
    assert run.problems == (f"{folder}/logs.txt is no log of KMnP/vpt or VPT-or-FT: no line is written as theirs are.",)


def test_a_job_that_was_given_again_replaces_the_first(tmp_path):
    folder = write_run(tmp_path / "x", suffix="_val", val=(10.0, 50.0))
    job = {"folder": folder, "name": "vtab-dtd"}
    text = log({**job, "val": (5.0,), "epochs": 2}, {**job, "val": (10.0, 50.0)})
    (folder / "logs.txt").write_text(text)
    first, second = list_runs([folder])
    assert (first.superseded, second.superseded) == (True, False)
    assert second.problems == ()
    line = [i for i, words in enumerate(text.splitlines(), start=1) if "Rank of" in words][1]
    assert first.problems[-1] == f"a later job of the same log (line {line}) replaces it"
    assert second.accuracy == 0.5


def test_a_capture_of_stdout_gives_every_job(tmp_path):
    jobs = [
        {"folder": f"/their/out_finalfinal/vtab-dtd/f/lr0.25_wd0.001/run{i}", "seed": seed, "test": (1.0, 10.0 * i)}
        for i, seed in ((1, 42), (2, 44))
    ]
    path = tmp_path / "slurm.out"
    path.write_text(log({"folder": "/their/out_val/vtab-dtd/f/lr0.25_wd0.001/run1"}, *jobs))
    runs = list_runs([path])
    assert [(run.stage, run.seed, run.accuracy, run.superseded) for run in runs] == [
        ("search", None, 0.2, False), ("final", 42, 0.1, False), ("final", 44, 0.2, False),
    ]  # fmt: skip
    assert {run.experiment for run in runs} == {"/their/out"}


def test_petl_vit_keeps_the_best_test_accuracy(tmp_path):
    folder = tmp_path / "models" / "Convpass"
    folder.mkdir(parents=True)
    for name, said in (
        ("cifar", "89 0.725"),
        ("dsprites_loc", "9 81.5"),
        ("svhn", "hello"),
        ("mine", "99 tensor(0.5)"),
    ):
        (folder / f"{name}.pt").touch()
        (folder / f"{name}.log").write_text(said)
    (folder / "dtd.pt").touch()
    (folder / "other.pt").touch()
    (folder / "noise.pt").touch()
    (folder / "noise.log").write_text("training started")
    runs = {run.folder.stem: run for run in list_runs([tmp_path])}
    assert {run.producer for run in runs.values()} == {"petl-vit"}
    assert {run.method for run in runs.values()} == {"convpass"}
    assert {name: (run.task, run.accuracy, run.epochs, run.problems) for name, run in runs.items()} == {
        "cifar": ("cifar100", 0.725, 90, (ON_TEST,)), "dsprites_loc": ("dsprites_location", 0.815, 10, (ON_TEST,)),
        "mine": ("mine", 0.5, 100, (ON_TEST,)), "svhn": ("svhn", None, None, ("svhn.log does not hold an epoch and an "
        "accuracy",)), "dtd": ("dtd", None, None, ("dtd.log could not be read: No such file or directory",)),
    }  # fmt: skip


def test_our_runs(finished, tmp_path):
    assert trees.SEARCH_FOLDER == native.SEARCH_FOLDER
    shutil.copytree(finished["ft"].folder, tmp_path / "study" / "ft")
    shutil.copytree(finished["linear"].folder, tmp_path / "study" / "search" / "lr1")
    shutil.copytree(finished["vpt_deep"].folder, tmp_path / "study" / "broken")
    (tmp_path / "study" / "broken" / "run.json").write_text("{}")
    shutil.copytree(finished["vpt_shallow"].folder, tmp_path / "study" / "odd")
    path = tmp_path / "study" / "odd" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": 5, "task": None}))
    (tmp_path / "study" / "unfinished" / "resume").mkdir(parents=True)
    broken, ft, odd, search, unfinished = list_runs([tmp_path])
    info = finished["ft"].info
    assert (ft.producer, ft.task, ft.method, ft.stage, ft.seed) == ("vptft", "toy/colour", "ft", "run", 0)
    assert (ft.accuracy, ft.accuracy_split, ft.epochs, ft.complete) == (info.test_accuracy, "test", 2, True)
    assert (ft.lr, ft.wd, ft.backbone, ft.problems) == (1e-3, info.settings["weight_decay"], "tiny", ())
    history = finished["linear"].history()
    assert (search.stage, search.accuracy_split) == ("search", "val")
    assert search.accuracy == history[history["split"] == "val"]["accuracy"].iloc[-1]
    assert "run.json has schema None" in broken.problems[0]
    assert unfinished.problems == ("unfinished: no run.json yet",)
    assert odd.problems == (f"{path} holds values of another kind than a run's",)
    assert {run.complete for run in (broken, odd, unfinished)} == {False}


def test_links_that_lead_back_and_folders_named_twice_are_listed_once(tmp_path):
    folder = write_run(tmp_path / "x", suffix="_val")
    (folder / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(folder.parent)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert len(list_runs([tmp_path, tmp_path, folder])) == 1


def test_a_folder_that_cannot_be_opened_is_listed_with_its_problem(tmp_path, monkeypatch):
    write_run(tmp_path / "x", suffix="_val")
    (tmp_path / "secret").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    secret, run = list_runs([tmp_path])
    assert (secret.producer, secret.problems) == ("unknown", ("the folder could not be opened: Permission denied",))
    assert run.accuracy == 0.2


def test_names_that_are_no_text_can_be_printed(tmp_path):
    folder = write_run(tmp_path / "x", suffix="_val")
    odd = os.fsencode(folder.parent) + b"/run\xff"
    folder.rename(os.fsdecode(odd))
    frame = table(list_runs([tmp_path]))
    assert frame["folder"][0].encode().endswith("run\ufffd".encode())


def test_ten_thousand_folders_are_no_matter(tmp_path):
    for i in range(100):
        for j in range(100):
            (tmp_path / str(i) / str(j)).mkdir(parents=True)
    write_run(tmp_path / "55" / "55" / "x", suffix="_val")
    start = time.process_time()
    assert len(list_runs([tmp_path])) == 1
    assert time.process_time() - start < 5


def test_nothing_to_list_is_an_error(tmp_path):
    (tmp_path / "logs.md").write_text(config())
    with pytest.raises(CheckpointError, match=rf"No run in {tmp_path}\.") as caught:
        list_runs([tmp_path])
    assert "vptft-analyze quickstart" in caught.value.hint
    with pytest.raises(CheckpointError, match=r"There is no folder .*nothing\."):
        list_runs([tmp_path / "nothing"])
    with pytest.raises(CheckpointError, match=r"logs\.md is no log of KMnP/vpt"):
        list_runs([tmp_path / "logs.md"])


def test_a_converted_run_without_accuracy_is_listed_and_left_out_of_means(tmp_path):
    torch.save({"model": kmnp(Network())}, tmp_path / "last_model.pth")
    convert(read_checkpoint(tmp_path / "last_model.pth", Asked(heads=HEADS, method="linear")), tmp_path / "runs" / "a")
    (run,) = list_runs([tmp_path / "runs"])
    assert (run.producer, run.method, run.accuracy, run.accuracy_split) == ("vptft", "linear", None, None)
    assert run.problems == ("converted without a test accuracy",)
    assert run.backbone.startswith("weights ")
    assert summaries([run])["n"].tolist() == [0]
