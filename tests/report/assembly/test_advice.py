"""From printed tables and from runs to evidence."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from vptft.checkpoints.native import load_run, save_run
from vptft.data import registry
from vptft.errors import CheckpointError, DataError, UnknownNameError
from vptft.features.extractors import load_extractor
from vptft.published import tables
from vptft.report.assembly.advice.look_ahead import gap_after, settings_for
from vptft.report.assembly.advice.printed import published_evidence
from vptft.report.assembly.advice.runs import evidence_of_runs
from vptft.report.assembly.advice.tasks import Scheme, named_task, names_of, new_task, predictors, with_data_side
from vptft.storage import cache_folder


@pytest.fixture(scope="module")
def tiny():
    return load_extractor("tiny:32")


@pytest.fixture
def scheme(tiny, image_folder):
    return Scheme(extractor=tiny, reference=str(image_folder), images=20)


def test_printed_evidence_is_what_the_tables_say_one_block_a_network_and_pretraining():
    blocks = {block.name: block for block in published_evidence("timm/vit_base_patch16_224", "supervised")}
    assert [len(block.tasks) for block in blocks.values()] == [24, 19, 19, 19]
    first, swin, mae, _ = blocks.values()
    cells = tables.load().accuracies
    cells = cells[(cells["backbone"] == "vit_b16") & (cells["pretraining"] == "imagenet21k_supervised")]
    (task,) = (task for task in first.tasks if task.task == "dsprites_location")
    assert task.gaps[0] == pytest.approx(24.4)
    assert task.sizes[0] == 800  # of VTAB-1k's 1,000 images a fifth is validation, as beside every printed size
    assert len(set(task.sizes)) == len(task.sizes)
    assert len(task.gaps) == cells[(cells["task"] == task.task) & (cells["method"] == "vpt") & ~cells["repeats"]
                                   & cells["setting"].isin(["vtab1k", "data_scale"])].shape[0]  # fmt: skip
    assert (task.objective_is_far, task.data_is_far) == (True, None)
    assert first.mismatch == ""
    assert "Swin-B" in swin.mismatch
    assert mae.mismatch == "masked pretraining, not supervised"
    fgvc = {task.task: task for task in first.tasks if np.isnan(task.sizes).all()}
    assert {name for name, task in fgvc.items() if task.data_is_far} == {"nabirds", "stanford_cars"}


def test_a_printed_task_is_no_evidence_about_itself():
    names = [{task.task for task in block.tasks} for block in published_evidence("x", "supervised", leave_out={"dtd"})]
    assert all("dtd" not in each and "pets" in each for each in names)


@pytest.mark.parametrize(
    ("backbone", "pretraining", "decides"),
    [
        ("timm/vit_base_patch16_224.augreg_in21k", "supervised", "ViT-B/16, imagenet21k supervised"),
        ("timm/swin_base_patch4_window7_224.ms_in22k", "supervised", "Swin-B, imagenet21k supervised"),
        ("timm/vit_base_patch16_224.mae", "masked", "ViT-B/16, mae"),
        ("timm/vit_base_patch16_clip_224.openai", "contrastive", None),
        ("timm/beit_base_patch16_224", "masked", None),
        ("timm/deit_tiny_patch16_224", "supervised", None),
        ("timm/maxvit_base_tf_224", "supervised", None),
        ("dinov2-s", "self-distilled", None),
    ],
)
def test_printed_tables_decide_about_their_own_networks_alone(backbone, pretraining, decides):
    blocks = published_evidence(backbone, pretraining)
    assert [block.name.partition(", ")[2] for block in blocks if not block.mismatch] == ([decides] if decides else [])


def test_a_task_is_itself_under_every_name_it_can_stand_under(image_folder):
    assert "cifar100" in names_of("cifar")
    registry.register("squares", image_folder)
    assert "squares" in names_of(str(image_folder))
    assert names_of("photo/count") == {"photo/count"}


def test_runs_of_the_asked_size_come_first_and_others_do_not_decide(runs, scheme):
    (block,) = evidence_of_runs([runs], scheme, image_size=32)
    assert block.mismatch == ""
    (other,) = evidence_of_runs([runs], scheme, image_size=64)
    assert other.mismatch == "of 32 px, not 64"


@pytest.fixture
def runs(go, settings, tmp_path, image_folder):
    """Two seeds of VPT and FT on two tasks, one of them a registered folder."""
    registry.register("squares", image_folder)
    for name in ("squares", "toy/colour"):
        for method in ("vpt_deep", "ft"):
            for seed in (0, 1):
                folder = tmp_path / "runs" / name.replace("/", "-") / method / str(seed)
                task = {"task": registry.task("squares")} if name == "squares" else {}
                sizes = {"n_val": 4, "n_test": 6, "n_train": 14} if name == "squares" else {}
                go(method, folder, replace(settings, seed=seed, lr=1e-3, epochs=1, **sizes), **task)
    return tmp_path / "runs"


def test_runs_give_gaps_with_noise_and_predictors_and_say_what_could_not_be_measured(runs, scheme):
    (block,) = evidence_of_runs([runs], scheme)
    squares, toy = block.tasks
    accuracies = {
        method: np.mean([load_run(runs / "squares" / method / str(seed)).info.test_accuracy for seed in (0, 1)])
        for method in ("vpt_deep", "ft")
    }
    assert squares.gaps[0] == pytest.approx(100 * (accuracies["vpt_deep"] - accuracies["ft"]))
    assert (squares.n_seeds, squares.sizes, block.pretraining) == (2, (14.0,), "random")
    assert {"disparity", "distance", "linear", "knn", "log2_classes", "objective_is_far"} <= squares.values.keys()
    assert toy.values == {"objective_is_far": 0.0}
    assert any(note.startswith("toy/colour could not be measured: There is no") for note in block.notes)


def test_noise_of_training_is_pooled_over_tasks(runs, scheme):
    (block,) = evidence_of_runs([runs], scheme)
    gaps = {
        name: [
            100 * np.subtract(*(load_run(runs / name / method / str(seed)).info.test_accuracy
                                for method in ("vpt_deep", "ft")))
            for seed in (0, 1)
        ]
        for name in ("squares", "toy-colour")
    }  # fmt: skip
    pooled = np.mean([np.var(each, ddof=1) for each in gaps.values()])
    assert all(task.noise[0] >= pooled / 2 - 1e-9 for task in block.tasks)
    assert block.of_draws == pytest.approx(np.mean([task.noise[0] for task in block.tasks]) * 2 - 2 * block.of_images)
    assert block.of_draws + block.of_images >= pooled - 1e-9


def test_the_task_itself_other_backbones_and_few_groups_are_left_out(runs, scheme):
    (block,) = evidence_of_runs([runs], scheme, leave_out=names_of("squares"))
    assert [task.task for task in block.tasks] == ["toy/colour"]
    assert "runs of squares itself are left out of the evidence" in block.notes
    for path in runs.glob("toy-colour/*/[01]"):
        run = load_run(path)
        info = replace(run.info, few_groups=True)
        save_run(path, info, state=None, history=run.history(), predictions=run.predictions())
    (block,) = evidence_of_runs([runs], scheme)
    assert "toy/colour is left out: few independent pictures stand behind it" in block.notes
    for path in runs.glob("*/*/[01]"):
        run = load_run(path)
        info = replace(run.info, backbone="other")
        save_run(path, info, state=None, history=run.history(), predictions=run.predictions())
    with pytest.raises(CheckpointError, match="No VPT or FT run of tiny among these; there are: other"):
        evidence_of_runs([runs], scheme)


def test_a_folder_is_measured_without_its_test_images(image_folder, scheme, tmp_path):
    name = str(image_folder)
    task = named_task(name)
    found = new_task(name, scheme)
    assert found.n_train == len(task.load("train"))
    values, _ = predictors(name, scheme)
    assert found.values["disparity"] == values["disparity"]
    assert any("nobody said what the labels ask" in note for note in found.notes)
    assert not any("nobody said" in note for note in new_task(name, scheme, objective="far").notes)
    assert new_task(name, scheme, objective="far").objective_is_far is True
    assert new_task(name, scheme, n_train=99).values["log2_n"] == pytest.approx(np.log2(99))
    seen = registry.images(f"{name}:trainval")
    assert set(seen.ids).isdisjoint(task.load("test").ids)


def test_no_labels_one_class_and_too_few_images_are_named(image_folder, scheme, tmp_path):
    with pytest.raises(DataError, match="a folder of images without classes"):
        named_task(str(image_folder / "red"))
    shutil.copytree(image_folder / "red", tmp_path / "one" / "red")
    with pytest.raises(DataError, match="has the single class 'red'"):
        named_task(str(tmp_path / "one"))
    few = tmp_path / "few"
    for color in ("red", "blue"):
        (few / color).mkdir(parents=True)
        for path in sorted((image_folder / color).iterdir())[:6]:
            (few / color / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="labelled images to train on; advice needs 20 or more"):
        predictors(str(few), scheme)


def test_data_are_far_beyond_the_middle_of_the_evidence(runs, scheme, image_folder):
    (block,) = evidence_of_runs([runs], scheme)
    near, far = (replace(block.tasks[0], values={"distance": d}, data_is_far=d > 5) for d in (2.0, 9.0))
    evidence = replace(block, tasks=(near, far))
    task = new_task(str(image_folder), scheme)
    for distance, expected in ((5.0, False), (6.0, True)):
        moved = replace(task, values={**task.values, "distance": distance})
        assert with_data_side(moved, [evidence]).data_is_far is expected
        assert with_data_side(moved, [replace(evidence, mismatch="other")]).data_is_far is None


def test_a_look_ahead_is_trained_once_and_sees_no_test_image(toy_task, own_home):
    settings = settings_for(1, image_size=32)
    asked = []

    def load(split, n=None, seed=0):
        asked.append(split)
        return toy_task.load(split, n, seed)

    task = replace(toy_task, load=load)
    first = gap_after(task, "tiny", settings)
    assert "test" not in asked
    kept = sorted((own_home / "cache" / "look_ahead").glob("*/run.json"))
    before = [path.stat().st_mtime_ns for path in kept]
    assert gap_after(task, "tiny", settings) == first
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert len(kept) == 2


def test_a_name_of_a_task_counts_before_a_folder_of_that_name(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").symlink_to(image_folder)
    (tmp_path / "mine").symlink_to(image_folder)
    assert len(named_task("digits").classes) == 10
    assert named_task("./digits").classes == named_task("mine").classes == ("blue", "green", "red")
    with pytest.raises(UnknownNameError, match="no task named 'minf'"):
        named_task("minf")
    with pytest.raises(DataError, match="dtd is a task of VTAB-1k, and its images are not registered"):
        named_task("dtd")


def test_a_folder_that_changed_is_looked_ahead_again(image_folder, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(image_folder, folder)
    settings = settings_for(1, image_size=32)
    gap_after(named_task(str(folder)), "tiny", settings)
    for path in sorted(folder.glob("red/*"))[:8]:
        path.unlink()
    gap_after(named_task(str(folder)), "tiny", settings)
    assert len(list((cache_folder() / "look_ahead").glob("*/run.json"))) == 4
