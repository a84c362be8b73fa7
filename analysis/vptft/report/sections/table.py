"""Every analysis a page can show, in the order of the page; other packages add theirs by entry point."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from vptft.errors import SettingsError
from vptft.report.sections import (
    attention,
    attention_scores,
    attention_viewer,
    calibration,
    curvature,
    datasize,
    distance,
    escape,
    features,
    landscape,
    lines,
    objective,
    outcomes,
    overfitting,
    overfitting_gap,
    preservation,
    quadrants,
    regularisation,
    reproduction,
    rises,
    sensitivity,
)
from vptft.report.sections.parts import Analysis

ENTRY_POINTS = "vptft.analyses"
"""Group of the entry points by which another package adds an :class:`Analysis`."""

BUILT_IN: tuple[Analysis[Any], ...] = tuple(
    module.ANALYSIS
    for module in (
        quadrants, outcomes, distance, objective, datasize, sensitivity, reproduction,
        overfitting, calibration, overfitting_gap, regularisation, landscape, rises, lines, curvature, escape,
        features, preservation,
        attention, attention_viewer, attention_scores,
    )
)  # fmt: skip


def analyses() -> tuple[Analysis[Any], ...]:
    """Return the analyses of this package, then those of others by the name of their entry point.

    Raises
    ------
    SettingsError
        An entry point gives no :class:`Analysis`, or one whose key is taken.
    """
    found = list(BUILT_IN)
    for entry in sorted(plug_ins(), key=lambda each: each.name):
        given = entry.load()
        if not isinstance(given, Analysis):
            raise SettingsError(f"The entry point {entry.name} of {ENTRY_POINTS} gives no Analysis: {given!r}.")
        if given.key in {each.key for each in found}:
            raise SettingsError(f"The entry point {entry.name} of {ENTRY_POINTS} takes the key {given.key!r} again.")
        found.append(given)
    return tuple(found)


def plug_ins() -> tuple[EntryPoint, ...]:
    """Return the entry points of other packages."""
    return tuple(entry_points(group=ENTRY_POINTS))
