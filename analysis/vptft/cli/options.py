"""Options that several commands share, and how they write what they found."""

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TypeVar

import typer
from typer.core import TyperGroup

from vptft.errors import SettingsError, VptftError

if TYPE_CHECKING:
    import pandas as pd

    from vptft.checkpoints.native import Run
    from vptft.checkpoints.pairs import RunPair
    from vptft.evidence.findings import Finding
    from vptft.evidence.results import Result

Json = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table to stdout.")]


def writable(out: Path | None) -> Path | None:
    """Refuse a folder that cannot be made or written in before anything is measured for it; nothing is left there."""
    if out is not None:
        there = next((each for each in (out, *out.absolute().parents) if each.exists()), Path("/"))
        try:
            with TemporaryDirectory(dir=there if there.is_dir() else there.parent):
                pass
        except OSError as error:
            raise typer.BadParameter(f"{out} cannot be written: {error.strerror}") from error
    return out


Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for results and figures.", callback=writable)]
Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.", min=0)]


def _usable(device: str) -> str:
    """Refuse a device that is not there before anything is loaded for it."""
    if device != "cpu":
        import torch

        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise typer.BadParameter(f"{device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def _drawn_for(context: typer.Context, name: str | None) -> str | None:
    """Draw everything of this command for the venue's page; commands need not know."""
    if name is not None:
        from vptft.report.figures.style import venue

        context.with_resource(venue(name))
    return name


Venue = Annotated[
    Literal["neurips", "iclr", "icml", "cvpr"] | None,
    typer.Option(help="Draw figures for that venue's column or text width and letters.", callback=_drawn_for),
]
"""A command that takes it draws for the venue, without reading it."""
Compare = Annotated[
    Literal["published"] | None,
    typer.Option(help="Lay the runs over the numbers that the paper prints, and test whether they reproduce them."),
]
LAID_OVER = (
    "task", "method", "n_train", "n_seeds", "own", "printed", "difference_points", "low_points", "high_points",
    "p_adjusted", "outcome", "reason",
)  # fmt: skip
"""Columns of runs beside the published numbers that are drawn; JSON has them all."""
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1, mps.", callback=_usable)]
BackboneName = Annotated[
    str, typer.Option("--backbone", help="dinov2-s, timm/NAME, or ARCHITECTURE@FILE (see `backbones`).")
]


def there(folders: list[Path] | None) -> list[Path] | None:
    """Miss a folder at once, not after the seconds that libraries take to load."""
    for folder in folders or []:
        if not folder.is_dir():
            say(f"error: There is no folder {folder}.")
            raise typer.Exit(FAILED)
    return folders


RUNS = "Run folders, or folders that hold runs."
Runs = Annotated[list[Path], typer.Argument(help=RUNS, metavar="RUNS", callback=there)]
SomeRuns = Annotated[list[Path] | None, typer.Argument(help=RUNS, metavar="[RUNS]", callback=there)]


P = ParamSpec("P")
R = TypeVar("R")

FAILED, INTERRUPTED = 1, 130


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what can go wrong in a command into a message on stderr and an exit code: 1 failed, 130 interrupted."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except VptftError as error:
            say(f"error: {error.problem}")
            if error.hint:
                say(error.hint)
            raise typer.Exit(FAILED) from error
        except KeyboardInterrupt:
            say("Interrupted. What is finished is kept; the same command goes on from there.")
            raise typer.Exit(INTERRUPTED) from None

    return run


class _Unnamed(typer.Context):
    """Of a default command: usage and errors do not show the name that need not be typed."""

    @property
    def command_path(self) -> str:
        """What is typed to get here."""
        return super().command_path.rstrip()


class WithDefault(TyperGroup):
    """``fid A B`` is ``fid compare A B``: what is no command of the group goes to the first one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front where none is named."""
        if args and args[0] not in self.commands:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; the default one goes without its name."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and command is next(iter(self.commands.values())):
            name, command.context_class = "", _Unnamed
        return name, command, rest


def write_table(frame: "pd.DataFrame", *, as_json: bool, title: str = "") -> None:
    """Write a table to stdout: drawn for a reader, or JSON records."""
    if as_json:
        write_json(records(frame))
        return
    write_rows(frame.to_dict("records"), title=title, columns=list(frame.columns))


def write_rows(rows: Sequence[Mapping[Any, Any]], *, title: str = "", columns: Sequence[Any] = ()) -> None:
    """Draw rows with the same keys as a table on stdout; columns of numbers stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(plain(title)) if title else None, title_justify="left")
    names = list(columns or (rows[0] if rows else ()))
    for name in names:
        numeric = all(isinstance(row[name], Real) and not isinstance(row[name], bool) for row in rows)
        table.add_column(Text(plain(str(name))), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(row[name])) for name in names))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160).print(table)


def write_findings(findings: "Sequence[Finding]") -> None:
    """Draw findings with their verdicts on stdout, and say the rule that gave these on stderr."""
    from vptft.evidence.verdicts import RULE
    from vptft.report.pages.words import could_see, effect

    if not findings:
        return
    rows = [
        {
            "hypothesis": each.hypothesis, "statement": each.statement, "verdict": each.verdict,
            "effect": effect(each), "reason": "; ".join(filter(None, [each.reason, could_see(each)])),
        }
        for each in findings
    ]  # fmt: skip
    write_rows(rows, title="Verdict")
    say(RULE)


def all_of(result: "Result", *tables: str) -> dict[str, Any]:
    """Return a result as JSON holds it: settings, rows, further tables by name, findings."""
    from vptft.evidence.findings import to_table

    return {
        "settings": dict(result.settings),
        "rows": records(result.frame()),
        **{name: records(getattr(result, name)) for name in tables},
        "findings": records(to_table(result.findings())),
    }


def records(frame: "pd.DataFrame") -> Any:
    """Rows as plain values; what is not a number is null, which JSON has."""
    return json.loads(frame.to_json(orient="records", double_precision=15))


def write_json(value: Any) -> None:
    """Write JSON to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """Write a line for the person at the terminal to stderr."""
    sys.stderr.write(plain(text) + "\n")


def say_unpaired(runs: "Sequence[Run]", pairs: "Sequence[RunPair]") -> None:
    """Say which runs found no partner: they are left out, which must not go unseen; and which are no seeds of one."""
    from vptft.checkpoints.pairs import unlike_seeds, unpaired

    for run in unpaired(runs, pairs):
        same = "task, training size, seed, image size and backbone"
        say(f"warning: {run.folder} is left out: {run.info.method} without a partner of the same {same}.")
    for difference in unlike_seeds(pairs):
        say(f"warning: {difference}.")


def plain(text: str) -> str:
    """Text from anywhere, without what a terminal would obey: names and logs are written by strangers."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


@contextmanager
def progress() -> Iterator[Callable[..., Callable[[int, int], None]]]:
    """Progress bars with time left, on stderr. Gives ``start(label, weight)``, which gives a (done, total) callback.

    Where several parts follow each other, the first bar sums them up.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=300) as bars:

        def start(label: str, total: int = 1) -> Callable[[int, int], None]:
            bar = bars.add_task(label, total=total)

            def update(done: int, total: int) -> None:
                bars.update(bar, completed=done, total=total, visible=done < total)

            return update

        yield start
        for task in bars.tasks:  # what was there from before was never begun, and is not at 0%
            bars.update(task.id, visible=False)


def _shown(value: object) -> str:
    if value is None or value != value:  # a NaN differs from itself
        return ""
    return f"{value:.4g}" if isinstance(value, float) else plain(str(value))


def refuse_page_of(command: str, sign: Path) -> None:
    """Refuse a folder whose page another command wrote: both are its ``index.html``.

    Raises
    ------
    SettingsError
        What that command leaves is there.
    """
    if sign.exists():
        raise SettingsError(
            f"{sign.parent.parent} holds the page of `{command}`, which this one would take the place of.",
            "Give another folder with -o.",
        )
