"""A saved study: what ``study.json`` says and the results beside it, with a reason for each that is missing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vptft.checkpoints.fairness import Fairness
from vptft.errors import StorageError
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.storage import read_json
from vptft.when.distribution.distance import SetDistance
from vptft.when.quadrants.plane import Quadrants
from vptft.why.attention.maps import AttentionMaps
from vptft.why.landscape.slices import LossSlice
from vptft.why.overfitting import OverfittingCurves

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything a page is made from.

    Attributes
    ----------
    facts
        The content of ``study.json``: sizes, backbone, runs, provenance.
    fairness, quadrants, distances, curves, slices, attention
        The results; None or empty where there is none.
    missing
        Why, for each folder of the study that gave no result.
    """

    facts: Mapping[str, Any]
    fairness: Fairness | None
    quadrants: Quadrants | None
    distances: tuple[SetDistance, ...]
    curves: OverfittingCurves | None
    slices: tuple[LossSlice, ...]
    attention: tuple[AttentionMaps, ...]
    missing: Mapping[str, str] = field(default_factory=dict)

    def results(self) -> Iterator[Result]:
        """Give every result, in the order of the page."""
        single = (self.fairness, self.quadrants, *self.distances, self.curves)
        yield from filter(None, (*single, *self.slices, *self.attention))

    def findings(self) -> list[Finding]:
        """Give all findings of all results, in the order of the page."""
        return [finding for result in self.results() for finding in result.findings()]


def load_study(results: Path) -> Study:
    """Read ``study.json`` and every complete result below ``results``.

    Raises
    ------
    StorageError
        When ``study.json`` is missing or damaged, when a result is damaged, or when there is none at all.
    """
    facts = read_json(results / "study.json")
    if not isinstance(facts, dict):
        raise StorageError(f"{results / 'study.json'} must hold an object; it holds a {type(facts).__name__}.")
    missing: dict[str, str] = {}
    study = Study(
        facts=facts,
        fairness=_one(Fairness, results, "fairness", missing),
        quadrants=_one(Quadrants, results, "quadrants", missing),
        distances=_each(SetDistance, results, "distance", missing),
        curves=_one(OverfittingCurves, results, "overfitting", missing),
        slices=_each(LossSlice, results, "landscape", missing),
        attention=_each(AttentionMaps, results, "attention", missing),
        missing=missing,
    )
    if next(study.results(), None) is None:
        raise StorageError(f"{results} holds no result, so there is nothing to report.", "Measure something first.")
    return study


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


def _reason(results: Path, name: str) -> str:
    """Say what is not there, by its path inside the study: the page must not depend on where the study lies."""
    there = (results / name).is_dir()
    return f"results/{name} " + ("has no result.json: interrupted, or not measured" if there else "is missing")
