"""The group ``checkpoints``: what goes to stdout and stderr, and what no stranger's file can do to a terminal."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from checkpoints.foreign_files import CLASSES, DEPTH, HEADS, WIDTH, Network, google, kmnp, random, timm
from checkpoints.kmnp_files import log
from vptft.checkpoints.fairness import Fairness
from vptft.checkpoints.native import load_run
from vptft.checkpoints.readers import READERS

NETWORK = Network()
ESCAPE = "\x1b]0;owned\x07\x1b[31m"


@pytest.fixture
def deep(tmp_path):
    """A VPT-deep or Mixed checkpoint of KMnP/vpt, alone in its folder."""
    (tmp_path / "theirs").mkdir()
    prompts, rest = random(1, 4, WIDTH, seed=501), random(DEPTH - 1, 4, WIDTH, seed=502)
    torch.save({"model": kmnp(NETWORK, prompts=prompts, deep=rest)}, tmp_path / "theirs" / "last_model.pth")
    return tmp_path / "theirs" / "last_model.pth"


@pytest.fixture
def plain(tmp_path):
    """A timm state dict."""
    torch.save(timm(NETWORK), tmp_path / "timm.pth")
    return tmp_path / "timm.pth"


@pytest.fixture
def base(tmp_path):
    np.savez(tmp_path / "base.npz", **google(NETWORK))
    return tmp_path / "base.npz"


def test_inspect_draws_a_table_and_notes_on_stderr(call, deep):
    result = call("checkpoints", "inspect", deep)
    assert result.exit_code == 0
    for words in (
        "KMnP/vpt or VPT-or-FT",
        "vpt_deep or mixed",
        "4 before every layer",
        "Backbone",
        "blocks.2",
        "Recipe",
    ):
        assert words in result.stdout
    assert "note: The number of attention heads is not known" in result.stderr
    assert "note:" not in result.stdout


def test_inspect_tells_the_method_by_the_pretrained_weights(parsed, deep, base):
    found = parsed("checkpoints", "inspect", deep, "--backbone", base)
    assert (found["method"], found["heads"], found["classes"]) == ("vpt_deep", HEADS, CLASSES)
    assert found["tuned"] == DEPTH * 4 * WIDTH + CLASSES * WIDTH + CLASSES
    assert found["tuned/total %"] == round(100 * found["tuned"] / found["parameters"], 3)
    assert found["taken from"]["method"] == "every backbone tensor equals the pretrained one bit for bit"
    assert [row["layer"] for row in found["layers"]] == ["embeddings", "blocks.0", "blocks.1", "blocks.2", "norm"]
    assert all(row["equal to pretrained"] == row["tensors"] and row["relative change"] == 0 for row in found["layers"])
    assert found["recipe"].keys() & {"normalisation"}
    alone = parsed("checkpoints", "inspect", deep)
    assert (alone["method"], alone["tuned"], alone["heads"]) == ("vpt_deep or mixed", "not known", "not known")


def test_inspect_takes_what_it_is_told(parsed, deep):
    found = parsed("checkpoints", "inspect", deep, "--heads", HEADS, "--method", "mixed")
    assert (found["heads"], found["method"], found["tuned/total %"]) == (HEADS, "mixed", 100)
    assert found["taken from"]["heads"] == "--heads"


def test_inspect_describes_our_runs(parsed, finished):
    run = finished["vpt_deep"]
    found = parsed("checkpoints", "inspect", run.folder)
    assert (found["producer"], found["method"]) == ("vptft-analyze", "vpt_deep")
    assert found["tuned"] == run.info.parameters_tuned
    assert found["metrics"] == {"test accuracy": run.info.test_accuracy}


def test_markup_in_a_files_names_is_text(call, parsed, tmp_path):
    name = "blocks.[red]9[/red].[/].weight"
    torch.save({**timm(NETWORK), name: torch.zeros(2)}, tmp_path / "[b]x.pth")
    shown = call("checkpoints", "inspect", tmp_path / "[b]x.pth", "--heads", HEADS)
    assert shown.exit_code == 1
    assert "have no place in it: blocks.[red]9[/red].[/].weight." in shown.stderr
    folder = tmp_path / "a[red]"
    folder.mkdir()
    torch.save(timm(NETWORK), folder / "b[bold]].pth")
    assert "a[red]/b[bold]].pth" in call("checkpoints", "inspect", folder / "b[bold]].pth").stdout
    assert parsed("checkpoints", "inspect", folder / "b[bold]].pth")["file"] == str(folder / "b[bold]].pth")


def test_markup_in_a_path_is_text_in_titles_too(call, tmp_path, squares):
    folder = tmp_path / "a["
    folder.mkdir()
    torch.save(timm(NETWORK), folder / "b].pth")  # a/b reads as the end of a style: "[/b]"
    result = call("checkpoints", "evaluate", folder / "b].pth", "--task", squares, "--heads", HEADS, "--n", 2)
    assert result.exit_code == 0
    assert "a[/b].pth" in result.stdout.replace("\n", "")


def test_a_name_with_escapes_is_refused_and_shown_as_text(call, tmp_path):
    torch.save({**timm(NETWORK), f"x{ESCAPE}": torch.zeros(2)}, tmp_path / "x.pth")
    result = call("checkpoints", "inspect", tmp_path / "x.pth")
    assert result.exit_code == 1
    assert r"x\x1b]0;owned\x07\x1b[31m" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr


def test_escapes_in_a_log_are_shown_as_text(call, deep, tmp_path):
    (deep.parent / "logs.txt").write_text(log({"feature": f"x{ESCAPE}"}))
    (tmp_path / "ft").mkdir()
    (tmp_path / "ft" / "logs.txt").write_text(log({"kind": "end2end", "feature": f"[red]y{ESCAPE}"}))
    for words, said in (("inspect", deep), r"x\x1b]0;"), (("compare", deep.parent, tmp_path / "ft"), r"[red]y\x1b]0;"):
        result = call("checkpoints", *words)
        assert result.exit_code == 0, result.stderr
        assert said in result.stdout
        assert "\x1b" not in result.stdout + result.stderr
        assert "\x07" not in result.stdout + result.stderr


def test_a_diverged_run_is_valid_json(parsed, deep):
    text = log({"feature": "tiny", "lr": float("inf")}).replace("average loss: 3.0000", "average loss: inf")
    (deep.parent / "logs.txt").write_text(text)
    found = parsed("checkpoints", "inspect", deep)
    assert found["metrics"]["val loss"] is None
    assert found["metrics"]["val accuracy"] == 0.2
    assert found["recipe"]["learning rate"]["value"] is None


def test_convert_makes_a_run_and_says_its_folder(call, parsed, deep, base, tmp_path):
    result = call("checkpoints", "convert", deep, "--backbone", base, "-o", tmp_path / "run", "--task", "photo/count")
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'run'}\n"
    assert "note: " in result.stderr
    info = load_run(tmp_path / "run").info
    assert (info.method, info.task, info.prompts["length"]) == ("vpt_deep", "photo/count", 4)
    done = parsed("checkpoints", "convert", deep, "--heads", HEADS, "--method", "mixed", "-o", tmp_path / "mixed")
    assert done == {"run": str(tmp_path / "mixed"), "method": "mixed", "task": "unknown"}
    taken = call("checkpoints", "convert", deep, "--backbone", base, "-o", tmp_path / "run")
    assert taken.exit_code == 1
    assert "holds a run already" in taken.stderr


def test_convert_makes_a_timm_state_dict_alone_or_beside_the_run(call, plain, tmp_path):
    words = ("checkpoints", "convert", plain, "--heads", HEADS, "--method", "ft", "--normalise", "half")
    alone, beside, run = tmp_path / "alone.safetensors", tmp_path / "beside.safetensors", tmp_path / "run"
    assert call(*words, "--timm", alone).stdout == f"{alone}\n"
    assert not run.exists()
    assert call(*words, "--timm", beside, "--out", run).stdout == f"{run}\n{beside}\n"
    assert load_run(run).info.mean == [0.5, 0.5, 0.5]
    for path in (alone, beside):
        written = load_file(path)
        assert written.keys() == timm(NETWORK).keys()
        assert all(torch.equal(value, timm(NETWORK)[name]) for name, value in written.items())


def test_convert_makes_a_timm_state_dict_of_one_of_our_runs(call, both, tmp_path):
    done = call("checkpoints", "convert", both / "ft", "--timm", tmp_path / "ft.safetensors")
    assert done.exit_code == 0
    state, model = load_file(tmp_path / "ft.safetensors"), load_run(both / "ft").model()
    assert torch.equal(state["head.weight"], model.head.weight)
    assert state.keys() == {name.removeprefix("backbone.") for name in model.state_dict()}
    refused = call("checkpoints", "convert", both / "vpt_deep", "--timm", tmp_path / "vpt.safetensors")
    assert refused.exit_code == 1
    assert "has prompts: a timm state dict has no place for them" in refused.stderr
    already = call("checkpoints", "convert", both / "ft", "-o", tmp_path / "run")
    assert already.exit_code == 1
    assert "is one of our runs already" in already.stderr


def test_convert_without_a_target_is_a_wrong_use(call, deep):
    result = call("checkpoints", "convert", deep)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "say where to" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "Pass the pretrained weights with --backbone"), (("--method", "vpt_deep"), "Pass --heads")],
)
def test_convert_asks_for_what_it_does_not_know(words, said, call, deep, tmp_path):
    result = call("checkpoints", "convert", deep, "-o", tmp_path / "run", *words)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not (tmp_path / "run").exists()


def test_evaluate_tries_every_normalisation_where_none_is_known(call, parsed, plain, squares):
    words = ("checkpoints", "evaluate", plain, "--task", squares, "--heads", HEADS)
    rows = parsed(*words)
    assert [row["normalisation"] for row in rows] == ["imagenet", "half", "none"]
    for row in rows:
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
        assert row["n"] * row["accuracy"] == pytest.approx(round(row["n"] * row["accuracy"]))
    assert parsed(*words, "--normalise", "half") == [rows[1]]
    assert [row["n"] for row in parsed(*words, "--n", 3, "--normalise", "none", "--split", "train")] == [3]
    shown = call(*words)
    assert shown.exit_code == 0
    assert "timm.pth on squares (test)" in shown.stdout
    assert "How the images were normalised is not known: ask who trained it" in shown.stderr
    assert "--normalise says it" not in call(*words, "--normalise", "half").stderr


def test_evaluate_uses_the_normalisation_that_is_known(parsed, deep, squares):
    (row,) = parsed("checkpoints", "evaluate", deep, "--task", squares, "--heads", HEADS)
    assert row["normalisation"] == "as recorded"
    (told,) = parsed("checkpoints", "evaluate", deep, "--task", squares, "--heads", HEADS, "--normalise", "imagenet")
    assert told == {**row, "normalisation": "imagenet"}


def test_evaluate_keeps_the_predictions_of_a_converted_run(call, parsed, plain, squares, tmp_path):
    words = ("--heads", HEADS, "--method", "ft", "--normalise", "half", "-o", tmp_path / "run")
    assert call("checkpoints", "convert", plain, *words).exit_code == 0
    (row,) = parsed("checkpoints", "evaluate", tmp_path / "run", "--task", squares, "--save")
    run = load_run(tmp_path / "run")
    assert run.info.test_accuracy == pytest.approx(row["accuracy"])
    kept = run.predictions()
    assert kept.logits.shape == (row["n"], CLASSES)
    assert np.mean(kept.logits.argmax(axis=1) == kept.labels) == pytest.approx(row["accuracy"])
    (direct,) = parsed("checkpoints", "evaluate", plain, "--task", squares, "--heads", HEADS, "--normalise", "half")
    assert row == {**direct, "normalisation": "as recorded"}


@pytest.mark.parametrize("words", [("--split", "val"), ("--n", 4), ("file",)], ids=str)
def test_save_is_refused_where_it_would_keep_something_else(words, call, plain, finished):
    path = plain if words == ("file",) else finished["ft"].folder
    rest = ("--heads", HEADS, "--normalise", "half") if words == ("file",) else words
    result = call("checkpoints", "evaluate", path, "--task", "photo/count", "--save", *rest)
    assert result.exit_code == 2
    assert "--save keeps all test predictions" in result.stderr


def test_save_does_not_replace_predictions(call, finished, squares):
    before = finished["ft"].predictions()
    result = call("checkpoints", "evaluate", finished["ft"].folder, "--task", squares, "--save")
    assert result.exit_code == 1
    assert "has its own predictions" in result.stderr
    assert np.array_equal(load_run(finished["ft"].folder).predictions().logits, before.logits)


@pytest.fixture
def pair(tmp_path):
    """Logs of a VPT and an FT run that differ in batch size and seed."""
    for name, job in (("deep", {"batch": 64}), ("ft", {"batch": 32, "kind": "end2end"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "logs.txt").write_text(log({"seed": 1, **job}))
    return tmp_path / "deep", tmp_path / "ft"


def test_compare_says_what_differs_and_how_fair_that_is(call, parsed, pair, tmp_path):
    result = call("checkpoints", "compare", *pair, "--out", tmp_path / "out")
    assert result.exit_code == 0
    for words in ("batch size (", f"VPT: 64   [{pair[0] / 'logs.txt'}:", f"FT: 32   [{pair[1] / 'logs.txt'}:"):
        assert words in result.stdout
    last = result.stdout.splitlines()[-1]
    saved = Fairness.load(tmp_path / "out")
    (finding,) = saved.findings()
    assert last == f"C0, the comparison is fair: {finding.verdict}; {finding.reason}."
    assert "batch size: 64 vs 32" in saved.differences()
    found = parsed("checkpoints", "compare", *pair)
    assert (found["verdict"], found["reason"]) == (finding.verdict, finding.reason)
    (batch,) = [row for row in found["remarks"] if row["aspect"] == "batch size"]
    assert (batch["vpt"], batch["ft"], batch["kind"]) == ("64", "32", "confound")


def test_compare_of_two_of_one_method_fails(call, pair):
    result = call("checkpoints", "compare", pair[0], pair[0])
    assert result.exit_code == 1
    assert "are both vpt_deep" in result.stderr


def test_formats_say_which_were_tried(call, parsed):
    rows = {row["format"]: row["reader"] for row in parsed("checkpoints", "formats")}
    assert rows.keys() == {reader.name for reader in READERS}
    assert rows["NOAH"] == "read by description, not tried on a file of theirs"
    assert all(name in call("checkpoints", "formats").stdout for name in rows)


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "none.pth"), ("convert", "none.pth", "-o", "run"), ("compare", "none", "none.pth"),
        ("evaluate", "none.pth", "--task", "photo/count"), ("inspect", "here.pth"), ("inspect", "."),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_not_there_is_said_without_a_traceback(words, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.pth").write_bytes(b"no weights at all, whatever its name says")
    result = call("checkpoints", *words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_inspect_imports_neither_timm_nor_pandas(deep, base):
    source = (
        "import sys\n"
        "from vptft.cli.app import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print('imported', sorted({'timm', 'pandas', 'torchvision', 'scipy', 'torch'} & sys.modules.keys()))\n"
    )
    words = [sys.executable, "-c", source, "checkpoints", "inspect", str(deep), "--backbone", str(base), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    *lines, last = done.stdout.splitlines()
    assert json.loads("\n".join(lines))["method"] == "vpt_deep"
    assert last == "imported ['torch']"
