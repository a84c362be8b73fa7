"""What a section is made of: pictures, tables, and what ties them to a kind of result."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pandas as pd
from matplotlib.figure import Figure

from vptft.evidence.results import Result

R = TypeVar("R", bound=Result)
PROGRAM = "vptft-analyze"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure, its file name, and its words; ``raster`` where it holds photographs, ``task`` where it is of one."""

    name: str
    figure: Figure
    alt: str
    caption: str
    raster: bool = False
    task: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as pages and LaTeX show it: text cells, and the columns that hold numbers.

    ``of_task`` names the column that says of which task a row is; ``values`` holds the numbers behind the cells, for
    other programs, where they were a frame's.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numbers: frozenset[int] = frozenset()
    of_task: str = "task"
    values: pd.DataFrame | None = None

    def only(self, task: str) -> "Table | None":
        """Return its rows of one task without that column; None where there are none."""
        if self.of_task not in self.columns:
            return None
        at = self.columns.index(self.of_task)
        rows = [[cell for i, cell in enumerate(row) if i != at] for row in self.rows if row[at] == task]
        if not rows:
            return None
        return Table(
            caption=self.caption,
            columns=[column for column in self.columns if column != self.of_task],
            rows=rows,
            numbers=frozenset(i - (i > at) for i in self.numbers if i != at),
        )


@dataclass(frozen=True, kw_only=True)
class Widget:
    """What a reader can look at by hand: its data, as JSON holds it, and which control of the page takes it.

    Attributes
    ----------
    kind
        A script of ``pages/scripts``: ``attention``, ``surfaces`` or ``curves``.
    label
        What it is called.
    data
        Text in it is only ever shown as text.
    """

    kind: str
    label: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a section may know besides its own results.

    Attributes
    ----------
    facts
        The content of ``study.json``.
    others
        The results of every analysis of the study, by key.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def _nothing(results: Sequence[Any]) -> list[Any]:
    return []


@dataclass(frozen=True, kw_only=True)
class Analysis(Generic[R]):
    """One analysis as a page shows it: a row of the table of sections.

    Attributes
    ----------
    key
        Its place in the page, and its folder below ``results``.
    kind
        The result it shows; ``many`` where there is one a folder below ``results/KEY``.
    heading, caution
        What the section is called, and how its numbers can mislead.
    command
        What measures it: a command of this program or, with ``own_program``, a line for the shell.
    pictures, tables, notes, widgets
        What is shown of the results, in order; ``pictures`` and ``widgets`` are told of the other results too.
    name
        Of one result among several.
    """

    key: str
    kind: type[R]
    heading: str
    caution: str
    command: str
    own_program: bool = False
    many: bool = False
    pictures: Callable[[Sequence[R], Context], Iterable[Picture]] = lambda results, context: ()
    tables: Callable[[Sequence[R]], Sequence[Table]] = _nothing
    notes: Callable[[Sequence[R]], Sequence[str]] = _nothing
    widgets: Callable[[Sequence[R], Context], Iterable[Widget]] = lambda results, context: ()
    name: Callable[[R], str] = lambda result: result.analysis

    @property
    def line(self) -> str:
        """What a reader gives to the shell."""
        return self.command if self.own_program else f"{PROGRAM} {self.command}"
