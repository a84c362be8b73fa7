"""Pages made from the package itself when the documentation is built, so that none is typed by hand."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from committed import CHECKPOINTS, REPORTS
from sphinx.application import Sphinx
from vptft_plugin_example.analysis import measure
from vptft_plugin_example.section import draw_class_gaps

import vptft
from vptft.checkpoints.native import find_runs
from vptft.checkpoints.pairs import pair_runs
from vptft.cli.app import app
from vptft.evidence.hypotheses import HYPOTHESES
from vptft.evidence.verdicts import LEVEL, REGION, RULE, SEEDS_FOR_A_VERDICT
from vptft.report.figures.style import to_png
from vptft.storage import write_text

GALLERIES = ("when", "why", "around")
ORDER = ("distribution", "objective", "quadrants", "datasize", "sensitivity")
"""Pages that do not stand in the order of their names come first."""
PACKAGE = Path(vptft.__file__).parent
NOT_IN_REFERENCE = {"cli"}
"""Packages without a page: commands have one of their own."""


class Order:
    """Order of the pages of one folder, as sphinx-gallery wants it."""

    def __init__(self, src_dir: str) -> None:
        self.src_dir = src_dir

    def __call__(self, name: str) -> tuple[int, str]:
        """Key of one file."""
        stem = Path(name).stem
        return (ORDER.index(stem) if stem in ORDER else len(ORDER), stem)


def generate(sphinx: Sphinx) -> None:
    """Write all of them."""
    out = Path(sphinx.srcdir)
    write(out / "made" / "commands.md", commands())
    write(out / "made" / "hypotheses.md", hypotheses())
    write(out / "made" / "rule.md", rule())
    write(out / "made" / "run.json", example_run())
    write(out / "made" / "result.json", example_result())
    write(out / "made" / "class-gaps.md", example_analysis(out / "made" / "class-gaps.png"))
    packages = sorted({path.parent for path in PACKAGE.rglob("*.py")})
    kept = [each for each in packages if each.relative_to(PACKAGE).parts[:1] not in {(n,) for n in NOT_IN_REFERENCE}]
    pages = {f"{dotted(each)}.rst": reference(each) for each in kept if modules(each)}
    for name, text in pages.items():
        write(out / "reference" / name, text)
    for gone in {path.name for path in (out / "reference").glob("*.rst")} - pages.keys() - {"index.rst"}:
        (out / "reference" / gone).unlink()
    write(out / "reference" / "index.rst", reference_index(sorted(name.removesuffix(".rst") for name in pages)))


def write(path: Path, text: str) -> None:
    """Leave a page alone that is the same, so that a second build reads only what changed."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def commands() -> str:
    """Every command with its arguments and options, by typer's own writer."""
    words = ["-m", "typer", "vptft.cli.app", "utils", "docs", "--name", "vptft-analyze", "--title", "Command line"]
    text = subprocess.run([sys.executable, *words], check=True, capture_output=True, encoding="utf-8").stdout
    whole = about(typer.main.get_command(app))
    return re.sub(r"^\* `[a-z][a-z-]*`: .*$", lambda line: _whole(line, whole), text, flags=re.M)


def _whole(line: re.Match[str], whole: Iterator[tuple[str, str]]) -> str:
    """One line of a list of commands, not cut off after 45 letters as typer has it."""
    name, text = next(whole)
    if f"`{name}`" not in line[0]:
        raise ValueError(f"typer lists {line[0]!r} where {name} was expected")
    return f"* `{name}`: {text}"


def about(group: Any) -> Iterator[tuple[str, str]]:
    """Name and first sentence of the commands of a group, in the order in which typer lists them."""
    for name, command in group.commands.items():
        yield name, re.split(r"(?<=\.)\s", " ".join((command.help or "").split()), maxsplit=1)[0]
    for command in group.commands.values():
        if hasattr(command, "commands"):
            yield from about(command)


def hypotheses() -> str:
    """The table that every report is a loop over."""
    rows = "".join(f"| {h.id} | {h.statement} | {h.needs} |\n" for h in HYPOTHESES.values())
    return f"| id | hypothesis | judging it takes |\n|---|---|---|\n{rows}"


def rule() -> str:
    """The rule for verdicts and its three numbers."""
    return (
        f"> {RULE}\n\nThe region is ±{REGION:g} point of accuracy, the level {LEVEL:.0%}, the least number of seeds "
        f"{SEEDS_FOR_A_VERDICT}.\n"
    )


def example_run() -> str:
    """``run.json`` of a committed run, its long lists cut."""
    path = next(iter(sorted((CHECKPOINTS / "suite" / "photo-count" / "vpt_deep").glob("*/run.json"))))
    return shown(path)


def example_result() -> str:
    """``result.json`` of a committed result."""
    return shown(REPORTS / "suite" / "results" / "quadrants" / "result.json")


def example_analysis(picture: Path) -> str:
    """Measure the plug-in's analysis on committed runs: its picture, and its finding in words."""
    pairs = pair_runs(find_runs([CHECKPOINTS / "suite" / "photo-count"]))
    predictions = [(pair.vpt.predictions(), pair.ft.predictions()) for pair in pairs]
    result = measure(predictions, task="photo/count", classes=pairs[0].vpt.info.classes)
    picture.parent.mkdir(exist_ok=True)
    picture.write_bytes(to_png(draw_class_gaps(result)))
    (found,) = result.findings()
    effect = f"{found.effect:+.1f} points [{found.low:+.1f}, {found.high:+.1f}]"
    return f"Its finding for {found.hypothesis}: {found.statement}: {effect}, *{found.verdict}* ({found.reason}).\n"


def shown(path: Path) -> str:
    """Indented JSON with lists and texts of more than a line cut, marked by an ellipsis."""
    return json.dumps(_cut(json.loads(path.read_text(encoding="utf-8"))), indent=2, ensure_ascii=False) + "\n"


def _cut(value: object, most: int = 4) -> object:
    if isinstance(value, dict):
        return {key: _cut(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_cut(each) for each in value[:most]] + (["…"] if len(value) > most else [])
    return f"{value[:90]}…" if isinstance(value, str) and len(value) > 90 else value


def modules(package: Path) -> list[Path]:
    """Public modules of one package."""
    return sorted(path for path in package.glob("*.py") if not path.stem.startswith("_"))


def dotted(path: Path) -> str:
    """``vptft.when.quadrants`` of a folder or file."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def reference(package: Path) -> str:
    """One page a package: what it is, then every public name of every module."""
    name = dotted(package)
    parts = [title(name, "="), f".. automodule:: {name}\n   :no-members:\n"]
    for module in modules(package):
        parts += [title(module.stem, "-"), f".. automodule:: {dotted(module)}\n"]
    return "\n".join(parts)


def reference_index(names: list[str]) -> str:
    """The list of these pages."""
    entries = "".join(f"   {name}\n" for name in names)
    words = "Every public name, from the docstrings. A name that starts with an underscore may change without notice."
    return "\n".join([title("Reference", "="), words, "", ".. toctree::", "   :maxdepth: 2", "", entries])


def title(text: str, line: str) -> str:
    """A heading."""
    return f"{text}\n{line * len(text)}\n"
