"""A real package beside the program: what its entry points name is known to every command and page."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from report.builders import facts
from vptft.storage import write_json

PACKAGE = Path(__file__).parent / "vptft-plugin-example"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package in a folder of its own, laid out as pip lays out a wheel.

    Building that wheel needs hatchling, which the tests' environment lacks and could only get from the network; the
    metadata that pip would write are therefore written here, from the package's own pyproject.toml.
    """
    target = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copytree(PACKAGE / "src", target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    info = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    groups = project["entry-points"].items()
    lines = (f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in rows.items()) for group, rows in groups)
    info.joinpath("entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return target


SESSION = """
import contextlib, json, runpy, sys
from pathlib import Path
from vptft.cli.app import app

def run(*words):
    with contextlib.suppress(SystemExit):
        app(words)
    print("\\0", end="")

run("tasks", "list", "--json")
run("methods", "--json")
run("fid", "stripes:train", "stripes:test", "--extractor", "colours", "--alone", "--json")
for method in ("vpt_deep", "ft", "norms"):
    run(
        "train", "stripes", "--method", method, "--backbone", "tiny", "--image-size", "32", "--epochs", "1",
        "--n-train", "16", "--n-val", "8", "--n-test", "40", "-o", f"runs/{method}", "--json",
    )
sys.argv = ["-m", "runs", "results"]
runpy.run_module("vptft_plugin_example", run_name="__main__")
from vptft.report.pages.page import build_page
build_page(Path("results"), Path("page.html"), title="t")
"""


@pytest.fixture(scope="module")
def session(installed, tmp_path_factory):
    """Everything in one process that finds the package, to import torch once: outputs of commands, and the folder."""
    folder = tmp_path_factory.mktemp("session")
    write_json(folder / "results" / "study.json", facts(tasks=("stripes",)))
    environment = os.environ | {
        "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "VPTFT_HOME": str(folder / "home"),
    }  # fmt: skip
    command = [sys.executable, "-c", SESSION]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return [json.loads(each) for each in done.stdout.split("\0")[:-1]], folder


def test_the_tables_list_what_the_package_adds(session):
    (tasks, methods, *_), _ = session
    (row,) = (row for row in tasks if row["name"] == "stripes")
    assert (row["group"], row["source"], row["available"]) == ("own", "package vptft-plugin-example", True)
    (row,) = (row for row in methods if row["method"] == "norms")
    assert row["tunes"] == "package vptft-plugin-example"


def test_a_distance_takes_its_task_and_its_extractor(session):
    (_, _, (row,), *_), _ = session
    assert (row["measure_name"], row["n_first"], row["n_second"], row["dimensions"]) == ("FD (colours)", 160, 400, 24)
    assert abs(row["debiased"]) < row["noise_floor"]  # both are draws of one distribution


def test_its_method_trains_on_its_task(session):
    _, folder = session
    told = json.loads((folder / "runs" / "norms" / "run.json").read_text(encoding="utf-8"))
    assert (told["method"], told["task"], told["objective"]) == ("norms", "stripes", "orientation")


def test_a_page_shows_its_analysis_with_picture_and_finding(session):
    _, folder = session
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "<h2>Gaps by class</h2>" in page
    assert "stripes, n = 16: VPT is ahead where every class counts alike" in page
    assert "one seed: no verdict" in page
    assert "(<code>python -m vptft_plugin_example RUNS OUT/results</code>)" in page
    assert "Gap of each class of stripes, n = 16 with its interval." in page
