import math
import sys
from dataclasses import replace
from statistics import median

import pytest
import timm
import torch
from safetensors.torch import save_file

from tuning.test_costs import scripted
from vptft.errors import SettingsError, UnknownNameError
from vptft.tuning.methods import METHODS
from vptft.tuning.profile import COSTS, measure
from vptft.tuning.settings import TrainSettings
from vptft.tuning.subjects import Subject, subjects_of

CLASSES, DIM, LAYERS = 10, 32, 3
HEAD = DIM * CLASSES + CLASSES
BACKBONE = 3 * 64 * DIM + DIM + DIM + 17 * DIM + LAYERS * (12 * DIM**2 + 13 * DIM) + 2 * DIM
SETTINGS = TrainSettings(image_size=32, prompt_length=4, probe_layers=2)


def subject(method, backbone="tiny", **changes):
    return Subject(method=method, backbone=backbone, n_classes=CLASSES, settings=replace(SETTINGS, **changes))


def table(*subjects, repeats=1, **others):
    return measure(subjects, **{"batch_sizes": (2,), "repeats": repeats, **others}).frame()


@pytest.mark.parametrize(
    ("method", "tuned", "added"),
    [
        ("ft", BACKBONE + HEAD, HEAD),
        ("linear", HEAD, HEAD),
        ("vpt_deep", LAYERS * 4 * DIM + HEAD, LAYERS * 4 * DIM + HEAD),
        ("mixed", BACKBONE + LAYERS * 4 * DIM + HEAD, LAYERS * 4 * DIM + HEAD),
        ("bias", (2 + 11 * LAYERS) * DIM + HEAD, HEAD),
    ],
)
def test_parameters_and_stored_bytes_have_closed_forms(method, tuned, added):
    (row,) = table(subject(method)).to_dict("records")
    assert (row["parameters_tuned"], row["parameters_total"]) == (tuned, BACKBONE + added)
    assert (row["stored_bytes"], row["base_bytes"]) == (4 * tuned, 0)
    assert row["gradient_bytes"] == 4 * tuned


@pytest.mark.parametrize("method", METHODS)
def test_stored_bytes_are_those_of_a_finished_runs_file(method, finished):
    def tensor_bytes(name):
        data = (finished[name].folder / "model.safetensors").read_bytes()
        return len(data) - 8 - int.from_bytes(data[:8], "little")  # without the header

    run = finished[method]
    (row,) = table(Subject.of_run(run)).to_dict("records")
    assert row["stored_bytes"] == tensor_bytes(method)
    assert row["base_bytes"] == (tensor_bytes("ft") if method == "ft_then_pt" else 0)
    assert row["parameters_tuned"] == run.info.parameters_tuned
    assert row["parameters_total"] == run.info.parameters_total
    assert (row["task"], row["accuracy"]) == (run.info.task, run.info.test_accuracy)
    assert ("the last stage alone" in row["note"]) == (METHODS[method].after is not None)


def test_medians_and_ranges_are_of_interleaved_rounds():
    """Per round: forward and step of the first subject, then of the second."""
    times = [0.004, 0.030, 0.5, 0.7, 0.002, 0.010, 0.9, 0.1, 0.006, 0.020, 0.1, 0.4]
    first, second = table(
        subject("linear"), subject("bias"), repeats=3, batch_sizes=(4,), clock=scripted(times)
    ).to_dict("records")  # fmt: skip
    for row, forward, step in ((first, times[0::4], times[1::4]), (second, times[2::4], times[3::4])):
        for name, values in (("forward_ms", [1000 * t / 4 for t in forward]), ("step_ms", [1000 * t for t in step])):
            expected = (median(values), min(values), max(values))
            assert (row[name], row[f"{name}_min"], row[f"{name}_max"]) == pytest.approx(expected)


def test_there_is_a_row_for_each_subject_length_and_batch():
    found = table(subject("vpt_deep"), subject("linear"), batch_sizes=(1, 3), prompt_lengths=(2, 5))
    seen = found[["method", "prompt_length", "batch_size"]].to_numpy().tolist()
    assert seen == [
        ["vpt_deep", 2, 1], ["vpt_deep", 2, 3], ["vpt_deep", 5, 1], ["vpt_deep", 5, 3], ["linear", 0, 1],
        ["linear", 0, 3],
    ]  # fmt: skip
    assert table(subject("vpt_deep"))["prompt_length"].tolist() == [4]
    deep = found[found["method"] == "vpt_deep"].set_index(["prompt_length", "batch_size"])
    assert deep["parameters_tuned"].tolist() == [LAYERS * n * DIM + HEAD for n in (2, 2, 5, 5)]
    assert deep.loc[(2, 1), "activation_bytes"] < deep.loc[(5, 1), "activation_bytes"]
    assert deep.loc[(2, 1), "activation_bytes"] < deep.loc[(2, 3), "activation_bytes"]


def test_deep_prompts_keep_less_than_finetuning():
    prompts, full = table(subject("vpt_deep"), subject("ft"), batch_sizes=(8,)).to_dict("records")
    for name in ("activation_bytes", "gradient_bytes", "optimiser_bytes", "peak_bytes", "stored_bytes"):
        assert prompts[name] < full[name], name


def test_runs_that_cost_the_same_are_measured_once(finished):
    run = Subject.of_run(finished["linear"])
    again = replace(run, accuracy=0.25, task="other", settings=replace(run.settings, seed=7, lr=0.5, n_train=9))
    turns = []
    found = table(run, again, repeats=2, on_turn=lambda *turn: turns.append(turn))
    assert turns[-1] == (3, 3)
    assert found["accuracy"].tolist() == [finished["linear"].info.test_accuracy, 0.25]
    assert found.loc[0, list(COSTS[:10])].tolist() == found.loc[1, list(COSTS[:10])].tolist()


