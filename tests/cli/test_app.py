import re
import signal
import subprocess
import sys
import time

import pytest

from vptft import __version__
from vptft.checkpoints import native, trees
from vptft.errors import DataError
from vptft.report.assembly import overfitting

HEAVY = ("torch", "timm", "matplotlib", "pandas", "numpy", "scipy", "sklearn", "seaborn", "PIL")
HELP = f"""
import sys
from typer.testing import CliRunner
import vptft
from vptft.cli.app import app
for line in sys.stdin.read().splitlines():
    assert CliRunner().invoke(app, [*line.split(), "--help"]).exit_code == 0, line
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, (line, loaded)
"""


def program(*words, **options):
    """Run the installed program in a process of its own."""
    code = "from vptft.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False, **options
    )


def test_help_loads_nothing_heavy(every_command):
    lines = ["", *map(" ".join, every_command)]
    done = subprocess.run(
        [sys.executable, "-c", HELP], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(lines) > 10


def test_help_of_every_command_has_an_example_and_says_what_each_option_is_for(call, command):
    result = call(*command, "--help")
    assert result.exit_code == 0
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", result.stdout).split())
    # What a group does when none of its commands is named.
    typed = {"fid compare": "fid", "runs list": "runs", "published claims": "published"}.get(
        " ".join(command), " ".join(command)
    )
    assert re.search(rf"Examples?: vptft-analyze {typed}\b", text)
    assert f"Usage: vptft-analyze {typed} [" in text


def test_the_version_is_the_packages(call):
    assert call("--version").stdout == f"{__version__}\n"
    done = program("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ""),
        (("nonsense",), "No such command 'nonsense'"),
        (("train",), "Missing argument 'task'"),
        (("train", "x", "--epochs", "0"), "Invalid value for '--epochs'"),
        (("train", "x", "--epochs", "many"), "Invalid value for '--epochs'"),
        (("train", "x", "--colour", "red"), "No such option: --colour"),
        (("landscape", ".", "--points", "1"), "Invalid value for '--points'"),
        (("fid", "a"), "Missing argument 'b'"),
        (("tasks", "add", "x", ".", "--objective", "beauty"), "Invalid value for '--objective'"),
    ],
    ids=str,
)
def test_a_command_that_is_not_understood_exits_2_and_says_why_on_stderr(call, words, said):
    result = call(*words)
    assert result.exit_code == 2
    assert said.lower() in result.stderr.lower()


def test_what_fails_exits_1_with_problem_and_hint_on_stderr_alone(call, tmp_path):
    result = call("runs", tmp_path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"error: No run in {tmp_path}.\nMake one: vptft-analyze quickstart, or train.\n"


def test_an_error_without_a_hint_is_one_line(call, monkeypatch, tmp_path):
    def refuse(folders):
        raise DataError("It broke.")

    monkeypatch.setattr(trees, "list_runs", refuse)
    assert call("runs", tmp_path).stderr == "error: It broke.\n"


@pytest.mark.parametrize(
    "words", [("runs", "."), ("landscape", "."), ("quadrants", "."), ("overfitting", ".")], ids=str
)
def test_an_interruption_exits_130_and_says_how_to_go_on(call, monkeypatch, words):
    def interrupt(folders):
        raise KeyboardInterrupt

    monkeypatch.setattr(native, "find_runs", interrupt)
    monkeypatch.setattr(trees, "list_runs", interrupt)
    monkeypatch.setattr(overfitting, "list_runs", interrupt)
    result = call(*words, "--json")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert result.stderr == "Interrupted. What is finished is kept; the same command goes on from there.\n"


@pytest.mark.verify
@pytest.mark.skipif(sys.platform == "win32", reason="interrupts are POSIX signals")
def test_a_real_interrupt_of_a_training_exits_130_and_the_same_command_finishes_it(squares, tmp_path, monkeypatch):
    words = [
        "train", squares, "--backbone", "tiny", "--image-size", "32", "--epochs", "200", "-o", str(tmp_path / "run"),
    ]  # fmt: skip
    code = "from vptft.tuning import loop\nloop.RESUME_SECONDS = -1.0\nfrom vptft.cli import main\nmain()"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    state = tmp_path / "run" / "resume" / "state.pt"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. What is finished is kept" in said
    assert "Traceback" not in said
    done = program(*words)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'run'}\n")
    assert not state.parent.exists()
