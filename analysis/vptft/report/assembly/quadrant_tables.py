"""Tasks for the quadrants that are no runs: a table of accuracies, or the paper's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vptft.errors import DataError
from vptft.published import tables
from vptft.when.quadrants.pairs import UNKNOWN, TaskPair
from vptft.when.quadrants.plane import Kind, Quadrants, measure

NEEDED = ("task", "accuracy_vpt", "accuracy_ft", "distance", "objective_is_far")
DATA_IS_FAR = {"natural": False, "specialized": True}
"""The paper's grouping of VTAB-1k by hand (Han et al. 2024, section 4.2)."""
PRINTED_SEEDS = 5
TRUE, FALSE = ("true", "1", "yes", "far"), ("false", "0", "no", "near")


def plane_of_csv(path: Path, *, boundary: Kind | None, seed: int) -> Quadrants:
    """Quadrants of a table with a row a task, accuracies in percent; an empty distance is unknown.

    Raises
    ------
    DataError
        When the file is no table, lacks a column, names a task twice, or holds what is no number.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} could not be read as a table: {error}") from error
    if missing := [name for name in NEEDED if name not in table]:
        raise DataError(f"{path} lacks the columns {missing}; it has {list(table)}.", f"Needed: {', '.join(NEEDED)}.")
    keys = table[["task", *(["pretraining"] if "pretraining" in table else [])]]
    if keys.duplicated().any():
        raise DataError(f"{path} names {table['task'][keys.duplicated()].iloc[0]!r} twice.")
    pairs = [_pair(row, f"{path}, row {i}") for i, row in enumerate(table.to_dict("records"), start=2)]
    return measure(pairs, boundary=boundary, seed=seed, settings={"source": path.name})


def published_planes(*, boundary: Kind | None, seed: int) -> dict[str, Quadrants]:
    """Quadrants of the paper's tables: FGVC with the printed FIDs, and VTAB-1k by its grouping, without distances.

    Of FGVC all five objectives are near. VTAB's FIDs are printed as a bar chart only (Figure 3): of near objectives the
    paper's grouping says which data are far (Specialized), of Structured nothing does. All are means of five trainings.
    """
    printed = tables.load()
    gaps = tables.gaps(printed.accuracies)
    fgvc = tables.chosen(gaps, setting="fgvc").merge(printed.fids[["task", "fid"]], on="task")
    vtab = tables.chosen(gaps, setting="vtab1k", backbone="vit_b16", pretraining="imagenet21k_supervised")
    planes = {"quadrants-fgvc": fgvc.assign(measure_name="FID, as printed"), "quadrants-vtab": vtab}
    settings = {"source": "Han et al., ICLR 2024, Tables 1, 2 and 19"}
    return {
        name: measure(
            [_printed(row) for row in frame.to_dict("records")], boundary=boundary, seed=seed, settings=settings
        )
        for name, frame in planes.items()
    }


def _printed(row: Mapping[Any, Any]) -> TaskPair:
    far = row["group"] == "structured"
    return TaskPair(
        task=row["task"], group=row["group"], objective="geometric" if far else "classification", objective_is_far=far,
        pretraining="supervised", data_is_far=DATA_IS_FAR.get(row["group"]), accuracy_vpt=row["accuracy"] / 100,
        accuracy_ft=row["accuracy_against"] / 100, distance=float(row.get("fid", UNKNOWN)),
        measure_name=row.get("measure_name", ""), n_seeds=PRINTED_SEEDS,
    )  # fmt: skip


def _pair(row: Mapping[Any, Any], where: str) -> TaskPair:
    far = _truth(row["objective_is_far"], where)
    return TaskPair(
        task=row["task"], group=row.get("group", ""), objective=row.get("objective") or ("far" if far else "near"),
        objective_is_far=far, pretraining=row.get("pretraining") or "unknown", data_is_far=None,
        accuracy_vpt=_percent(row["accuracy_vpt"], where), accuracy_ft=_percent(row["accuracy_ft"], where),
        distance=_number(row["distance"], where, UNKNOWN), measure_name=row.get("measure") or "distance",
        disparity=_number(row.get("disparity", ""), where, UNKNOWN), n_seeds=_seeds(row.get("n_seeds", ""), where),
    )  # fmt: skip


def _number(text: str, where: str, empty: float | None = None) -> float:
    if empty is not None and not text.strip():
        return empty
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{where}: {text!r} is no number.") from error


def _percent(text: str, where: str) -> float:
    value = _number(text, where)
    if not 0 <= value <= 100:
        raise DataError(f"{where}: {text} is no accuracy in percent.")
    return value / 100


def _seeds(text: str, where: str) -> int:
    """Trainings behind a row's accuracies; one where it does not say."""
    value = _number(text, where, 1)
    if value < 1 or value != int(value):
        raise DataError(f"{where}: n_seeds is {text!r}; it must be a whole number from 1 on.")
    return int(value)


def _truth(text: str, where: str) -> bool:
    if text.strip().lower() not in (*TRUE, *FALSE):
        raise DataError(f"{where}: objective_is_far is {text!r}; it must be true or false.")
    return text.strip().lower() in TRUE
