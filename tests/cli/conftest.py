"""Commands run inside this process, and a registered folder to train on."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vptft.cli.app import app


def commands(group=None, path=()):
    """Every command as its words: ``("tasks", "add")``."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.fixture(params=sorted(commands()), ids=" ".join)
def command(request):
    return request.param


@pytest.fixture
def every_command():
    return sorted(commands())


@pytest.fixture
def call(monkeypatch):
    """``call("runs", folder)``: run a command as the program would; gives exit code, stdout and stderr."""
    monkeypatch.setenv("TERMINAL_WIDTH", "300")
    monkeypatch.setenv("COLUMNS", "300")

    def invoke(*words):
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="vptft-analyze")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def parsed(call):
    """``parsed("runs", folder)``: run a command with ``--json`` and parse its stdout."""

    def invoke(*words):
        result = call(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))

    return invoke


@pytest.fixture
def squares(call, image_folder):
    """The name of a registered folder of coloured squares."""
    assert call("tasks", "add", "squares", image_folder).exit_code == 0
    return "squares"


@pytest.fixture
def train(call):
    """``train(task, folder, "--method", "ft")``: train a short run on the backbone ``tiny``."""

    def go(task, folder, *options):
        result = call(
            "train", task, "--backbone", "tiny", "--image-size", 32, "--epochs", 2, "--batch-size", 8,
            "--prompt-length", 3, "-o", folder, *options,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        return Path(folder)

    return go


@pytest.fixture
def both(train, squares, tmp_path):
    """A VPT run and an FT run of the registered squares, in one folder."""
    for method in ("vpt_deep", "ft"):
        train(squares, tmp_path / "runs" / method, "--method", method)
    return tmp_path / "runs"
