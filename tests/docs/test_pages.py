"""Every analysis has a page and every page an analysis; its commands exist. `nox -s docs` builds and runs them."""

import ast
import re
from pathlib import Path

import pytest
import typer

import vptft
from vptft.cli.app import app

PACKAGE = Path(vptft.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
AROUND = {"fairness": "checkpoints/fairness", "advise": "advise", "published": "published"}
"""Modules of the pages that stand outside when/ and why/."""
PARTS = ("**Question", "**Number.**", "**How it misleads.**", "**Command.**", "**Reference.**")

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the pages are not in a source distribution")


def measured():
    """Modules of when/ and why/ that measure something, by dotted name."""
    for folder in ("when", "why"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in tree.body):
                yield path.relative_to(PACKAGE.parent).with_suffix("")


def pages():
    return sorted(path for path in (DOCS / "analyses").rglob("*.py"))


def name(path):
    return path.relative_to(DOCS / "analyses").with_suffix("").as_posix()


@pytest.fixture(params=pages(), ids=name)
def page(request):
    return request.param


@pytest.mark.parametrize("module", list(measured()), ids=str)
def test_every_analysis_is_on_the_page_of_its_place(module):
    dotted = ".".join(module.parts)
    own = [each for each in pages() if f"`{dotted}`" in each.read_text(encoding="utf-8")]
    assert [name(each).split("/")[:2] for each in own] == [[*module.parts[1:3]]], f"{dotted}: {list(map(name, own))}"


def test_the_module_of_every_page_exists(page):
    folder, _, last = name(page).rpartition("/")
    place = PACKAGE / (AROUND[last] if folder == "around" else f"{folder}/{last}")
    assert place.is_dir() or place.with_suffix(".py").is_file()


def test_every_page_says_what_misleads_and_runs_an_example(page):
    tree = ast.parse(page.read_text(encoding="utf-8"))
    words = ast.get_docstring(tree)
    assert [part for part in PARTS if part not in words] == []
    assert ".. math::" in words or "There is no equation" in words
    used = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "measure" in used
    assert page.stem == "fairness" or any(each.startswith("draw_") for each in used)


def test_every_command_of_a_page_exists(page):
    group = typer.main.get_command(app)
    words = ast.get_docstring(ast.parse(page.read_text(encoding="utf-8")))
    commands = re.findall(r"``vptft-analyze (\w+) ?([\w-]*)[^`]*``", words)
    assert commands
    for first, second in commands:
        assert first in group.commands
        options = {each for param in group.commands[first].params for each in param.opts}
        asked = re.findall(rf"``vptft-analyze {first}[^`]*``", words)
        nested = getattr(group.commands[first], "commands", {})
        if second in nested:
            options |= {each for param in nested[second].params for each in param.opts}
        elif nested:
            options |= {each for param in next(iter(nested.values())).params for each in param.opts}
        assert set(re.findall(r" (--?[a-z]+)", " ".join(asked))) <= options


def test_every_module_a_page_names_exists(page):
    for found in re.findall(r":py:\w+:`([\w.]+)`", page.read_text(encoding="utf-8")):
        place = PACKAGE.parent / found.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), found