def test_what_changes_costs_is_a_variant():
    subjects = [
        subject("lora", lora_rank=2), subject("lora"), subject("linear", lora_rank=2), subject("linear", lr=0.5),
        subject("vpt_deep", prompt_layers="first:1", optimizer="sgd", prompt_init="class_token"),
    ]  # fmt: skip
    said = ["lora_rank=2", "", "", "", "optimizer=sgd, prompt_layers=first:1"]
    assert [each.variant for each in subjects] == said


def test_a_run_has_its_accuracy_at_its_own_prompt_length_only(finished):
    run = finished["vpt_deep"]
    found = table(Subject.of_run(run), prompt_lengths=(2, 4))
    assert math.isnan(found["accuracy"].iloc[0])
    assert found["accuracy"].iloc[1] == run.info.test_accuracy


@pytest.fixture
def convolutional(tmp_path):
    """A network without blocks or tokens."""
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "net.safetensors")
    return f"test_resnet@{tmp_path / 'net.safetensors'}"


def test_what_has_no_answer_is_a_row_with_the_reason(convolutional, monkeypatch, finished):
    monkeypatch.setitem(sys.modules, "peft", None)  # as if it were not installed
    info = replace(finished["ft"].info, imported={"producer": "KMnP/vpt"}, method="theirs", settings={})
    imported = replace(finished["ft"], info=info)
    found = measure(
        [
            subject("vpt_deep", convolutional), subject("ft", convolutional), subject("lora"),
            subject("multi_layer_probe", probe_layers=4), Subject.of_run(imported),
        ],
        batch_sizes=(2,), repeats=1,
    )  # fmt: skip
    frame = found.frame()
    reasons = frame["not_applicable"].tolist()
    assert "Prompts, attention and features by layer are not applicable to" in reasons[0]
    assert reasons[1] == ""
    assert "pip install 'vptft-analyze[peft]'" in reasons[2]
    assert "the backbone has 3 layers" in reasons[3]
    assert "converted from another program" in reasons[4]
    assert frame.loc[[0, 2, 3, 4], list(COSTS)].isna().all(axis=None)
    assert frame.loc[1, list(COSTS[:-1])].notna().all()
    assert frame.loc[1, "stored_bytes"] > 4 * frame.loc[1, "parameters_tuned"], "batch statistics are saved too"
    assert [line.partition(":")[0] for line in found.notes()] == ["VPT", "LoRA", "Multi-layer probe", "theirs"]


def test_the_summary_is_the_table_in_larger_units():
    found = measure([subject("vpt_deep"), subject("ft_then_pt")], batch_sizes=(2,), repeats=1)
    table, summary = found.frame(), found.summary()
    assert summary["stored (MB)"].tolist() == ((table["stored_bytes"] + table["base_bytes"]) / 1e6).tolist()
    assert summary["tuned (M)"].tolist() == (table["parameters_tuned"] / 1e6).tolist()
    assert "accuracy" not in summary


def test_the_summary_has_one_row_for_the_seeds_of_a_task(finished):
    run = Subject.of_run(finished["linear"])
    runs = [replace(run, accuracy=a, settings=replace(run.settings, seed=i)) for i, a in enumerate((0.25, 0.75))]
    found = measure([*runs, replace(run, task="other"), subject("bias")], repeats=1)
    assert len(found.frame()) == 4
    rows = found.summary()[["task", "runs", "accuracy"]].fillna(-1).to_numpy().tolist()
    assert rows == [[run.task, 2, 0.5], ["other", 1, run.accuracy], ["", 1, -1]]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"subjects": []}, "subjects must be 1 or more, got 0"),
        ({"batch_sizes": ()}, "batch sizes must be 1 or more, got 0"),
        ({"batch_sizes": (0,)}, "batch_size must be positive, got 0"),
        ({"repeats": 0}, "repeats must be 1 or more, got 0"),
        ({"threads": 0}, "threads must be 1 or more, got 0"),
        ({"prompt_lengths": (-1,)}, "prompt_length must not be negative, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, problem):
    values = {"subjects": [subject("vpt_deep")], "repeats": 1, **changes}
    with pytest.raises(SettingsError, match=problem):
        measure(values.pop("subjects"), **values)


def test_the_settings_say_how_it_was_measured():
    had = measure([subject("linear")], batch_sizes=(2,), repeats=1, threads=2, seed=5).settings
    assert (had["threads"], had["seed"], had["repeats"], had["device"]) == (2, 5, 1, "cpu")
    assert had["time"] == "process CPU time"
    assert torch.get_num_threads() == 1


def test_names_are_methods_or_folders_of_runs(finished, tmp_path, monkeypatch):
    runs = finished["ft"].folder.parent
    common = {"backbone": "tiny", "n_classes": 5, "settings": SETTINGS}
    found = subjects_of(["bias", str(runs / "ft"), str(runs)], **common)
    assert [each.method for each in found] == ["bias", "ft", *sorted(METHODS)]
    assert (found[0].n_classes, found[0].run) == (5, "")
    assert (found[1].n_classes, found[1].run) == (3, str(runs / "ft"))
    monkeypatch.chdir(runs)
    assert [each.run for each in subjects_of(["ft", "./ft"], **common)] == ["", "ft"]
    with pytest.raises(UnknownNameError, match=r"no method or folder of runs named 'vpt_dep'. Did you mean vpt_deep"):
        subjects_of(["vpt_dep"], **common)
    with pytest.raises(SettingsError, match="nothing to profile"):
        subjects_of([], **common)
