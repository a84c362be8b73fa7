"""What a section is made of: pictures, tables, and what ties them to a kind of result."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure

from vptft.evidence.results import Result

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure, its file name, and its words; ``raster`` where it holds photographs."""

    name: str
    figure: Figure
    alt: str
    caption: str
    raster: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as pages and LaTeX show it: text cells, and the columns that hold numbers."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numbers: frozenset[int] = frozenset()


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
        What measures it.
    pictures, tables, notes
        What is shown of the results, in order; ``pictures`` are told of the other results too.
    name
        Of one result among several.
    """

    key: str
    kind: type[R]
    heading: str
    caution: str
    command: str
    many: bool = False
    pictures: Callable[[Sequence[R], Context], Iterable[Picture]] = lambda results, context: ()
    tables: Callable[[Sequence[R]], Sequence[Table]] = _nothing
    notes: Callable[[Sequence[R]], Sequence[str]] = _nothing
    name: Callable[[R], str] = lambda result: result.analysis
