"""A saved study: what ``study.json`` says and the results beside it, with a reason for each that is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vptft.checkpoints.fairness import Fairness
from vptft.errors import StorageError
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.report.sections.parts import Analysis
from vptft.report.sections.table import analyses
from vptft.storage import read_json

LEFT_OUT = "left_out.json"

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything a page is made from.

    Attributes
    ----------
    facts
        The content of ``study.json``: sizes, backbone, runs, provenance.
    fairness
        What differs besides the method; None where it was not compared.
    shown
        The analyses a page can show, in its order.
    found
        Their results, by the analysis' key.
    missing
        Why, for each folder of the study that gave no result.
    """

    facts: Mapping[str, Any]
    fairness: Fairness | None = None
    shown: tuple[Analysis[Any], ...] = field(default_factory=analyses)
    found: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def of(self, key: str) -> Sequence[Any]:
        """Give the results of one analysis."""
        return self.found.get(key, ())

    def results(self) -> Iterator[tuple[str, Result]]:
        """Give every result with its name, in the order of the page."""
        if self.fairness is not None:
            yield self.fairness.analysis, self.fairness
        for analysis in self.shown:
            yield from ((analysis.name(result), result) for result in self.of(analysis.key))

    def told(self) -> Iterator[tuple[Finding, Analysis[Any] | None, Result]]:
        """Give all findings of all results with whose they are, in the order of the page; fairness has no analysis."""
        if self.fairness is not None:
            yield from ((finding, None, self.fairness) for finding in self.fairness.findings())
        for analysis in self.shown:
            for result in self.of(analysis.key):
                yield from ((finding, analysis, result) for finding in result.findings())

    def findings(self) -> list[Finding]:
        """Give all findings of all results, in the order of the page."""
        return [finding for finding, _, _ in self.told()]


def load_study(results: Path) -> Study:
    """Read ``study.json`` and every complete result below ``results``.

    ``left_out.json`` says of an analysis that was tried why it has no result.

    Raises
    ------
    StorageError
        When ``study.json`` is missing or damaged, when a result is damaged, or when there is none at all.
    """
    facts = read_json(results / "study.json")
    if not isinstance(facts, dict):
        raise StorageError(f"{results / 'study.json'} must hold an object; it holds a {type(facts).__name__}.")
    missing: dict[str, str] = {}
    fairness = _one(Fairness, results, "fairness", missing)
    shown = analyses()
    found = {
        each.key: _own(_each(each.kind, results, each.key, missing), each, facts, missing)
        if each.many
        else _single(each.kind, results, each.key, missing)
        for each in shown
    }
    missing |= _left_out(results)
    study = Study(facts=facts, fairness=fairness, shown=shown, found=found, missing=missing)
    if next(study.results(), None) is None:
        raise StorageError(f"{results} holds no result, so there is nothing to report.", "Measure something first.")
    return study


def _left_out(results: Path) -> dict[str, str]:
    """Why an analysis could not be made, as the study that tried kept it."""
    path = results / LEFT_OUT
    if not path.is_file():
        return {}
    told = read_json(path)
    if not isinstance(told, dict):
        raise StorageError(f"{path} must hold an object; it holds a {type(told).__name__}.")
    return {str(key): str(reason).rstrip(".") for key, reason in told.items()}


def _single(kind: type[R], results: Path, name: str, missing: dict[str, str]) -> tuple[R, ...]:
    found = _one(kind, results, name, missing)
    return () if found is None else (found,)


def _one(kind: type[R], results: Path, name: str, missing: dict[str, str]) -> R | None:
    if (results / name / "result.json").is_file():
        return kind.load(results / name)
    missing[name] = _reason(results, name)
    return None


def _each(kind: type[R], results: Path, name: str, missing: dict[str, str]) -> tuple[R, ...]:
    """Load every complete result one level below, by name of its folder; the incomplete ones are told."""
    places = sorted(path for path in (results / name).glob("*") if path.is_dir())
    complete = [place for place in places if (place / "result.json").is_file()]
    incomplete = [f"{name}/{place.name}" for place in places if place not in complete]
    if incomplete or not complete:
        missing[name] = "; ".join(_reason(results, place) for place in incomplete or [name])
    return tuple(kind.load(place) for place in complete)


def _own(
    found: tuple[R, ...], analysis: Analysis[Any], facts: Mapping[str, Any], missing: dict[str, str]
) -> tuple[R, ...]:
    """Leave out what was measured of runs that this study has no longer, as an earlier one of more runs leaves it."""
    if not (known := facts.get("identities")):
        return found
    places = ("run", "vpt", "ft")
    own = tuple(r for r in found if all(r.settings.get(name, known[0]) in known for name in places))
    if strange := [analysis.name(each) for each in found if not any(each is other for other in own)]:
        said = ", ".join(strange)
        missing[analysis.key] = "; ".join(
            filter(None, [missing.get(analysis.key), f"of other runs than this study's, and not shown: {said}"])
        )
    return own


def _reason(results: Path, name: str) -> str:
    """Say what is not there, by its path inside the study: the page must not depend on where the study lies."""
    there = (results / name).is_dir()
    return f"results/{name} " + ("has no result.json: interrupted, or not measured" if there else "is missing")
